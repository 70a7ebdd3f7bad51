r"""What a subset is judged by: objectives that exchange descent lowers one swap at a time.

Each criterion is scaled so that its values are of order one, whatever the units of the rows, and
answers three questions about its current subset :math:`S`: what single samples would change (in
O(N m), enough to make a shortlist), what swaps would change (exactly), and what it looks like on a
shortlist alone (so that many swaps can follow one another without touching the pool).

============================  ==========================================================
criterion                     asks of the subset
============================  ==========================================================
`DiagonalShortfall`           no direction covered less than its share (the paper)
`VOptimality`                 least mean variance over directions
`SecondMoment`                the whole second moment, not only its diagonal
`FourthMoment`                the fourth moment, and through it the second
`Coverage`                    every sample of the pool near to one of the subset
`Combination`                 a weighted sum of these
============================  ==========================================================
"""

from skmm.criteria.base import Combination, Criterion
from skmm.criteria.coverage import Coverage
from skmm.criteria.diagonal import DiagonalShortfall
from skmm.criteria.fourth_moment import FourthMoment
from skmm.criteria.second_moment import SecondMoment
from skmm.criteria.variance import VOptimality

__all__ = [
    "Combination",
    "Coverage",
    "Criterion",
    "DiagonalShortfall",
    "FourthMoment",
    "SecondMoment",
    "VOptimality",
]
