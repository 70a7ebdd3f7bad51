r"""Ridge regression on a selection, for a whole path of penalties.

One convention throughout, the paper's:

.. math:: \theta_S = \arg\min_\theta \tfrac1n \|G_S\theta - y_S\|^2 + \alpha\|\theta\|^2
          = \arg\min_\theta \|G_S\theta - y_S\|^2 + n\alpha\|\theta\|^2 ,

without an intercept; with weights :math:`w_i` of mean one, :math:`\sum_i w_i (g_i^\top\theta -
y_i)^2` for the sum of squares. A penalty written for that sum (scikit-learn's ``Ridge(alpha)``)
is :math:`n\alpha`. At :math:`\alpha = 0` the solution of least norm is meant; eigenvalues of a Gram
matrix up to `skmm.numerics.eigen.rank_cutoff` count as zero, which is what its rounding allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.eigen import gram_eigen, rank_cutoff
from skmm.numerics.inputs import check_doubles, check_integer, check_rows, check_weights
from skmm.numerics.streams import as_generator

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# One eigendecomposition costs about as much as this many Cholesky factorisations.
_CHOLESKY_PENALTIES = 8


def check_alphas(alphas: ArrayLike) -> Array:
    """Returns the penalty path as a float array ``[A]`` of finite, non-negative numbers."""
    array = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
    if array.ndim != 1 or array.size == 0 or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(
            f"alphas must be one or more finite numbers >= 0, got {alphas!r}; "
            "pass for example alphas=np.geomspace(1e-6, 1, 25)"
        )
    return array


def check_targets(targets: ArrayLike, N: int) -> Array:
    """Returns targets as a finite float array, shape ``[N]`` or ``[N, T]``."""
    array = np.asarray(targets, dtype=np.float64)
    if array.ndim not in (1, 2) or array.shape[0] != N or not np.isfinite(array).all():
        raise ValueError(
            f"targets must be finite, one a sample, shape [{N}] or [{N}, T], "
            f"got shape {list(array.shape)} with {np.isfinite(array).sum()} finite entries"
        )
    return array


def solve_path(gram: Array, right: Array, penalties: Array) -> Array:
    """Returns ``(gram + p I)^+ right`` for every penalty p, shape ``[size, A, T]``."""
    right = right.reshape(len(gram), -1)
    floor = rank_cutoff(len(gram), np.trace(gram))
    if len(penalties) <= _CHOLESKY_PENALTIES and penalties.min() > floor:
        solutions, diagonal = [], np.diag_indices_from(gram)
        for penalty in penalties:
            shifted = gram.copy()
            shifted[diagonal] += penalty
            factor = scipy.linalg.cho_factor(shifted, lower=True, overwrite_a=True)
            solutions.append(scipy.linalg.cho_solve(factor, right))
        return np.stack(solutions, axis=1)
    values, vectors = gram_eigen(gram)
    shrunk = (vectors.T @ right)[:, None, :] / (values[:, None] + penalties)[:, :, None]
    return np.tensordot(vectors, shrunk, 1)


def mean_square(predictions: Array, targets: Array) -> Array:
    """Returns the mean over samples of the squared error, from ``[M, A, T]`` to ``[A]``."""
    residual = predictions - targets.reshape(len(targets), 1, -1)
    return np.einsum("mat,mat->a", residual, residual) / len(targets)


def _weighted(rows: Array, y: Array, masses: Array) -> tuple[Array, Array]:
    """Returns rows and targets times the roots of their masses: squares are weighted by these."""
    roots = np.sqrt(masses)
    return roots[:, None] * rows, roots.reshape(-1, *[1] * (y.ndim - 1)) * y


@dataclass(frozen=True)
class RidgePath:
    r"""Ridge regression for a whole penalty path from one eigendecomposition.

    .. math:: \theta_\alpha = (G^\top G + n\alpha I)^\dagger G^\top y
              = G^\top (G G^\top + n\alpha I)^\dagger y

    The smaller of the two Gram matrices is used: :math:`O(nr\min(n, r) + \min(n, r)^3)` once, then
    :math:`O(\min(n, r)^2 + nr)` a penalty and target.

    Attributes:
        alphas: penalties :math:`\alpha`, shape ``[A]``.
        coefficients: :math:`\theta_\alpha`, shape ``[A, r]``, or ``[A, r, T]`` for T targets.

    Example:
        >>> import skmm
        >>> path = skmm.RidgePath.fit([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0], alphas=[0.0, 1.0])
        >>> path.coefficients.round(3).tolist()
        [[1.0, 1.0], [0.333, 0.667]]
    """

    alphas: Array
    coefficients: Array

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        targets: ArrayLike,
        *,
        alphas: ArrayLike,
        weights: ArrayLike | None = None,
    ) -> RidgePath:
        """Fits ``targets`` ``[n]`` or ``[n, T]`` on the rows of ``features`` ``[n, r]``.

        Args:
            features: rows, shape ``[n, r]``.
            targets: shape ``[n]`` or ``[n, T]``.
            alphas: penalties, shape ``[A]``.
            weights: of the rows' squared errors, positive numbers of any scale, shape ``[n]``, such
                as ``selection.weights``; unless told, all alike.

        Raises:
            ValueError: an array has the wrong shape or is not finite, or a penalty is negative, or
                a weight is not positive.
        """
        rows = check_doubles(features)
        y, alphas = check_targets(targets, len(rows)), check_alphas(alphas)
        rows, y = _weighted(rows, y, check_weights(weights, len(rows)))
        n, r = rows.shape
        if n <= r:
            dual = solve_path(rows @ rows.T, y, n * alphas)
            theta = (rows.T @ dual.reshape(n, -1)).reshape(r, *dual.shape[1:])
        else:
            theta = solve_path(rows.T @ rows, rows.T @ y, n * alphas)
        return cls(alphas, np.moveaxis(theta, 0, 1).reshape(len(alphas), r, *y.shape[1:]))

    def predict(self, features: ArrayLike) -> Array:
        """Predicts for every penalty in one product: ``[M, r]`` to ``[A, M]`` or ``[A, M, T]``."""
        rows = check_rows(features)
        stacked = np.moveaxis(self.coefficients, 0, 1)
        if rows.shape[1] != len(stacked):
            raise ValueError(
                f"features must have r={len(stacked)} columns as in fit, got {rows.shape[1]}"
            )
        flat = rows @ stacked.reshape(len(stacked), -1)
        return np.moveaxis(flat.reshape(len(rows), *stacked.shape[1:]), 0, 1)


@dataclass(frozen=True)
class CrossValidation:
    r"""Held-out error of every penalty.

    Attributes:
        alphas: penalties :math:`\alpha`, shape ``[A]``.
        errors: mean squared error over all rows, each predicted by the fit that left it out,
            shape ``[A]``.
    """

    alphas: Array
    errors: Array

    @property
    def alpha(self) -> float:
        """The penalty with the least held-out error."""
        return float(self.alphas[np.argmin(self.errors)])


def cross_validate(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    rng: int | np.random.Generator,
    alphas: ArrayLike,
    folds: int = 5,
    weights: ArrayLike | None = None,
) -> CrossValidation:
    r"""Estimates the error of every penalty by shuffled k-fold cross-validation.

    Gram matrices cost ``n r min(n, r)``, times :math:`\log_2` of the number of folds where
    ``n > r``; each fold, one eigendecomposition of its training part. The penalty of a fold is
    :math:`n'\alpha` with its own number of rows :math:`n'`, the sum of their weights.

    Args:
        features: rows :math:`G_S` and no others, shape ``[n, r]``.
        targets: shape ``[n]`` or ``[n, T]``.
        rng: shuffles the rows; advances by one permutation.
        alphas: penalties, shape ``[A]``.
        folds: number of folds, at most n of them are used (then each leaves out one row).
        weights: of the rows' squared errors, in the fits and in ``errors``; see `RidgePath.fit`.

    Raises:
        ValueError: fewer than two rows or folds, or an array that :meth:`RidgePath.fit` refuses.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> G = np.random.default_rng(1).standard_normal((30, 2))
        >>> y = G @ [1.0, -1.0]  # without noise, any penalty harms
        >>> skmm.cross_validate(G, y, alphas=[1e-6, 1e-2, 1.0], rng=0).alpha
        1e-06
    """
    rows = check_doubles(features)
    n, r = rows.shape
    if n < 2:
        raise ValueError(f"features must have at least 2 rows to leave one out, got n={n}")
    y, alphas = check_targets(targets, n).reshape(n, -1), check_alphas(alphas)
    masses = check_weights(weights, n)
    rows, y = _weighted(rows, y, masses)
    folds = check_integer(folds, "folds", low=2, hint="5 is usual, n leaves one row out")
    shuffled = as_generator(rng, "cross_validate").permutation(n)
    held_out = np.array_split(shuffled, min(folds, n))
    solve = _held_out_by_kernel if n <= r else _held_out_by_moment
    predictions = np.empty((n, len(alphas), y.shape[1]))
    for out, flat in solve(rows, y, masses, alphas, held_out):
        predictions[out] = flat.reshape(len(out), len(alphas), -1)
    return CrossValidation(alphas, mean_square(predictions, y))


def _held_out_by_kernel(
    rows: Array, y: Array, masses: Array, alphas: Array, parts: list[Indices]
) -> Iterator[tuple[Indices, Array]]:
    """Yields each part with its predictions, from blocks of one kernel matrix."""
    gram = rows @ rows.T
    for out in parts:
        kept = np.setdiff1d(np.arange(len(rows)), out)
        dual = solve_path(gram[np.ix_(kept, kept)], y[kept], masses[kept].sum() * alphas)
        yield out, gram[np.ix_(out, kept)] @ dual.reshape(len(kept), -1)


def _held_out_by_moment(
    rows: Array, y: Array, masses: Array, alphas: Array, parts: list[Indices]
) -> Iterator[tuple[Indices, Array]]:
    """Yields each part with its predictions, from the moments of all other parts."""
    r = rows.shape[1]
    for out, gram, right in _without_each(
        rows, y, parts, np.zeros((r, r)), np.zeros((r, y.shape[1]))
    ):
        kept = np.delete(masses, out).sum()
        theta = solve_path(gram, right, kept * alphas)
        yield out, rows[out] @ theta.reshape(r, -1)


def _without_each(
    rows: Array, y: Array, parts: list[Indices], gram: Array, right: Array
) -> Iterator[tuple[Indices, Array, Array]]:
    """Yields each part with the moments of what is outside it; those given are outside all parts.

    Moments are added up and never subtracted: a long row that is held out would leave its rounding
    errors. By halves, so that all rows are multiplied once for every doubling of the parts.
    """
    if len(parts) == 1:
        yield parts[0], gram, right
        return
    halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    for inside, outside in (halves, halves[::-1]):
        G, z = (array[np.concatenate(outside)] for array in (rows, y))
        yield from _without_each(rows, y, inside, gram + G.T @ G, right + G.T @ z)
