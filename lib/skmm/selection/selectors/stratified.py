r"""Large pools cell by cell: the same balance in each compact part, whose budget is its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import FourthMoment
from skmm.numerics.stored import StoredRows
from skmm.numerics.streams import as_generator
from skmm.numerics.threads import one_thread
from skmm.rounding.exchange import exchange
from skmm.selection.cells import budgets, cut
from skmm.selection.selectors.balance import EXPLOITATION, Balance, End, Ends
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.placing import Rows

MOST = 11_585
"""Rows that are all compared with each other: of so many, similarities are held in 512 MB. Larger
pools are looked at cell by cell."""

_LEAST, _MOST, _PAIRS = 2_500, 5_000, 10**8
"""Rows of a cell, between the first two: as many as keep the pool's pairs within cells below the
third. Larger cells lose less against the whole, at a price of so many rows for each."""

ROWS_PER_SAMPLE = 300
"""Rows of the pool that are looked at for each sample, at least: with more, cells of a few thousand
rows would have less than eight samples each, and what these miss is not what more rows tell."""


@dataclass(frozen=True, eq=False)
class Cell:
    """What is to be chosen from one compact part of a pool, on whatever machine.

    Attributes:
        members: Its rows, positions in the pool, ascending.
        budget: Samples to choose from it.
        kept: Which of ``members`` are labelled already, positions in ``members``.
        metric: What rows are measured in.
        criterion: ``balanced`` or ``fourth``.
        sigma: Width of the kernel.
        weight: Of the fourth moment against coverage: that of the pool.
        seed: Of the start, where that is random.
    """

    members: NDArray[np.intp]
    budget: int
    kept: NDArray[np.intp]
    metric: Metric
    criterion: str
    sigma: float
    weight: float
    seed: int


def is_large(N: int) -> bool:
    """Whether a pool has more rows than can all be compared with each other."""
    return N > MOST


def rows_seen(N: int, count: int) -> int:
    """Returns how many rows of a pool are looked at to choose ``count`` samples."""
    return min(N, max(MOST, ROWS_PER_SAMPLE * count))


def cell_size(N: int) -> int:
    """Returns the rows of a cell, about, if so many rows are looked at."""
    return int(np.clip(_PAIRS // N, _LEAST, _MOST)) if is_large(N) else N


def cells_of(
    rows: Rows,
    n: int,
    *,
    metric: Metric,
    criterion: str = "balanced",
    kept: NDArray[np.intp],
    sigma: float,
    weight: float | None,
    rng: np.random.Generator,
) -> list[Cell]:
    r"""Cuts a pool into cells, each with its share of the budget: all that is not independent.

    In proportion to size: the subset's moment is then :math:`\sum_c p_c T_{S_c}` for the pool's
    :math:`\sum_c p_c T_c`, so that what is matched within cells is matched in the pool, and gaps
    of cells add up as independent ones do. Shares by the marginal gain of coverage, as greedy
    coverage of the whole would have them, gain 0.1 % of coverage and lose 20 % of the moment at
    n = N/5.

    Args:
        rows: The pool, without rows of zeros.
        n: Budget, beside those kept.
        metric: What rows are measured in.
        criterion: ``balanced`` or ``fourth``.
        kept: Samples that are labelled already, ascending.
        sigma: Width of the kernel.
        weight: Of the fourth moment; unless told, that of `Balance` for the rows looked at.
        rng: Draws the rows that are looked at, and those that centers are learnt from.
    """
    looked_at = _looked_at(len(rows), n, kept, rng)
    pool = StoredRows.over(rows)
    if looked_at is not None:
        pool = pool.part(looked_at)
    N, count = len(pool), n + len(kept)
    weight = EXPLOITATION * count / N if weight is None else weight
    with one_thread():
        parts = cut(pool, cell_size(N), measure=metric, rng=rng)
    members = parts if looked_at is None else [looked_at[part] for part in parts]
    inside = [np.flatnonzero(np.isin(one, kept, assume_unique=True)) for one in members]
    sizes, held = (np.array([len(one) for one in of]) for of in (members, inside))
    shares, seeds = budgets(n, sizes, held), rng.integers(1 << 32, size=len(parts))
    return [
        Cell(one, int(budget), at, metric, criterion, sigma, weight, int(seed))
        for one, budget, at, seed in zip(members, shares, inside, seeds, strict=True)
    ]


_NOTHING = Ends(End(0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Chosen:
    """What came of one cell.

    Attributes:
        indices: What was chosen, places in the cell's members, ascending, shape ``[budget]``.
        value: What the criterion is there.
        center: Mean of the cell's rows as they are measured, ``[m]``.
        ends: Between which coverage and the fourth moment of ``balanced`` lie; both the same where
            nothing is to be chosen.
    """

    indices: NDArray[np.intp]
    value: float
    center: NDArray[np.float64]
    ends: Ends = _NOTHING


def choose_in(rows: Rows, cell: Cell) -> Chosen:
    """Chooses from one cell, which is all that is read of the pool."""
    coordinates = cell.metric(rows[cell.members])
    center = coordinates.mean(axis=0)
    if cell.budget == 0:
        return Chosen(np.zeros(0, dtype=np.intp), 0.0, center)
    if cell.criterion == "balanced":
        knobs = {"sigma": cell.sigma, "weight": cell.weight, "kept": cell.kept}
        balance = Balance.of(coordinates, cell.budget, **knobs)
        return Chosen(*balance.descend(), center, balance.ends)
    others = np.setdiff1d(np.arange(len(cell.members)), cell.kept)
    rng = as_generator(cell.seed, "selection.cell")
    start = rng.choice(others, cell.budget, replace=False)
    start = np.concatenate([cell.kept, start])
    end = exchange(FourthMoment(coordinates, len(start)), start, fixed=cell.kept)
    return Chosen(np.setdiff1d(end.indices, cell.kept), end.value, center)


def of_cells(cells: Sequence[Cell], N: int) -> str:
    """Says how a pool of N rows was looked at, for the settings of a choice."""
    seen = sum(len(cell.members) for cell in cells)
    share = "" if seen == N else f" among {seen} of {N} samples"
    weight = f", weight of the fourth moment {cells[0].weight:.3g}"
    return f", in {len(cells)} cells{share}" + weight * (cells[0].criterion == "balanced")


def _looked_at(
    N: int, n: int, kept: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp] | None:
    """Draws the rows that are looked at, those kept among them; ``None`` if all of them are."""
    size = rows_seen(N, n + len(kept))
    if size == N:
        return None
    others = np.delete(np.arange(N), kept)
    drawn = rng.choice(others, size - len(kept), replace=False)
    return np.sort(np.concatenate([kept, drawn]))
