r"""What a sketch keeps of a pool's geometry, measured and as theory has it.

Distances, the Gram matrix and the range of :math:`G`, each beside a bound or an exact expectation;
and what becomes of them when every batch is sketched by a map of its own.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.spatial.distance import pdist
from scipy.stats import chi2

from skmm.numerics.inputs import check_choice, check_integer, check_positive, check_rows
from skmm.numerics.streams import as_generator
from skmm.sketching import GaussianSketch

LAWS = ("theorem", "gaussian")


def distance_ratios(rows: ArrayLike, sketched: ArrayLike) -> NDArray[np.float64]:
    r"""Returns how each squared distance between two rows changed, shape ``[N(N-1)/2]``.

    .. math:: \|\tilde g_i - \tilde g_j\|^2 \,/\, \|g_i - g_j\|^2, \qquad i < j

    A distance of zero is kept by every linear map: its ratio is 1. Costs ``N² r`` time.

    Args:
        rows: :math:`G`, shape ``[N, r]``.
        sketched: :math:`\tilde G`, shape ``[N, m]``.
    """
    rows, sketched = _check_pair(rows, sketched)
    before = pdist(rows, "sqeuclidean")
    return np.divide(
        pdist(sketched, "sqeuclidean"), before, out=np.ones_like(before), where=before > 0
    )


def distance_tail(
    epsilon: ArrayLike, m: ArrayLike, *, law: str = "theorem"
) -> NDArray[np.float64] | float:
    r"""Returns the probability that a squared distance leaves the factors :math:`1\pm\epsilon`.

    .. math:: \Pr\big(\big|\,\|x\Gamma\|^2/\|x\|^2 - 1\,\big| > \epsilon\big)
              \le 2\exp\!\big(-m(\epsilon^2/4 - \epsilon^3/6)\big), \qquad 0 < \epsilon < 1

    Args:
        epsilon: Distortion, any shape; the theorem speaks of ``0 < epsilon < 1``.
        m: Sketch size, any shape.
        law: ``"theorem"``, the bound above, proven for Gaussian and sign maps; or ``"gaussian"``,
            the exact probability of the Gaussian map, two tails of :math:`\chi^2_m/m`.

    References:
        Dasgupta and Gupta (2003), https://doi.org/10.1002/rsa.10073;
        Achlioptas (2003), https://doi.org/10.1016/S0022-0000(03)00025-4
    """
    check_choice(law, "law", LAWS)
    epsilon, m = np.asarray(epsilon, dtype=np.float64), np.asarray(m, dtype=np.float64)
    if law == "gaussian":
        return chi2.sf(m * (1 + epsilon), m) + chi2.cdf(m * (1 - epsilon), m)
    return np.minimum(1.0, 2 * np.exp(-m * (epsilon**2 / 4 - epsilon**3 / 6)))


def distance_bound(N: int, m: int, *, failure: float = 0.05, law: str = "theorem") -> float:
    r"""Returns the :math:`\epsilon` that all distances among N points keep, by the union bound.

    .. math:: \tfrac{N(N-1)}{2}\,\Pr(\text{one distance leaves } 1\pm\epsilon) = \text{failure}

    Args:
        N: Number of points.
        m: Sketch size.
        failure: Allowed probability that some distance of the ``N(N-1)/2`` leaves the bound.
        law: Probability of one distance; see `distance_tail`.

    Returns:
        :math:`\epsilon`; ``nan`` where m is too small for the theorem to promise anything.
    """
    check_integer(N, "N", low=2, hint="a distance takes two points")
    check_integer(m, "m", low=1, hint="it is the sketch size")
    if not 0 < failure < 1:
        raise ValueError(f"failure must be a probability in (0, 1), got {failure!r}; 0.05 is usual")
    share = failure / (N * (N - 1) / 2)
    high = 1.0 if law == "theorem" else 1e3  # the theorem ends at 1, the exact law does not
    if distance_tail(high, m, law=law) > share:
        return np.nan
    return float(brentq(lambda e: distance_tail(e, m, law=law) - share, 1e-9, high))


def reconstruction_error(rows: ArrayLike, sketched: ArrayLike) -> float:
    r"""Returns the share of energy outside the subspace that the sketch spans.

    .. math:: \|G - QQ^\top G\|_F^2 \,/\, \|G\|_F^2, \qquad Q = \operatorname{orth}(\tilde G)

    No rank-m matrix has less than the best one, :math:`\sum_{j>m}\lambda_j/\sum_j\lambda_j`. Costs
    ``N r m``.

    Args:
        rows: :math:`G`, shape ``[N, r]``.
        sketched: :math:`\tilde G`, shape ``[N, m]``.
    """
    rows, sketched = _check_pair(rows, sketched)
    basis = scipy.linalg.orth(sketched)
    energy = np.einsum("ij,ij->", rows, rows)
    return max(0.0, 1.0 - float(np.sum((basis.T @ rows) ** 2) / energy))


def reconstruction_bound(eigenvalues: ArrayLike, m: int) -> float:
    r"""Returns Halko, Martinsson and Tropp's bound on the expected `reconstruction_error`.

    .. math:: \mathbb E\,\frac{\|G - QQ^\top G\|_F^2}{\|G\|_F^2} \le \min_{k \le m-2}
              \Big(1 + \frac{k}{m-k-1}\Big) \frac{\sum_{j>k}\lambda_j}{\sum_j\lambda_j}

    for a Gaussian map: a sketch of size m finds the best rank-k subspace but for a factor.

    Args:
        eigenvalues: :math:`\lambda_j` of :math:`\Sigma`, descending.
        m: Sketch size, at least 2.

    References:
        Halko, Martinsson and Tropp (2011), Theorem 10.5, https://arxiv.org/abs/0909.4061
    """
    check_integer(m, "m", low=2, hint="the bound needs k + 2 columns for the best rank k")
    eigenvalues = _check_spectrum(eigenvalues)
    # Summed from the small end up, so that a small tail is not a difference of large sums.
    tails = np.append(np.cumsum(eigenvalues[::-1])[::-1], 0.0)
    k = np.arange(min(m - 2, len(eigenvalues)) + 1)
    return float(np.min((1 + k / (m - k - 1)) * tails[k]) / tails[0])


def gram_error(gram: ArrayLike, sketched: ArrayLike) -> float:
    r"""Returns the relative error of all inner products at once. Costs ``N² m``.

    .. math:: \|\tilde G\tilde G^\top - GG^\top\|_F \,/\, \|GG^\top\|_F

    Args:
        gram: :math:`GG^\top`, shape ``[N, N]``.
        sketched: :math:`\tilde G`, shape ``[N, m]``.
    """
    gram, sketched = _check_gram(gram, sketched)
    return float(np.linalg.norm(sketched @ sketched.T - gram) / np.linalg.norm(gram))


def gram_correlation(
    gram: ArrayLike, sketched: ArrayLike, *, batches: ArrayLike | None = None
) -> float:
    r"""Returns the correlation of inner products before and after, over pairs of distinct rows.

    Args:
        gram: :math:`GG^\top`, shape ``[N, N]``.
        sketched: :math:`\tilde G`, shape ``[N, m]``.
        batches: The batch of each row, shape ``[N]``; if given, only pairs from two batches count.
    """
    gram, sketched = _check_gram(gram, sketched)
    batches = np.arange(len(gram)) if batches is None else _check_batches(batches, len(gram))
    apart = batches[:, None] != batches
    return float(np.corrcoef(gram[apart], (sketched @ sketched.T)[apart])[0, 1])


def effective_dimension(eigenvalues: ArrayLike) -> float:
    r"""Returns how many equal eigenvalues would spread the trace as thin (participation ratio).

    .. math:: \rho = \operatorname{tr}(\Sigma)^2 / \operatorname{tr}(\Sigma^2)

    Smooth where the intrinsic dimension counts; between 1 and the rank. The Gaussian map's
    `gram_error` is :math:`\sqrt{(1+\rho)/m}` in the root mean square over draws, exactly.

    Args:
        eigenvalues: :math:`\lambda_j`, any order.
    """
    eigenvalues = _check_spectrum(eigenvalues)
    return float(eigenvalues.sum() ** 2 / np.sum(eigenvalues**2))


def batched_dimension(rows: ArrayLike, m: int, *, batches: ArrayLike) -> float:
    r"""Returns the effective dimension of a moment whose batches have a Gaussian map each.

    .. math:: \frac{(\mathbb E\operatorname{tr}\tilde\Sigma)^2}{\mathbb E\operatorname{tr}
              \tilde\Sigma^2} = \Big(\frac1m + \Big(1+\frac1m\Big)
              \frac{\sum_b \|G_bG_b^\top\|_F^2}{\|G\|_F^4}\Big)^{-1}

    With one batch this is the shared map and stays near :math:`\rho`; with many it tends to m,
    whatever the pool: the sketched moment becomes a multiple of the identity.

    Args:
        rows: :math:`G`, shape ``[N, r]``.
        m: Sketch size.
        batches: The batch of each row, shape ``[N]``.
    """
    check_integer(m, "m", low=1, hint="it is the sketch size")
    rows = check_rows(rows, "rows").astype(np.float64, copy=False)
    batches = _check_batches(batches, len(rows))
    parts = (rows[batches == name] for name in np.unique(batches))
    within = sum(np.sum((part @ part.T) ** 2) for part in parts)
    return float(1 / (1 / m + (1 + 1 / m) * within / np.sum(rows**2) ** 2))


def sketch_afresh(
    rows: ArrayLike, m: int, *, batches: ArrayLike, rng: int | np.random.Generator
) -> NDArray[np.float64]:
    r"""Sketches every batch by a Gaussian map of its own: the mistake, kept to be measured.

    Inner products between batches are lost, :math:`\mathbb E\langle x\Gamma_b, y\Gamma_c\rangle
    = 0` for :math:`b \ne c`. Use one `skmm.GaussianSketch` for all rows instead.

    Args:
        rows: :math:`G`, shape ``[N, r]``.
        m: Sketch size.
        batches: The batch of each row, shape ``[N]``.
        rng: Seed or generator; each batch's map is drawn from a child of it.
    """
    rows = check_rows(rows, "rows").astype(np.float64, copy=False)
    batches = _check_batches(batches, len(rows))
    names = np.unique(batches)
    out = np.empty((len(rows), m))
    children = as_generator(rng, "sketch_afresh").spawn(len(names))
    for name, child in zip(names, children, strict=True):
        members = batches == name
        out[members] = GaussianSketch.draw(rows.shape[1], m, rng=child)(rows[members])
    return out


def _check_pair(
    rows: ArrayLike, sketched: ArrayLike, name: str = "rows"
) -> tuple[NDArray, NDArray]:
    rows = check_rows(rows, name).astype(np.float64, copy=False)
    sketched = check_rows(sketched, "sketched").astype(np.float64, copy=False)
    if len(rows) != len(sketched):
        raise ValueError(
            f"sketched must have the rows of G, got {len(sketched)} rows for {len(rows)}; "
            "pass the sketch of these very rows"
        )
    return rows, sketched


def _check_gram(gram: ArrayLike, sketched: ArrayLike) -> tuple[NDArray, NDArray]:
    gram, sketched = _check_pair(gram, sketched, "gram")
    if gram.shape[0] != gram.shape[1]:
        raise ValueError(f"gram must be G @ G.T, shape [N, N], got shape {list(gram.shape)}")
    return gram, sketched


def _check_batches(batches: ArrayLike, N: int) -> NDArray[np.int64]:
    batches = np.asarray(batches)
    if batches.shape != (N,):
        raise ValueError(
            f"batches must name the batch of each of the N={N} rows, "
            f"got shape {list(batches.shape)}; pass for example np.arange(N) // 64"
        )
    return batches


def _check_spectrum(eigenvalues: ArrayLike) -> NDArray[np.float64]:
    eigenvalues = np.asarray(eigenvalues, dtype=np.float64)
    check_positive(float(eigenvalues.sum()), "the sum of eigenvalues", hint="a zero pool has none")
    return eigenvalues
