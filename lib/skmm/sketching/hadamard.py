"""The subsampled randomised Hadamard transform, whose matrix is never made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import is_tensor
from skmm.numerics.streams import as_generator
from skmm.sketching.base import Sketch, check_sizes, draw_signs


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

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> sketch = skmm.SRHT.draw(64, 64, rng=0)
        >>> x = np.arange(64.0)
        >>> np.allclose(sketch(x) @ sketch(x), x @ x)  # m = r: a rotation
        True

    References:
        Tropp (2011), https://arxiv.org/abs/1011.1595
    """

    signs: NDArray[np.int8]
    columns: NDArray[np.int64]

    @classmethod
    def draw(cls, r: int, m: int, *, rng: int | np.random.Generator) -> Self:
        """Draws ``r`` signs and ``m`` distinct columns; see `Sketch.draw`."""
        check_sizes(r, m)
        rng = as_generator(rng, "sketch.srht")
        padded = 1 << (r - 1).bit_length()
        return cls(r, m, draw_signs(rng, r), rng.choice(padded, m, replace=False, shuffle=False))

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
        out = zeros(len(rows), self.m)
        for part in blocks(len(rows), padded_size, least=16):
            block = rows[part]
            padded = zeros(len(block), padded_size)
            padded[:, : self.r] = block * signs
            digits = hadamard @ padded.reshape(-1, len(small)).T
            digits = digits.reshape(len(small), len(block), -1)
            for digit, (outputs, factor) in enumerate(factors):
                out[part, outputs] = digits[digit] @ factor
        out /= np.sqrt(self.m)
        return out
