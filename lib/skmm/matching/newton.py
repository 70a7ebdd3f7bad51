r"""Semismooth Newton on the relaxed program, in as many dimensions as there are directions.

The program has N weights but only k directions, so its dual has k variables. A proximal term makes
that dual smooth, and Newton's method solves it in a few k×k systems:

.. math:: s^{+} = \operatorname*{argmin}_{s' \in \mathcal C_n} f(s') + \tfrac1{2\tau}\|s' - s\|^2
          = \Pi_{\mathcal C_n}(s + \tau U y), \qquad
          y = \max\bigl(0,\ 1/c_S - U^\top s^{+}\bigr)

As :math:`\tau` grows the proximal steps end at a solution, after finitely many where the solution
is polyhedral; an accelerated gradient method creeps where the rows form tight clusters.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.matching.simplex import duality_gap, project_capped_simplex

Array = NDArray[np.float64]

_GROWTH = 4.0
"""Factor on the proximal step after a success; square-rooted after a failure, for then Newton's
method was no longer close enough to where it started."""

_INNER_STEPS = 12


def solve_by_newton(
    shares: Array, n: int, target: float, start: Array, gap_target: float, max_steps: int
) -> tuple[Array, int]:
    r"""Solves the relaxed program to a duality gap of ``gap_target``.

    A step costs ``N k`` and ``F k² + k³`` where ``F`` weights lie strictly between their bounds.

    Args:
        shares: :math:`U`, shape ``[N, k]``.
        n: Budget.
        target: :math:`1/c_S`.
        start: Weights in the capped simplex, shape ``[N]``.
        gap_target: Stop at this gap.
        max_steps: Stop after so many Newton steps at the latest.

    Returns:
        The weights with the least gap found, and the Newton steps taken.

    References:
        Li, Sun and Toh (2018), A highly efficient semismooth Newton augmented Lagrangian method for
        solving Lasso problems.
    """
    s, y, least = start, *_deficit_and_gap(shares, start, n, target)
    best, steps, growth = s, 0, _GROWTH
    reach = 1.0 / np.linalg.eigvalsh(shares.T @ shares)[-1]
    while least > gap_target and steps < max_steps:
        allowed = min(_INNER_STEPS, max_steps - steps)
        moved, dual, taken, solved = _proximal_step(shares, n, target, s, y, reach, allowed)
        steps += max(taken, 1)
        if not solved:
            growth = max(np.sqrt(growth), 1.02)
            reach /= growth
            continue
        s, y = moved, dual
        gap = _deficit_and_gap(shares, s, n, target)[1]
        if gap < least:
            least, best = gap, s
        reach *= growth
    return best, steps


def _deficit_and_gap(shares: Array, s: Array, n: int, target: float) -> tuple[Array, float]:
    deficit = np.maximum(target - s @ shares, 0.0)
    return deficit, duality_gap(-(shares @ deficit), s, n)


def _proximal_step(
    shares: Array, n: int, target: float, s: Array, y: Array, reach: float, max_steps: int
) -> tuple[Array, Array, int, bool]:
    """Returns the proximal point, its dual, the Newton steps taken, and whether that is solved."""

    def dual(y: Array) -> tuple[float, Array, Array]:
        moved = project_capped_simplex(s + reach * (shares @ y), n)
        covered, step = moved @ shares, moved - s
        value = 0.5 * y @ y - target * y.sum() + covered @ y - 0.5 / reach * (step @ step)
        return float(value), moved, covered

    value, moved, covered = dual(y)
    for steps in range(max_steps + 1):
        slope = y - target + covered
        free = (y > 0) | (slope < 0)
        step = moved - s
        # Inexact is enough: the error stays a fraction of the step, so that the steps still sum up.
        floor = np.finfo(float).eps * target * np.sqrt(len(y))
        if np.linalg.norm(slope[free]) <= 1e-2 * np.sqrt(step @ step / reach) + floor:
            return moved, y, steps, True
        if steps == max_steps:
            break
        # The projection's derivative: the weights between their bounds, less their mean.
        between = shares[(moved > 0) & (moved < 1.0 / n)][:, free]
        if len(between):
            between = between - between.mean(axis=0)
        hessian = reach * (between.T @ between)
        hessian.flat[:: len(hessian) + 1] += 1.0
        newton = np.zeros_like(y)
        newton[free] = -scipy.linalg.solve(hessian, slope[free], assume_a="pos", check_finite=False)
        for halvings in range(10):
            y_next = np.maximum(y + 0.5**halvings * newton, 0.0)
            value_next, moved_next, covered_next = dual(y_next)
            decrease = 1e-4 * (slope @ (y_next - y))
            if value_next <= value + decrease + 1e-15 * abs(value):
                break
        else:
            break
        y, value, moved, covered = y_next, value_next, moved_next, covered_next
    return moved, y, steps, False
