"""What all sketches have in common: one draw, one contract, arrays, tensors and sparse rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import check_integer, is_tensor


def draw_signs(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Draws independent signs, -1 or 1."""
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
        parts = blocks(max(1, rows.shape[0]), self.r)  # one empty block if there are no rows
        return np.concatenate([self._apply(rows[part].toarray()) for part in parts])

    def __call__(self, rows: Any) -> Any:
        r"""Sketches ``rows``.

        Args:
            rows: ``[..., r]``: a NumPy array, a torch tensor (any device) or a SciPy sparse matrix.

        Returns:
            ``[..., m]``, of the same kind and device; half precision and integers are computed and
            returned as ``float32`` (tensors) or ``float64`` (arrays), sparse rows as a dense array.

        Raises:
            ValueError: the last axis of ``rows`` is not ``r``, or they are not real numbers, or a
                sparse tensor.
        """
        if scipy.sparse.issparse(rows):
            self._check_axis(rows.shape)
            _check_real(rows.dtype.kind != "c", rows.dtype)
            shape = rows.shape
            rows = scipy.sparse.csr_array(rows.reshape(math.prod(shape[:-1]), self.r))
            # Sums of narrow integers would overflow.
            rows = rows if rows.dtype.kind == "f" else rows.astype(np.float64)
            return self._apply_sparse(rows).reshape(*shape[:-1], self.m)
        if is_tensor(rows):
            _check_real(not rows.is_complex(), rows.dtype)
            if str(rows.layout) != "torch.strided":
                raise ValueError(
                    f"rows must be a dense tensor, got the layout {rows.layout}; "
                    "pass rows.to_dense(), or a SciPy sparse matrix"
                )
            if not rows.is_floating_point() or rows.dtype.itemsize < 4:
                rows = rows.float()
        else:
            try:
                rows = np.asarray(rows)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"rows must be of equal length [..., r]; {error}") from error
            _check_real(rows.dtype.kind in "fiub", rows.dtype)
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


def _check_real(real: bool, dtype: Any) -> None:
    if not real:
        raise ValueError(f"rows must hold real numbers, got dtype {dtype}")


def check_sizes(r: int, m: int) -> None:
    """Raises ``ValueError`` unless ``1 <= m <= r``."""
    check_integer(r, "r", low=1, hint="it is the dimension of the rows")
    check_integer(m, "m", low=1, high=r, hint="a sketch cannot be larger than the rows it is for")
