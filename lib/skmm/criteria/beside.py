r"""Coverage beside a subset that stays: of samples of which only some may come to be chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.criteria.base import Floats, Indices, blocks
from skmm.criteria.medoids import Medoids
from skmm.numerics.gaussian import GaussianKernel

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
        self._candidates = np.arange(similar.shape[1])
        self._nearest_other = np.full(len(similar), -1)

    @classmethod
    def of(
        cls, kernel: GaussianKernel, candidates: Indices, served: Indices, others: Indices
    ) -> CoverageBeside:
        """Returns the criterion of rows of a kernel, in single precision.

        Args:
            kernel: Similarities of all rows below.
            candidates: Rows that may be chosen. They are samples, too.
            served: Further samples.
            others: Rows chosen that stay.
        """
        size = len(candidates)
        similar = np.empty((size + len(served), size), np.float32)
        kernel.among(candidates, similar[:size])
        for part, block, tile in kernel.tiles(served, candidates):
            similar[size + part.start : size + part.stop, block] = tile
        stays, nearest = _best_two(kernel, others, np.concatenate([candidates, served]))
        criterion = cls(similar, stays)
        criterion._candidates, criterion._nearest_other = candidates, nearest
        return criterion

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
        """Returns the row nearest to each sample, of those chosen and those that stay: ``[J]``."""
        members = np.flatnonzero(self.inside)
        of_place = np.full(len(self._line), -1)
        of_place[self._place[members]] = self._candidates[members]
        own = of_place[self._nearest.place]
        return np.where(own < 0, self._nearest_other, own)

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


def _best_two(kernel: GaussianKernel, others: Indices, samples: Indices) -> tuple[Floats, Indices]:
    """Returns the two largest similarities of samples to others, ``[2, J]``, and the nearest."""
    best, nearest = np.zeros((2, len(samples))), np.full(len(samples), -1)
    for cut in blocks(len(others), len(samples)):
        similar = np.concatenate([best, kernel.block(others[cut], samples)])
        first = similar.argmax(axis=0)
        nearest = np.where(first < 2, nearest, others[cut][np.maximum(first - 2, 0)])
        best = np.partition(similar, len(similar) - 2, axis=0)[:-3:-1]
    return best, nearest
