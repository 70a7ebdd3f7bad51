r"""From relaxed weights to a subset: exactly ``n`` distinct samples, always."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Criterion
from skmm.inputs import as_generator, check_budget, check_integer


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
    """
    s = _check_weights(s, n)
    # Exponential clocks (Efraimidis and Spirakis): the first n to ring are a successive sample.
    clocks = as_generator(rng).exponential(size=len(s))
    with np.errstate(divide="ignore"):
        rings = clocks / s
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
    """
    return np.argsort(-_check_weights(s, n), kind="stable")[:n]


def _check_weights(s: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    s = np.asarray(s, dtype=np.float64)
    check_budget(n, len(s))
    if not np.isfinite(s).all() or (s < 0).any():
        raise ValueError(f"s must be finite and not negative, got a weight of {s.min()}")
    return s


def exchange(
    criterion: Criterion, selected: NDArray[np.intp], *, max_sweeps: int = 50
) -> NDArray[np.intp]:
    r"""Exchange descent: replaces selected samples by better outsiders until no move helps.

    The samples of the subset are visited in turn; each is replaced by the outsider that lowers the
    criterion most, if any does. A visit costs one call of `Criterion.replacements`, O(N k).

    Args:
        criterion: What to lower; it ends at the returned subset.
        selected: Distinct indices to start from, shape ``[n]``.
        max_sweeps: Stop after so many visits of each sample at the latest.

    Returns:
        Distinct indices, shape ``[n]``; the criterion is never above that of ``selected``. If
        it ends before ``max_sweeps``, no replacement of a single sample lowers it.
    """
    check_integer(max_sweeps, "max_sweeps", low=1, hint="a handful are usually enough")
    criterion.start(selected)
    outside = np.ones(criterion.N, dtype=bool)
    outside[criterion.selected] = False
    n = len(criterion.selected)
    visits_since_move = 0
    for visit in range(max_sweeps * n):
        # All criteria are bounded below by 0; a smaller gain than this is rounding error.
        if visits_since_move == n or criterion.value == 0.0 or n == criterion.N:
            break
        position = visit % n
        scores = np.where(outside, criterion.replacements(position), np.inf)
        best = int(scores.argmin())
        if scores[best] < criterion.value * (1.0 - 1e-9):
            outside[criterion.selected[position]] = True
            outside[best] = False
            criterion.replace(position, best)
            visits_since_move = 0
        else:
            visits_since_move += 1
    return criterion.selected.copy()
