"""A projection of matrices from both sides, to compare `TensorSketch` with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skmm.gradients.rows import Collector
from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator


@dataclass(frozen=True, eq=False)
class TwoSidedProjection:
    r"""The block of :math:`\Gamma` for one parameter, a matrix ``[d, e]`` that is projected twice.

    .. math:: \operatorname{vec}(\nabla)\,\Gamma = \operatorname{vec}(A^\top \nabla B), \qquad
              A_{oj} \sim \mathcal N(0, 1/a), \quad B_{ik} \sim \mathcal N(0, 1/b), \quad a\,b = m

    Of an outer product :math:`\delta x^\top` it is that of two projections, at ``a d + b e``
    multiplications. Inner products are unbiased, and with
    :math:`h = \|\nabla^\top\nabla\|_F^2 / \|\nabla\|_F^4`, one for rank one, ``1 / k`` for k equal
    singular values,

    .. math:: \operatorname{Var} \|\operatorname{vec}(\nabla)\,\Gamma\|^2
        = \Bigl(\frac{2h}{a} + \frac{2h}{b} + \frac{2(1 + h)}{m}\Bigr) \|\nabla\|_F^4,

    so that on gradients of single tokens, which have rank one, it is :math:`\sqrt m` times less
    exact than a map of ``m`` coordinates should be: the reason why it is not the default. A vector
    (``d = 1`` or ``e = 1``) is projected from its one side alone, with variance ``2 / m``.

    Attributes:
        shape: The parameter's shape; its first axis is ``d``, the others together ``e``.
        left: :math:`A`, shape ``[d, a]``.
        right: :math:`B`, shape ``[e, b]``.
    """

    shape: tuple[int, ...]
    left: NDArray[np.float64]
    right: NDArray[np.float64]

    @classmethod
    def draw(cls, shape: tuple[int, ...], m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws the block; ``a`` is the largest divisor of ``m`` up to its root.

        Raises:
            ValueError: ``m`` is below 1.
        """
        m = check_integer(m, "m", low=1, hint="it is the sketch size")
        rng = as_generator(rng, "sketch.two-sided")
        d, e = shape[0] if shape else 1, math.prod(shape[1:])
        if d == 1 or e == 1:
            whole = rng.standard_normal((max(d, e), m)) / np.sqrt(m)
            sides = (np.ones((1, 1)), whole) if d == 1 else (whole, np.ones((1, 1)))
        else:
            a = next(k for k in range(math.isqrt(m), 0, -1) if m % k == 0)
            b = m // a
            sides = (
                rng.standard_normal((d, a)) / np.sqrt(a),
                rng.standard_normal((e, b)) / np.sqrt(b),
            )
        return cls(tuple(shape), *sides)

    @property
    def m(self) -> int:
        """Sketch size."""
        return self.left.shape[1] * self.right.shape[1]

    def matrix(self) -> NDArray[np.float64]:
        r"""Returns :math:`\Gamma`, shape ``[r, m]``: for small parameters only."""
        return np.asarray(np.kron(self.left, self.right), dtype=np.float64)


class ProjectedGradients(Collector):
    """Projects outer products from their factors; memory ``B (a + b) P``."""

    def __init__(
        self, maps: Mapping[str, TwoSidedProjection], *, dtype: torch.dtype, device: torch.device
    ):
        super().__init__(dtype=dtype, device=device)
        self._sides = {
            name: tuple(
                torch.as_tensor(side, dtype=dtype, device=device)
                for side in (block.left, block.right)
            )
            for name, block in maps.items()
        }
        self._m = next(iter(maps.values())).m

    def start(self, B: int) -> Self:
        """Sets the rows to zero."""
        self._rows = torch.zeros(B, self._m, dtype=self.dtype, device=self.device)
        return self

    def add_outer(self, name: str, delta: Tensor, a: Tensor) -> None:
        """Projects both factors and forms the product of what is left of them."""
        left, right = self._sides[name]
        width = delta.shape[2]
        for g in range(delta.shape[1]):
            some = left[g * width : (g + 1) * width]
            rows, columns = some.T @ delta[:, g].to(self.dtype), right.T @ a[:, g].to(self.dtype)
            self._rows += (rows @ columns.transpose(1, 2)).flatten(1)

    def add_picked(self, name: str, picks: Tensor, delta: Tensor) -> None:
        """Projects the residuals, and picks the projections of rows."""
        left, right = self._sides[name]
        self._rows += (left[picks].transpose(1, 2) @ (delta.to(self.dtype) @ right)).flatten(1)

    def add(self, name: str, gradients: Tensor) -> None:
        """Projects gradients that were formed."""
        left, right = self._sides[name]
        g = gradients.to(self.dtype).reshape(len(gradients), len(left), len(right))
        self._rows += (left.T @ g @ right).flatten(1)

    def rows(self) -> Tensor:
        """Returns the sums."""
        return self._rows
