"""Matching the whole second moment, not only its diagonal."""

from __future__ import annotations

import numpy as np

from skmm.criteria.base import Floats, Indices, quadratic_forms
from skmm.criteria.kernel import KernelDiscrepancy


class SecondMoment(KernelDiscrepancy):
    r"""The distance of the whole second moment from the pool's, not only of its diagonal.

    .. math:: \frac{\|\tilde\Sigma_S - \tilde\Sigma\|_F^2}
                   {\mathbb E_{\text{uniform}}\|\tilde\Sigma_S - \tilde\Sigma\|_F^2}

    This is a squared maximum mean discrepancy with the kernel :math:`(x^\top y)^2`. With ``mean``
    the kernel is :math:`(\tau + x^\top y)^2` less its constant, which matches the mean as well;
    :math:`\tau = \operatorname{tr}\tilde\Sigma` (1 for rows of unit norm) makes it free of units.
    Costs O(N m²) to set up and O(N m) a swap.

    Args:
        rows: Sketched rows, shape ``[N, m]``.
        n: Budget.
        mean: Whether to match the first moment together with the second.
        target: Second and first moment, ``[m, m]`` and ``[m]``, of the pool that ``rows`` are
            candidates of; unless told, their own.

    Raises:
        ValueError: ``rows`` are not finite numbers ``[N, m]``, or ``n`` is outside ``1..N``.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> criterion = skmm.SecondMoment(rows, 2)
        >>> criterion.start(np.array([0, 1]))  # a uniform sample has 1 on average
        >>> print(f"{criterion.value():.3f}")
        2.000
        >>> criterion.swap(np.array([1]), np.array([2]))
        >>> np.allclose(criterion.value(), 0.0)
        True
    """

    def __init__(
        self,
        rows: Floats,
        n: int,
        *,
        mean: bool = False,
        target: tuple[Floats, Floats] | None = None,
    ):
        super().__init__(rows, n)
        rows = self._rows
        own = (rows.T @ rows / len(rows), rows.mean(axis=0)) if target is None else target
        self._moment, self._mean = own
        norms = np.einsum("ij,ij->i", rows, rows)
        self._linear = 2.0 * float(norms.mean()) if mean else 0.0
        self._own = norms * (norms + self._linear)
        self._pull = quadratic_forms(rows, self._moment) + self._linear * (rows @ self._mean)
        self._rescale()

    def _apply(self, products: Floats) -> Floats:
        products *= products + self._linear
        return products

    def _mean_over(self, indices: Indices) -> Floats:
        # The kernel's sum over a subset is a quadratic form: no product of rows with rows.
        chosen = self._rows[indices]
        mean = quadratic_forms(self._rows, chosen.T @ chosen / self._n)
        if self._linear:
            mean += self._linear * (self._rows @ chosen.mean(axis=0))
        return mean

    def _shift(self, moved: Indices, signs: Floats) -> None:
        rows = self._rows[moved]
        if len(moved) <= rows.shape[1]:
            super()._shift(moved, signs)
            return
        self._push += quadratic_forms(self._rows, (rows.T * signs) @ rows)
        if self._linear:
            self._push += self._linear * (self._rows @ (signs @ rows))

    def value(self) -> float:
        """See `Criterion.value`."""
        chosen = self._rows[self.inside]
        gap = np.sum((chosen.T @ chosen / self._n - self._moment) ** 2)
        if self._linear:
            gap += self._linear * np.sum((chosen.mean(axis=0) - self._mean) ** 2)
        return float(gap) * self._n**2 * self._scale
