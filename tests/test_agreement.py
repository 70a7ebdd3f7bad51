"""Moments of a subset against the pool's: slow loops, the whole pool, scale and basis."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from skmm.selection.view import PoolView
from skmm_study.theory.agreement import compare_moments


@pytest.fixture
def pool(rng):
    rows = rng.standard_normal((80, 6)) * np.geomspace(1, 0.2, 6) + 0.3
    return PoolView.of(rows, rng=0), rng.choice(80, 25, replace=False)


def test_whole_pool_agrees_with_itself(pool):
    view, _ = pool
    whole = compare_moments(view, np.arange(80))
    zeros = (whole.mean_gap, whole.moment_gap, whole.deviation)
    ones = (whole.slack, whole.certified_slack, whole.variance, whole.volume, whole.spread)
    np.testing.assert_allclose(zeros, 0, atol=1e-12)
    np.testing.assert_allclose(ones, 1, rtol=1e-12)


def test_equals_slow_loops(pool):
    view, S = pool
    rows, spectrum = view.rows, view.spectrum
    found = compare_moments(view, S, k=4)
    sigma = sum(np.outer(g, g) for g in rows) / 80
    of_subset = sum(np.outer(g, g) for g in rows[S]) / 25
    whitening = spectrum.eigenvectors[:, :4] / np.sqrt(spectrum.eigenvalues[:4])
    M = whitening.T @ of_subset @ whitening
    distances = [
        np.mean([np.sum((a - b) ** 2) for a, b in combinations(part, 2)])
        for part in (rows[S], rows)
    ]
    mean_gap = np.linalg.norm(rows[S].mean(0) - rows.mean(0)) / np.sqrt(np.trace(sigma))
    expected = {
        "dimension": 4,
        "mean_gap": mean_gap,
        "moment_gap": np.linalg.norm(of_subset - sigma) / np.linalg.norm(sigma),
        "deviation": np.linalg.norm(M - np.eye(4), 2),
        "slack": 1 / np.linalg.eigvalsh(M)[0],
        "variance": np.trace(np.linalg.inv(M)) / 4,
        "volume": np.linalg.det(M) ** (1 / 4),
        "spread": distances[0] / distances[1],
    }
    assert dataclasses.asdict(found) == pytest.approx(expected, rel=1e-9)


def test_is_free_of_scale_basis_and_order(pool, rng):
    view, S = pool
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    found = dataclasses.asdict(compare_moments(view, S))
    for other in (1e6 * view.rows, view.rows @ Q):
        again = compare_moments(PoolView.of(other, rng=0), S[::-1])
        assert dataclasses.asdict(again) == pytest.approx(found, rel=1e-6)


def test_direction_left_out_is_infinitely_dear():
    rows = np.repeat(np.eye(3), 10, axis=0)
    lost = compare_moments(PoolView.of(rows, rng=0), np.arange(20))
    assert (lost.slack, lost.variance, lost.certified_slack) == (np.inf,) * 3
    assert lost.volume == 0
    assert lost.deviation == pytest.approx(1)


def test_equal_rows_have_no_spread_to_compare():
    rows = np.ones((5, 2))
    assert compare_moments(PoolView.of(rows, rng=0), np.arange(2)).spread == 1


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 0], "distinct"),
        ([-1, 2], r"0\.\.79"),
        ([], "at least one"),
        ([True] * 9, "dtype bool"),
    ],
)
def test_indices_that_are_no_subset_are_refused(pool, indices, message):
    view, _ = pool
    with pytest.raises(ValueError, match=message):
        compare_moments(view, np.array(indices))


def test_a_pool_of_zeros_is_refused():
    rows = np.zeros((5, 3))
    with pytest.raises(ValueError, match="must not all be zero"):
        compare_moments(PoolView.of(rows, rng=0), np.arange(2))
