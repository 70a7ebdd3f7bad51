r"""The paper's algorithm as it is stated: the diagonal program, and a draw from its weights."""

from __future__ import annotations

import numpy as np

from skmm.matching.program import RelaxedSelection, check_slack, match_moments, moment_shares
from skmm.matching.recipe import adam_clip_renormalise
from skmm.numerics.inputs import check_choice, check_integer
from skmm.rounding.sampling import round_by_sampling, round_to_top
from skmm.selection.selectors.base import Choice, Pool, selector

SOLVERS = ("newton", "cvxpy", "recipe")
ROUNDINGS = ("sample", "top")


@selector(
    "skmm_paper",
    label="SkMM (paper)",
    cost='N r m + N m² x steps of `solver`; 10,000 for `"recipe"`',
    reference="Dong et al. (2024), arXiv 2407.06120, Algorithm 3.1",
)
def match_as_published(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    slack: float = 1 / 0.9,
    solver: str = "newton",
    rounding: str = "sample",
    steps: int = 10_000,
) -> Choice:
    r"""Draws from the weights of the paper's diagonal program (Algorithm 3.1 as it is stated).

    .. math:: \min_{s \in \mathcal C_n,\ \gamma \ge 1/c_S} \sum_j \bigl(v_j^\top \tilde G^\top
              \mathrm{diag}(s)\, \tilde G v_j - \gamma_j \lambda_j\bigr)^2

    In the eigenbasis of :math:`\tilde\Sigma`, over all directions of its rank, from a random
    subset; then ``n`` samples are drawn from s without replacement. For :math:`c_S \ge 1` uniform
    weights solve the program, so that the solution stays near its start and the draw is close to a
    uniform one, except that the exact solvers move weight to directions that the start lacks. To
    choose better by the same sketch: ``method="skmm"``.

    Args:
        pool: The pool.
        n: Budget.
        rng: Generator for the start and for the draw.
        slack: :math:`c_S`; the paper takes 1/0.9 to 1/0.6.
        solver: ``newton`` (exact), ``cvxpy`` (exact, the reference path), or ``recipe`` (Adam with
            clip and renormalise, as in the public code; needs torch).
        rounding: ``sample`` (the paper), or ``top``: the largest weights, as some public code does.
        steps: Steps of ``recipe``.
    """
    check_slack(slack)
    check_choice(solver, "solver", SOLVERS)
    check_choice(rounding, "rounding", ROUNDINGS)
    check_integer(steps, "steps", low=0, hint="the published number is 10,000")
    start_rng, draw_rng = rng.spawn(2)
    relaxed = _relax(pool, n, start_rng, slack=slack, solver=solver, steps=steps)
    if rounding == "top":
        indices = round_to_top(relaxed.s, n)
    else:
        indices = round_by_sampling(relaxed.s, n, rng=draw_rng)
    settings = (
        f"slack {slack:.3g}, solver {solver}, rounding {rounding}; "
        f"relaxed objective {relaxed.objective:.2g}, at most {relaxed.gap:.1g} too high"
    )
    return Choice(indices, settings=settings)


def _relax(
    pool: Pool, n: int, rng: np.random.Generator, *, slack: float, solver: str, steps: int
) -> RelaxedSelection:
    rows, spectrum = pool.sketched[:].astype(np.float64, copy=False), pool.spectrum
    if solver == "recipe":
        return adam_clip_renormalise(rows, spectrum, n, rng=rng, slack=slack, steps=steps)
    return match_moments(moment_shares(rows, spectrum), n, rng=rng, slack=slack, solver=solver)
