"""The sparse sign map, whose matrix has a few entries a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import check_integer, is_tensor
from skmm.numerics.streams import as_generator
from skmm.sketching.base import Sketch, check_sizes, draw_signs

_TILE = 32, 8192
"""Rows and coordinates of an array that are sketched at once: 1 MB of float32, a core's L2 cache;
with more rows the result's tile leaves the cache, with fewer each addition is too short."""


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

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> sketch = skmm.SparseSignSketch.draw(50, 8, rng=0, nonzeros=2)
        >>> set(np.count_nonzero(sketch(np.eye(50)), axis=1).tolist())
        {2}

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
        check_sizes(r, m)
        rng = as_generator(rng, "sketch.sparse-sign")
        k = min(8, m) if nonzeros is None else nonzeros
        check_integer(k, "nonzeros", low=1, high=m, hint="each needs a block of the m outputs")
        bounds = _bounds(m, k)
        columns = rng.integers(bounds[:-1], bounds[1:], size=(r, k), dtype=np.int32)
        return cls(r, m, columns, draw_signs(rng, r, k))

    def _folds(self, rows: Any) -> list[Any]:
        """For each block of the outputs, what adds up its inputs, in the place of ``rows``."""
        key = "folds", rows.device, rows.dtype
        if key not in self._moved:
            from skmm.sketching.fold import Fold

            place = {"dtype": rows.dtype, "device": rows.device}
            bounds = _bounds(self.m, self.columns.shape[1])
            self._moved[key] = [
                Fold(self.columns[:, k] - bounds[k], self.signs[:, k], width, **place)
                for k, width in enumerate(np.diff(bounds).tolist())
            ]
        return self._moved[key]

    @property
    def _scale(self) -> float:
        return 1 / np.sqrt(self.columns.shape[1])

    def _matrix(self, dtype: Any) -> scipy.sparse.csr_array:
        """Returns the map in a precision; kept: it takes as long to make as to sketch a batch."""
        key = "matrix", dtype
        if key not in self._moved:
            nonzeros = self.columns.shape[1]
            starts = np.arange(0, self.r * nonzeros + 1, nonzeros)
            entries = self.signs.ravel().astype(dtype) * dtype.type(self._scale)
            self._moved[key] = scipy.sparse.csr_array(
                (entries, self.columns.ravel(), starts), (self.r, self.m)
            )
        return self._moved[key]

    def _apply(self, rows: Any) -> Any:
        if is_tensor(rows):
            import torch

            # No scatter: on a GPU it would add in another order each time.
            folds = self._folds(rows)
            stacked = rows.unsqueeze(-1)
            parts = [
                torch.cat([fold(stacked[part]) for fold in folds], dim=1)
                for part in blocks(max(1, len(rows)), self.r, least=8)
            ]
            return torch.cat(parts).squeeze(-1) * self._scale
        # SciPy adds scaled rows of a transposed tile to the result: both stay in the cache.
        transposed, nonzeros = self._matrix(rows.dtype).T, self.columns.shape[1]
        out = np.zeros((len(rows), self.m), rows.dtype)
        for j in range(0, self.r, _TILE[1]):
            columns = slice(j, min(j + _TILE[1], self.r))
            held = slice(nonzeros * columns.start, nonzeros * columns.stop)
            starts = transposed.indptr[: columns.stop - columns.start + 1]
            part = scipy.sparse.csc_array(
                (transposed.data[held], transposed.indices[held], starts),
                (self.m, columns.stop - columns.start),
            )
            for i in range(0, len(rows), _TILE[0]):
                some = slice(i, i + _TILE[0])
                out[some] += (part @ rows[some, columns].T).T
        return out

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        return (rows @ self._matrix(np.dtype(np.float64))).toarray()


def _bounds(m: int, nonzeros: int) -> NDArray[np.int32]:
    """Ends of the blocks that ``m`` outputs are cut into."""
    return np.linspace(0, m, nonzeros + 1).astype(np.int32)
