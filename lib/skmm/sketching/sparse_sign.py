"""The sparse sign map, whose matrix has a few entries a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import check_integer, is_tensor
from skmm.numerics.streams import as_generator
from skmm.sketching.base import Sketch, check_sizes, draw_signs

_STRETCH = 32_768, 128
"""Places of a stretch at least, and for each output: the sum of the stretches stays in a core's
cache, and coordinates that meet in it add less than a hundredth to the squared error."""
_CHUNK = 16, 4
"""Places of a chunk at most, and numbers of a row for each partial sum at least: there are ``m``
for each place of a chunk, cleared and added up for every row."""
_PIECE = 32_768
"""Places that are signed and added at once: 128 kB of float32, of which a cache holds a few."""
_ROWS = 32, 4
"""Short rows that lie side by side, so that an addition is long; groups that share a conversion of
the signs."""


@dataclass(frozen=True, eq=False)
class SparseSignSketch(Sketch):
    r"""The sparse sign map (OSNAP): each input coordinate goes to a few output coordinates.

    .. math:: \Gamma_{p,\,(t_{ck} + i) \bmod m} = \frac{d_p\, e_{ck}}{\sqrt s},
              \qquad k = 1 \dots s

    for a coordinate :math:`p` that has place :math:`i` in chunk :math:`c`. Its sign is its own;
    its chunk of up to 16 neighbours shares ``s = nonzeros`` distinct offsets, a uniform choice of
    the ``m`` outputs, and their signs. A row long enough for several stretches of :math:`R` places,
    of at least ``128 m`` and 32,768, is first cut into these; they are signed, each rotated by an
    amount of its own, and added, and their sum is what is cut into chunks. One nonzero is the
    CountSketch, in which two dominant coordinates may meet, and one cancel the other.

    Inner products are unbiased, and

    .. math:: \mathbb E\,\bigl(\langle x\Gamma, y\Gamma\rangle - \langle x, y\rangle\bigr)^2
              = \sum_{p<q} (x_p y_q + x_q y_p)^2\, a_{pq}, \qquad
              a_{pq} \le \frac1m + \frac1R .

    :math:`a = 1/m`, as of independent entries, where chunks differ, :math:`(1 - 1/s)/(m-1)`, which
    is no more, within a chunk, and :math:`1/R` is added between stretches only.

    Shared offsets and stretches are this library's choice, for speed: neighbours are added as one
    vector, and only the sum of the stretches goes to ``s`` outputs. The price is that collisions
    come in runs of neighbours, and that two coordinates of different stretches fall wholly together
    with probability :math:`1/R`.

    Attributes:
        signs: :math:`d_p`, shape ``[r]``, ``int8``.
        shifts: Places by which the stretches are rotated, an integer each.
        offsets: :math:`t_{ck}`, shape ``[chunks, nonzeros]``, ``int32``, distinct in each chunk.
        offset_signs: :math:`e_{ck}`, of the same shape, ``int8``.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> sketch = skmm.SparseSignSketch.draw(50, 8, rng=0, nonzeros=2)
        >>> set(np.count_nonzero(sketch(np.eye(50)), axis=1).tolist())
        {2}

    References:
        Nelson and Nguyen (2013), https://arxiv.org/abs/1211.1002
    """

    signs: NDArray[np.int8]
    shifts: NDArray[np.int64]
    offsets: NDArray[np.int32]
    offset_signs: NDArray[np.int8]

    @classmethod
    def draw(
        cls, r: int, m: int, *, rng: int | np.random.Generator, nonzeros: int | None = None
    ) -> Self:
        """Draws ``r`` signs, and offsets and signs of the chunks (``nonzeros``: ``min(8, m)``)."""
        check_sizes(r, m)
        rng = as_generator(rng, "sketch.sparse-sign")
        s = min(8, m) if nonzeros is None else nonzeros
        check_integer(s, "nonzeros", low=1, high=m, hint="they go to distinct outputs")
        stretches = max(1, r // max(_STRETCH[0], _STRETCH[1] * m))
        R = -(-r // stretches)
        chunks = -(-R // _chunk_length(R, m))
        signs = draw_signs(rng, r)
        # A single stretch needs no rotation: nothing is added to it.
        shifts = rng.integers(0, R, stretches) if stretches > 1 else np.zeros(1, np.int64)
        # Floyd's choice without replacement: an output that is taken already gives way to the
        # newest candidate, and all subsets are equally likely.
        offsets = np.empty((chunks, s), np.int32)
        for k, newest in enumerate(range(m - s, m)):
            drawn = rng.integers(0, newest + 1, chunks, dtype=np.int32)
            taken = np.any(offsets[:, :k] == drawn[:, None], axis=1)
            offsets[:, k] = np.where(taken, newest, drawn)
        return cls(r, m, signs, shifts, offsets, draw_signs(rng, chunks, s))

    @property
    def _places(self) -> int:
        return -(-self.r // len(self.shifts))

    @property
    def _length(self) -> int:
        return _chunk_length(self._places, self.m)

    @property
    def _scale(self) -> float:
        return 1 / np.sqrt(self.offsets.shape[1])

    @cached_property
    def _pieces(self) -> list[tuple[slice, slice]]:
        """Coordinates, and the places of the stretches' sum that they are added to, in order."""
        R, pieces = self._places, []
        for stretch, shift in enumerate(self.shifts.tolist()):
            start, stop = stretch * R, min((stretch + 1) * R, self.r)
            turn = min(start + R - shift, stop)
            for low, high, place in ((start, turn, shift), (turn, stop, 0)):
                for i in range(low, high, _PIECE):
                    source = slice(i, min(i + _PIECE, high))
                    pieces.append((source, slice(place + i - low, place + source.stop - low)))
        return pieces

    def _position(self, coordinates: NDArray[np.integer]) -> NDArray[np.integer]:
        """Returns the places of the stretches' sum that coordinates are added to."""
        stretch, place = np.divmod(coordinates, self._places)
        return (place + self.shifts[stretch]) % self._places

    def _outputs(self, places: NDArray[np.integer]) -> tuple[NDArray, NDArray[np.int8]]:
        """Returns where places of the stretches' sum go, and by which signs, ``[P, nonzeros]``."""
        chunk, i = np.divmod(places, self._length)
        return (self.offsets[chunk] + i[:, None]) % self.m, self.offset_signs[chunk]

    def _folds(self, rows: Any) -> tuple[Any, Any]:
        """What adds up stretches, and their sum's places, in the kind of ``rows``."""
        key = "folds", rows.device, rows.dtype
        if key not in self._moved:
            from skmm.sketching.fold import Fold

            kind, R = {"dtype": rows.dtype, "device": rows.device}, self._places
            stretches = Fold(self._position(np.arange(self.r)), self.signs, R, **kind)
            self._moved[key] = stretches, Fold(*self._outputs(np.arange(R)), self.m, **kind)
        return self._moved[key]

    def _apply(self, rows: Any) -> Any:
        return self._apply_tensor(rows) if is_tensor(rows) else self._apply_array(rows)

    def _apply_tensor(self, rows: Any) -> Any:
        import torch

        # No scatter: on a GPU it would add in another order each time. There, many small steps
        # take longer than memory does.
        stretches, places = self._folds(rows)
        width = max(self.r, self.offsets.shape[1] * self._places)
        least = 1 if rows.device.type == "cpu" else 8
        parts = [
            places(stretches(rows[part].unsqueeze(-1))).squeeze(-1)
            for part in blocks(max(1, len(rows)), width, least=least)
        ]
        return torch.cat(parts) * self._scale

    def _apply_array(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        (count, nonzeros), R, L = self.offsets.shape, self._places, self._length
        dtype = rows.dtype
        # SciPy adds signed chunks to the rows of its result, one after the other. Entries of 1
        # make the products exact, so that a row has the same bits in every batch.
        starts = np.arange(0, nonzeros * count + 1, nonzeros)
        entries = self.offset_signs.ravel().astype(dtype)
        placed = scipy.sparse.csc_array((entries, self.offsets.ravel(), starts), (self.m, count))
        long = R > _PIECE or len(self.shifts) > 1
        side = 1 if long else min(max(_ROWS[0] // 4, 4 * _PIECE // R), _ROWS[0])
        out = np.empty((len(rows), self.m), dtype)
        for i in range(0, len(rows), side * _ROWS[1]):
            ends = range(i, min(i + side * _ROWS[1], len(rows)), side)
            groups = [rows[j : j + side].T for j in ends]
            sums = [np.zeros((count * L, group.shape[1]), dtype) for group in groups]
            for source, target in self._pieces:
                signs = self.signs[source, None].astype(dtype)
                for group, total in zip(groups, sums, strict=True):
                    total[target] += group[source] * signs
            for j, total in zip(ends, sums, strict=True):
                partial = (placed @ total.reshape(count, -1)).reshape(self.m, L, -1)
                out[j : j + side] = _along_offsets(partial).T
        out *= self._scale
        return out

    def _matrix(self, coordinates: NDArray[np.integer]) -> scipy.sparse.csr_array:
        """Returns some rows of the map."""
        columns, signs = self._outputs(self._position(coordinates))
        entries = self.signs[coordinates, None] * signs * self._scale
        starts = np.arange(0, columns.size + 1, columns.shape[1])
        return scipy.sparse.csr_array(
            (entries.ravel(), columns.ravel(), starts), (len(coordinates), self.m)
        )

    def _apply_sparse(self, rows: scipy.sparse.csr_array) -> NDArray[np.floating]:
        touched, where = np.unique(rows.indices, return_inverse=True)
        narrow = scipy.sparse.csr_array(
            (rows.data, where, rows.indptr), (rows.shape[0], len(touched))
        )
        return (narrow @ self._matrix(touched)).toarray()


def _chunk_length(R: int, m: int) -> int:
    """Places of a chunk: at most half of the outputs, so that offsets meet in one way only."""
    return max(1, min(_CHUNK[0], (m + 1) // 2, R // (_CHUNK[1] * m)))


def _along_offsets(partial: NDArray[np.floating]) -> NDArray[np.floating]:
    """Adds up partial sums ``[m, L, B]`` by offset and place in the chunk, to ``[m, B]``."""
    m, L, count = partial.shape
    out = np.zeros((m + L - 1, count), partial.dtype)
    for i in range(L):
        out[i : i + m] += partial[:, i]
    out[: L - 1] += out[m:]
    return out[:m]
