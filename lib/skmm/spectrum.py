r"""The spectrum of a second moment, and the intrinsic dimension it has.

Second moments are not centred here: :math:`\Sigma = G^\top G / N`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_integer, check_rows


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
        >>> import skmm
        >>> skmm.intrinsic_dimension([4.0, 2.0, 0.01, 0.0], N=100)  # 0.01 is less than 6.01 / 100
        2

    References:
        Sketchy Moment Matching, Definition of the intrinsic dimension (before Corollary 2.3).
    """
    check_integer(N, "N", low=1, hint="it is the number of samples in the pool")
    descending = np.sort(np.asarray(eigenvalues, dtype=np.float64).ravel())[::-1]
    if not np.isfinite(descending).all() or (descending < 0).any():
        raise ValueError(
            f"eigenvalues must be finite and not negative, got {descending.min()} to "
            f"{descending.max()}; clip the rounding errors of an eigensolver at 0"
        )
    # tails[t] is the trace left when the leading t are taken; summed from the small end up.
    tails = np.append(np.cumsum(descending[::-1])[::-1], 0.0)
    # A single sample (N = 1) still spans a direction, though the inequality would let it go.
    return max(int(np.argmax(tails <= tails[0] / N)), int(tails[0] > 0))


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
    def of(cls, rows: ArrayLike) -> Spectrum:
        r"""Decomposes :math:`\Sigma = G^\top G/N` of ``rows`` ``[N, m]``; costs ``N m² + m³``.

        In double precision whatever the rows are in: squares have twice the range and the digits.
        """
        rows = check_rows(rows, "rows").astype(np.float64, copy=False)
        moment = rows.T @ rows / len(rows)
        eigenvalues, eigenvectors = scipy.linalg.eigh(moment, driver="evd", overwrite_a=True)
        # Copies, for torch takes no negative strides.
        descending = np.maximum(eigenvalues[::-1].copy(), 0.0)
        return cls(descending, eigenvectors[:, ::-1].copy(), len(rows))

    @property
    def trace(self) -> float:
        r""":math:`\operatorname{tr}(\Sigma)`, the mean squared norm of a row."""
        return float(self.eigenvalues.sum())

    @property
    def rank(self) -> int:
        """Number of eigenvalues above the rounding error of the largest."""
        cut = len(self.eigenvalues) * np.finfo(np.float64).eps * self.eigenvalues[0]
        return int(np.sum(self.eigenvalues > cut))

    @property
    def intrinsic_dimension(self) -> int:
        r""":math:`\bar r`; see `intrinsic_dimension`."""
        return intrinsic_dimension(self.eigenvalues, self.N)

    def leading(self, k: int | None = None) -> int:
        r"""Returns ``k``, or :math:`\bar r` if none is given, cut to the rank."""
        k = self.intrinsic_dimension if k is None else k
        return min(k, self.rank)

    def whiten(self, rows: NDArray[np.floating], k: int) -> NDArray[np.float64]:
        r"""Returns coordinates :math:`g_i^\top v_j / \sqrt{\lambda_j}`, ``j < k``: ``[N, k]``.

        The second moment of the pool is the identity in them.

        Raises:
            ValueError: ``k`` exceeds `rank`, so that there is nothing to divide by.
        """
        check_integer(k, "k", low=0, high=self.rank, hint="directions beyond the rank are empty")
        return rows @ (self.eigenvectors[:, :k] / np.sqrt(self.eigenvalues[:k]))
