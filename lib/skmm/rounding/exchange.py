r"""Exchange descent: from a subset to one that no swap of a sample improves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Criterion
from skmm.criteria.base import Cross
from skmm.numerics.blocks import blocks
from skmm.numerics.convergence import warn_of_limit
from skmm.numerics.inputs import check_indices, check_integer
from skmm.numerics.threads import one_thread
from skmm.numerics.ties import TIE, first_least, least

_TILE = 256, 1024
"""Sides of the tables in which all swaps are tried, leaving by entering: 2 MB."""

_FEW = 1 << 18
"""Swaps that are tried sooner than lower bounds of what they change are found."""

_PROBE = 4
"""Samples whose swaps are tried to see how good the best must be, times those of a shortlist."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """Where an exchange descent ended.

    Attributes:
        indices: Distinct samples, shape ``[n]``, ascending.
        value: The criterion there.
        swaps: Samples replaced on the way.
        converged: Whether no single swap lowers the criterion by more than the tolerance.
    """

    indices: NDArray[np.intp]
    value: float
    swaps: int
    converged: bool


def exchange(
    criterion: Criterion,
    indices: NDArray[np.intp],
    *,
    fixed: NDArray[np.intp] | None = None,
    max_swaps: int | None = None,
    shortlist: int = 128,
    tolerance: float = 1e-9,
    reach: int | None = None,
) -> Exchange:
    r"""Swaps selected samples for better outsiders until no swap helps.

    .. math:: \min_{|S| = n} f(S) \quad\text{by}\quad S \leftarrow S \setminus \{i\} \cup \{j\}

    In turns: a shortlist of the samples that are best to lose and best to gain is made in O(N m),
    the best swap within it is taken again and again (each exact, none touches the pool), and the
    pool is brought up to date with all of them at once. When the shortlist has nothing left, all
    ``n (N - n)`` swaps are tried, in blocks, but for those that lower bounds rule out, and the best
    of them make the next shortlist; the descent ends when none of them helps. Of swaps that are
    equally good up to rounding, the first in the pool's order is taken: see `skmm.numerics.ties`.
    Runs on one thread.

    Args:
        criterion: What to lower.
        indices: Distinct samples to start from, shape ``[n]``.
        fixed: Those of ``indices`` that stay, such as samples that are labelled already.
        max_swaps: Stop after so many swaps; unless told, ``20 n + 100``. Few pools need more than
            ``2 n``.
        shortlist: Samples of each kind in a shortlist: more swaps for each pass over the pool, at a
            price of ``shortlist²`` a swap.
        tolerance: A swap must lower the criterion by more than this times its scale, which is 1
            but where V-optimality lacks directions.
        reach: Samples of each kind, best by themselves, among which swaps are tried when the
            shortlist has nothing left; unless told, all. For pools where ``n (N - n)`` swaps take
            minutes: the descent then ends where none of ``reach²`` swaps helps.

    Returns:
        The subset, the criterion's value there, and whether the descent came to its end.

    Raises:
        ValueError: ``indices`` are not distinct rows of the pool, ``fixed`` are not among them, or
            ``max_swaps`` or ``shortlist`` are out of range.

    Warns:
        ConvergenceWarning: ``max_swaps`` were made and another would help.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(0).standard_normal((200, 5))
        >>> moment = skmm.SecondMoment(rows, n=10)
        >>> end = skmm.exchange(moment, np.arange(10))
        >>> len(end.indices), end.converged, end.value < 0.1
        (10, True, True)
    """
    indices = check_indices(indices, criterion.N)
    n = len(indices)
    limit = 20 * n + 100 if max_swaps is None else max_swaps
    check_integer(limit, "max_swaps", low=0, hint="each replaces one sample")
    check_integer(shortlist, "shortlist", low=1, hint="128 serves most pools")
    held = np.zeros(0, dtype=np.intp) if fixed is None else fixed
    if (strange := int(np.count_nonzero(~np.isin(held, indices)))) > 0:
        raise ValueError(
            f"fixed must be among indices, got {strange} of {len(held)} that are not; "
            "start from a subset that holds them"
        )
    with one_thread():
        criterion.start(indices)
        movable = np.ones(len(criterion.inside), dtype=bool)
        movable[held] = False
        swaps, gain = _descend(criterion, movable, limit, shortlist, tolerance, reach)
        value = float(criterion.value())
    converged = gain <= tolerance * criterion.scale()
    if not converged:
        left = f"a swap that would lower the criterion by {gain:.2g} from {value:.3g}"
        warn_of_limit("exchange", f"max_swaps={limit}", left, "allow more swaps")
    return Exchange(np.flatnonzero(criterion.inside), value, swaps, converged)


def _descend(
    criterion: Criterion,
    movable: NDArray[np.bool_],
    limit: int,
    shortlist: int,
    tolerance: float,
    reach: int | None,
) -> tuple[int, float]:
    """Returns the swaps made, and what the best swap left would gain."""
    swaps, gain = 0, 0.0
    while (criterion.inside & movable).any() and not criterion.inside.all():
        scale = criterion.scale()
        last = partial(_best_swaps, criterion, movable, reach, shortlist, TIE * scale)
        for scores in (criterion.single_changes, last):
            leave, enter = scores()
            rows = _least_among(leave, criterion.inside & movable, shortlist, TIE * scale)
            rows = np.append(rows, _least_among(enter, ~criterion.inside, shortlist, TIE * scale))
            leaving, entering, gain = _descend_on(criterion, rows, limit - swaps, tolerance)
            if len(leaving) > 0:
                criterion.swap(leaving, entering)
                swaps += len(leaving)
                break
            if gain > tolerance * scale:  # a swap helps, but none is allowed any more
                return swaps, gain
        else:
            break
    return swaps, gain


def _least_among(
    scores: NDArray[np.float64], among: NDArray[np.bool_], size: int, tie: float
) -> NDArray[np.intp]:
    candidates = np.flatnonzero(among)
    return candidates[least(scores[candidates], size, tie)]


def _descend_on(
    criterion: Criterion, rows: NDArray[np.intp], limit: int, tolerance: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], float]:
    """Takes the best swap among ``rows`` until none helps.

    Returns what leaves, what enters, and what the best swap left among ``rows`` would gain.
    """
    part = criterion.restrict(rows)
    before = part.inside.copy()
    for swaps in range(limit + 1):
        inside, outside = np.flatnonzero(part.inside), np.flatnonzero(~part.inside)
        changes = part.swap_changes(inside, outside)
        scale = part.scale()
        i, j = divmod(first_least(changes, TIE * scale), len(outside))
        gain = -float(changes[i, j])
        if gain <= tolerance * scale or swaps == limit:
            break
        part.swap(inside[i : i + 1], outside[j : j + 1])
    return rows[before & ~part.inside], rows[~before & part.inside], gain


def _best_swaps(
    criterion: Criterion,
    movable: NDArray[np.bool_],
    reach: int | None,
    size: int,
    tie: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the best change that each sample is part of, over all swaps of movable ones.

    Or over those of the ``reach`` that are best to lose with as many that are best to gain. Of
    samples that by lower bounds are not among the ``size`` best of their kind it is infinite.
    """
    inside, outside = np.flatnonzero(criterion.inside & movable), np.flatnonzero(~criterion.inside)
    if reach is not None:
        leave, enter = criterion.single_changes()
        inside = inside[least(leave[inside], reach, tie)]
        outside = outside[least(enter[outside], reach, tie)]
    leave, enter = np.full((2, len(criterion.inside)), np.inf)
    loose = criterion.underestimate() if len(inside) * len(outside) > _FEW else None
    if loose is not None:
        floors = _minima(loose, inside, outside)
        some, others = (least(floor, _PROBE * size, tie) for floor in floors)
        # So many samples of each kind are no worse than the last of these. One whose lower bound is
        # above that is not among the best, and none of its swaps is the best of one that is.
        probes = _minima(criterion, inside[some], outside[others])
        last = max(np.sort(probe)[:size][-1] for probe in probes) + tie
        inside, outside = inside[floors[0] <= last], outside[floors[1] <= last]
    leave[inside], enter[outside] = _minima(criterion, inside, outside)
    return leave, enter


def _minima(
    criterion: Criterion, leaving: NDArray[np.intp], entering: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the best change that each sample is part of, over all swaps of the ones given."""
    if 2 * len(entering) > criterion.N and (crosses := criterion.crosses()):
        leave, enter = _best_of_held(crosses, criterion.single_changes(), leaving, entering)
        return leave[leaving], enter[entering]
    leave, enter = np.full(len(leaving), np.inf), np.full(len(entering), np.inf)
    # In tiles: a criterion gathers the rows of a tile, which must not add up to a second pool.
    height, width = _TILE
    for i in range(0, len(leaving), height):
        for j in range(0, len(entering), width):
            some, others = slice(i, i + height), slice(j, j + width)
            changes = criterion.swap_changes(leaving[some], entering[others])
            np.minimum(leave[some], changes.min(axis=1), out=leave[some])
            np.minimum(enter[others], changes.min(axis=0), out=enter[others])
    return leave, enter


def _best_of_held(
    crosses: list[Cross],
    singles: tuple[NDArray[np.float64], NDArray[np.float64]],
    inside: NDArray[np.intp],
    outside: NDArray[np.intp],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the same, ``[N]``, from what is held: by whole lines, for columns would be copied."""
    lead, *others = crosses
    # In units of the first term's factor, by which its lines need no multiplication then.
    unit, N = -lead.factor, len(singles[0])
    leaving, entering = singles[0] / unit, np.full(N, np.inf)
    entering[outside] = singles[1][outside] / unit
    leave, enter = np.full((2, N), np.inf)
    inside = inside[np.argsort(lead.place[inside])]  # lines that lie side by side are not copied
    for block in blocks(len(inside), N):
        some = inside[block]
        changes = entering - lead.lines(some)
        for other in others:
            changes += other.lines(some) * (other.factor / unit)
        leave[some] = changes.min(axis=1) + leaving[some]
        changes += leaving[some][:, None]
        np.minimum(enter, changes.min(axis=0), out=enter)
    leave *= unit
    enter *= unit
    return leave, enter
