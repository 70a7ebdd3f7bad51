r"""What the weights of the paper's program are, and how far a draw from them is from uniform."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.matching.design import v_optimality
from skmm.matching.program import RelaxedSelection, match_moments, moment_shares, relaxed_selection
from skmm.matching.recipe import adam_clip_renormalise
from skmm.numerics.inputs import check_choice
from skmm.numerics.streams import as_generator
from skmm.rounding.sampling import round_by_sampling
from skmm.selection.view import PoolView
from skmm_study.theory.agreement import covered_dimension

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

_SOLVERS = ("newton", "recipe")

_DRAWS = 20
"""Draws from the weights, for what a draw keeps of the start and what it is worth."""


@dataclass(frozen=True)
class InclusionSpread:
    r"""How unevenly a random subset includes the samples of its pool; see `inclusion_spread`.

    Attributes:
        chi_square: :math:`\chi^2`, estimated without bias: 0 for a uniform draw, and so slightly
            below it at times; :math:`N/n - 1` where the subset is always the same.
        noise: Standard error of the estimate if draws are uniform.
    """

    chi_square: float
    noise: float


def inclusion_spread(subsets: ArrayLike, N: int) -> InclusionSpread:
    r"""Estimates how far the inclusion probabilities of a random subset are from uniform.

    .. math:: \chi^2 = \frac1N \sum_i \Bigl(\frac{\pi_i - n/N}{n/N}\Bigr)^2
              = \frac N{n^2}\, \mathbb E\,|S \cap S'| - 1, \qquad \pi_i = \Pr(i \in S)

    for independent draws S and S', so that the mean overlap of all pairs of draws estimates it
    without the noise that squared frequencies add. :math:`\sqrt{\chi^2}` is the relative deviation
    of a sample's probability (root mean square), and :math:`\sqrt{\chi^2}/2` bounds the distance
    in total variation between a random member of S and a random sample of the pool.

    Args:
        subsets: Independent draws, distinct samples each, shape ``[T, n]``.
        N: Pool size.

    Raises:
        ValueError: fewer than two draws.
    """
    subsets = np.asarray(subsets)
    T, n = subsets.shape
    if T < 2:
        raise ValueError(f"subsets must hold at least two draws, got {T}; their overlaps count")
    counts = np.bincount(subsets.ravel(), minlength=N).astype(np.float64)
    overlap = (counts @ counts - T * n) / (T * (T - 1))
    # Of uniform draws overlaps are hypergeometric, and those of different pairs uncorrelated.
    variance = n * (n / N) * (1 - n / N) * (N - n) / max(N - 1, 1)
    scale = N / n**2
    return InclusionSpread(
        scale * float(overlap) - 1.0, scale * float(np.sqrt(2 * variance / (T * (T - 1))))
    )


def relaxation_trials(
    view: PoolView,
    budgets: Iterable[int],
    runs: Iterable[tuple[str, float, int]],
    *,
    seeds: Iterable[int],
) -> pd.DataFrame:
    r"""Solves the paper's program and tells where the weights s lie and what a draw from them is.

    Distances are in total variation, :math:`\frac12\sum_i |s_i - s'_i|`. Twenty draws are made
    from every s, as `skmm.round_by_sampling` does.

    Args:
        view: The pool; the program runs over all directions of its rank, as
            ``method="skmm_paper"`` does.
        budgets: Sizes ``n``.
        runs: ``(solver, slack, steps)``, where the solver is ``"newton"`` (exact, ``steps`` at
            most) or ``"recipe"`` (Adam with clip and renormalise, all ``steps``).
        seeds: Of start and draws.

    Returns:
        One row a run: ``n``, ``solver``, ``slack``, ``steps``, ``seed``; ``uniform_objective``,
        the program's objective at :math:`s_i = 1/N`; ``objective`` and ``gap`` of what the solver
        returns; its distances ``to_start``, the random subset it began with, and ``to_uniform``;
        ``kept``, the share of that subset in a draw; ``start_variance`` and ``variance``, the
        V-optimality of that subset and of a draw (median) over the directions that n can cover.

    Raises:
        ValueError: an unknown solver.
    """
    import pandas as pd

    rows, spectrum = view.rows.astype(np.float64, copy=False), view.spectrum
    shares, N = moment_shares(rows, spectrum), len(rows)
    runs, seeds, uniform, trials = list(runs), list(seeds), np.full(N, 1.0 / N), []
    for solver, *_ in runs:
        check_choice(solver, "solver", _SOLVERS)
    for n in budgets:
        whitened = spectrum.whiten(rows, covered_dimension(spectrum, n))
        for solver, slack, steps in runs:
            at_uniform = relaxed_selection(
                shares, uniform, n, slack=slack, steps=0, start=uniform
            ).objective
            for seed in seeds:
                knobs = {"rng": seed, "slack": slack}
                if solver == "recipe":
                    relaxed = adam_clip_renormalise(rows, spectrum, n, steps=steps, **knobs)
                else:
                    relaxed = match_moments(shares, n, max_steps=steps, **knobs)
                run = {"n": n, "solver": solver, "slack": slack, "steps": steps, "seed": seed}
                run["uniform_objective"] = at_uniform
                trials.append(run | _whereabouts(relaxed, whitened, seed))
    return pd.DataFrame(trials)


def _whereabouts(relaxed: RelaxedSelection, whitened: Array, seed: int) -> dict[str, float]:
    s, start = relaxed.s, relaxed.start
    N, n = len(start), np.count_nonzero(start)
    rng = as_generator(seed, "relaxation_trials")
    draws = [round_by_sampling(s, n, rng=rng) for _ in range(_DRAWS)]
    values = [v_optimality(whitened, np.bincount(draw, minlength=N) / n) for draw in draws]
    return {
        "objective": relaxed.objective,
        "gap": relaxed.gap,
        "to_start": 0.5 * float(np.abs(s - start).sum()),
        "to_uniform": 0.5 * float(np.abs(s - 1.0 / N).sum()),
        "kept": float(np.mean([np.mean(start[draw] > 0) for draw in draws])),
        "start_variance": v_optimality(whitened, start),
        "variance": float(np.median(values)),
    }
