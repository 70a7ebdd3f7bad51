r"""The spectrum of a second moment, and the intrinsic dimension it has.

Second moments are not centred here: :math:`\Sigma = G^\top G / N`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.eigen import rank_cutoff
from skmm.numerics.inputs import check_integer, check_rows, check_vector
from skmm.numerics.stored import StoredRows
from skmm.numerics.threads import large_product, one_thread
from skmm.numerics.ties import first_largest

_EQUAL = 1e-11
"""Eigenvalues this close, in units of the largest, are one: rounding mixes their eigenvectors."""

_BLOCK = 1 << 24
"""Entries in single precision that are converted at once: 128 MB, not a second pool."""

_GAP, _FLAT, _REST = 2.0, 6.0, 32
"""An elbow is a fall by this factor, after which no eigenvalue is above so many times their mean:
of isotropic noise in m ≤ N directions none is above 4 times (Marchenko and Pastur); a sketch mixes
noise of more directions, which reads up to 4.6 on the mixtures of the study. Of fewer than so many
directions the largest is never far above the mean, and flat says nothing."""


def intrinsic_dimension(eigenvalues: ArrayLike, N: int) -> int:
    r"""Counts the directions of a second moment that matter: all but a ``1/N`` share of its trace.

    .. math:: \bar r = \min\{t : \operatorname{tr}(\Sigma - \langle\Sigma\rangle_t)
              \le \operatorname{tr}(\Sigma) / N\}

    Args:
        eigenvalues: Eigenvalues of :math:`\Sigma`, any order, shape ``[m]``.
        N: Number of samples in the pool.

    Returns:
        :math:`\bar r` in ``0..m``; 0 only for a moment that is zero.

    Raises:
        ValueError: ``N`` is below 1, or an eigenvalue is negative or not finite.

    Example:
        >>> from skmm.spectrum import intrinsic_dimension
        >>> intrinsic_dimension([4.0, 2.0, 0.01, 0.0], N=100)  # 0.01 is less than 6.01 / 100
        2

    References:
        Sketchy Moment Matching, Definition of the intrinsic dimension (before Corollary 2.3).
    """
    check_integer(N, "N", low=1, hint="it is the number of samples in the pool")
    descending = np.sort(check_vector(eigenvalues, "eigenvalues"))[::-1]
    if (descending < 0).any():
        raise ValueError(
            f"eigenvalues must not be negative, got {descending.min()} to "
            f"{descending.max()}; clip the rounding errors of an eigensolver at 0"
        )
    # tails[t] is the trace left when the leading t are taken; summed from the small end up.
    tails = np.append(np.cumsum(descending[::-1])[::-1], 0.0)
    # Up to rounding: with equal eigenvalues a tail may be exactly a 1/N share.
    small = tails <= tails[0] / N * (1 + _EQUAL)
    # A single sample (N = 1) still spans a direction, though the inequality would let it go.
    return max(int(np.argmax(small)), int(tails[0] > 0))


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""Eigenpairs of a second moment, largest first.

    .. math:: \Sigma = \sum_j \lambda_j v_j v_j^\top

    Attributes:
        eigenvalues: :math:`\lambda_j \ge 0`, descending, shape ``[m]``, ``float64``.
        eigenvectors: :math:`v_j` in the columns, shape ``[m, m]``.
        N: Number of rows the moment is a mean of.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> G = np.random.default_rng(1).standard_normal((100, 3)) * [3.0, 1.0, 0.0]
        >>> spectrum = skmm.Spectrum.of(G)
        >>> spectrum.rank
        2
        >>> W = spectrum.whiten(G, 2)
        >>> np.allclose(W.T @ W / 100, np.eye(2))
        True
    """

    eigenvalues: NDArray[np.float64]
    eigenvectors: NDArray[np.float64]
    N: int

    @classmethod
    def of(cls, rows: ArrayLike | StoredRows) -> Spectrum:
        r"""Decomposes :math:`\Sigma = G^\top G/N` of ``rows`` ``[N, m]``; costs ``N m² + m³``.

        In double precision whatever the rows are in: squares have twice the range and the digits.
        Rows out of core are read once, and summed over blocks that their width alone decides.
        """
        if not isinstance(rows, StoredRows):
            rows = check_rows(rows, "rows")
        N, m = rows.shape
        with one_thread(), large_product(N * m * m):
            moment = _gram(rows) / N
        return cls.of_moment(moment, N)

    @classmethod
    def of_moment(cls, moment: NDArray[np.float64], N: int) -> Spectrum:
        r"""Decomposes a second moment :math:`\Sigma`, ``[m, m]``, of N rows; overwrites it."""
        with one_thread():
            eigenvalues, eigenvectors = scipy.linalg.eigh(moment, driver="evd", overwrite_a=True)
        # Copies, for torch takes no negative strides.
        descending = np.maximum(eigenvalues[::-1].copy(), 0.0)
        spectrum = cls(descending, eigenvectors[:, ::-1].copy(), N)
        for start, stop in spectrum._eigenspaces():
            if stop - start > 1:
                basis = spectrum.eigenvectors[:, start:stop]
                basis[:] = _canonical(basis)
        return spectrum

    @property
    def trace(self) -> float:
        r""":math:`\operatorname{tr}(\Sigma)`, the mean squared norm of a row."""
        return float(self.eigenvalues.sum())

    @property
    def rank(self) -> int:
        """Number of eigenvalues above the rounding error of the largest."""
        return int(
            np.sum(self.eigenvalues > rank_cutoff(len(self.eigenvalues), self.eigenvalues[0]))
        )

    @property
    def intrinsic_dimension(self) -> int:
        r""":math:`\bar r`; see `intrinsic_dimension`."""
        return intrinsic_dimension(self.eigenvalues, self.N)

    @property
    def elbow(self) -> int:
        r"""Counts the directions before the spectrum falls off to a flat rest; 0 if it does not.

        .. math:: \max\bigl\{k \le \min(\tfrac m2, m - 32) : \lambda_k \ge 2\lambda_{k+1},\
                  \lambda_{k+1} \le 6\,\mathrm{mean}_{j > k}\, \lambda_j\bigr\}

        Where :math:`\bar r` counts what carries energy, noise in many directions included, this
        counts what stands out of it: of a flat rest no direction comes before another.
        """
        m = len(self.eigenvalues)
        # means[t] is the mean of all but the leading t; summed from the small end up.
        means = np.cumsum(self.eigenvalues[::-1])[::-1] / np.arange(m, 0, -1)
        before, after, rest = self.eigenvalues[:-1], self.eigenvalues[1:], means[1:]
        falls = (before > 0) & (before >= _GAP * after) & (after <= _FLAT * rest)
        falls = falls[: max(0, min(m // 2, m - _REST))]
        return int(np.flatnonzero(falls)[-1]) + 1 if falls.any() else 0

    def tail_share(self, k: int) -> float:
        r"""Returns what all but the leading ``k`` directions have of the trace, in ``0..1``."""
        return float(self.eigenvalues[k:].sum() / self.trace) if self.trace > 0 else 0.0

    def _eigenspaces(self) -> list[tuple[int, int]]:
        """Returns the ranges of equal eigenvalues, up to the rank, as slices' ends."""
        values = self.eigenvalues[: self.rank]
        apart = np.flatnonzero(values[:-1] - values[1:] > _EQUAL * self.eigenvalues[0]) + 1
        ends = [0, *apart.tolist(), len(values)] if len(values) else []
        return list(itertools.pairwise(ends))

    def leading(self, k: int | None = None) -> int:
        r"""Returns how many directions lead: ``k``, or :math:`\bar r` if none is given.

        Cut to the rank, and to whole eigenspaces, for of directions with equal eigenvalues none
        comes first: the largest number of whole ones within ``k``, or the first if it is larger.
        """
        k = self.intrinsic_dimension if k is None else k
        ends = [stop for _, stop in self._eigenspaces()]
        return max((end for end in ends if end <= k), default=ends[0] if ends and k else 0)

    def whiten(self, rows: NDArray[np.floating], k: int) -> NDArray[np.float64]:
        r"""Returns coordinates :math:`g_i^\top v_j / \sqrt{\lambda_j}`, ``j < k``: ``[N, k]``.

        The second moment of the pool is the identity in them.

        Raises:
            ValueError: ``k`` exceeds `rank`, so that there is nothing to divide by, or the rows are
                of another dimension.
        """
        if rows.shape[-1] != (m := len(self.eigenvectors)):
            raise ValueError(
                f"rows must have the m={m} columns that the spectrum is of, "
                f"got shape {list(rows.shape)}; take both from one view of the pool"
            )
        check_integer(k, "k", low=0, high=self.rank, hint="directions beyond the rank are empty")
        return rows @ (self.eigenvectors[:, :k] / np.sqrt(self.eigenvalues[:k]))


def _gram(rows: NDArray[np.floating] | StoredRows) -> NDArray[np.float64]:
    r"""Returns :math:`G^\top G` in double precision; rows in single are converted by blocks."""
    held = isinstance(rows, np.ndarray)
    if held and (rows.dtype == np.float64 or rows.size <= _BLOCK):
        double = rows.astype(np.float64, copy=False)
        return double.T @ double
    step = max(1, _BLOCK // rows.shape[1])
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for i in range(0, len(rows), step):
        total += _gram(rows[i : i + step])
    return total


def _canonical(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Returns the basis of a space that depends on the space alone, not on the basis given.

    By Gram-Schmidt on the columns of the projector :math:`VV^\top`, the longest remaining first;
    of equally long ones, the first coordinate's.
    """
    left = basis.T.copy()  # coordinates of the projector's columns in the given basis
    chosen = np.empty((len(left), len(left)))
    for j in range(len(left)):
        lengths = np.einsum("ij,ij->j", left, left)
        pivot = left[:, first_largest(lengths)]
        chosen[:, j] = pivot / np.linalg.norm(pivot)
        left -= np.outer(chosen[:, j], chosen[:, j] @ left)
    return basis @ chosen
