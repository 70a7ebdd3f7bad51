r"""Coverage beside a subset that stays: of samples of which only some may come to be chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.criteria.base import Floats, Indices
from skmm.criteria.medoids import Medoids

_STRIP = 1 << 20
"""Entries of the tiles in which similarities are read: 4 MB."""


class CoverageBeside(Medoids):
    r"""How near some samples are to a subset, of which one part is chosen and the other stays.

    .. math:: 1 - \frac1J \sum_j \max\{b_j, \max_{i \in S} k(x_i, x_j)\}

    with :math:`b_j` the largest similarity of sample j to the part that stays. Only candidates are
    in S or may enter it. Swaps are told as `Coverage` tells them, at the price of J samples.

    Args:
        similar: Similarities of the samples to the candidates, ``[J, B]``.
        stays: The two largest similarities of each sample to what stays, ``[2, J]``; 0 where there
            are none.
    """

    _unit = 1.0

    def __init__(self, similar: NDArray[np.floating], stays: NDArray[np.floating]):
        self._similarities: NDArray[Any] = similar
        self._stays = stays.astype(similar.dtype)

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return self._similarities.shape[1]

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        n = len(indices)
        self.inside = np.zeros(self.N, dtype=bool)
        self.inside[indices] = True
        self._place = np.zeros(self.N, dtype=np.intp)
        self._place[indices] = np.arange(n)
        self._line = np.append(np.arange(n), [-1, -1])  # what stays has places, and none leaves
        self._held = np.concatenate([self._similar(indices), self._stays])
        self._gain, self._cross = np.zeros(self.N), np.zeros((n, self.N))
        self._nearest = self._find(np.arange(len(self._similarities)))
        self._count(None, [(1.0, self._nearest)])

    def nearest(self) -> Indices:
        """Returns the candidate of S nearest to each sample; -1 where one that stays is."""
        members = np.flatnonzero(self.inside)
        of_place = np.full(len(self._line), -1)
        of_place[self._place[members]] = members
        return of_place[self._nearest.place]

    def uncovered(self, samples: slice) -> float:
        """Returns the objective of some of the samples alone."""
        return 1.0 - float(self._nearest.best[samples].mean())

    def _enter(self, places: Indices, entering: Indices) -> Floats:
        self._held[places] = self._similar(entering)
        return self._held[places]

    def _at(self, samples: Indices | slice) -> Floats:
        return self._held[:, samples]

    def _tiles(self, samples: Indices | None) -> Iterator[tuple[slice, slice, Floats]]:
        count = len(self._similarities) if samples is None else len(samples)
        step = max(1, _STRIP // max(self.N, 1))
        for start in range(0, count, step):
            part = slice(start, min(start + step, count))
            rows = part if samples is None else samples[part]
            yield part, slice(0, self.N), self._similarities[rows]

    def _similar(self, rows: Indices) -> Floats:
        return np.ascontiguousarray(self._similarities[:, rows].T)
