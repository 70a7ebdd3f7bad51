"""A sketch of matrices that never forms the outer product it sketches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator
from skmm.sketching.base import draw_signs


def _permuted_buckets(d: int, m: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assigns each ``m`` coordinates in turn to the ``m`` buckets, in an order of their own."""
    return np.concatenate([rng.permutation(m) for _ in range(-(-d // m))])[:d]


def _shifted_buckets(d: int, m: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assigns each ``m`` coordinates in turn to the ``m`` buckets, in order from a random one."""
    shifts = rng.integers(0, m, size=-(-d // m))
    index = np.arange(d)
    return (index + shifts[index // m]) % m


@dataclass(frozen=True, eq=False)
class TensorSketch:
    r"""The block of :math:`\Gamma` for one parameter, seen as a matrix ``[d, e]``.

    Entry ``(o, i)`` of the gradient goes, with a random sign, to one of the ``m`` coordinates:

    .. math:: \Gamma_{(o,i),\,j} = \sigma_o \tau_i \,\mathbf 1[\,h_o + k_i \equiv j \bmod m\,]

    The sketch of an outer product :math:`\delta a^\top` is then the circular convolution of the
    hashed :math:`\delta` with the hashed :math:`a`, and a Fourier transform makes it a product:
    :math:`O(d + e + m \log m)` instead of :math:`O(d\,e)`, and the map itself is ``d + e`` numbers.

    Each ``m`` coordinates of a side in turn go to the ``m`` buckets one to one: in random order on
    the shorter side, shifted cyclically on the longer. Any two entries then collide with
    probability :math:`1/(m-1)` at most. Inner products are unbiased, :math:`\mathbb
    E\,\Gamma\Gamma^\top = I`, and for every gradient ``g``

    .. math:: \operatorname{Var} \|g\,\Gamma\|^2
        \le \frac{2}{m - 1}\,\bigl(1 + \mathbf 1[d > m] + \mathbf 1[e > m]\bigr)\,\|g\|^4
        + O(m^{-2})

    That is the Gaussian map's variance where both sides fit into ``m``, and at most three times
    that; the product of two dense sign maps has up to :math:`8/m` and takes ``m (d + e)``.

    Attributes:
        shape: The parameter's shape; its first axis is ``d``, the others together ``e``.
        m: Sketch size.
        row_buckets: :math:`h`, shape ``[d]``, with signs :math:`\sigma` in ``row_signs``.
        column_buckets: :math:`k`, shape ``[e]``, with signs :math:`\tau` in ``column_signs``.

    References:
        Pham and Pagh, Fast and scalable polynomial kernels via explicit feature maps (KDD 2013)
    """

    shape: tuple[int, ...]
    m: int
    row_buckets: NDArray[np.int64]
    row_signs: NDArray[np.int8]
    column_buckets: NDArray[np.int64]
    column_signs: NDArray[np.int8]

    @classmethod
    def draw(cls, shape: tuple[int, ...], m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws the block for a parameter of this ``shape``.

        Raises:
            ValueError: ``m`` is below 1.
        """
        check_integer(m, "m", low=1, hint="it is the sketch size")
        rng = as_generator(rng, "sketch.tensor")
        d = shape[0] if shape else 1
        e = math.prod(shape[1:])
        # One side in random order is enough for the variance: the shorter, as it costs a gather.
        by_row, by_column = _permuted_buckets, _shifted_buckets
        if d > e:
            by_row, by_column = by_column, by_row
        rows = by_row(d, m, rng), draw_signs(rng, d)
        return cls(tuple(shape), m, *rows, by_column(e, m, rng), draw_signs(rng, e))

    @property
    def r(self) -> int:
        """Entries of the parameter."""
        return math.prod(self.shape)

    @property
    def buckets(self) -> NDArray[np.int64]:
        """The coordinate each entry goes to, shape ``[r]``."""
        return ((self.row_buckets[:, None] + self.column_buckets) % self.m).ravel()

    @property
    def signs(self) -> NDArray[np.int8]:
        """The sign each entry gets, shape ``[r]``."""
        return (self.row_signs[:, None] * self.column_signs).ravel()

    def matrix(self) -> NDArray[np.float64]:
        r"""Returns :math:`\Gamma`, shape ``[r, m]``: for small parameters only."""
        matrix = np.zeros((self.r, self.m))
        matrix[np.arange(self.r), self.buckets] = self.signs
        return matrix
