r"""Where the published code departs from its paper: what each step does to the weights, as laws.

The paper's program is :mod:`skmm.matching.program`, its draw `skmm.round_by_sampling`. What stands
here is written from a reading of the public code and shares no line with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, special, stats

from skmm.matching.program import check_slack
from skmm.matching.simplex import project_capped_simplex
from skmm.numerics.inputs import check_budget, check_integer

Array = NDArray[np.float64]


def total_variation(p: ArrayLike, q: ArrayLike) -> float:
    r"""Returns :math:`\frac12\sum_i |p_i - q_i|` of two distributions, shape ``[N]`` both."""
    return 0.5 * float(np.abs(np.asarray(p) - np.asarray(q)).sum())


def softmax_weights(s: ArrayLike) -> Array:
    r"""Passes weights through a softmax, :math:`p_i = e^{s_i}/\sum_k e^{s_k}`, shape ``[N]``.

    No two of the results differ by more than a factor :math:`e^{\max s - \min s}`: of weights that
    are at most ``1/n`` nothing is left but a uniform distribution; see `softmax_distance_bound`.
    """
    return special.softmax(np.asarray(s, dtype=np.float64))


def softmax_distance_bound(N: int, n: int) -> float:
    r"""Bounds the distance to uniform of the softmax of any weights in the capped simplex.

    .. math:: \tfrac12\sum_i \Bigl|p_i - \tfrac1N\Bigr| \le \frac{n\,(e^{1/n} - 1)}{N}
              \le \frac{e - 1}{N}

    For the sum in the softmax is at least N, the distance is at most
    :math:`\sum_i (e^{s_i} - 1)/N`; and :math:`e^x - 1 \le x\,n(e^{1/n} - 1)` on ``[0, 1/n]`` by
    convexity, where the weights sum to 1. ``n = 1`` is the simplex without a cap. Of n draws with
    replacement, n times as many can be told from uniform ones at most, on average: less than 1 in
    N/n.

    Args:
        N: Pool size.
        n: Budget, in ``1..N``; no weight is above ``1/n``.
    """
    check_budget(n, N)
    return float(n * np.expm1(1.0 / n) / N)


@dataclass(frozen=True, eq=False)
class DepartedWeights:
    """Weights that a departure from the paper's program ends with.

    Attributes:
        s: shape ``[N]``, sum 1.
        objective: of the departed program, at s.
        steps: that were taken.
    """

    s: Array
    objective: float
    steps: int


def departed_program(
    shares: Array,
    n: int,
    *,
    start: Array,
    slack: float = 1 / 0.9,
    squared: bool = False,
    capped: bool = True,
    steps: int = 500,
) -> DepartedWeights:
    r"""Descends on the moment-matching program with squared weights, without the cap, or both.

    .. math:: \min_s \tfrac12 \sum_j \max\!\Bigl(0,\ \tfrac1{c_S} - \sum_i s_i^p u_{ij}\Bigr)^2,
              \qquad s \in \mathcal C_n \text{ or } \mathcal C_1, \quad p = 1 \text{ or } 2

    by projected gradients, the step halved until the objective falls. With :math:`p = 1` and the
    cap this is the paper's program. With :math:`p = 2` it is not convex: a weight of zero has the
    derivative zero and never leaves it, so that from a random subset no other sample ever gets a
    weight; and uniform weights reach no more than :math:`1/N` of what is asked for.

    Args:
        shares: :math:`U`, shape ``[N, k]``; see `skmm.moment_shares`.
        n: budget, in ``1..N``.
        start: weights to begin with, feasible, shape ``[N]``.
        slack: :math:`c_S`; the code's bound on :math:`\gamma` amounts to 0.6 to 0.9.
        squared: whether weights enter squared, p = 2.
        capped: whether weights are held to ``1/n``; if not, to 1, the plain simplex.
        steps: at most; it stops where the objective no longer falls.

    Raises:
        ValueError: ``n``, ``slack`` or ``steps`` out of range.
    """
    check_budget(n, len(shares))
    check_integer(steps, "steps", low=0, hint="500 are enough")
    target, cap, power = 1.0 / check_slack(slack), n if capped else 1, 2 if squared else 1

    def deficit(s: Array) -> Array:
        return np.maximum(target - shares.T @ s**power, 0.0)

    s, missing, taken = start, deficit(start), 0
    value, length = 0.5 * float(missing @ missing), 0.0
    while taken < steps and value > 0:
        slope = -power * s ** (power - 1) * (shares @ missing)
        # The first step may move the steepest weight by all that it can hold.
        length = 4 * length or 1.0 / (cap * np.abs(slope).max(initial=np.finfo(float).tiny))
        lower = np.inf
        while length > 0 and not lower < value:
            length *= 0.5
            tried = project_capped_simplex(s - length * slope, cap)
            missed = deficit(tried)
            lower = 0.5 * float(missed @ missed)
            if np.array_equal(tried, s):
                break
        if not lower < value * (1 - 1e-12):
            break
        s, missing, value, taken = tried, missed, lower, taken + 1
    return DepartedWeights(s, value, taken)


def expected_distinct(N: int, n: int) -> float:
    r"""Returns how many of n uniform draws with replacement are distinct on average.

    .. math:: N\bigl(1 - (1 - 1/N)^n\bigr)
    """
    check_budget(n, N)
    return float(-N * np.expm1(n * np.log1p(-1.0 / N))) if N > 1 else 1.0


def permuted(indices: ArrayLike, N: int, *, rng: np.random.Generator) -> NDArray[np.intp]:
    """Reads indices of a pool as positions in a permutation of it, drawn from ``rng``.

    Whatever subset they are, what they point to is a uniform random subset of the same size.

    Args:
        indices: distinct, shape ``[n]``.
        N: pool size.
        rng: draws the permutation.
    """
    return rng.permutation(N)[np.asarray(indices)]


def one_draw_error(repeats: int) -> float:
    r"""Returns how often one uniform draw differs "significantly" from ``repeats`` of them.

    One draw's score, repeated for every seed, is compared with as many scores of draws of their
    own by the 95 % interval of their mean difference; all are normal with the same mean. The single
    draw's own deviation is in no term of the interval, so that zero is missed with probability

    .. math:: \Pr\bigl(|t_{T-1}| > q/\sqrt{T + 1}\bigr), \qquad
              q \text{ the } 0.975 \text{ quantile of } t_{T-1}

    where it should be 5 %.

    Args:
        repeats: T, at least 2.
    """
    T = check_integer(repeats, "repeats", low=2, hint="5 seeds are published")
    quantile = stats.t.ppf(0.975, T - 1)
    return float(2 * stats.t.sf(quantile / np.sqrt(T + 1), T - 1))


def expected_best(tries: int) -> float:
    r"""Returns the mean of the largest of independent standard normals, 2.0 for 28 of them.

    Args:
        tries: how many there are, at least 1.
    """
    K = check_integer(tries, "tries", low=1, hint="28 configurations are published")

    def density(x: float) -> float:
        return x * K * stats.norm.pdf(x) * stats.norm.cdf(x) ** (K - 1)

    return float(integrate.quad(density, -12, 12)[0])
