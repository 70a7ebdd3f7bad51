r"""Medoids: what a swap does to the similarity of every sample to the subset, kept up to date."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np

from skmm.criteria.base import Criterion, Floats, Indices, blocks


class Nearest(NamedTuple):
    """The selected samples most similar to each of some samples, by their places in the subset."""

    place: Indices
    best: Floats
    next: Indices
    second: Floats

    @classmethod
    def of(cls, similar: Floats) -> Nearest:
        """Finds them in similarities ``[n, samples]``, which are overwritten."""
        samples = np.arange(similar.shape[1])
        place = similar.argmax(axis=0)
        best = similar[place, samples]
        similar[place, samples] = 0.0  # what no second is left for is not covered at all
        next_ = similar.argmax(axis=0)
        return cls(place, best, next_, similar[next_, samples])

    def take(self, samples: Indices | slice) -> Nearest:
        """Returns those of some of the samples."""
        return Nearest._make(array[samples] for array in self)

    def put(self, samples: Indices | slice, nearest: Nearest) -> None:
        """Overwrites those of some of the samples."""
        for array, new in zip(self, nearest, strict=True):
            array[samples] = new


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
    def _at(self, samples: Indices) -> Floats:
        """Returns the subset's similarities to ``samples`` of the pool, to be overwritten."""

    @abstractmethod
    def _tiles(self, samples: Indices) -> Iterator[tuple[slice, slice, Floats]]:
        """Yields tiles of the similarities of ``samples`` to the rows that may enter."""

    @abstractmethod
    def _similar(self, rows: Indices) -> Floats:
        """Returns the similarities of rows that may enter or leave to the pool."""

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
        return cast("Floats", self._cross)[self._line[places][:, None], entering]

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        places = self._place[leaving]
        changes = -self._crossed(places, entering)
        changes += self._lost()[places][:, None]
        changes -= self._gain[entering]
        changes *= self._unit / len(self._nearest.best)
        return changes

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
        samples = samples[np.argsort(near.place[samples], kind="stable")]  # few lines to a tile
        before, after = near.take(samples), self._find(samples)
        near.put(samples, after)
        # What a row gains depends on the best alone, and of many samples only the second changes.
        moved = before.best != after.best
        for part, block, similar in self._tiles(samples):
            for sign, state in ((-1.0, before), (1.0, after)):
                self._count_cross(similar, state.take(part), block, sign)
                changed = state.best[part][moved[part]]
                self._count_gain(similar[moved[part]], changed, block, sign)

    def restrict(self, rows: Indices) -> Shortlist:
        """See `Criterion.restrict`."""
        return Shortlist(self, rows)

    def _find(self, samples: Indices) -> Nearest:
        """Returns the nearest of ``samples`` in the subset as it is."""
        cuts = blocks(len(samples), len(self._line))
        parts = [Nearest.of(self._at(samples[cut])) for cut in cuts]
        parts = parts or [Nearest.of(self._at(samples))]
        return Nearest._make(map(np.concatenate, zip(*parts, strict=True)))

    def _count_gain(self, similar: Floats, best: Floats, block: slice, sign: float) -> None:
        """Adds to the gain of the rows ``block``, or takes away, what they are above the best."""
        over = similar - best[:, None]
        self._gain[block] += sign * np.maximum(over, 0.0, out=over).sum(axis=0)

    def _count_cross(self, similar: Floats, near: Nearest, block: slice, sign: float) -> None:
        """Adds samples' shares of :math:`C` at the rows ``block``, or takes them away."""
        if self._cross is not None:
            add_cross(self._cross, self._line, similar, near, block, sign)


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

    def _at(self, samples: Indices) -> Floats:
        similar = self._whole._at(samples)
        taken = np.flatnonzero(self._entered >= 0)
        similar[taken] = self._held[self._entered[taken][:, None], samples]
        return similar

    def _tiles(self, samples: Indices) -> Iterator[tuple[slice, slice, Floats]]:
        yield slice(None), slice(None), self._held[:, samples].T

    def _similar(self, rows: Indices) -> Floats:
        return self._held[rows]
