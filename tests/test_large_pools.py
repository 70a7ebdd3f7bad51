"""Large pools: cells, budgets and candidates, at sizes where all can be looked at as well."""

import numpy as np
import pytest

import skmm
from skmm.numerics.stored import StoredRows
from skmm.numerics.threads import one_thread, share
from skmm.rounding.exchange import exchange
from skmm.selection.cells import apportion, budgets, cut
from skmm.selection.selectors import candidates, stratified
from skmm.selection.selectors.balance import Balance
from skmm.selection.selectors.coordinates import Measured, Metric
from skmm.selection.selectors.stratified import cells_of, choose_in
from skmm.spectrum import Spectrum
from skmm_study import gaussian_mixture

NONE = np.zeros(0, dtype=np.intp)


@pytest.fixture(scope="module")
def features():
    return gaussian_mixture(900, 20, 9, rng=3).features


@pytest.fixture
def large(monkeypatch):
    """Pools of 900 rows are large: cells have about 150 rows, and candidates are 300."""
    monkeypatch.setattr(stratified, "MOST", 200)
    monkeypatch.setattr(stratified, "_LEAST", 150)
    monkeypatch.setattr(stratified, "_MOST", 150)
    monkeypatch.setattr(candidates, "_MOST", 300)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("size", [20, 100, 400, 2000])
def test_cells_are_a_partition_of_bounded_size(features, size):
    cells = cut(features, size, measure=unit, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate(cells)), np.arange(900))
    assert all((np.diff(cell) > 0).all() for cell in cells)
    assert max(map(len, cells)) <= 1.6 * size


def test_cells_of_equal_rows_are_bounded_as_well():
    cells = cut(np.ones((500, 3)), 60, measure=unit, rng=np.random.default_rng(0))
    assert max(map(len, cells)) <= 96
    assert sum(map(len, cells)) == 500


def test_cells_are_compact(features):
    """The mean squared distance to the mean of a cell is far below that of random parts."""
    rows, rng = unit(features), np.random.default_rng(0)
    cells = cut(features, 100, measure=unit, rng=rng)
    chance = np.split(rng.permutation(900), np.cumsum([len(cell) for cell in cells])[:-1])
    one, other = (sum(len(c) * rows[c].var(axis=0).sum() for c in of) for of in (cells, chance))
    assert one < 0.5 * other


@pytest.mark.parametrize("n", [1, 7, 40, 90])
def test_budgets_fill_up_what_is_kept(n):
    """All shares, with those kept, are proportional but for cells that hold more already."""
    sizes, kept = np.array([50, 30, 20, 10]), np.array([2, 9, 0, 8])
    shares = budgets(n, sizes, kept)
    assert shares.sum() == n
    assert (shares >= 0).all()
    assert (shares + kept <= sizes).all()
    some = shares > 0
    level = (shares + kept)[some] / sizes[some]
    assert np.ptp((shares + kept)[some] - level.mean() * sizes[some]) < 2
    assert (kept[~some] >= level.mean() * sizes[~some] - 1).all()


def test_budgets_without_any_kept_are_proportional():
    sizes = np.array([50, 30, 20, 11])
    np.testing.assert_array_equal(budgets(13, sizes, np.zeros(4, int)), apportion(13, sizes))


@pytest.mark.parametrize("criterion", ["balanced", "fourth"])
def test_a_cell_is_a_pool_of_its_own(features, large, criterion):
    """What is chosen depends on the rows of the cell alone, and is what its criterion chooses."""
    metric = Metric("row", Spectrum.of(features))
    knobs = {"criterion": criterion, "kept": NONE, "sigma": 1.0, "weight": None}
    cells = cells_of(features, 90, metric=metric, rng=np.random.default_rng(0), **knobs)
    assert len(cells) > 3
    for cell in cells[:3]:
        others = np.full_like(features, np.nan)
        others[cell.members] = features[cell.members]
        one = choose_in(others, cell)
        chosen, value = one.indices, one.value
        assert len(chosen) == cell.budget
        rows = unit(features[cell.members])
        if criterion == "balanced":
            expected, regret = Balance.of(rows, cell.budget, sigma=1.0, weight=1.0).descend()
            np.testing.assert_array_equal(chosen, expected)
            assert value == regret
        else:
            fourth = skmm.FourthMoment(rows, cell.budget)
            fourth.start(chosen)
            assert value == pytest.approx(fourth.value())
            assert exchange(fourth, chosen).swaps == 0


@pytest.mark.parametrize("criterion", ["balanced", "fourth", "full", "diagonal", "combined"])
def test_large_pool_keeps_what_is_labelled(features, large, criterion):
    keep = np.random.default_rng(1).choice(900, 25, replace=False)
    selection = skmm.select(features, 40, rng=0, criterion=criterion, keep=keep)
    assert len(np.unique(selection.labelled)) == 65
    again = skmm.select(features, 40, rng=0, criterion=criterion, keep=keep)
    np.testing.assert_array_equal(selection.indices, again.indices)


def test_rows_of_zeros_are_chosen_last(features, large):
    rows = features.copy()
    rows[::3] = 0.0
    selection = skmm.select(rows, 60, rng=0, criterion="balanced")
    assert (selection.indices % 3 != 0).all()


def test_balance_in_cells_is_near_that_of_the_whole(features, large):
    """Nearer by far than a random part of as many rows as a cell has, or a uniform draw."""
    rows, n = unit(features), 90
    whole = Balance.of(rows, n, sigma=1.0, weight=None)
    best, _ = whole.descend()

    def value(indices):
        whole.criterion.start(indices)
        return whole.criterion.value()

    rng = np.random.default_rng(0)
    in_cells = skmm.select(features, n, rng=0, criterion="balanced")
    part = np.sort(rng.choice(900, 150, replace=False))
    of_part = part[Balance.of(rows[part], n, sigma=1.0, weight=None).descend()[0]]
    chance = np.mean([value(rng.choice(900, n, replace=False)) for _ in range(5)])
    gap = chance - value(best)
    assert "cells" in in_cells.settings
    assert value(in_cells.indices) - value(best) < 0.2 * gap
    assert value(of_part) - value(best) > 0.4 * gap


def test_few_samples_are_chosen_among_a_random_part(features, large, monkeypatch):
    monkeypatch.setattr(stratified, "ROWS_PER_SAMPLE", 40)
    selection = skmm.select(features, 10, rng=0, criterion="balanced")
    assert "among 400 of 900 samples" in selection.settings


def test_threads_change_nothing(features, large):
    """Cells run on one thread each; with two of them the same subset comes out."""
    assert share(lambda item: item**2, list(range(50))) == [item**2 for item in range(50)]
    found = [skmm.select(features, 60, rng=0, criterion="balanced").indices for _ in range(2)]
    with one_thread():
        found.append(skmm.select(features, 60, rng=0, criterion="balanced").indices)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("metric", ["raw", "row", "whitened"])
def test_candidates_are_measured_by_the_whole_pool(features, metric):
    """Their coordinates, spectrum and target are those of all rows, read by blocks."""
    pool, measure = StoredRows.over(features), Metric(metric, Spectrum.of(features))
    part = np.arange(0, 900, 7)
    some, all_ = Measured.of(pool, measure, part), Measured.of(features, measure)
    np.testing.assert_allclose(some.rows, all_.rows[part])
    np.testing.assert_allclose(some.spectrum.eigenvalues, all_.spectrum.eigenvalues, atol=1e-12)
    np.testing.assert_allclose(some.target[0], all_.rows.T @ all_.rows / 900, atol=1e-12)
    np.testing.assert_allclose(some.target[1], all_.rows.mean(axis=0), atol=1e-12)


def test_full_among_candidates_matches_the_whole_pool(features, large):
    """Against all moments it is nearer than a subset that matches those of the candidates alone."""
    whole = skmm.SecondMoment(unit(features), 60)

    def value(indices):
        whole.start(indices)
        return whole.value()

    chosen = skmm.select(features, 60, rng=0, criterion="full")
    assert "among 300 of 900" in chosen.settings
    part = np.sort(np.random.default_rng(0).choice(900, 300, replace=False))
    alone = skmm.SecondMoment(unit(features)[part], 60)
    end = part[exchange(alone, np.arange(60)).indices]
    assert value(chosen.indices) == pytest.approx(chosen.objective, rel=0.1)
    assert value(chosen.indices) < value(end)


def test_all_swaps_are_tried_in_a_pool_that_is_seen_whole():
    for n in (1, stratified.MOST // 2, stratified.MOST - 1):
        assert candidates.reach(stratified.MOST, n) is None
    assert candidates.reach(stratified.MOST + 1, stratified.MOST // 2) is not None


def test_reach_of_all_samples_is_no_limit(features):
    rows = unit(features[:200])
    ends = [
        exchange(skmm.SecondMoment(rows, 20), np.arange(20), shortlist=8, reach=reach)
        for reach in (None, 200)
    ]
    np.testing.assert_array_equal(ends[0].indices, ends[1].indices)


def test_reach_ends_where_none_of_the_promising_swaps_helps(features):
    rows = unit(features[:200])
    moment = skmm.SecondMoment(rows, 20)
    end = exchange(moment, np.arange(20), shortlist=4, reach=12)
    leave, enter = moment.single_changes()
    inside, outside = np.flatnonzero(moment.inside), np.flatnonzero(~moment.inside)
    inside = inside[np.argsort(leave[inside])[:12]]
    outside = outside[np.argsort(enter[outside])[:12]]
    assert end.converged
    assert moment.swap_changes(inside, outside).min() > -1e-9


def test_many_moves_shift_the_mean_as_one_by_one(features):
    """A quadratic form in place of so many rows of the kernel, where none of it is held."""
    rows = unit(features)
    for mean in (False, True):
        many, few = skmm.SecondMoment(rows, 60, mean=mean), skmm.SecondMoment(rows, 60, mean=mean)
        for moment in (many, few):
            moment.start(np.arange(60))
            moment._held = None
        many.swap(np.arange(40), np.arange(100, 140))
        for i in range(40):
            few.swap(np.array([i]), np.array([100 + i]))
        np.testing.assert_allclose(many.single_changes(), few.single_changes(), atol=1e-11)
