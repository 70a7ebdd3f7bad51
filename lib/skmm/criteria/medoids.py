r"""Medoids: what a swap does to the similarity of every sample to the subset, kept up to date."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple, cast

import numpy as np

from skmm.criteria.base import Criterion, Cross, Floats, Indices, blocks, gather

_FEW = 8
"""One by one is faster than whole tiles if no more than one of so many entries counts."""


class Nearest(NamedTuple):
    """The selected samples most similar to each of some samples, by their places in the subset."""

    place: Indices
    best: Floats
    next: Indices
    second: Floats

    @classmethod
    def of(cls, similar: Floats) -> Nearest:
        """Finds them in similarities ``[n, samples]``."""
        samples = np.arange(similar.shape[1])
        similar = np.array(similar.T, order="C")  # a sample's similarities side by side
        place = similar.argmax(axis=1)
        best = similar[samples, place].astype(np.float64)
        similar[samples, place] = 0.0  # what no second is left for is not covered at all
        next_ = similar.argmax(axis=1)
        return cls(place, best, next_, similar[samples, next_].astype(np.float64))

    def joined(self, similar: Floats, places: Indices) -> Nearest:
        """Returns the nearest if there are also ``places``, so similar: ``[places, samples]``."""
        among = Nearest.of(np.vstack([self.best, self.second, similar]))
        new = np.broadcast_to(places[:, None], similar.shape)
        known, samples = np.vstack([self.place, self.next, new]), np.arange(similar.shape[1])
        place, next_ = known[among.place, samples], known[among.next, samples]
        return Nearest(place, among.best, next_, among.second)

    def take(self, samples: Indices | slice) -> Nearest:
        """Returns those of some of the samples."""
        return Nearest._make(array[samples] for array in self)

    def put(self, samples: Indices | slice, nearest: Nearest) -> None:
        """Overwrites those of some of the samples."""
        for array, new in zip(self, nearest, strict=True):
            array[samples] = new


States = Sequence[tuple[float, Nearest]]
"""What is nearest to samples: after a change with sign 1, and before it with -1."""


class Medoids(Criterion):
    r"""What the whole pool and a shortlist have in common: the bookkeeping of a swap.

    When i leaves and x enters, a sample j whose nearest is not i gains what x is better than its
    best; one whose nearest is i has its second or x. In sums over the pool, the covered similarity
    changes by :math:`G_x - R_i + C_{ix}`:

    .. math:: G_x = \sum_j (k_{xj} - b_j)_+, \quad
              R_i = \sum_{j \in V_i} (b_j - c_j), \quad
              C_{ix} = \sum_{j \in V_i} \min\{(k_{xj} - c_j)_+,\, b_j - c_j\}

    with :math:`b_j \ge c_j` the largest and second largest similarity of j to the subset and
    :math:`V_i` the samples nearest to i.

    Attributes:
        _nearest: of each sample of the pool, ``[N]`` each.
        _gain: :math:`G`, one for each row that may enter.
        _cross: :math:`C`, a line for each place that may leave, or ``None``: made when asked for.
        _place: the place in the subset of each row; of those outside it has no meaning.
        _line: the line in ``_cross`` of each place, -1 for places that cannot leave: ``[n]``.
    """

    _nearest: Nearest
    _gain: Floats
    _cross: Floats | None
    _place: Indices
    _line: Indices
    _unit: float

    @abstractmethod
    def _enter(self, places: Indices, entering: Indices) -> Floats:
        """Puts ``entering`` in ``places``; returns their similarities to the pool."""

    @abstractmethod
    def _at(self, samples: Indices | slice) -> Floats:
        """Returns the subset's similarities to ``samples`` of the pool, as they are held."""

    @abstractmethod
    def _tiles(self, samples: Indices | None) -> Iterator[tuple[slice, slice, Floats]]:
        """Yields tiles of the similarities of ``samples``, or of all, to the rows that may enter.

        In the precision that they are held in, and not to be written to.
        """

    @abstractmethod
    def _similar(self, rows: Indices) -> Floats:
        """Returns the similarities to the pool of rows that may move, as they are held."""

    def value(self) -> float:
        """See `Criterion.value`."""
        return (1.0 - float(self._nearest.best.mean())) * self._unit

    def scale(self) -> float:
        """See `Criterion.scale`; similarities are of order one, and the unit is less."""
        return max(1.0, self._unit)

    def _lost(self) -> Floats:
        near = self._nearest
        lost = np.bincount(near.place, near.best - near.second, minlength=len(self._line))
        return lost.astype(np.float64, copy=False)  # as it is: a sum of weights

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        share = self._unit / len(self._nearest.best)
        return share * self._lost()[self._place], -share * self._gain

    def _crossed(self, places: Indices, entering: Indices) -> Floats:
        return gather(cast("Floats", self._cross), self._line[places], entering)

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        places = self._place[leaving]
        share = self._unit / len(self._nearest.best)
        changes = self._crossed(places, entering)
        changes *= -share
        changes += share * self._lost()[places][:, None]
        changes -= share * self._gain[entering]
        return changes

    def crosses(self) -> list[Cross] | None:
        """See `Criterion.crosses`."""
        share = self._unit / len(self._nearest.best)
        if self._cross is None:
            return None
        return [Cross(-share, self._cross, self._line[self._place])] if share else []

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        places = self._place[leaving]
        self.inside[leaving] = False
        self.inside[entering] = True
        self._place[entering] = places
        coming = self._enter(places, entering)
        # Only those samples change whose nearest or next left, or to which one that enters is near.
        near, gone = self._nearest, np.zeros(len(self._line), dtype=bool)
        gone[places] = True
        samples = np.flatnonzero(
            (coming > near.second).any(axis=0) | gone[near.place] | gone[near.next]
        )
        before = near.take(samples)
        stay = ~(gone[before.place] | gone[before.next])
        after = Nearest._make(np.empty_like(array) for array in before)
        after.put(~stay, self._find(samples[~stay]))
        after.put(stay, before.take(stay).joined(coming[:, samples[stay]], places))
        near.put(samples, after)
        self._count(samples, [(-1.0, before), (1.0, after)])

    def restrict(self, rows: Indices) -> Shortlist:
        """See `Criterion.restrict`."""
        return Shortlist(self, rows)

    def _find(self, samples: Indices | None) -> Nearest:
        """Returns the nearest of ``samples``, or of all, in the subset as it is."""
        count = len(self._gain) if samples is None else len(samples)
        cuts = blocks(count, len(self._line)) or [slice(0)]
        parts = [Nearest.of(self._at(cut if samples is None else samples[cut])) for cut in cuts]
        return Nearest._make(map(np.concatenate, zip(*parts, strict=True)))

    def _count(self, samples: Indices | None, states: States) -> None:
        r"""Adds what samples bring to G and C in states of theirs, or takes it away.

        Nothing is brought by a similarity that is not above the second largest: of many selected
        all but about two in n. The others are sought in the precision that they are held in, and
        counted one by one; where they are many, whole tiles are.
        """
        floor = reduce(np.minimum, (state.second for _, state in states))
        for part, block, similar in self._tiles(samples):
            above = similar > floor[part, None].astype(similar.dtype)
            near = [(sign, state.take(part)) for sign, state in states]
            if _FEW * np.count_nonzero(above) < above.size:
                sample, row = np.divmod(np.flatnonzero(above), similar.shape[1])
                of_each = [(sign, state.take(sample)) for sign, state in near]
                found = similar[sample, row].astype(np.float64)
                self._count_few(found, of_each, block.start + row)
                continue
            # Narrow ones: what follows stays in the cache.
            for cut in blocks(similar.shape[1], 4 * len(similar)):
                tile = similar[:, cut].astype(np.float64)
                start = block.start + cut.start
                self._count_all(tile, near, slice(start, start + tile.shape[1]))

    def _count_few(self, similar: Floats, states: States, rows: Indices) -> None:
        """Counts similarities of samples, each in states of its own, to one of the rows."""
        over = sum(sign * np.maximum(similar - state.best, 0.0) for sign, state in states)
        np.add.at(self._gain, rows, over)
        if self._cross is None:
            return
        for sign, state in states:
            lines = self._line[state.place]
            some = np.flatnonzero((lines >= 0) & (similar > state.second))
            shares = np.minimum(similar, state.best)[some] - state.second[some]
            # By places in the whole: NumPy adds at one index far faster than at pairs.
            places = lines[some] * self._cross.shape[1] + rows[some]
            np.add.at(self._cross.reshape(-1), places, sign * shares)

    def _count_all(self, similar: Floats, states: States, block: slice) -> None:
        """Counts similarities ``[samples, rows]`` of samples in states of theirs to a block."""
        # What a row gains depends on the best alone, and of many samples only the second changes.
        first, last = states[0][1].best, states[-1][1].best
        moved = slice(None) if len(states) == 1 else np.flatnonzero(first != last)
        for sign, near in states:
            over = similar[moved] - near.best[moved, None]
            self._gain[block] += sign * np.maximum(over, 0.0, out=over).sum(axis=0)
        if self._cross is None:
            return
        for sign, state in states:
            add_cross(self._cross, self._line, similar, state, block, sign)


def add_cross(
    cross: Floats, line: Indices, similar: Floats, near: Nearest, block: slice, sign: float
) -> None:
    """Adds the samples' shares of :math:`C` to the lines of their nearest, if those have any."""
    lines = line[near.place]
    order = np.argsort(lines, kind="stable")[np.count_nonzero(lines < 0) :]
    if len(order) == 0:
        return
    shares, second = similar[order], near.second[order, None]
    np.clip(shares, second, near.best[order, None], out=shares)
    shares -= second
    filled, starts = np.unique(lines[order], return_index=True)
    cross[filled, block] += sign * np.add.reduceat(shares, starts, axis=0)


class Shortlist(Medoids):
    """Coverage of the whole pool while only some rows may leave or enter."""

    def __init__(self, whole: Medoids, rows: Indices):
        self._whole, self._unit = whole, whole._unit
        self.inside = whole.inside[rows]
        self._place = whole._place[rows]
        self._nearest = Nearest._make(array.copy() for array in whole._nearest)
        inside = np.flatnonzero(self.inside)
        places = self._place[inside]
        self._line = np.full(len(whole._line), -1)
        self._line[places] = np.arange(len(places))
        self._gain = whole._gain[rows]
        self._cross = whole._crossed(places, rows)
        # All rows are held, for any of them may come to be in the subset.
        self._held = whole._similar(rows)
        self._entered = np.full(len(whole._line), -1)  # the row that took a place, if one did

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return len(self.inside)

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`; what is selected beyond the shortlist stays."""
        before = np.flatnonzero(self.inside)
        self.swap(np.setdiff1d(before, indices), np.setdiff1d(indices, before))

    def _enter(self, places: Indices, entering: Indices) -> Floats:
        self._entered[places] = entering
        return self._held[entering]

    def _at(self, samples: Indices | slice) -> Floats:
        similar = self._whole._at(samples)
        taken = np.flatnonzero(self._entered >= 0)
        similar[taken] = self._held[self._entered[taken][:, None], samples]
        return similar

    def _tiles(self, samples: Indices | None) -> Iterator[tuple[slice, slice, Floats]]:
        similar = self._held if samples is None else self._held[:, samples]
        yield slice(None), slice(0, self.N), similar.T

    def _similar(self, rows: Indices) -> Floats:
        return self._held[rows]
