r"""From weights to a subset of exactly ``n`` distinct samples: by drawing, or by the largest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_budget, check_vector
from skmm.numerics.streams import as_generator
from skmm.numerics.ties import TIE, least


def round_by_sampling(
    s: NDArray[np.float64], n: int, *, rng: int | np.random.Generator
) -> NDArray[np.intp]:
    r"""Draws ``n`` samples from the weights ``s`` without replacement, as the paper does.

    Successive sampling: the next sample is drawn with probability proportional to its weight among
    those left. If fewer than ``n`` weights are positive, the rest is drawn uniformly; weights
    at the rounding level of the largest count as zero, for rounding may not decide who is first.

    Args:
        s: Non-negative weights, shape ``[N]``, any scale.
        n: Budget, in ``1..N``.
        rng: Seed or generator.

    Returns:
        Distinct indices, shape ``[n]``, in the order drawn.

    Raises:
        ValueError: ``n`` outside ``1..N``, or ``s`` negative or not finite.

    References:
        Efraimidis and Spirakis (2006), Weighted random sampling with a reservoir.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> sorted(skmm.round_by_sampling(np.array([0.5, 0.0, 0.5]), 2, rng=0).tolist())
        [0, 2]
    """
    s = _check_weights(s, n)
    s = np.where(s > len(s) * np.finfo(np.float64).eps * s.max(), s, 0.0)
    # Exponential clocks (Efraimidis and Spirakis): the first n to ring are a successive sample.
    clocks = np.log(as_generator(rng, "round_by_sampling").exponential(size=len(s)))
    with np.errstate(divide="ignore"):
        rings = clocks - np.log(s)  # logarithms, for a tiny weight would overflow the quotient
    # Weights of zero never ring: among themselves they are ordered by their clocks, uniformly.
    return np.lexsort((clocks, rings))[:n]


def round_to_top(s: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    r"""Takes the ``n`` largest weights; of equal ones, those first in the pool.

    Weights within 1e-10 of the largest count as equal: see `skmm.numerics.ties`.

    Args:
        s: Non-negative weights, shape ``[N]``.
        n: Budget, in ``1..N``.

    Returns:
        Distinct indices, shape ``[n]``, ascending.

    Raises:
        ValueError: ``n`` outside ``1..N``, or ``s`` negative or not finite.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> skmm.round_to_top(np.array([0.1, 0.4, 0.1, 0.4]), 3)
        array([0, 1, 3])
    """
    s = _check_weights(s, n)
    return least(-s, n, TIE * s.max())


def _check_weights(s: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    s = check_vector(s, "s")
    check_budget(n, len(s))
    if (s < 0).any():
        raise ValueError(f"s must not be negative, got a weight of {s.min()}; clip it at 0")
    return s
