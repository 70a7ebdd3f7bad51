"""Seams: cells mended beside those around them, against slow loops and the pool as a whole."""

import numpy as np
import pytest

from skmm.criteria import Coverage, FourthMoment
from skmm.criteria.beside import CoverageBeside
from skmm.numerics.gaussian import GaussianKernel
from skmm.selection.selectors import seams, stratified
from skmm.selection.selectors.balance import Balance
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.seams import around, choose_in_cells, mend, nearest, turns
from skmm.selection.selectors.stratified import cells_of, choose_in
from skmm.spectrum import Spectrum

NONE = np.zeros(0, dtype=np.intp)


@pytest.fixture(scope="module")
def features():
    """Rows without groups: whatever cells they are cut into, many lie at a seam."""
    scale = np.arange(1.0, 13.0) ** -0.5
    return 1.0 + scale * np.random.default_rng(3).standard_normal((900, 12))


@pytest.fixture
def cut_up(monkeypatch):
    """Pools of 900 rows are cut into half a dozen cells."""
    for name, value in {"MOST": 200, "_LEAST": 150, "_MOST": 150}.items():
        monkeypatch.setattr(stratified, name, value)


@pytest.fixture(params=["whole", "cells"])
def matched(request, monkeypatch):
    """Whose moment is matched: that of a small pool, or of each cell of a large one."""
    monkeypatch.setattr(seams, "WHOLE", 900 if request.param == "whole" else 0)
    return request.param


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cells(features, n, *, kept=NONE, seed=0, weight=None):
    metric = Metric("row", Spectrum.of(features))
    knobs = {"criterion": "balanced", "kept": kept, "sigma": 1.0, "weight": weight}
    return cells_of(features, n, metric=metric, rng=np.random.default_rng(seed), **knobs)


def state(features, n, **knobs):
    """The cells, what was chosen from each by itself, and their seams."""
    parts = cells(features, n, **knobs)
    chosen = [choose_in(features, cell) for cell in parts]
    new = [cell.members[one.indices] for cell, one in zip(parts, chosen, strict=True)]
    return parts, new, seams._Seams(features, parts, chosen, new)


def uncovered(features, subset):
    rows = unit(features)
    squares = ((rows[:, None] - rows[subset]) ** 2).sum(axis=2)
    return 1.0 - np.exp(-squares).max(axis=1)


@pytest.mark.parametrize("stays", [0, 1, 7])
def test_coverage_beside_a_subset_is_that_of_both(rng, stays):
    """Swaps and values by slow loops: candidates beside samples that nothing can move."""
    rows = rng.standard_normal((60, 4))
    candidates, others = np.arange(20), np.arange(60 - stays, 60)
    kernel = np.exp(-((rows[:, None] - rows) ** 2).sum(axis=2))
    floor = np.sort(np.vstack([np.zeros((2, 60)), kernel[others]]), axis=0)[:-3:-1]
    beside = CoverageBeside(kernel[:, candidates], floor)
    beside.start(np.array([3, 5, 11]))

    def value(inside):
        return 1.0 - kernel[:, np.append(inside, others).astype(int)].max(axis=1).mean()

    assert beside.value() == pytest.approx(value([3, 5, 11]))
    outside = np.setdiff1d(candidates, [3, 5, 11])
    changes = beside.swap_changes(np.array([3, 5, 11]), outside)
    for i, leaves in enumerate([3, 5, 11]):
        left = [one for one in (3, 5, 11) if one != leaves]
        expected = [value([*left, enters]) - value([3, 5, 11]) for enters in outside]
        np.testing.assert_allclose(changes[i], expected, atol=1e-12)
    part = beside.restrict(np.array([3, 11, 0, 7]))
    np.testing.assert_allclose(
        part.swap_changes(np.array([0, 1]), np.array([2, 3])),
        changes[np.ix_([0, 2], np.searchsorted(outside, [0, 7]))],
        atol=1e-12,
    )
    beside.swap(np.array([3, 5]), np.array([0, 7]))
    assert beside.value() == pytest.approx(value([0, 7, 11]))
    near = np.array([0, 7, 11])[kernel[:, [0, 7, 11]].argmax(axis=1)]
    own = kernel[:, [0, 7, 11]].max(axis=1) >= floor[0]
    np.testing.assert_array_equal(beside.nearest(), np.where(own, near, -1))


def test_coverage_beside_nothing_is_coverage(features):
    """In the units of a uniform draw, and with the single precision that it may be held in."""
    rows, subset = unit(features)[:150], np.arange(0, 150, 11)
    whole, kernel = Coverage(rows, len(subset)), GaussianKernel(rows, 1.0).rows(np.arange(150))
    beside = CoverageBeside(kernel.astype(np.float32), np.zeros((2, 150)))
    for one in (whole, beside):
        one.start(subset)
    others = np.setdiff1d(np.arange(150), subset)
    assert whole.unit * whole.value() == pytest.approx(beside.value(), rel=1e-6)
    np.testing.assert_allclose(
        whole.unit * whole.swap_changes(subset, others),
        beside.swap_changes(subset, others),
        atol=1e-7,
    )


def test_moment_beside_samples_is_that_of_the_pool(features):
    """Swaps among some rows, told as the whole pool tells them."""
    rows, subset = unit(features), np.arange(0, 900, 30)
    whole = FourthMoment(rows, len(subset))
    whole.start(subset)
    assert whole.value_of(subset) == pytest.approx(whole.value())
    own, others = subset[subset < 200], subset[subset >= 200]
    knobs = {"pull": whole.pull[:200], "others": rows[others], "unit": whole.unit}
    part = FourthMoment.beside(rows[:200], len(own), **knobs)
    part.start(own)
    enter = np.setdiff1d(np.arange(200), own)
    np.testing.assert_allclose(
        part.swap_changes(own, enter), whole.swap_changes(own, enter), atol=1e-10
    )
    before = part.value(), whole.value()
    for one in (part, whole):
        one.swap(own[:3], enter[:3])
    assert part.value() - before[0] == pytest.approx(whole.value() - before[1])


def test_cells_around_a_cell_are_the_nearest(rng, monkeypatch):
    monkeypatch.setattr(seams, "AROUND", 3)
    centers = rng.standard_normal((12, 2))
    distances = np.linalg.norm(centers[:, None] - centers, axis=2)
    for one, near in enumerate(around(centers)):
        assert set(near) == set(np.argsort(distances[one])[1:4])


def test_of_cells_equally_near_the_first_are_around(monkeypatch):
    monkeypatch.setattr(seams, "AROUND", 2)
    near = around(np.ones((5, 3)))
    assert [list(of) for of in near] == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize("count", [1, 4, 30])
def test_no_cell_is_near_to_another_of_its_turn(rng, monkeypatch, count):
    monkeypatch.setattr(seams, "AROUND", count)
    near = around(rng.standard_normal((25, 3)))
    found = turns(near)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(25))
    for turn in found:
        assert not any(np.isin(near[one], turn).any() for one in turn)
    assert len(found) == 25 if count == 30 else len(found) < 25


def test_nearest_is_found_among_the_cell_and_those_around(features, cut_up):
    parts, new, of = state(features, 60)
    rows, patch = unit(features), of._patch(2)
    found = patch.members[nearest(features, patch)]
    samples = np.sort(np.concatenate(new))  # all cells are around
    distances = ((rows[parts[2].members][:, None] - rows[samples]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found, samples[distances.argmin(axis=1)])


@pytest.mark.parametrize("count", [2, 16])
def test_a_patch_is_all_that_is_read(features, cut_up, monkeypatch, count):
    monkeypatch.setattr(seams, "AROUND", count)
    _, _, of = state(features, 60)
    patch = of._patch(1)
    bare = np.full_like(features, np.nan)
    bare[patch.members] = features[patch.members]
    np.testing.assert_array_equal(nearest(features, patch), nearest(bare, patch))
    one, other = mend(features, patch), mend(bare, patch)
    np.testing.assert_array_equal(one.own, other.own)
    assert one.gap == other.gap
    assert (patch.whole is None) == (count == 2)


def test_of_many_rows_served_some_are_counted(features, cut_up, monkeypatch):
    _, _, of = state(features, 60)
    of._sweep()
    many = [of._patch(one).served for one in range(len(of._near))]
    size = min(map(len, (cell.members for cell in of._cells)))
    assert max(map(len, many)) > 0.05 * size
    monkeypatch.setattr(seams, "SERVED", 0.05)
    for one, cell in enumerate(of._cells):
        patch = of._patch(one)
        assert len(patch.served) <= 0.05 * len(cell.members) + 1
        assert len(mend(features, patch).own) == len(patch.own)


def test_mending_does_to_the_pool_what_it_told_or_better(features, cut_up):
    """Rows that are not counted have their nearest elsewhere: no swap can harm them."""
    parts, new, of = state(features, 60, weight=0.0)  # coverage alone
    before, rows = np.sort(np.concatenate(new)), unit(features)
    of._nearest = before[((rows[:, None] - rows[before]) ** 2).sum(axis=2).argmin(axis=1)]
    then, moved = uncovered(features, before), 0
    for one in range(len(parts)):
        patch = of._patch(one)
        end = mend(features, patch)
        now = uncovered(
            features, np.concatenate([patch.members[end.own], *new[:one], *new[one + 1 :]])
        )
        counted = patch.members[np.concatenate([patch.cell, patch.served])]
        assert len(counted) > len(parts[one].members)
        rest = np.setdiff1d(np.arange(len(features)), counted)
        assert (now[rest] <= then[rest] + 1e-12).all()
        moved += set(patch.members[end.own]) != set(new[one])
        assert now[counted].mean() <= then[counted].mean() + 1e-12
        assert now[patch.members[patch.cell]].mean() == pytest.approx(end.uncovered, abs=1e-6)
        distances = ((rows[counted] - rows[patch.members[end.nearest]]) ** 2).sum(axis=1)
        np.testing.assert_allclose(1.0 - np.exp(-distances), now[counted], atol=1e-6)
    assert moved > 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mended_cells_lose_less_than_cells(features, cut_up, matched, seed):
    """Against the pool as a whole, in the sum of regrets that it lowers."""
    n, rows = 60, unit(features)
    whole = Balance.of(rows, n, sigma=1.0, weight=0.1)
    best = whole.descend()[1]

    def lost(subset):
        whole.criterion.start(subset)
        return whole.criterion.value() - whole.least - best

    parts = cells(features, n, seed=seed, weight=0.1)
    alone = [cell.members[choose_in(features, cell).indices] for cell in parts]
    mended, _ = choose_in_cells(features, parts)
    assert len(mended) == len(np.unique(mended)) == n
    assert lost(mended) < 0.75 * lost(np.sort(np.concatenate(alone)))


def test_what_is_labelled_stays_and_budgets_are_kept(features, cut_up, matched):
    kept = np.sort(np.random.default_rng(1).choice(900, 25, replace=False))
    parts = cells(features, 60, kept=kept)
    new, _ = choose_in_cells(features, parts)
    assert not np.isin(new, kept).any()
    counts = [np.isin(new, cell.members).sum() for cell in parts]
    assert counts == [cell.budget for cell in parts]


def test_cells_with_nothing_to_choose_are_left_alone(features, cut_up, matched):
    """All that is labelled lies in one cell, which has more than its share."""
    parts = cells(features, 60)
    kept = parts[0].members[:40]
    parts = cells(features, 20, kept=kept)
    assert any(cell.budget == 0 for cell in parts)
    new, value = choose_in_cells(features, parts)
    assert len(new) == 20
    assert np.isfinite(value)


def test_pool_that_any_subset_covers_is_not_mended(cut_up, matched):
    rows = np.ones((900, 5))
    new, value = choose_in_cells(rows, cells(rows, 30))
    assert (len(np.unique(new)), value) == (30, 0.0)
