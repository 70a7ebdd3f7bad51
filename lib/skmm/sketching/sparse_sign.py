"""The sparse sign map, whose matrix has a few entries a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer, is_tensor
from skmm.sketching.base import BLOCK_ENTRIES, Sketch, check_sizes, draw_signs


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
        rng = check_sizes(r, m, rng)
        k = min(8, m) if nonzeros is None else nonzeros
        check_integer(k, "nonzeros", low=1, high=m, hint="each needs a block of the m outputs")
        bounds = np.linspace(0, m, k + 1).astype(np.int32)
        columns = rng.integers(bounds[:-1], bounds[1:], size=(r, k), dtype=np.int32)
        return cls(r, m, columns, draw_signs(rng, r, k))

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
        step = max(8, BLOCK_ENTRIES // self.r)
        out = np.empty((len(rows), self.m), rows.dtype)
        for i in range(0, len(rows), step):
            out[i : i + step] = (transposed @ rows[i : i + step].T).T
        return out

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        return (rows @ self._matrix(np.dtype(np.float64))).toarray()
