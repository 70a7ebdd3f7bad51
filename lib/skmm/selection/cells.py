"""Cells: a large pool cut into compact parts, each small enough to be looked at as a whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.stored import StoredRows, scan
from skmm.numerics.threads import large_product
from skmm.numerics.ties import TIE

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Measure = Callable[[NDArray[np.floating]], Floats]

_AT_ONCE = 512
"""Cells that a part is cut into at most at once, so that a pool of N rows costs N log N."""

_LEARNT, _STEPS = 64, 8
"""Rows that centers are learnt from, for each; and steps of Lloyd's iteration."""

_LARGE, _SMALL = 1.6, 0.25
"""Cells beyond these multiples of the size asked for are cut again, or joined to another."""


def apportion(n: int, sizes: Indices) -> Indices:
    r"""Shares ``n`` among groups in proportion to their sizes, by the largest remainder.

    Of equal remainders the first group's counts. No group gets more than its size.

    Args:
        n: What is shared, at most the sum of the sizes.
        sizes: Shape ``[g]``.
    """
    shares, remainders = np.divmod(n * sizes.astype(np.int64), int(sizes.sum()))
    first = np.argsort(-remainders, kind="stable")
    shares[first[: n - int(shares.sum())]] += 1
    return shares.astype(np.intp)


def budgets(n: int, sizes: Indices, kept: Indices) -> Indices:
    """Shares ``n`` new samples among cells, so that those with the samples kept are in proportion.

    A cell that holds more of those kept than its share gets none, and the others share the rest.

    Args:
        n: Budget.
        sizes: Rows of each cell, ``[g]``.
        kept: Samples kept of each cell, ``[g]``.
    """
    shares, open_ = np.zeros(len(sizes), dtype=np.intp), np.arange(len(sizes))
    while True:
        wanted = apportion(n + int(kept[open_].sum()), sizes[open_]) - kept[open_]
        if (wanted >= 0).all():
            shares[open_] = wanted
            return shares
        open_ = open_[wanted >= 0]


def cell_limit(size: int) -> int:
    """Returns the rows that a cell has at most if ``size`` are asked for."""
    return int(_LARGE * size)


def cut(
    rows: NDArray[np.floating] | StoredRows,
    size: int,
    *,
    measure: Measure,
    rng: np.random.Generator,
) -> list[Indices]:
    r"""Cuts a pool into compact cells of about ``size`` rows: k-means, learnt on a random part.

    Centers are learnt on 64 rows for each cell, at most 512 at once, and all rows are assigned to
    the nearest in one pass; of centers equally near, up to rounding, to the first. Cells of more
    than 1.6 times the size are cut again, equal rows in their order, and those below a quarter of
    it are joined to the nearest cell that has room. Costs O(N K m) for K cells, and reads the pool
    once or twice.

    Args:
        rows: Shape ``[N, m]``.
        size: Rows of a cell.
        measure: Makes rows of the pool the coordinates in which cells are compact.
        rng: Draws the rows that centers are learnt from.

    Returns:
        The rows of each cell, ascending; each row is in one of them.
    """
    pool = StoredRows.over(rows)
    limit = cell_limit(size)
    cells, centers = [np.arange(len(rows))], [np.zeros(rows.shape[1])]
    done: list[tuple[Indices, Floats]] = []
    while cells:
        members, center = cells.pop(), centers.pop()
        if len(members) <= limit:
            done.append((members, center))
            continue
        part = pool if len(members) == len(pool) else pool.part(members)
        parts, found = _nearest(part, -(-len(members) // size), measure, rng)
        if len(parts) == 1:  # rows that are all alike: any cut serves
            parts = np.array_split(parts[0], -(-len(members) // size))
            found = np.repeat(found, len(parts), axis=0)
        cells += [members[own] for own in parts]
        centers += list(found)
    return _joined(done, int(_SMALL * size), limit)


def _nearest(
    pool: StoredRows, count: int, measure: Measure, rng: np.random.Generator
) -> tuple[list[Indices], Floats]:
    """Returns the rows nearest to each of at most ``count`` centers, where there are any."""
    count = min(count, _AT_ONCE)
    learnt = np.sort(rng.choice(len(pool), min(len(pool), _LEARNT * count), replace=False))
    rows = measure(pool[learnt])
    centers = rows[np.sort(rng.choice(len(rows), count, replace=False))]
    for _ in range(_STEPS):
        own = _assign(rows, centers)
        sums, sizes = np.zeros_like(centers), np.bincount(own, minlength=count)
        np.add.at(sums, own, rows)
        filled = sizes > 0
        centers[filled] = sums[filled] / sizes[filled, None]
    nearest = np.empty(len(pool), dtype=np.intp)
    with large_product(len(pool) * centers.size):
        for part, block in scan(pool):
            nearest[part] = _assign(measure(block), centers)
    order = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest, minlength=count)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    filled = np.flatnonzero(sizes)
    return [parts[place] for place in filled], centers[filled]


def _assign(rows: Floats, centers: Floats) -> Indices:
    near = rows @ centers.T
    near -= 0.5 * np.einsum("ij,ij->i", centers, centers)
    return (near >= near.max(axis=1, keepdims=True) - TIE).argmax(axis=1)


def _joined(cells: list[tuple[Indices, Floats]], least: int, limit: int) -> list[Indices]:
    """Joins cells below ``least`` rows to the nearest that has room; in the order of their rows."""
    cells = sorted(cells, key=lambda cell: int(cell[0][0]))
    members, centers = [cell[0] for cell in cells], np.array([cell[1] for cell in cells])
    sizes = np.array([len(cell) for cell in members])
    for small in np.flatnonzero(sizes < least):
        room = np.flatnonzero((sizes > 0) & (sizes + sizes[small] <= limit))
        room = room[room != small]
        if len(room) and 0 < sizes[small] < least:
            away = np.sum((centers[room] - centers[small]) ** 2, axis=1)
            to = room[int((away <= away.min() + TIE).argmax())]
            members[to] = np.concatenate([members[to], members[small]])
            sizes[to], sizes[small] = sizes[to] + sizes[small], 0
    return [np.sort(members[place]) for place in np.flatnonzero(sizes)]
