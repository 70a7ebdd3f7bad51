"""One part of a data set a seed: the pool that all methods of that seed select from, its test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator

if TYPE_CHECKING:
    from skmm_study.pools.compact import CompactPool


@dataclass(frozen=True, eq=False)
class Subsample:
    """The rows that one seed selects from and is tested on, as positions in the whole data set.

    Attributes:
        pool: training rows of the seed's pool, ascending.
        rest: the training rows outside of it, ascending: what a knob may be chosen on.
        test: test rows, ascending.
    """

    pool: NDArray[np.intp]
    rest: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Subsamples:
    """A data set of which every seed sees a random part, drawn without replacement.

    Intervals over seeds then speak of the draw of the data too, and not of one pool alone.

    Attributes:
        data: features and labels of the whole data set.
        share: part of the training and of the test rows that a seed sees.
        rows: size of a seed's pool, in place of the share of the training rows.

    Raises:
        ValueError: ``share`` lies outside (0, 1], or ``rows`` outside ``1..N``.
    """

    data: CompactPool
    share: float = 0.8
    rows: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share!r}; 0.8 is usual")
        hint = "they are drawn from the training rows"
        check_integer(self.size, "rows", low=1, high=len(self.data.pool), hint=hint)

    @property
    def size(self) -> int:
        """Rows of a seed's pool."""
        return round(self.share * len(self.data.pool)) if self.rows is None else self.rows

    def of(self, seed: int) -> Subsample:
        """Returns the rows of a seed; no method and no budget has a say in them."""
        rng = as_generator(seed, "subsample")
        order, tests = (rng.permutation(len(part)) for part in (self.data.pool, self.data.test))
        tests = tests[: max(1, round(self.share * len(tests)))]
        parts = (order[: self.size], order[self.size :], tests)
        return Subsample(*(np.sort(part) for part in parts))


def draw_seed(seed: int, draw: int) -> int:
    """Returns the ``rng`` of `skmm.select` for a draw of a seed: the seed itself for the first."""
    if draw == 0:
        return seed
    return int(as_generator(seed, "draws of a seed").integers(1 << 31, size=draw)[-1])
