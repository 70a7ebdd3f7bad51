r"""Johnson-Lindenstrauss maps: one draw, shared by all rows of the pool.

Every map is linear, :math:`\tilde G = G\,\Gamma` with :math:`\Gamma` of shape ``[r, m]``, and
unbiased, :math:`\mathbb E\,\|x\Gamma\|^2 = \|x\|^2`; rows sketched by different draws are not
comparable. What they cost for ``N`` rows:

=================  ====================  ===================  =====================
map                time                  memory of the map    draw
=================  ====================  ===================  =====================
GaussianSketch     ``N r m`` (BLAS)      ``8 r m`` bytes      ``r m`` normals
RademacherSketch   ``N r m`` (BLAS)      ``r m`` bytes        ``r m`` signs
SparseSignSketch   ``N r`` x nonzeros    ``5 r`` x nonzeros   ``r`` x nonzeros
SRHT               ``N r`` x 2 sqrt(m)   ``r`` sqrt(m) bytes  ``r`` signs
=================  ====================  ===================  =====================

References:
    Sketchy Moment Matching (Dong et al., 2024), https://arxiv.org/abs/2407.06120
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from skmm.inputs import as_generator, check_integer, is_tensor

_BLOCK_ENTRIES = 1 << 18
"""Entries of a row block in a blocked product: 2 MB of float64, about a core's L2 cache."""


def _draw_signs(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    return rng.integers(0, 2, size=shape, dtype=np.int8) * np.int8(2) - np.int8(1)


@dataclass(frozen=True, eq=False)
class Sketch(ABC):
    r"""A Johnson-Lindenstrauss map from ``r`` to ``m`` dimensions: what all maps have in common.

    Attributes:
        r: Dimension of the rows it takes.
        m: Dimension of the rows it returns, the sketch size.
    """

    r: int
    m: int
    _moved: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    @abstractmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws a map from ``r`` to ``m`` dimensions.

        Args:
            r: Dimension of the rows to sketch.
            m: Sketch size, in ``1..r``; errors of inner products shrink as ``1 / sqrt(m)``.
            rng: Seed or generator; the draw is all that it is used for.

        Raises:
            ValueError: ``m`` is outside ``1..r``, or ``rng`` is no seed or generator.
        """

    @abstractmethod
    def _apply(self, rows: Any) -> Any:
        """Sketches dense rows ``[B, r]`` (NumPy or torch, single or double precision)."""

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        step = max(1, _BLOCK_ENTRIES // self.r)
        starts = range(0, max(1, rows.shape[0]), step)  # one empty block if there are no rows
        return np.concatenate([self._apply(rows[i : i + step].toarray()) for i in starts])

    def __call__(self, rows: Any) -> Any:
        r"""Sketches ``rows``.

        Args:
            rows: ``[..., r]``: a NumPy array, a torch tensor (any device) or a SciPy sparse matrix.

        Returns:
            ``[..., m]``, of the same kind and device; half precision and integers are computed and
            returned as ``float32`` (tensors) or ``float64`` (arrays), sparse rows as a dense array.

        Raises:
            ValueError: the last axis of ``rows`` is not ``r``.
        """
        if scipy.sparse.issparse(rows):
            self._check_axis(rows.shape)
            rows = scipy.sparse.csr_array(rows)
            # Sums of narrow integers would overflow.
            return self._apply_sparse(rows if rows.dtype.kind == "f" else rows.astype(np.float64))
        if is_tensor(rows):
            if not rows.is_floating_point() or rows.dtype.itemsize < 4:
                rows = rows.float()
        else:
            rows = np.asarray(rows)
            if rows.dtype not in (np.float32, np.float64):
                rows = rows.astype(np.float64)
        self._check_axis(rows.shape)
        return self._apply(rows.reshape(-1, self.r)).reshape(*rows.shape[:-1], self.m)

    def _check_axis(self, shape: tuple[int, ...]) -> None:
        if len(shape) == 0 or shape[-1] != self.r:
            raise ValueError(
                f"rows must have r={self.r} entries along the last axis, got shape {list(shape)}; "
                f"draw a sketch for these rows"
            )

    def _like(self, array: NDArray, rows: Any) -> Any:
        """Returns ``array`` in the kind, precision and place of ``rows``; moved once, then kept."""
        if not is_tensor(rows):
            return array.astype(rows.dtype, copy=False)
        import torch

        key = (id(array), rows.device, rows.dtype)
        if key not in self._moved:
            # The array is kept beside its tensor: an id is unique only while its object lives.
            self._moved[key] = array, torch.as_tensor(array).to(rows.device, rows.dtype)
        return self._moved[key][1]

    def __getstate__(self) -> dict[str, Any]:
        # What was moved or derived is made anew where the map arrives.
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"_moved": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _check_sizes(r: int, m: int, rng: int | np.random.Generator) -> np.random.Generator:
    check_integer(r, "r", low=1, hint="it is the dimension of the rows")
    check_integer(m, "m", low=1, high=r, hint="a sketch cannot be larger than the rows it is for")
    return as_generator(rng)


@dataclass(frozen=True, eq=False)
class GaussianSketch(Sketch):
    r"""The Gaussian map, for which the paper's Theorem 3.1 is stated.

    .. math:: \Gamma_{ij} \sim \mathcal N(0, 1/m)

    Attributes:
        matrix: :math:`\Gamma`, shape ``[r, m]``.
    """

    matrix: NDArray[np.float64]

    @classmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws ``r * m`` normals; see `Sketch.draw`."""
        rng = _check_sizes(r, m, rng)
        matrix = rng.standard_normal((r, m))
        matrix /= np.sqrt(m)
        return cls(r, m, matrix)

    def _apply(self, rows: Any) -> Any:
        return rows @ self._like(self.matrix, rows)

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        return rows @ self.matrix


@dataclass(frozen=True, eq=False)
class RademacherSketch(Sketch):
    r"""The sign map (Achlioptas 2003): a byte an entry, and the Gaussian map's guarantees.

    .. math:: \Gamma_{ij} = \pm 1/\sqrt m \text{ with probability } 1/2

    Attributes:
        signs: :math:`\sqrt m\,\Gamma`, shape ``[r, m]``, ``int8``.
    """

    signs: NDArray[np.int8]

    @classmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws ``r * m`` signs; see `Sketch.draw`."""
        rng = _check_sizes(r, m, rng)
        return cls(r, m, _draw_signs(rng, r, m))

    def _apply(self, rows: Any) -> Any:
        if is_tensor(rows):
            return rows @ self._like(self.signs, rows) / np.sqrt(self.m)
        # In column blocks, so that the signs are never held as floats all at once.
        step = max(1, _BLOCK_ENTRIES // self.m)
        out = np.zeros((len(rows), self.m), rows.dtype)
        for i in range(0, self.r, step):
            out += rows[:, i : i + step] @ self.signs[i : i + step].astype(rows.dtype)
        out /= np.sqrt(self.m)
        return out

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        return (rows @ self.signs) / np.sqrt(self.m)


@dataclass(frozen=True, eq=False)
class SparseSignSketch(Sketch):
    r"""The sparse sign map (OSNAP): each input coordinate goes to a few output coordinates.

    .. math:: \Gamma_{i,\,c_{ik}} = \pm 1/\sqrt{k_{\max}}, \qquad k = 1 \dots k_{\max}

    The output is cut into ``nonzeros`` blocks and every input coordinate has one entry in each, so
    the entries of a row of :math:`\Gamma` are distinct. One nonzero is the CountSketch, whose
    variance on a vector with one dominant pair of coordinates is larger.

    Attributes:
        columns: Output coordinates :math:`c_{ik}`, shape ``[r, nonzeros]``, ``int32``.
        signs: Signs, shape ``[r, nonzeros]``, ``int8``.

    References:
        Nelson and Nguyen (2013), https://arxiv.org/abs/1211.1002
    """

    columns: NDArray[np.int32]
    signs: NDArray[np.int8]

    @classmethod
    def draw(
        cls, r: int, m: int, *, rng: int | np.random.Generator, nonzeros: int | None = None
    ) -> Self:
        """Draws ``r * nonzeros`` columns and signs (``nonzeros``: ``min(8, m)`` unless told)."""
        rng = _check_sizes(r, m, rng)
        k = min(8, m) if nonzeros is None else nonzeros
        check_integer(k, "nonzeros", low=1, high=m, hint="each needs a block of the m outputs")
        bounds = np.linspace(0, m, k + 1).astype(np.int32)
        columns = rng.integers(bounds[:-1], bounds[1:], size=(r, k), dtype=np.int32)
        return cls(r, m, columns, _draw_signs(rng, r, k))

    @property
    def _scale(self) -> float:
        return 1 / np.sqrt(self.columns.shape[1])

    def _matrix(self, dtype: Any) -> scipy.sparse.csr_array:
        nonzeros = self.columns.shape[1]
        starts = np.arange(0, self.r * nonzeros + 1, nonzeros)
        entries = self.signs.ravel().astype(dtype) * dtype.type(self._scale)
        return scipy.sparse.csr_array((entries, self.columns.ravel(), starts), (self.r, self.m))

    def _apply(self, rows: Any) -> Any:
        if is_tensor(rows):
            import torch

            columns = torch.as_tensor(self.columns, device=rows.device).long()
            signs = self._like(self.signs, rows)
            out = rows.new_zeros(len(rows), self.m)
            for k in range(columns.shape[1]):
                out.index_add_(1, columns[:, k], rows * signs[:, k])
            return out * self._scale
        # SciPy adds scaled rows of the transposed block; in a block that fits the cache, hot ones.
        transposed = self._matrix(rows.dtype).T
        step = max(8, _BLOCK_ENTRIES // self.r)
        out = np.empty((len(rows), self.m), rows.dtype)
        for i in range(0, len(rows), step):
            out[i : i + step] = (transposed @ rows[i : i + step].T).T
        return out

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        return (rows @ self._matrix(np.dtype(np.float64))).toarray()


@dataclass(frozen=True, eq=False)
class SRHT(Sketch):
    r"""The subsampled randomised Hadamard transform.

    .. math:: \Gamma = \tfrac{1}{\sqrt m}\, D\, H\, P

    with random signs ``D``, the Hadamard matrix ``H`` (entries ±1) of the next power of two, and
    ``m`` of its columns ``P``. ``H`` is a Kronecker product of a small and a large Hadamard matrix;
    the small one is applied whole, of the large one only the columns that the sample needs. Both
    are BLAS calls, ``2 sqrt(m)`` multiplications an entry together, which is faster than the
    ``log2(r)`` passes over memory that a whole transform takes.

    Attributes:
        signs: ``D``, shape ``[r]``, ``int8``.
        columns: ``P``, shape ``[m]``, distinct.

    References:
        Tropp (2011), https://arxiv.org/abs/1011.1595
    """

    signs: NDArray[np.int8]
    columns: NDArray[np.int64]

    @classmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws ``r`` signs and ``m`` distinct columns; see `Sketch.draw`."""
        rng = _check_sizes(r, m, rng)
        padded = 1 << (r - 1).bit_length()
        return cls(r, m, _draw_signs(rng, r), rng.choice(padded, m, replace=False, shuffle=False))

    @cached_property
    def _factors(self) -> tuple[NDArray[np.int8], list[tuple[NDArray[np.intp], NDArray[np.int8]]]]:
        """The small Hadamard matrix; for each of its rows, the outputs that take it and how."""
        small = 1 << (self.m.bit_length() - 1) // 2
        large = (1 << (self.r - 1).bit_length()) // small
        quotients, remainders = np.divmod(self.columns, small)
        columns = []
        for digit in range(small):
            (outputs,) = np.nonzero(remainders == digit)
            # An entry of a Hadamard matrix is the parity of the bits that row and column share.
            shared = np.arange(large)[:, None] & quotients[outputs]
            columns.append((outputs, 1 - 2 * (np.bitwise_count(shared) & 1).astype(np.int8)))
        return scipy.linalg.hadamard(small, dtype=np.int8), columns

    def _apply(self, rows: Any) -> Any:
        zeros = rows.new_zeros if is_tensor(rows) else lambda *s: np.zeros(s, rows.dtype)
        small, columns = self._factors
        padded_size = 1 << (self.r - 1).bit_length()
        signs, hadamard = self._like(self.signs, rows), self._like(small, rows)
        factors = [(outputs, self._like(factor, rows)) for outputs, factor in columns]
        # At least 16 rows a block, so that the factors are not read anew for every row.
        step = max(16, _BLOCK_ENTRIES // padded_size)
        out = zeros(len(rows), self.m)
        for i in range(0, len(rows), step):
            block = rows[i : i + step]
            padded = zeros(len(block), padded_size)
            padded[:, : self.r] = block * signs
            digits = hadamard @ padded.reshape(-1, len(small)).T
            digits = digits.reshape(len(small), len(block), -1)
            for digit, (outputs, factor) in enumerate(factors):
                out[i : i + step, outputs] = digits[digit] @ factor
        out /= np.sqrt(self.m)
        return out


SKETCHES: dict[str, type[Sketch]] = {
    "gaussian": GaussianSketch,
    "rademacher": RademacherSketch,
    "sparse-sign": SparseSignSketch,
    "srht": SRHT,
}
"""The maps by the name that `select` takes."""
