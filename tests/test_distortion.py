"""Measures of what a sketch keeps: their invariances, closed forms, and slow loops beside them."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from skmm.sketching import GaussianSketch
from skmm_study.theory.distortion import (
    batched_dimension,
    distance_bound,
    distance_ratios,
    distance_tail,
    effective_dimension,
    gram_correlation,
    gram_error,
    reconstruction_bound,
    reconstruction_error,
    sketch_afresh,
)

N, R, M = 40, 30, 8
ON_ROWS = [distance_ratios, reconstruction_error]
ON_GRAM = [gram_error, gram_correlation]


@pytest.fixture
def G(rng):
    return rng.standard_normal((N, R)) * np.geomspace(1, 0.1, R)


@pytest.fixture
def sketched(G):
    return GaussianSketch.draw(R, M, rng=1)(G)


def measure(function, G, sketched):
    return function(G if function in ON_ROWS else G @ G.T, sketched)


@pytest.mark.parametrize("function", ON_ROWS + ON_GRAM)
def test_rotating_rows_or_sketch_changes_no_measure(G, sketched, function):
    """Geometry has no coordinates: any rotation of either space leaves every measure alone."""
    turn, turn_sketch = ortho_group.rvs(R, random_state=0), ortho_group.rvs(M, random_state=0)
    turned = measure(function, G @ turn, sketched @ turn_sketch)
    np.testing.assert_allclose(turned, measure(function, G, sketched), rtol=1e-9)


@pytest.mark.parametrize("function", [*ON_ROWS, gram_error])
def test_scaling_the_pool_changes_no_measure(G, sketched, function):
    scaled = measure(function, 1e3 * G, 1e3 * sketched)
    np.testing.assert_allclose(scaled, measure(function, G, sketched), rtol=1e-9)


def test_an_isometry_keeps_everything(G):
    turned = G @ ortho_group.rvs(R, random_state=0)
    np.testing.assert_allclose(distance_ratios(G, turned), 1, rtol=1e-12)
    assert reconstruction_error(G, turned) < 1e-14
    assert gram_error(G @ G.T, turned) < 1e-14
    assert gram_correlation(G @ G.T, turned) == pytest.approx(1)


def test_ratios_follow_the_pairs_in_order(G, sketched):
    slow = [
        np.sum((sketched[i] - sketched[j]) ** 2) / np.sum((G[i] - G[j]) ** 2)
        for i in range(N)
        for j in range(i + 1, N)
    ]
    np.testing.assert_allclose(distance_ratios(G, sketched), slow, rtol=1e-10)


def test_copies_of_a_row_count_as_kept(G):
    twice = np.repeat(G[:2], 2, axis=0)
    ratios = distance_ratios(twice, GaussianSketch.draw(R, M, rng=1)(twice))
    assert ratios[0] == ratios[-1] == 1


def test_reconstruction_is_the_residual_of_least_squares(G, sketched):
    coefficients = np.linalg.lstsq(sketched, G)[0]
    slow = np.sum((G - sketched @ coefficients) ** 2) / np.sum(G**2)
    assert reconstruction_error(G, sketched) == pytest.approx(slow, rel=1e-10)


def test_a_sketch_that_spans_the_rows_leaves_no_error(G):
    """Of rank 3, the pool is found whole by any 3 sketched columns, and more do no harm."""
    low = G[:, :3] @ G[:3]
    for m in (3, 10):
        assert reconstruction_error(low, GaussianSketch.draw(R, m, rng=1)(low)) < 1e-13


@pytest.mark.parametrize("m", [2, 5, 12, 40])
def test_reconstruction_bound_is_the_least_over_ranks(m):
    eigenvalues = np.geomspace(1, 1e-3, 20)
    slow = min(
        (1 + k / (m - k - 1)) * eigenvalues[k:].sum() / eigenvalues.sum()
        for k in range(min(m - 2, 20) + 1)
    )
    assert reconstruction_bound(eigenvalues, m) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("law", ["theorem", "gaussian"])
def test_bound_solves_the_union_bound(law):
    for m in (300, 1000, 5000):
        epsilon = distance_bound(100, m, law=law)
        assert 4950 * distance_tail(epsilon, m, law=law) == pytest.approx(0.05, rel=1e-6)
    assert distance_bound(100, 4000, law=law) < distance_bound(100, 2000, law=law)
    assert distance_bound(100, 2000, law=law) < distance_bound(200, 2000, law=law)


def test_theorem_promises_nothing_for_small_sketches():
    assert np.isnan(distance_bound(100, 100))
    assert np.isfinite(distance_bound(100, 100, law="gaussian"))


@pytest.mark.parametrize("k", [1, 4, 9])
def test_effective_dimension_counts_equal_eigenvalues(k):
    assert effective_dimension(np.r_[np.full(k, 3.0), np.zeros(5)]) == pytest.approx(k)


def test_effective_dimension_lies_between_one_and_the_rank():
    assert 1 < effective_dimension(np.geomspace(1, 1e-6, 12)) < 12


def test_batch_names_and_row_order_do_not_matter(G, rng):
    batches, order = np.arange(N) // 8, rng.permutation(N)
    expected = batched_dimension(G, M, batches=batches)
    assert batched_dimension(G[order], M, batches=batches[order]) == pytest.approx(expected)
    assert batched_dimension(G, M, batches=7 - 3 * batches) == pytest.approx(expected)


def test_more_batches_spread_the_moment_further(G):
    """Splitting a batch only loses inner products; one row a batch is nearly isotropic."""
    dimensions = [batched_dimension(G, M, batches=np.arange(N) // size) for size in (N, 20, 5, 1)]
    assert dimensions == sorted(dimensions)
    assert dimensions[-1] < M


def test_afresh_is_one_gaussian_map_within_each_batch(G):
    """Batches are sketched apart: inside one a linear map, whatever the others hold."""
    batches = np.arange(N) % 4
    whole = sketch_afresh(G, M, batches=batches, rng=0)
    changed = np.where((batches == 0)[:, None], G, 7.0)
    again = sketch_afresh(changed, M, batches=batches, rng=0)
    np.testing.assert_allclose(again[batches == 0], whole[batches == 0])
    doubled = sketch_afresh(2 * G, M, batches=batches, rng=0)
    np.testing.assert_allclose(doubled, 2 * whole)
    same = sketch_afresh(np.ones((N, R)), M, batches=batches, rng=0)
    assert np.allclose(same[0], same[4])
    assert not np.allclose(same[0], same[1])


def test_correlation_between_batches_alone(G, sketched):
    batches = np.arange(N) // 10
    i, j = np.nonzero(batches[:, None] != batches)
    slow = np.corrcoef((G @ G.T)[i, j], (sketched @ sketched.T)[i, j])[0, 1]
    assert gram_correlation(G @ G.T, sketched, batches=batches) == pytest.approx(slow)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda G: distance_ratios(G, G[1:]), "sketched must have the rows of G"),
        (lambda G: gram_error(G, G), "gram must be G @ G.T"),
        (lambda G: gram_correlation(G @ G.T, G, batches=[0, 1]), "batches must name"),
        (lambda G: sketch_afresh(G, M, batches=0, rng=0), "batches must name"),
        (lambda G: sketch_afresh(G, R + 1, batches=np.zeros(N), rng=0), "m must be"),
        (lambda G: distance_bound(1, 10), "N must be"),
        (lambda G: distance_bound(10, 10, failure=0), "failure must be"),
        (lambda G: distance_tail(0.5, 10, law="exact"), "law must be"),
        (lambda G: reconstruction_bound([1.0], 1), "m must be"),
        (lambda G: effective_dimension([0.0, 0.0]), "sum of eigenvalues must be"),
    ],
)
def test_bad_input_is_named(G, call, message):
    with pytest.raises(ValueError, match=message):
        call(G)
