"""Pools with a known truth: the paper's mixture, general mixtures, and real digit images."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer, check_positive
from skmm.numerics.streams import as_generator

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    r"""A mixture of clusters around orthogonal centres, with linear labels.

    Attributes:
        features: :math:`G`, shape ``[N, r]``.
        targets: :math:`y`, shape ``[N]``.
        clusters: the cluster of each sample, shape ``[N]``.
        centres: cluster centres, orthogonal rows, shape ``[K, r]``; K is the paper's r̄.
        stds: standard deviation of the features around each centre, a coordinate, shape ``[K]``.
        theta: :math:`\theta_*`, in the span of the centres, shape ``[r]``.
        noise_variance: :math:`\sigma^2` of the label noise; 0 for the paper's noise-free labels.
    """

    features: Array
    targets: Array
    clusters: NDArray[np.int64]
    centres: Array
    stds: Array
    theta: Array
    noise_variance: float

    @property
    def signal(self) -> Array:
        r"""Noise-free labels :math:`G\theta_*`, shape ``[N]``."""
        return self.features @ self.theta

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of samples in each cluster, shape ``[K]``."""
        return np.bincount(self.clusters, minlength=len(self.centres))

    @property
    def energy_shares(self) -> Array:
        r"""Share of the energy :math:`\sum_i\|g_i\|^2` in each cluster, shape ``[K]``."""
        energies = np.einsum("ij,ij->i", self.features, self.features)
        return np.bincount(self.clusters, energies, len(self.centres)) / energies.sum()


def table1_mixture(*, rng: int | np.random.Generator) -> Mixture:
    r"""Rebuilds the mixture of the paper's Section 4.1: N = 2000, r = 2400, 8 clusters.

    Sizes are gaps between sorted uniform draws, centres lie on the first 8 axes with norms
    8, 16, ..., 64, features scatter around them with standard deviations below 0.04 a coordinate,
    and a label is that of the cluster's centre, :math:`y_i = c_{k(i)}^\top\theta_*`. The generator
    and the order of its draws are part of the definition: ``rng=0`` gives the paper's own data,
    whose full-data empirical risk is 2.95e-3 with the ridge penalty :math:`\alpha = 0.03625` of
    :mod:`skmm.training.ridge` and no intercept. So a seed is ``numpy.random.default_rng(seed)``
    here, as it was for the authors, and not a stream of its own; all others keep clear of it.

    Args:
        rng: 0 for the paper's data.

    References:
        Sketchy Moment Matching (Dong et al., 2024), Section 4.1 and Table 1
    """
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(check_integer(rng, "rng", low=0, hint="0 is the paper's data"))
    N, r, K = 2000, 2400, 8
    boundaries = np.sort(rng.integers(1, N - 1, K - 1))
    clusters = np.searchsorted(boundaries, np.arange(N), side="right")
    centres = np.eye(K, r) * (8 * rng.integers(1, 9, K))[:, None]
    stds = 0.04 * rng.random(K)
    theta = np.pad(rng.standard_normal(K), (0, r - K))
    features = rng.standard_normal((N, r)) * stds[clusters, None] + centres[clusters]
    return Mixture(features, (centres @ theta)[clusters], clusters, centres, stds, theta, 0.0)


def geometric_shares(K: int, smallest: float) -> Array:
    """Returns K shares in geometric progression, descending, that sum to 1 and end at ``smallest``.

    Raises:
        ValueError: ``smallest`` is above ``1 / K``, the share of equal clusters.
    """
    if not 0 < smallest <= 1 / K:
        raise ValueError(
            f"smallest_share must be in (0, 1/K], got {smallest} with K={K} clusters; "
            f"pass at most {1 / K:.4g}"
        )
    exponents = np.arange(K - 1, -1, -1)
    if K == 1 or smallest * K > 1 - 1e-12:
        return np.full(K, 1 / K)
    # The ratio at which one term alone makes up the whole sum bounds the root from above.
    widest = smallest ** (-1 / (K - 1))
    ratio = scipy.optimize.brentq(lambda q: smallest * np.sum(q**exponents) - 1, 1, widest)
    return smallest * ratio**exponents


def _sizes(N: int, shares: Array) -> NDArray[np.int64]:
    """Returns whole sizes that sum to N: one sample each, the rest shared by largest remainders."""
    exact = 1 + shares * (N - len(shares))
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: N - sizes.sum()]] += 1
    return sizes


def gaussian_mixture(
    N: int,
    r: int,
    K: int,
    *,
    rng: int | np.random.Generator,
    smallest_share: float = 0.01,
    norm_ratio: float = 4.0,
    tail_energy: float = 1e-4,
    degrees: float = np.inf,
    duplicates: float = 0.0,
    noise_variance: float = 1.0,
) -> Mixture:
    r"""Draws a mixture whose intrinsic dimension and tail energy are set, whatever r.

    .. math:: g_i = c_{k(i)} + e_i, \qquad \mathbb{E}\,\mathrm{tr}(\Sigma - \langle\Sigma\rangle_K)
              \approx \text{tail energy}, \qquad y = G\theta_* + z

    The centres :math:`c_k` are orthogonal in a random rotation, and together have energy
    :math:`\sum_k p_k\|c_k\|^2 = 1`, so that ``tail_energy`` is relative to the signal; the tail
    spreads evenly over all r coordinates. :math:`\theta_*` has norm 1 in the span of the centres.
    The paper's intrinsic dimension is K as long as ``tail_energy`` stays below about ``1 / N``.
    Takes ``O(N r)`` time and memory.

    Args:
        N: number of samples.
        r: number of features.
        K: number of clusters, the paper's r̄.
        rng: draws shapes first, then rows.
        smallest_share: share of the smallest cluster; shares form a geometric progression.
        norm_ratio: largest over smallest centre norm; norms form a geometric progression too, in
            random order.
        tail_energy: energy of the features outside their best rank-K approximation.
        degrees: degrees of freedom of a multivariate Student t in the tail, above 2: few make
            outlying rows of the same mean energy; infinity is Gaussian.
        duplicates: fraction of a cluster's rows that repeat another of its rows up to 1 % of the
            tail.
        noise_variance: :math:`\sigma^2` of the i.i.d. Gaussian label noise z.

    Raises:
        ValueError: a count or fraction is out of its range.
    """
    K = check_integer(K, "K", low=1, hint="it is the number of clusters")
    N = check_integer(N, "N", low=K, hint=f"each of the K={K} clusters needs a sample")
    r = check_integer(r, "r", low=K + 1, hint=f"K={K} centres are orthogonal and need a tail")
    check_positive(tail_energy, "tail_energy", hint="it is relative to the centres' energy")
    check_positive(norm_ratio, "norm_ratio", hint="1 makes all centres equally long")
    check_positive(noise_variance, "noise_variance", hint="risks in closed form scale with it")
    if not degrees > 2:
        raise ValueError(f"degrees must be above 2 for a finite variance, got {degrees}")
    if not isinstance(duplicates, numbers.Real) or not 0 <= duplicates < 1:
        raise ValueError(f"duplicates must be in [0, 1), got {duplicates!r}; 0 makes none")
    shares = geometric_shares(K, smallest_share)

    rng = as_generator(rng, "mixture")
    axes = np.linalg.qr(rng.standard_normal((r, K)))[0].T
    sizes = _sizes(N, shares)
    norms = rng.permutation(np.geomspace(1, norm_ratio, K))
    norms /= np.sqrt(sizes / N @ norms**2)
    direction = rng.standard_normal(K)
    theta = direction / np.linalg.norm(direction) @ axes
    clusters = rng.permutation(np.repeat(np.arange(K), sizes))

    features = rng.standard_normal((N, r))
    std = np.sqrt(tail_energy / (r - K))
    scale = np.full(N, std)
    if np.isfinite(degrees):
        scale *= np.sqrt((degrees - 2) / rng.chisquare(degrees, N))
    features *= scale[:, None]
    for k in range(K):
        members = np.flatnonzero(clusters == k)
        copies = int(duplicates * len(members))
        if copies:
            kept = members[: len(members) - copies]
            features[members[len(kept) :]] *= 0.01
            features[members[len(kept) :]] += features[rng.choice(kept, copies)]
        features[members] += norms[k] * axes[k]
    targets = features @ theta + np.sqrt(noise_variance) * rng.standard_normal(N)
    centres = norms[:, None] * axes
    return Mixture(features, targets, clusters, centres, np.full(K, std), theta, noise_variance)


@dataclass(frozen=True)
class Digits:
    """Digit images split into a pool to select from and a test set.

    Attributes:
        features: pixels in ``[0, 1]``, shape ``[N, 64]``.
        labels: digits 0 to 9, shape ``[N]``.
        test_features: shape ``[M, 64]``.
        test_labels: shape ``[M]``.
    """

    features: Array
    labels: NDArray[np.int64]
    test_features: Array
    test_labels: NDArray[np.int64]


def load_digits_pool(*, rng: int | np.random.Generator, test_share: float = 0.3) -> Digits:
    """Loads the 1,797 digit images that ship with scikit-learn, split by class at random.

    Args:
        rng: draws the split.
        test_share: share of each class that is held out for testing.

    Raises:
        ValueError: ``test_share`` leaves no test or no pool image of a class.
    """
    from sklearn.datasets import load_digits

    if not isinstance(test_share, numbers.Real) or not 0.01 <= test_share <= 0.99:
        raise ValueError(f"test_share must be in [0.01, 0.99], got {test_share!r}; 0.3 is usual")
    images: Any = load_digits()
    labels = images.target.astype(np.int64)
    rng = as_generator(rng, "digits")
    tested = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        tested[members[: round(test_share * len(members))]] = True
    features = images.data / 16
    return Digits(features[~tested], labels[~tested], features[tested], labels[tested])
