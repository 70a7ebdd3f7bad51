r"""Seams: what cells of a large pool do not see of each other, mended cell by cell.

A cell that is chosen from by itself covers rows that a sample beyond it covers already, and does
not know which rows beyond it its own samples serve. So each is looked at once more, beside the
samples of the cells around it: exchange goes on from what was chosen, with the same budget, on the
sum of both regrets in units of the whole pool. Coverage counts the cell's rows, and those around it
that one of its samples is nearest to. The moment is that of the whole pool where the pool is small;
of a large one it stays that of the cell, for cells that are matched each by itself are matched
together. Cells that are near to each other take turns: of two that move
at once, each would leave to the other what one of them has to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Combination, FourthMoment
from skmm.criteria.beside import CoverageBeside
from skmm.numerics.blocks import blocks
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.ties import TIE
from skmm.rounding.exchange import exchange
from skmm.selection.selectors.balance import GAIN, TOLERANCE, End
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.placing import Rows, each
from skmm.selection.selectors.stratified import Cell, Chosen, choose_in

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

AROUND = 16
"""Cells around a cell whose samples it is looked at beside. Of 100,000 rows in 40 cells, 8 around
bring coverage from 0.749 of a uniform draw's to 0.702, 16 to 0.686 and 32 to 0.680; more cost
little time, but leave fewer cells to be mended at once."""

WHOLE, SWEEPS = 23_170, 2
"""Rows of a pool whose whole moment is matched, at a product of all rows with themselves; and how
often cells are then mended, for all is seen of what one does to another."""

SERVED = 1
"""Rows beyond a cell that its samples serve, for each row of its own, at most: of more, so many are
counted, evenly spaced. Of a million rows in 482 cells none had more than 0.65."""

_DIGITS = 9
"""To which distances of centers are rounded, so that equal ones go by their place."""


@dataclass(frozen=True, eq=False)
class Patch:
    """One cell and what matters to it of those around.

    Attributes:
        members: The rows that are read, positions in the pool, ascending.
        cell: Which of them are the cell's: places in ``members``, as all that follow.
        served: Rows beyond the cell that one of its samples is nearest to.
        own: The cell's samples.
        others: Samples of the cells around it.
        kept: Which of ``own`` are labelled already.
        metric: What rows are measured in.
        sigma: Width of the kernel.
        weights: Of the similarity that is not covered, on average over the cell's rows, and of the
            squared distance of the moment.
        whole: What each row of the cell is to the pool's moment, and the unit of its distance, if
            that is matched, and not the cell's: ``others`` are all samples then.
    """

    members: Indices
    cell: Indices
    served: Indices
    own: Indices
    others: Indices
    kept: Indices
    metric: Metric
    sigma: float
    weights: tuple[float, float]
    whole: tuple[Floats, float] | None = None


class Mended(NamedTuple):
    """What came of a patch.

    Attributes:
        own: The cell's samples, places in the patch's members, ascending.
        nearest: The sample nearest to each row of the cell and each served, places as well.
        uncovered: Similarity that is not covered, on average over the cell's rows.
        gap: Squared distance of the cell's moment, if that is matched, else 0.
    """

    own: Indices
    nearest: Indices
    uncovered: float
    gap: float


def nearest(rows: Rows, patch: Patch) -> Indices:
    """Returns the sample nearest to each row of a cell, among its own and those around it.

    Of samples equally near, up to rounding, the first.

    Returns:
        Places in ``patch.members``, one for each of ``patch.cell``.
    """
    kernel = GaussianKernel(patch.metric(rows[patch.members]), patch.sigma, hold=False)
    samples = np.sort(np.concatenate([patch.own, patch.others]))
    if len(samples) == 0:
        return np.full(len(patch.cell), -1)
    found = []
    for cut in blocks(len(patch.cell), len(samples)):
        similar = kernel.block(patch.cell[cut], samples)
        first = (similar >= similar.max(axis=1, keepdims=True) - TIE).argmax(axis=1)
        found.append(samples[first])
    return np.concatenate(found)


def mend(rows: Rows, patch: Patch) -> Mended:
    """Goes on with the exchange in one cell, beside the samples around it."""
    coordinates = patch.metric(rows[patch.members])
    kernel = GaussianKernel(coordinates, patch.sigma, hold=False)
    coverage = CoverageBeside.of(kernel, patch.cell, patch.served, patch.others)
    inside, n = coordinates[patch.cell], len(patch.own)
    if patch.whole is None:
        moment = FourthMoment(inside, n)
        unit = moment.unit
    else:
        (pull, unit), others = patch.whole, coordinates[patch.others]
        moment = FourthMoment.beside(inside, n, pull=pull, others=others, unit=unit)
    of_coverage, of_moment = patch.weights
    counted = len(patch.cell) + len(patch.served)
    terms = [
        (of_coverage * counted / len(patch.cell), coverage),
        (of_moment * unit, moment),
    ]
    own, kept = (np.searchsorted(patch.cell, places) for places in (patch.own, patch.kept))
    end = exchange(Combination(terms), own, fixed=kept, tolerance=TOLERANCE)
    return Mended(
        patch.cell[end.indices],
        coverage.nearest(),
        coverage.uncovered(slice(len(patch.cell))),
        moment.value() * unit if patch.whole is None else 0.0,
    )


def around(centers: Floats) -> list[Indices]:
    """Returns the cells nearest to each, ascending; of those equally near the first."""
    squares, near = np.einsum("ij,ij->i", centers, centers), []
    for cut in blocks(len(centers), len(centers)):
        distances = squares[cut, None] - 2.0 * (centers[cut] @ centers.T) + squares
        distances[np.arange(len(distances)), np.arange(len(centers))[cut]] = -np.inf  # itself
        order = np.argsort(np.round(distances, _DIGITS), axis=1, kind="stable")
        near += [np.sort(one[1 : 1 + AROUND]) for one in order]
    return near


def turns(near: Sequence[Indices]) -> list[Indices]:
    """Shares cells among turns such that none is near to another of its turn, greedily in order."""
    related: list[set[int]] = [set(of.tolist()) for of in near]
    for one, of in enumerate(near):
        for other in of.tolist():
            related[other].add(one)
    turn = np.full(len(near), -1)
    for one, of in enumerate(related):
        taken = {int(turn[other]) for other in of}
        turn[one] = next(k for k in range(len(near)) if k not in taken)
    return [np.flatnonzero(turn == k) for k in range(int(turn.max()) + 1)]


def choose_in_cells(rows: Rows, cells: Sequence[Cell]) -> tuple[Indices, float]:
    """Chooses from all cells, each by itself, and mends for the balance what they do not see.

    Returns:
        The subset, ascending, without what is kept, and the mean of the criterion over the rows, in
        each cell as it was when that was left.
    """
    chosen = each(choose_in, rows, cells)
    new = [cell.members[one.indices] for cell, one in zip(cells, chosen, strict=True)]
    sizes = np.array([len(cell.members) for cell in cells])
    value = float(np.average([one.value for one in chosen], weights=sizes))
    if cells[0].criterion == "balanced":
        seams = _Seams(rows, cells, chosen, new)
        if seams.of_coverage > 0.0:
            new, value = seams.mend()
    return np.sort(np.concatenate(new)), value


class _Seams:
    r"""A subset that is chosen cell by cell, and its cells as they lie to each other.

    With shares :math:`p_c` of the rows, what the pool has uncovered is :math:`\sum_c p_c f_c`. The
    squared distance of its moment is known where the pool is small and all cells are around each
    other; else it is :math:`\sum_c p_c^2 g_c`, for gaps of cells that are matched each by itself
    add up as independent ones do. A regret is in units of what these gain over chance.
    """

    def __init__(
        self, rows: Rows, cells: Sequence[Cell], chosen: Sequence[Chosen], new: Sequence[Indices]
    ):
        self._rows, self._cells = rows, cells
        self._kept = [cell.members[cell.kept] for cell in cells]
        self._subsets = [np.union1d(*of) for of in zip(self._kept, new, strict=True)]
        self._near = around(np.array([one.center for one in chosen]))
        self._nearest = np.full(len(rows), -1)
        sizes = np.array([len(cell.members) for cell in cells])
        p = self._shares = sizes / sizes.sum()
        self._covered = End(*(p @ np.array([one.ends.coverage for one in chosen])))
        self._matched = End(*(p**2 @ np.array([one.ends.moment for one in chosen])))
        self._whole: FourthMoment | None = None
        if sizes.sum() <= WHOLE and len(cells) <= AROUND + 1 and self._matched.chance > 0.0:
            self._take_whole()
        self.of_coverage = _per_gain(self._covered)
        self._of_moment = cells[0].weight * _per_gain(self._matched)

    def _take_whole(self) -> None:
        """Takes the moment of the whole pool for that to be matched."""
        self._members = np.sort(np.concatenate([cell.members for cell in self._cells]))
        coordinates = self._cells[0].metric(self._rows[self._members])
        self._whole = FourthMoment(coordinates, sum(map(len, self._subsets)))
        self._matched = self._matched.times(self._whole.unit / self._matched.chance)

    def mend(self) -> tuple[list[Indices], float]:
        """Mends each cell; returns what is new in each, and the sum of regrets."""
        for _ in range(1 if self._whole is None else SWEEPS):
            uncovered, gap = self._sweep()
        if self._whole is not None:
            subset = np.searchsorted(self._members, np.concatenate(self._subsets))
            gap = self._whole.value_of(subset) * self._whole.unit
        value = self.of_coverage * (uncovered - self._covered.best)
        value += self._of_moment * (gap - self._matched.best)
        pairs = zip(self._subsets, self._kept, strict=True)
        return [np.setdiff1d(subset, kept) for subset, kept in pairs], value

    def _sweep(self) -> tuple[float, float]:
        """Mends each cell once; returns what is not covered, and the distance of the moment."""
        patches = [self._patch(one) for one in range(len(self._cells))]
        for of, places in zip(patches, each(nearest, self._rows, patches), strict=True):
            self._nearest[of.members[of.cell]] = of.members[places]
        uncovered = gap = 0.0
        for turn in turns(self._near):
            some = [one for one in turn if self._cells[one].budget > 0]
            patches = [self._patch(one) for one in some]
            for one, of, end in zip(some, patches, each(mend, self._rows, patches), strict=True):
                self._subsets[one] = of.members[end.own]
                counted = of.members[np.concatenate([of.cell, of.served])]
                self._nearest[counted] = of.members[end.nearest]
                uncovered += float(self._shares[one]) * end.uncovered
                gap += float(self._shares[one]) ** 2 * end.gap
        return uncovered, gap

    def _patch(self, one: int) -> Patch:
        """Returns a cell and what is around it."""
        cell, own, near = self._cells[one], self._subsets[one], self._near[one]
        others = _joined([self._subsets[other] for other in near])
        beyond = _joined([self._cells[other].members for other in near])
        served = beyond[np.isin(self._nearest[beyond], own)]
        served = served[:: max(1, ceil(len(served) / (SERVED * len(cell.members))))]
        members = np.union1d(cell.members, np.union1d(served, others))
        places = (cell.members, served, own, others, self._kept[one])
        share, whole = float(self._shares[one]), None
        if self._whole is not None:
            pull = self._whole.pull[np.searchsorted(self._members, cell.members)]
            whole = pull, self._whole.unit
        # Over the cell's share: as if all rows were like its own.
        weights = self.of_coverage, self._of_moment * (share if whole is None else 1.0 / share)
        return Patch(
            members,
            *(np.searchsorted(members, some) for some in places),
            cell.metric,
            cell.sigma,
            weights,
            whole,
        )


def _per_gain(end: End) -> float:
    """Returns the unit of a criterion: 0 where nothing beats a uniform draw."""
    gain = end.chance - end.best
    return 1.0 / gain if gain > GAIN * end.chance else 0.0


def _joined(parts: Sequence[Indices]) -> Indices:
    return np.concatenate([np.zeros(0, dtype=np.intp), *parts])
