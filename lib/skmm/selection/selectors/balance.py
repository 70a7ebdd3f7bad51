r"""Balance: cover the pool and match its moments, each in units of what it can gain over chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Combination, Coverage, Criterion, FourthMoment
from skmm.numerics.gaussian import GaussianKernel
from skmm.rounding.exchange import exchange
from skmm.selection.selectors.medoids import cover_greedily

EXPLOITATION = 10.0
"""Weight of matching at n = N, chosen on Stanford Cars and BANKING77 by rows held out of the pool.
There 3 costs 2 points on Stanford Cars at n = 2,000; 30 is level with 10, within a seed's noise."""

TOLERANCE = 1e-6
"""In units of regret times the largest weight: what swaps beyond gain is below 1 % of the regret,
and takes a tenth of the time."""

GAIN = 1e-6
"""A criterion whose best is no further below a uniform draw's cannot tell subsets apart."""


class End(NamedTuple):
    """What a criterion comes to.

    Attributes:
        chance: for uniform draws, on average.
        best: where it is served alone.
    """

    chance: float
    best: float

    def times(self, unit: float) -> End:
        """Returns both in another unit."""
        return End(unit * self.chance, unit * self.best)


class Ends(NamedTuple):
    """Both ends of coverage (similarity that is not covered) and of matching (squared distance)."""

    coverage: End
    moment: End = End(0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Balance:
    r"""The weighted sum of two regrets, coverage's and the fourth moment's.

    .. math:: \frac{f(S) - f_0}{1 - f_0} + w\,\frac{g(S) - g_0}{1 - g_0}, \qquad w = 10\,\frac nN

    with f as in `Coverage` and g as in `FourthMoment`, both 1 for a uniform draw on average, and
    :math:`f_0, g_0` what greedy coverage and an exchange on g alone attain. So each term reads 0
    where it is served alone and 1 where it is left to chance, in any dimension: on features of
    many directions the best coverage is 2 % below a uniform draw's, and no sum of f and g with
    fixed weights would see it.

    While n is small against N, every sample chosen speaks for many that resemble it, and what
    matters is that none is without: exploration. As n grows, coverage goes on to take one sample of
    each tight group, however many the group has, and the moments of the subset move away from the
    pool's: that is when matching has to count for more.

    Attributes:
        criterion: The sum, less its constants.
        least: The constants: what the sum would be if both were served as if alone.
        start: The subset of greedy coverage, after the samples kept.
        kept: Samples that are labelled already. With some, the mean over uniform draws of the rest
            of the subset takes the place of 1.
        weight: :math:`w`.
        ends: Between which both criteria lie, in units of their own; without weight the moment's
            are 0.
    """

    criterion: Criterion
    least: float
    start: NDArray[np.intp]
    kept: NDArray[np.intp]
    weight: float
    ends: Ends

    @classmethod
    def of(
        cls,
        rows: NDArray[np.float64],
        n: int,
        *,
        sigma: float,
        weight: float | None,
        kept: NDArray[np.intp] | None = None,
    ) -> Balance:
        """Prepares the sum for unit rows ``[N, m]``, at the price of a descent on g."""
        kept = np.zeros(0, dtype=np.intp) if kept is None else kept
        N, count = len(rows), len(kept) + n
        weight = EXPLOITATION * count / N if weight is None else weight
        kernel = GaussianKernel(rows, sigma)
        # Before anything else asks for the kernel: one pass of products makes both.
        moment = FourthMoment.of(kernel, rows, count) if weight > 0.0 else None
        start = np.concatenate([kept, cover_greedily(kernel, n, kept=kept)])
        coverage = Coverage.of(kernel, count)
        best = [(1.0, coverage, coverage.value_of(start))]
        if moment is not None:
            best.append((weight, moment, exchange(moment, start, fixed=kept).value))
        ends = [End(one.chance(kept), value) for _, one, value in best]
        units = [share * _per_gain(end) for (share, _, _), end in zip(best, ends, strict=True)]
        terms = [(unit, one) for unit, (_, one, _) in zip(units, best, strict=True)]
        least = sum(unit * end.best for unit, end in zip(units, ends, strict=True))
        own = Ends(*(end.times(one.unit) for (_, one, _), end in zip(best, ends, strict=True)))
        return cls(Combination(terms), least, start, kept, weight, own)

    def descend(self) -> tuple[NDArray[np.intp], float]:
        """Descends from greedy coverage; returns what is new and the sum of regrets with all."""
        end = exchange(self.criterion, self.start, fixed=self.kept, tolerance=TOLERANCE)
        return np.setdiff1d(end.indices, self.kept), end.value - self.least


def _per_gain(end: End) -> float:
    """Returns the unit of a criterion: 0 where nothing beats a uniform draw."""
    return 1.0 / (end.chance - end.best) if end.chance - end.best > GAIN else 0.0
