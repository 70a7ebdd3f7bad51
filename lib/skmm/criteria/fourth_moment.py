"""Matching the fourth moment, and through it the second."""

from __future__ import annotations

import numpy as np

from skmm.criteria.base import Floats, Indices, blocks
from skmm.criteria.kernel import KernelDiscrepancy
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.threads import large_product

_WIDE = 16
"""Blocks of the N×N kernel are so many times a usual one: products of 32 MB keep their speed."""


class FourthMoment(KernelDiscrepancy):
    r"""The distance of the fourth moment tensor from the pool's.

    .. math:: \frac{\|T_S - T\|^2}{\mathbb E_{\text{uniform}}\|T_S - T\|^2}, \qquad
              T_S = \frac1n \sum_{i \in S} x_i^{\otimes 4}

    This is a squared maximum mean discrepancy with the kernel :math:`(x^\top y)^4`, and the m⁴
    entries of the tensor are never formed. For rows of unit norm, contracting two axes of the gap
    gives the gap of the second moments, so that

    .. math:: \|\tilde\Sigma_S - \tilde\Sigma\|_F \le \sqrt m\,\|T_S - T\| :

    a subset that matches the fourth moment matches the second. In return, the kernel falls faster
    with the angle: neighbours count more than directions, and small groups are told apart that
    share a direction. Costs O(N² m) to set up, where `SecondMoment` costs O(N m²), and like it
    O(N m) a swap.

    Args:
        rows: Sketched rows, shape ``[N, m]``, best of unit norm: the eighth power of norms counts.
        n: Budget.

    Raises:
        ValueError: ``rows`` are not finite numbers ``[N, m]``, or ``n`` is outside ``1..N``.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> half = np.sqrt(0.5)
        >>> rows = np.array([[1.0, 0.0], [0.0, 1.0], [half, half], [half, -half]])
        >>> second, fourth = skmm.SecondMoment(rows, 2), skmm.FourthMoment(rows, 2)
        >>> for criterion in (second, fourth):
        ...     criterion.start(np.array([0, 1]))  # all energy there is, half of the directions
        >>> np.allclose(second.value(), 0.0)
        True
        >>> print(f"{fourth.value():.3f}")
        0.400
    """

    def __init__(self, rows: Floats, n: int):
        super().__init__(rows, n)
        self._take(self._mean_kernel())

    @classmethod
    def of(cls, kernel: GaussianKernel, rows: Floats, n: int) -> FourthMoment:
        """Returns the criterion of rows whose inner products a kernel makes anyway.

        Where the kernel tells them again, a swap costs O(N) instead of O(N m).
        """
        criterion = object.__new__(cls)
        KernelDiscrepancy.__init__(criterion, rows, n)
        criterion._take(kernel.product_sums(criterion._apply) / len(rows))
        criterion._similar = kernel if kernel.tells_products else None
        return criterion

    @classmethod
    def beside(
        cls, rows: Floats, n: int, *, pull: Floats, others: Floats, unit: float
    ) -> FourthMoment:
        r"""Returns what n of some rows do to the match of a larger pool, beside samples that stay.

        The value is :math:`\|T_{S \cup O} - T\|^2` over a unit, but for a constant.

        Args:
            rows: Those that S may be of, ``[B, m]``.
            n: Samples in S.
            pull: Mean of :math:`(x^\top y)^4` over the pool, for each of them: ``[B]``.
            others: Rows of the samples O, ``[o, m]``.
            unit: That of the pool's own criterion, above 0.
        """
        criterion = object.__new__(cls)
        KernelDiscrepancy.__init__(criterion, rows, n)
        count, stays = n + len(others), np.zeros(len(rows))
        for cut in blocks(len(others), len(rows)):
            stays += criterion._apply(others[cut] @ rows.T).sum(axis=0)
        criterion._take((count * pull - stays) / n)
        criterion._scale = 1.0 / (count**2 * unit)
        return criterion

    def _take(self, pull: Floats) -> None:
        self._own = np.einsum("ij,ij->i", self._rows, self._rows) ** 4
        self._pull = pull
        self._rescale()

    def _apply(self, products: Floats) -> Floats:
        np.square(products, out=products)
        return np.square(products, out=products)

    def _mean_kernel(self) -> Floats:
        """Returns the kernel's mean over the pool; it is symmetric, so half of it is computed."""
        N = len(self._rows)
        total = np.zeros(N)
        with large_product(N * self._rows.size // 2):
            for block in blocks(N, -(-N // _WIDE)):
                upper = self._kernel(block, slice(block.start, None))
                total[block] += upper.sum(axis=1)
                total[block.stop :] += upper[:, block.stop - block.start :].sum(axis=0)
        return total / N

    def value(self) -> float:
        """See `Criterion.value`."""
        gap = (self._push - self._pull)[self.inside].mean() - self._pull[self.inside].mean()
        return float(gap + self._pull.mean()) * self._n**2 * self._scale

    def value_of(self, indices: Indices) -> float:
        """Returns the objective of any subset, without what swaps would need to know."""
        cuts, pull = blocks(len(indices), len(indices)), self._pull
        within = sum(float(self._kernel(indices[cut], indices).sum()) for cut in cuts) / self._n**2
        gap = within - 2.0 * float(pull[indices].mean()) + float(pull.mean())
        return gap * self._n**2 * self._scale

    @property
    def pull(self) -> Floats:
        """Mean of the kernel over the pool, for each row: ``[N]``."""
        return self._pull
