"""Candidates: the rows of a pool that exchange may choose, against the moments of all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Criterion
from skmm.numerics.ties import first_least
from skmm.rounding.exchange import Exchange, exchange
from skmm.selection.selectors.base import Choice, Pool
from skmm.selection.selectors.coordinates import Measured, Metric

_MOST, _PER_SAMPLE = 1 << 16, 4
"""Rows that may be chosen: all of a pool of so many; of a larger one as many drawn at random, or so
many times the budget."""

_PASS = 1 << 25
"""Swaps that are all tried before a descent ends, of any pool of up to 11,585 rows for one; where
there are more, see `_REACH`."""

_REACH, _SHORTLIST = 2048, 256
"""In a pool of more swaps, samples of each kind among which they are tried at the end, and on a
shortlist: there a pass over the rows is the dear part, and more swaps share it."""

_REST = 0.01
"""What is left to gain there at most, in units of what a uniform draw attains, if each sample were
swapped once more: a swap must gain this share divided by n."""

_SMALL_POOL, _MOST_STARTS = 1 << 16, 32
"""Descents from several random subsets, for pools so small (N n) that they take milliseconds and
that a single descent, with few swaps to choose from, may end in a poor minimum."""


def candidate_count(N: int, count: int) -> int:
    """Returns how many rows of a pool of N may be chosen, for ``count`` samples in all."""
    return min(N, max(_MOST, _PER_SAMPLE * count))


def reach(rows: int, n: int) -> int | None:
    """Returns among how many samples of each kind a descent on n of so many rows tries all swaps.

    ``None``: among all.
    """
    return None if n * (rows - n) <= _PASS else _REACH


def start_count(rows: int, n: int) -> int:
    """Returns from how many random subsets descents start."""
    return max(1, min(_MOST_STARTS, _SMALL_POOL // (rows * n)))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Some rows of a pool, or all, measured, and among them those that are labelled already.

    Attributes:
        measured: Their coordinates.
        rows: Their positions in the pool, ascending; ``None``: all rows.
        kept: Which of them are labelled already.
        N: Pool size.
    """

    measured: Measured
    rows: NDArray[np.intp] | None
    kept: NDArray[np.intp]
    N: int

    @classmethod
    def of(cls, pool: Pool, n: int, metric: Metric, rng: np.random.Generator) -> Candidates:
        """Draws candidates of a large pool; of any other takes all rows."""
        size = candidate_count(pool.N, n + len(pool.kept))
        if size == pool.N:
            return cls(Measured.of(pool.sketched, metric), None, pool.kept, pool.N)
        drawn = rng.choice(pool.others, size - len(pool.kept), replace=False)
        rows = np.sort(np.concatenate([pool.kept, drawn]))
        kept = np.searchsorted(rows, pool.kept)
        return cls(Measured.of(pool.sketched, metric, rows), rows, kept, pool.N)

    @property
    def others(self) -> NDArray[np.intp]:
        """Positions among the candidates that may be chosen, ascending."""
        return np.delete(np.arange(len(self.measured.rows)), self.kept)

    def descend(self, criterion: Criterion, start: NDArray[np.intp]) -> Exchange:
        """Descends from a subset; of many swaps by larger steps, to an end that is nearer."""
        n = len(start) - len(self.kept)
        among = reach(len(self.measured.rows), n)
        if among is None:
            return exchange(criterion, start, fixed=self.kept)
        return exchange(
            criterion,
            start,
            fixed=self.kept,
            shortlist=_SHORTLIST,
            reach=among,
            tolerance=_REST / n,
        )

    def best_exchange(self, criterion: Criterion, n: int, rng: np.random.Generator) -> Exchange:
        """Descends from random subsets; returns the best end."""
        number = start_count(len(self.measured.rows), n)
        starts = [rng.choice(self.others, n, replace=False) for _ in range(number)]
        ends = [self.descend(criterion, np.append(self.kept, start)) for start in starts]
        return ends[first_least(np.array([end.value for end in ends]))]

    def choice(self, end: Exchange, settings: str, *, bound: float = np.nan) -> Choice:
        """Returns the choice, by positions in the pool; a bound holds among the candidates."""
        new = np.setdiff1d(end.indices, self.kept)
        if self.rows is None:
            return Choice(new, end.value, bound, settings)
        settings += f", among {len(self.rows)} of {self.N} samples"
        return Choice(self.rows[new], end.value, settings=settings)
