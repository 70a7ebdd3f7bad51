r"""V-optimal design in the sketch: how well the best subset could possibly do.

Relaxing subsets to weights makes V-optimality a convex program, and any point of it proves a lower
bound for all subsets: the yardstick for every selection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.matching.simplex import best_vertex, project_capped_simplex
from skmm.numerics.convergence import warn_of_limit
from skmm.numerics.eigen import rank_cutoff
from skmm.numerics.inputs import (
    check_budget,
    check_doubles,
    check_integer,
    check_positive,
    check_vector,
)
from skmm.numerics.threads import one_thread

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DesignBound:
    r"""A lower bound on the V-optimality of every subset, with the design that proves it.

    Attributes:
        s: Weights of the relaxed design, in the capped simplex, shape ``[N]``.
        value: :math:`\varphi(s)` of these weights.
        lower_bound: Proven: no subset of size ``n`` has a smaller :math:`\varphi`.
        steps: Gradient steps taken.
        converged: Whether value and bound are as close as was asked for.
    """

    s: Array
    value: float
    lower_bound: float
    steps: int
    converged: bool


def v_optimality(whitened: Array, s: Array) -> float:
    r"""Returns the mean variance over directions of a weighted design.

    .. math:: \varphi(s) = \tfrac1k \operatorname{tr}\Bigl(\sum_i s_i w_i w_i^\top\Bigr)^{-1}

    Args:
        whitened: Whitened rows :math:`w_i`, shape ``[N, k]``: the pool's moment is the identity.
        s: Weights with sum 1, shape ``[N]`` (a subset: :math:`1/n` each).

    Returns:
        The value; 1 for the whole pool, infinite if a direction is left out.

    Raises:
        ValueError: ``whitened`` or ``s`` are not finite numbers of one N.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(0).standard_normal((50, 3))
        >>> whitened = skmm.Spectrum.of(rows).whiten(rows, 3)
        >>> round(skmm.v_optimality(whitened, np.full(50, 1 / 50)), 12)
        1.0
    """
    whitened = check_doubles(whitened, "whitened")
    s = check_vector(s, "s", len(whitened))
    moment = whitened.T @ (s[:, None] * whitened)
    eigenvalues = scipy.linalg.eigvalsh(moment)
    if eigenvalues[0] <= rank_cutoff(len(moment), eigenvalues[-1]):
        return np.inf
    return float(np.mean(1.0 / eigenvalues))


def bound_v_optimality(
    whitened: Array, n: int, *, tolerance: float = 1e-3, max_steps: int = 5000
) -> DesignBound:
    r"""Solves the relaxed V-optimal design and proves a lower bound for all subsets of size ``n``.

    .. math:: \min_{|S| = n} \varphi(1_S / n) \ge \min_{s \in \mathcal C_n} \varphi(s)
              \ge \varphi(x) + \min_{s \in \mathcal C_n} \langle\nabla\varphi(x), s - x\rangle

    for any :math:`x` at which the design spans all directions. Accelerated projected gradient with
    restart and backtracking from the uniform weights; a step costs ``3 N k² + k³``. Runs on one
    thread.

    Args:
        whitened: Whitened rows, shape ``[N, k]``, of full rank ``k``.
        n: Budget, in ``k..N``: fewer samples than directions leave one out.
        tolerance: Stop when bound and value are this close, relative to the value.
        max_steps: Stop after so many steps at the latest; the bound holds all the same.

    Returns:
        The design and the bound.

    Raises:
        ValueError: ``n`` outside ``k..N``, or rows that do not span ``k`` directions.

    Warns:
        ConvergenceWarning: ``max_steps`` were taken, and value and bound are further apart.

    References:
        Pukelsheim (1993), Optimal Design of Experiments; Jaggi (2013) for the gap; O'Donoghue and
        Candes (2015) for the restart.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(0).standard_normal((50, 3))
        >>> design = skmm.bound_v_optimality(skmm.Spectrum.of(rows).whiten(rows, 3), n=10)
        >>> design.converged, 0.99 * design.value < design.lower_bound <= design.value
        (True, True)
    """
    whitened = check_doubles(whitened, "whitened")
    N, k = whitened.shape
    check_budget(n, N)
    check_integer(n, "n", low=k, hint=f"fewer samples than the k={k} directions leave one out")
    check_positive(tolerance, "tolerance", hint="it is relative to the value")
    check_integer(max_steps, "max_steps", low=1, hint="tens to hundreds are enough")
    with one_thread():
        design = _descend(whitened, n, tolerance, max_steps)
    if not design.converged:
        left = f"a gap of {1 - design.lower_bound / design.value:.2g} of the value"
        change = "allow more steps, or accept more by a larger tolerance"
        warn_of_limit("bound_v_optimality", f"max_steps={max_steps}", left, change)
    return design


def _descend(whitened: Array, n: int, tolerance: float, max_steps: int) -> DesignBound:
    N, k = whitened.shape
    s = ahead = best = np.full(N, 1.0 / N)
    # By eigenvalues: whether a factorisation of a singular moment fails is up to its rounding.
    eigenvalues = np.linalg.eigvalsh(whitened.T @ whitened / N)
    if eigenvalues[0] <= rank_cutoff(k, eigenvalues[-1]):
        raise ValueError(f"whitened must span its k={k} directions, got rows of lower rank")
    at, inverse = _value(whitened, ahead)
    slope = _gradient(whitened, inverse)
    least, momentum, steps, rate = at, 1.0, 0, 1.0 / (N * np.abs(slope).max())
    lower = _tangent_bound(at, slope, ahead, n)
    while least - lower > tolerance * least and steps < max_steps:
        steps += 1
        moved, value, moved_inverse, rate = _backtrack(whitened, n, ahead, at, slope, 1.1 * rate)
        if value < least:
            least, best = value, moved
        move = moved - s
        before = momentum
        momentum = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        if (ahead - moved) @ move > 0:  # the momentum points uphill: forget it
            before = momentum = 1.0
        s, ahead = moved, moved + (before - 1.0) / momentum * move
        at, inverse = _value(whitened, ahead)
        if not np.isfinite(at):  # extrapolated out of the domain
            momentum, ahead, at, inverse = 1.0, moved, value, moved_inverse
        slope = _gradient(whitened, inverse)
        lower = max(lower, _tangent_bound(at, slope, ahead, n))
    converged = bool(least - lower <= tolerance * least)
    return DesignBound(best, least, min(lower, least), steps, converged)


def _backtrack(
    whitened: Array, n: int, ahead: Array, at: float, slope: Array, rate: float
) -> tuple[Array, float, Array, float]:
    """Takes a projected step that falls as far as its quadratic model promises."""
    while True:
        moved = project_capped_simplex(ahead - rate * slope, n)
        step = moved - ahead
        value, inverse = _value(whitened, moved)
        if value <= at + slope @ step + 0.5 / rate * (step @ step) + 1e-15 * abs(at):
            return moved, value, inverse, rate
        rate *= 0.5


def _tangent_bound(at: float, slope: Array, x: Array, n: int) -> float:
    """Returns the least value, over all designs, of the tangent plane at ``x``."""
    return at + best_vertex(slope, n)[1] - float(slope @ x)


def _value(whitened: Array, s: Array) -> tuple[float, Array]:
    """Returns the mean variance of a design, and the inverse of its moment."""
    moment = whitened.T @ (s[:, None] * whitened)
    try:
        factor = scipy.linalg.cho_factor(moment, lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        return np.inf, moment
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(moment)), check_finite=False)
    return float(np.trace(inverse)) / len(moment), inverse


def _gradient(whitened: Array, inverse: Array) -> Array:
    solved = whitened @ inverse
    return -np.einsum("ij,ij->i", solved, solved) / len(inverse)
