"""Maps whose matrix is held: Gaussian and Rademacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import is_tensor
from skmm.numerics.streams import as_generator
from skmm.sketching.base import Sketch, check_sizes, draw_signs


@dataclass(frozen=True, eq=False)
class GaussianSketch(Sketch):
    r"""The Gaussian map, for which the paper's Theorem 3.1 is stated.

    .. math:: \Gamma_{ij} \sim \mathcal N(0, 1/m)

    Attributes:
        matrix: :math:`\Gamma`, shape ``[r, m]``.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> G = np.random.default_rng(1).standard_normal((6, 50))
        >>> sketch = skmm.GaussianSketch.draw(50, 8, rng=0)
        >>> sketch(G).shape
        (6, 8)
        >>> np.allclose(sketch(G[:2]), sketch(G)[:2])  # one map: rows of all batches compare
        True
    """

    matrix: NDArray[np.float64]

    @classmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws ``r * m`` normals; see `Sketch.draw`."""
        check_sizes(r, m)
        rng = as_generator(rng, "sketch.gaussian")
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

    Example:
        >>> import skmm
        >>> sketch = skmm.RademacherSketch.draw(50, 8, rng=0)
        >>> sketch.signs.nbytes  # of the Gaussian map: 8 * 50 * 8
        400
    """

    signs: NDArray[np.int8]

    @classmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws ``r * m`` signs; see `Sketch.draw`."""
        check_sizes(r, m)
        rng = as_generator(rng, "sketch.rademacher")
        return cls(r, m, draw_signs(rng, r, m))

    def _apply(self, rows: Any) -> Any:
        if is_tensor(rows):
            return rows @ self._like(self.signs, rows) / np.sqrt(self.m)
        # In column blocks, so that the signs are never held as floats all at once.
        out = np.zeros((len(rows), self.m), rows.dtype)
        for part in blocks(self.r, self.m):
            out += rows[:, part] @ self.signs[part].astype(rows.dtype)
        out /= np.sqrt(self.m)
        return out

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        return (rows @ self.signs) / np.sqrt(self.m)
