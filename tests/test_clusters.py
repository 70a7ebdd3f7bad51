"""The picture of a mixture: where clusters lie, and what is said of a subset."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skmm_study.figures.clusters import plot_pool, plot_subset, ring_layout
from skmm_study.figures.methods import method_styles
from skmm_study.pools.synthetic import gaussian_mixture

K = 5


@pytest.fixture(scope="module")
def mixture():
    return gaussian_mixture(200, 30, K, rng=0, smallest_share=0.1)


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_clusters_lie_evenly_on_a_ring(mixture):
    """Six standard deviations from centre to centre, so that clouds stay apart, in ray order."""
    still = dataclasses.replace(mixture, features=mixture.centres[mixture.clusters])
    layout = ring_layout(still)
    places = np.array([layout[mixture.clusters == k][0] for k in range(K)])
    steps = np.linalg.norm(places - np.roll(places, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, 6 * mixture.stds.max())
    for k in range(K):
        np.testing.assert_allclose(layout[mixture.clusters == k] - places[k], 0, atol=1e-12)


def test_layout_is_that_of_a_rotated_mixture(mixture, rng):
    """It depends on inner products alone."""
    Q = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    rotated = dataclasses.replace(
        mixture, features=mixture.features @ Q, centres=mixture.centres @ Q
    )
    np.testing.assert_allclose(ring_layout(rotated), ring_layout(mixture), atol=1e-12)


def test_subset_is_counted_and_what_it_lost_is_marked(mixture, ax):
    """The last cluster gives nothing: a bold 0 there and nowhere else."""
    S = np.flatnonzero(mixture.clusters < K - 1)[::7]
    counts = plot_subset(ax, mixture, S, style=method_styles(["skmm"])["skmm"])
    np.testing.assert_array_equal(counts, [np.sum(mixture.clusters[S] == k) for k in range(K)])
    assert [text.get_text() for text in ax.texts] == [str(count) for count in counts]
    assert [text.get_weight() == "bold" for text in ax.texts] == [False] * (K - 1) + [True]
    assert ax.get_title() == "SkMM"


def test_pool_wants_a_label_for_each_cluster(mixture, ax):
    with pytest.raises(ValueError, match="shorter"):
        plot_pool(ax, mixture, ["one"])
