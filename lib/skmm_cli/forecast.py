"""What a selection will take: operations by method over this machine's speed, and its memory."""

from __future__ import annotations

from functools import cache
from math import sqrt

from skmm.selection.cells import cell_limit
from skmm.selection.selectors.candidates import candidate_count, reach, start_count
from skmm.selection.selectors.seams import AROUND, SWEEPS, WHOLE
from skmm.selection.selectors.stratified import cell_size, is_large, rows_seen
from skmm_cli import rehearsal

_OVERHEAD = 0.05
"""Seconds that any selection takes."""

_PAIRS = ("facility_location", "kernel_herding", "kernel_thinning", "max_herding", "prob_cover")
"""Methods that compare all pairs of rows a few times."""

_TURNS = {"combined": 3.0, "diagonal": 0.0, "full": 3.0, "v-optimal": 1.0}
"""Criteria of the default that take candidates, and how many turns their descents take over the
square root of n; four at least, all that the one-sided ``diagonal`` needs."""

_MOVES, _TRIES = 8, 0.25
"""Swaps of a turn, and the share of turns before which all swaps are tried."""

_SHORTLIST = {True: 128, False: 256}
"""Samples of each kind on the shortlist of a turn, by whether all swaps are tried."""

_DESIGN = 110.0
"""Products of all rows with a square matrix that it takes to relax V-optimality: 40 to 150."""

_COVERED = 64
"""Directions that ``combined`` covers."""

_SCAN, _TABLE = 40.0, 10.0
"""Sweeps that reading the pool takes in all, converting and checking it included; and a swap that
is tried by a product."""

_HELD = 4.0
"""Sweeps of a swap that is tried by an entry that is held, or by lower bounds."""

_FOURTH = 3.0
"""Sweeps of a product's entry that its fourth power takes."""

_DOUBLE = 5_792
"""Rows of which similarities are held in double precision."""

_KEPT = 1.3
"""Where several threads work, the memory of each is held over what it needs: what one frees stays
its own."""

_MENDED = 5.5
"""Bytes of single-precision similarities for each pair of a cell's rows, those that it serves
beyond itself included."""

_BASE, _BLOCK = 100e6, 1 << 24
"""Bytes of a process that has done nothing yet, and entries that become double precision at
once."""

_COPIES = {"combined": 2.8, "diagonal": 3.0, "full": 2.5, "v-optimal": 5.0}
"""Arrays in double precision as large as the candidates' rows, that are held at once."""

_SIMILARITIES = 1 << 25
"""Similarities to the subset that are held at most, if the rows have no more entries."""


def seconds(method: str, N: int, r: int, m: int, n: int, criterion: str = "auto") -> float:
    """Forecasts the time of `skmm.select` on a machine that does nothing else.

    Of the default within a half on large pools: what they are cut into is known, and so is how long
    a small choice takes, for one is made. How many swaps a descent takes depends on the pool. Of
    the other methods within a factor of three on ordinary pools.

    Args:
        method: The method; of one that is unknown here, the cost of a pass over the pool a sample.
        N: Pool size.
        r: Feature dimension.
        m: Sketch size.
        n: Budget, with what is kept.
        criterion: Of the default; that which ``auto`` comes to is known after a look at the pool,
            and ``balanced`` stands for it.
    """
    n = min(max(n, 1), N)
    sketch = N * r * m * (m < r) * rehearsal.product()
    if method != "skmm":
        operations = N * m * m + _operations(method, N, r, m, n)
        return _OVERHEAD + sketch + operations * rehearsal.product()
    reading = N * m * (_SCAN * rehearsal.sweep() + 1.5 * m * rehearsal.product())
    if criterion in _TURNS:
        matching = _by_candidates(criterion, candidate_count(N, n), m, n)
    else:
        matching = _by_cells(criterion, rows_seen(N, n), m, n)
    return _OVERHEAD + sketch + reading + matching


def megabytes(N: int, m: int, n: int, criterion: str = "auto") -> float:
    """Forecasts the peak memory of the default on a large pool that stays on disk.

    In cells: what the largest holds of similarities and rows, on each thread at once, and all rows
    where the moment of all is matched. By candidates: their rows in double precision, several
    times, and what they are to the subset where that is held. Besides, a few numbers for each row
    of the pool, or the rows that are converted at once if these are more.

    Args:
        N: Pool size.
        m: Sketch size, where rows are not sketched; a sketch of them takes N m numbers more.
        n: Budget, with what is kept.
        criterion: As in `seconds`.
    """
    n = min(max(n, 1), N)
    if criterion in _TURNS:
        rows = candidate_count(N, n)
        held = 8.0 * _COPIES[criterion] * rows * m
        if criterion in ("combined", "full") and _holds(rows, m, n):
            # Beside the kernel's rows those of samples that left, and of a turn before and after.
            left = min(n // 2, _room(rows, m) - n)
            held += 8.0 * rows * (n + left + 2 * min(n, _SHORTLIST[True]))
    else:
        seen = rows_seen(N, n)
        cells, size = _cells(seen), cell_size(seen)
        # Of many cells the largest come near to the limit.
        largest = seen / cells + (cell_limit(size) - size) * (1.0 - 1.0 / sqrt(cells))
        single = _MENDED if cells > 1 else 4.0
        similar = (8.0 if largest <= _DOUBLE else single) * largest
        threads = min(_threads(), cells)
        held = threads * largest * (similar + 16.0 * m + 6144.0)
        held *= _KEPT if threads > 1 else 1.0
        if cells > 1 and seen <= WHOLE:
            held += 8.0 * seen * m
    return (_BASE + max(held + 60.0 * N, 14.0 * min(N * m, _BLOCK))) / 1e6


def _by_cells(criterion: str, rows: int, m: int, n: int) -> float:
    """Returns the seconds that it takes to cut so many rows into cells, choose and mend these.

    In proportion to the pairs of rows in cells, by what a pair takes where a cell is rehearsed.
    """
    cells, threads = _cells(rows), min(_threads(), _cells(rows))
    cutting = rows * cells * (cells > 1) * (m * rehearsal.product() + 16.0 * rehearsal.sweep())
    rehearsed = min(rows, rehearsal.ROWS)
    own = "fourth" if criterion == "fourth" else "balanced"
    share = max(1, round(n * rehearsed / rows))
    pair = rehearsal.pair(own, m, rehearsed, share, threads)
    seconds = cutting + pair * rows * cell_size(rows) / threads
    if cells > 1 and own == "balanced":
        # Cells near to each other are mended one after the other.
        at_once = min(threads, max(1, cells // (AROUND + 1)))
        pair = rehearsal.mended_pair(m, rehearsed, share, cells, at_once)
        sweeps = SWEEPS if rows <= WHOLE else 1
        seconds += sweeps * pair * rows * cell_size(rows) / at_once
        if rows <= WHOLE:
            entry = m * rehearsal.product() + _FOURTH * rehearsal.sweep()
            seconds += 0.5 * rows**2 * entry / _threads()
    return seconds


def _by_candidates(criterion: str, rows: int, m: int, n: int) -> float:
    """Returns the seconds that a descent on candidates takes, turn by turn."""
    product, sweep = rehearsal.product(), rehearsal.sweep()
    among = reach(rows, n)
    tried = n * (rows - n) if among is None else min(n, among) * among
    listed = _SHORTLIST[among is None]
    turns = max(4.0, _TURNS[criterion] * sqrt(n))
    tries, swaps, starts = max(1.0, _TRIES * turns), _MOVES * turns, start_count(rows, n)
    if criterion == "diagonal":
        pairs = tries * tried + swaps * listed**2
        return starts * 3.0 * m * sweep * (pairs + 2.0 * turns * rows)
    total = 0.0
    if criterion != "v-optimal":
        moved = 2.0 * _MOVES
        table = _HELD * sweep if _holds(rows, m, n) else m * product + _TABLE * sweep
        total += turns * rows * (moved * m * product + (3.0 * moved + 10.0) * sweep)
        total += tries * tried * table + swaps * _TABLE * listed**2 * sweep
    k = max(1, min(m, n // 3, _COVERED if criterion == "combined" else m))
    if criterion != "full":
        total += turns * rows * k * (k * product + 3.0 * sweep)
        # In a sum lower bounds rule out most swaps of a pass.
        passes = tries * tried
        exact = passes * (criterion == "v-optimal") + swaps * listed**2
        total += exact * (2.0 * k * product + _TABLE * sweep)
        total += passes * (criterion == "combined") * _HELD * sweep
    if criterion == "v-optimal":
        return total + _DESIGN * rows * k * k * product
    return starts * total


def _holds(rows: int, m: int, n: int) -> bool:
    """Whether the kernel of ``full`` between subset and candidates is held."""
    return n <= _room(rows, m)


def _room(rows: int, m: int) -> int:
    """How many rows of that kernel are held at most."""
    return max(_SIMILARITIES, rows * m) // rows


def _cells(rows: int) -> int:
    """Returns into how many cells so many rows are cut, about."""
    return -(-rows // cell_size(rows)) if is_large(rows) else 1


def _operations(method: str, N: int, r: int, m: int, n: int) -> float:
    """Multiplications of a method beyond the sketch and its spectrum, with measured constants.

    Where all pairs of rows are compared, what is done with a similarity costs more than to make it.
    """
    if method in ("uniform", "class_balanced"):
        return 0.0
    if method == "skmm_paper":
        return 20.0 * N * m * m
    if method in ("leverage", "ridge_leverage", "covariance_matching"):
        return 4.0 * N * r * min(N, r)
    if method == "k_medoids":
        return N * N * (2.0 * r + 600.0)
    if method in _PAIRS:
        return N * N * (r + 300.0)
    if method in ("k_means", "typiclust"):
        return 15.0 * N * r * n
    if method == "active_ft":
        return 300.0 * N * r * n
    return 4.0 * N * r * n


@cache
def _threads() -> int:
    """Threads of linear algebra, as many of which cells are chosen in at once."""
    from threadpoolctl import threadpool_info

    blas = [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]
    return max(blas, default=1)
