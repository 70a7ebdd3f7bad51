r"""The relaxed moment-matching program (paper, Algorithm 3.1, step 3) and its solver.

With :math:`u_{ij} = (v_j^\top \tilde g_i)^2 / \lambda_j`, the share of sample ``i`` in direction
``j``, the paper's program over :math:`(s, \gamma)` becomes, once :math:`\gamma_j \ge 1/c_S` is
eliminated (its best value is :math:`\max(1/c_S, \sum_i s_i u_{ij})`), a smooth convex problem in
the weights alone:

.. math:: \min_{s \in \mathcal C_n} f(s)
          = \tfrac12 \sum_j \max\!\bigl(0,\ 1/c_S - (U^\top s)_j\bigr)^2

Coordinate ``j`` is divided by :math:`\lambda_j`, which leaves the solutions of the paper's program
with objective 0 as they are and makes the problem well conditioned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skmm.matching.newton import solve_by_newton
from skmm.matching.simplex import duality_gap, project_capped_simplex, random_vertex
from skmm.numerics.convergence import warn_of_limit
from skmm.numerics.extras import extra
from skmm.numerics.inputs import (
    check_budget,
    check_choice,
    check_doubles,
    check_integer,
    check_positive,
    check_rows,
)
from skmm.numerics.streams import as_generator
from skmm.numerics.threads import one_thread
from skmm.spectrum import Spectrum

SOLVERS = ("newton", "cvxpy")

_LEAST_SLACK = 1e-9
"""Below it, squares of the target 1/c_S leave the other numbers no digits."""


@dataclass(frozen=True, eq=False)
class RelaxedSelection:
    r"""A solution of the relaxed program with the certificate of its quality.

    Attributes:
        s: Weights in the capped simplex, shape ``[N]``.
        objective: :math:`f(s)`.
        gap: Upper bound on :math:`f(s) - \min f`: the Frank-Wolfe (Fenchel duality) gap
            :math:`\max_{s' \in \mathcal C_n} \langle \nabla f(s), s - s'\rangle`.
        steps: Steps taken (0 for ``cvxpy``).
        converged: Whether the gap is as small as was asked for.
        gamma: :math:`\gamma_j` of the paper's program in units of :math:`\lambda_j`, shape ``[k]``.
        start: The weights that the solver began with, those of a random subset, shape ``[N]``;
            none of ``cvxpy``, and of a pool of zero rows uniform ones, which it ends at as well.
    """

    s: NDArray[np.float64]
    objective: float
    gap: float
    steps: int
    converged: bool
    gamma: NDArray[np.float64]
    start: NDArray[np.float64] | None


def moment_shares(
    rows: NDArray[np.floating], spectrum: Spectrum, k: int | None = None
) -> NDArray[np.float64]:
    r"""Returns every sample's share in every leading direction of the pool's second moment.

    .. math:: u_{ij} = (v_j^\top \tilde g_i)^2 / \lambda_j, \qquad \tfrac1N \sum_i u_{ij} = 1

    Args:
        rows: Sketched rows, shape ``[N, m]``.
        spectrum: Spectrum of the pool's second moment in the same sketch.
        k: Number of leading directions; all of the rank if not given.

    Returns:
        Shares, shape ``[N, k]``.

    Raises:
        ValueError: ``rows`` are not finite numbers ``[N, m]``, or ``k`` exceeds the rank.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(0).standard_normal((50, 3))
        >>> shares = skmm.moment_shares(rows, skmm.Spectrum.of(rows))
        >>> shares.mean(axis=0).round(12)
        array([1., 1., 1.])
    """
    k = spectrum.rank if k is None else k
    shares = spectrum.whiten(check_rows(rows, "rows"), k)
    np.square(shares, out=shares)
    return shares


def match_moments(
    shares: NDArray[np.float64],
    n: int,
    *,
    rng: int | np.random.Generator,
    slack: float = 1.0,
    solver: str = "newton",
    tolerance: float = 1e-12,
    max_steps: int = 2000,
) -> RelaxedSelection:
    r"""Solves the relaxed moment-matching program.

    .. math:: \min_{s \in \mathcal C_n}
              \tfrac12 \sum_j \max\!\bigl(0,\ 1/c_S - (U^\top s)_j\bigr)^2

    For :math:`c_S \ge 1`, all values the paper uses, the uniform weights :math:`s_i = 1/N` are a
    solution (with objective 0): the program asks for no more than the pool's mean, the solution
    set is large, and which one is returned depends on the start alone. The start is a random
    subset, a vertex of the capped simplex, and the solution stays close to it. For
    :math:`c_S < 1` the program asks for more than the pool's mean.

    Args:
        shares: :math:`U`, shape ``[N, k]``; see `moment_shares`.
        n: Budget, in ``1..N``.
        rng: Seed or generator for the start.
        slack: :math:`c_S > 0`; the paper uses 1/0.9 to 1/0.6.
        solver: ``"newton"`` (proximal semismooth Newton in k dimensions, ``N k²`` a step at most,
            tens of steps), or ``"cvxpy"`` (Clarabel, the reference path, an optional dependency).
        tolerance: Stop when the gap falls below ``tolerance`` times :math:`k / (2 c_S^2)`, the
            objective of an empty selection.
        max_steps: Stop after so many steps at the latest; the gap tells what is left.

    Returns:
        Weights, those at the start, objective, gap, steps, and whether the gap was reached.

    Raises:
        ValueError: ``shares`` negative or not finite, ``n`` outside ``1..N``, ``slack`` or
            ``tolerance`` not positive, unknown solver.

    Warns:
        ConvergenceWarning: ``max_steps`` were taken and the gap is not reached.

    References:
        Sketchy Moment Matching, Algorithm 3.1; Li, Sun and Toh (2018) for the proximal Newton
        method.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(0).standard_normal((50, 3))
        >>> shares = skmm.moment_shares(rows, skmm.Spectrum.of(rows))
        >>> relaxed = skmm.match_moments(shares, 10, rng=0, slack=1 / 0.9)
        >>> bool(np.all(relaxed.s @ shares >= 0.9 - 1e-6)), relaxed.converged
        (True, True)
    """
    shares = _check_shares(shares)
    N, k = shares.shape
    check_budget(n, N)
    rng = as_generator(rng, "match_moments")
    target = 1.0 / check_slack(slack)
    check_positive(tolerance, "tolerance", hint="it is relative to the empty selection's objective")
    check_integer(max_steps, "max_steps", low=1, hint="about 100 are enough")
    check_choice(solver, "solver", SOLVERS)
    if k == 0:  # a pool of zero rows has nothing to match
        uniform = np.full(N, 1.0 / N)
        return RelaxedSelection(uniform, 0.0, 0.0, 0, True, np.zeros(0), start=uniform)
    empty = 0.5 * k * target**2
    with one_thread():
        if solver == "cvxpy":
            start = None
            s, steps = project_capped_simplex(_solve_with_cvxpy(shares, n, target), n), 0
        else:
            start = random_vertex(N, n, rng=rng)
            s, steps = solve_by_newton(shares, n, target, start, empty * tolerance, max_steps)
        relaxed = relaxed_selection(shares, s, n, slack=slack, steps=steps, start=start)
    if solver != "cvxpy" and not relaxed.gap <= empty * tolerance:
        left = f"a gap of {relaxed.gap / empty:.2g} of the empty selection's objective"
        change = "allow more steps, or accept more by a larger tolerance"
        warn_of_limit(f"solver {solver!r}", f"max_steps={max_steps}", left, change)
        return replace(relaxed, converged=False)
    return relaxed


def relaxed_selection(
    shares: NDArray[np.float64],
    s: NDArray[np.float64],
    n: int,
    *,
    slack: float,
    steps: int,
    start: NDArray[np.float64] | None,
) -> RelaxedSelection:
    """Judges weights ``s``, from wherever they are, by the program's objective and gap."""
    covered, target = shares.T @ s, 1.0 / slack
    deficit = np.maximum(target - covered, 0.0)
    return RelaxedSelection(
        s,
        objective=0.5 * float(deficit @ deficit),
        gap=duality_gap(-(shares @ deficit), s, n),
        steps=steps,
        converged=True,
        gamma=np.maximum(covered, target),
        start=start,
    )


def check_slack(slack: float) -> float:
    """Returns the slack as a ``float`` whose inverse has a square."""
    slack = check_positive(slack, "slack", hint="the paper uses 1/0.9 to 1/0.6")
    if slack < _LEAST_SLACK:
        raise ValueError(
            f"slack must be at least {_LEAST_SLACK:g}, got {slack!r}; the paper uses 1/0.9 to 1/0.6"
        )
    return slack


def _check_shares(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(shares, np.ndarray) and shares.ndim == 2 and shares.shape[1] == 0 < len(shares):
        return shares
    shares = check_doubles(shares, "shares")
    if (least := shares.min()) < 0:
        raise ValueError(f"shares must not be negative, got {least}; see skmm.moment_shares")
    return shares


def _solve_with_cvxpy(shares: NDArray[np.float64], n: int, target: float) -> NDArray[np.float64]:
    with extra("cvxpy", needed_by='solver="cvxpy"'):
        import cvxpy
    # In units of 1/n, so that the interior-point method sees numbers of order one.
    weights = cvxpy.Variable(len(shares))
    deficit = cvxpy.pos(target - shares.T @ weights / n)
    constraints = [weights >= 0, weights <= 1, cvxpy.sum(weights) == n]
    problem = cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(deficit)), constraints)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-14, tol_gap_rel=1e-12, tol_feas=1e-12)
    return np.asarray(weights.value) / n
