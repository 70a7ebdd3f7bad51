r"""V-optimal design in the sketch: how well the best subset could possibly do.

Relaxing subsets to weights makes V-optimality a convex program, and any feasible point of it proves
a lower bound for all subsets: the yardstick for every selection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.matching.simplex import duality_gap, project_capped_simplex
from skmm.numerics.inputs import check_budget, check_integer, check_positive, check_rows


@dataclass(frozen=True, eq=False)
class DesignBound:
    r"""A lower bound on the V-optimality of every subset, with the design that proves it.

    Attributes:
        s: Weights of the relaxed design, in the capped simplex, shape ``[N]``.
        value: :math:`\varphi(s)` of these weights.
        lower_bound: Proven: no subset of size ``n`` has a smaller :math:`\varphi`.
        steps: Gradient steps taken.
    """

    s: NDArray[np.float64]
    value: float
    lower_bound: float
    steps: int


def v_optimality(whitened: NDArray[np.float64], s: NDArray[np.float64]) -> float:
    r"""Returns the mean variance over directions of a weighted design.

    .. math:: \varphi(s) = \tfrac1k \operatorname{tr}\Bigl(\sum_i s_i w_i w_i^\top\Bigr)^{-1}

    Args:
        whitened: Whitened rows :math:`w_i`, shape ``[N, k]``: the pool's moment is the identity.
        s: Weights with sum 1, shape ``[N]`` (a subset: :math:`1/n` each).

    Returns:
        The value; 1 for the whole pool, infinite if a direction is left out.
    """
    moment = whitened.T @ (s[:, None] * whitened)
    eigenvalues = scipy.linalg.eigvalsh(moment)
    if eigenvalues[0] <= len(moment) * np.finfo(float).eps * eigenvalues[-1]:
        return np.inf
    return float(np.mean(1.0 / eigenvalues))


def bound_v_optimality(
    whitened: NDArray[np.float64], n: int, *, tolerance: float = 1e-3, max_steps: int = 5000
) -> DesignBound:
    r"""Solves the relaxed V-optimal design and proves a lower bound for all subsets of size ``n``.

    .. math:: \min_{|S| = n} \varphi(1_S / n) \ge \min_{s \in \mathcal C_n} \varphi(s)
              \ge \varphi(s) - \max_{s' \in \mathcal C_n} \langle\nabla\varphi(s), s - s'\rangle

    Accelerated projected gradient with restart and backtracking from the uniform weights; a step
    costs ``N k² + k³``.

    Args:
        whitened: Whitened rows, shape ``[N, k]``, of full rank ``k``.
        n: Budget, in ``k..N``: fewer samples than directions leave one out.
        tolerance: Stop when bound and value are this close, relative to the value.
        max_steps: Stop after so many steps at the latest; the bound holds all the same.

    Returns:
        The design and the bound.

    Raises:
        ValueError: ``n`` outside ``k..N``, or rows that do not span ``k`` directions.

    References:
        Pukelsheim (1993), Optimal Design of Experiments; Jaggi (2013) for the gap.
    """
    whitened = check_rows(whitened, "whitened").astype(np.float64, copy=False)
    N, k = whitened.shape
    check_budget(n, N)
    check_integer(n, "n", low=k, hint=f"fewer samples than the k={k} directions leave one out")
    check_positive(tolerance, "tolerance", hint="it is relative to the value")
    s = np.full(N, 1.0 / N)
    value, gradient = _value_and_gradient(whitened, s)
    if not np.isfinite(value):
        raise ValueError(f"whitened must span its k={k} directions, got rows of lower rank")
    best = value - duality_gap(gradient, s, n)
    ahead, at, slope, momentum, rate = s, value, gradient, 1.0, 1.0 / (N * np.abs(gradient).max())
    steps = 0
    while value - best > tolerance * value and steps < max_steps:
        steps += 1
        while True:
            moved = project_capped_simplex(ahead - rate * slope, n)
            step = moved - ahead
            new_value, new_gradient = _value_and_gradient(whitened, moved)
            if new_value <= at + slope @ step + 0.5 / rate * (step @ step) + 1e-15 * abs(at):
                break
            rate *= 0.5
        rate *= 1.1
        best = max(best, new_value - duality_gap(new_gradient, moved, n))
        if new_value > value:  # the momentum has overshot: start again from the last good point
            momentum, ahead, at, slope = 1.0, s, value, gradient
            continue
        momentum_next = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = moved + (momentum - 1.0) / momentum_next * (moved - s)
        s, value, gradient, momentum = moved, new_value, new_gradient, momentum_next
        at, slope = _value_and_gradient(whitened, ahead)
        if not np.isfinite(at):  # extrapolated out of the domain
            momentum, ahead, at, slope = 1.0, s, value, gradient
    return DesignBound(s, value, best, steps)


def _value_and_gradient(
    whitened: NDArray[np.float64], s: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    moment = whitened.T @ (s[:, None] * whitened)
    try:
        factor = scipy.linalg.cholesky(moment, lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        return np.inf, np.zeros_like(s)
    inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(moment)), check_finite=False)
    solved = whitened @ inverse
    return float(np.trace(inverse)) / len(moment), -np.einsum("ij,ij->i", solved, solved) / len(
        moment
    )
