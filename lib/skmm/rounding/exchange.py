r"""From relaxed weights to a subset: exactly ``n`` distinct samples, always."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Criterion
from skmm.numerics.inputs import as_generator, check_budget, check_integer

_TILE = 256, 1024
"""Swaps tried at once, leaving by entering: a table of 2 MB."""


def round_by_sampling(
    s: NDArray[np.float64], n: int, *, rng: int | np.random.Generator
) -> NDArray[np.intp]:
    r"""Draws ``n`` samples from the weights ``s`` without replacement, as the paper does.

    Successive sampling: the next sample is drawn with probability proportional to its weight among
    those left. If fewer than ``n`` weights are positive, the rest is drawn uniformly.

    Args:
        s: Non-negative weights, shape ``[N]``, any scale.
        n: Budget, in ``1..N``.
        rng: Seed or generator.

    Returns:
        Distinct indices, shape ``[n]``, in the order drawn.

    Raises:
        ValueError: ``n`` outside ``1..N``, or ``s`` negative or not finite.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> drawn = skmm.round_by_sampling(np.array([0.0, 0.6, 0.0, 0.4]), 2, rng=0)
        >>> sorted(drawn.tolist())
        [1, 3]
    """
    s = _check_weights(s, n)
    # Exponential clocks (Efraimidis and Spirakis): the first n to ring are a successive sample.
    clocks = np.log(as_generator(rng).exponential(size=len(s)))
    with np.errstate(divide="ignore"):
        rings = clocks - np.log(s)  # logarithms, for a tiny weight would overflow the quotient
    # Weights of zero never ring: among themselves they are ordered by their clocks, uniformly.
    return np.lexsort((clocks, rings))[:n]


def round_to_top(s: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    r"""Takes the ``n`` largest weights; of equal ones, those first in the pool.

    Args:
        s: Non-negative weights, shape ``[N]``.
        n: Budget, in ``1..N``.

    Returns:
        Distinct indices, shape ``[n]``, largest weight first.

    Raises:
        ValueError: ``n`` outside ``1..N``, or ``s`` negative or not finite.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> skmm.round_to_top(np.array([0.1, 0.4, 0.4, 0.1]), 3).tolist()
        [1, 2, 0]
    """
    return np.argsort(-_check_weights(s, n), kind="stable")[:n]


def _check_weights(s: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    s = np.asarray(s, dtype=np.float64)
    check_budget(n, len(s))
    if not np.isfinite(s).all() or (s < 0).any():
        raise ValueError(f"s must be finite and not negative, got a weight of {s.min()}")
    return s


def exchange(
    criterion: Criterion,
    indices: NDArray[np.intp],
    *,
    max_swaps: int | None = None,
    shortlist: int = 128,
    tolerance: float = 1e-9,
) -> NDArray[np.intp]:
    r"""Exchange descent: swaps selected samples for better outsiders until no swap helps.

    In turns: a shortlist of the samples that are best to lose and best to gain is made in O(N m),
    the best swap within it is taken again and again (each exact, none touches the pool), and the
    pool is brought up to date with all of them at once. When the shortlist has nothing left, all
    ``n (N - n)`` swaps are tried, in blocks, and the best of them make the next shortlist; the
    descent ends when none of them helps.

    Args:
        criterion: What to lower.
        indices: Distinct samples to start from, shape ``[n]``.
        max_swaps: Stop after so many swaps; unless told, ``20 n + 100``. Few pools need more than
            ``2 n``.
        shortlist: Samples of each kind in a shortlist: more swaps for each pass over the pool, at a
            price of ``shortlist²`` a swap.
        tolerance: A swap must lower the criterion, whose scale is 1, by more than this.

    Returns:
        Distinct indices, shape ``[n]``, ascending; no single swap lowers the criterion by more than
        ``tolerance``, unless ``max_swaps`` were made.

    Raises:
        ValueError: ``indices`` come twice, or ``max_swaps`` or ``shortlist`` are out of range.
    """
    n = len(indices)
    swaps_left = 20 * n + 100 if max_swaps is None else max_swaps
    check_integer(swaps_left, "max_swaps", low=0, hint="each replaces one sample")
    check_integer(shortlist, "shortlist", low=1, hint="128 serves most pools")
    criterion.start(indices)
    if (distinct := int(criterion.inside.sum())) < n:
        raise ValueError(f"indices must be distinct, got {n} of which {n - distinct} come again")
    while swaps_left > 0 and not criterion.inside.all():
        for scores in (criterion.single_changes, lambda: _best_swaps(criterion)):
            leave, enter = scores()
            rows = _smallest(leave, criterion.inside, shortlist)
            rows = np.append(rows, _smallest(enter, ~criterion.inside, shortlist))
            leaving, entering = _descend_on(criterion, rows, swaps_left, tolerance)
            if len(leaving) > 0:
                criterion.swap(leaving, entering)
                swaps_left -= len(leaving)
                break
        else:
            break
    return np.flatnonzero(criterion.inside)


def _smallest(scores: NDArray[np.float64], among: NDArray[np.bool_], size: int) -> NDArray[np.intp]:
    candidates = np.flatnonzero(among)
    if len(candidates) <= size:
        return candidates
    return candidates[np.argpartition(scores[candidates], size - 1)[:size]]


def _descend_on(
    criterion: Criterion, rows: NDArray[np.intp], max_swaps: int, tolerance: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Takes the best swap among ``rows`` until none helps; returns what leaves and enters."""
    part = criterion.restrict(rows)
    before = part.inside.copy()
    for _ in range(max_swaps):
        inside, outside = np.flatnonzero(part.inside), np.flatnonzero(~part.inside)
        changes = part.swap_changes(inside, outside)
        i, j = divmod(int(changes.argmin()), len(outside))
        if changes[i, j] >= -tolerance:
            break
        part.swap(inside[i : i + 1], outside[j : j + 1])
    return rows[before & ~part.inside], rows[~before & part.inside]


def _best_swaps(criterion: Criterion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the best change that each sample is part of, over all ``n (N - n)`` swaps."""
    inside, outside = np.flatnonzero(criterion.inside), np.flatnonzero(~criterion.inside)
    leave, enter = np.full((2, len(criterion.inside)), np.inf)
    # In tiles: a criterion gathers the rows of a tile, which must not add up to a second pool.
    for i in range(0, len(inside), _TILE[0]):
        for j in range(0, len(outside), _TILE[1]):
            some, others = inside[i : i + _TILE[0]], outside[j : j + _TILE[1]]
            changes = criterion.swap_changes(some, others)
            leave[some] = np.minimum(leave[some], changes.min(axis=1))
            enter[others] = np.minimum(enter[others], changes.min(axis=0))
    return leave, enter
