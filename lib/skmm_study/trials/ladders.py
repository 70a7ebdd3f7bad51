"""What subsets are worth beside each other: moments, distance to the bound, roundings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import VOptimality
from skmm.matching.design import DesignBound, bound_v_optimality, v_optimality
from skmm.numerics.inputs import check_budget
from skmm.numerics.streams import as_generator
from skmm.rounding.exchange import exchange
from skmm.rounding.regret import round_by_regret
from skmm.rounding.sampling import round_by_sampling, round_to_top
from skmm.selection.view import PoolView
from skmm_study.theory.agreement import compare_moments, covered_dimension

if TYPE_CHECKING:
    import pandas as pd

Indices = NDArray[np.intp]


def moment_trials(
    view: Callable[[int], PoolView], subsets: Mapping[tuple[str, int, int], Indices]
) -> pd.DataFrame:
    r"""Compares the moments of many subsets with the pool's, and with the best possible.

    Directions are those that n samples can cover, :math:`k = \min(\bar r, n/3)`, at least one.

    Args:
        view: ``view(seed)`` returns the pool as selections under that seed saw it.
        subsets: ``(method, n, seed)`` -> indices, as of `skmm_study.run_trials`.

    Returns:
        One row a subset: ``method``, ``n``, ``seed``, the fields of `skmm_study.Agreement`,
        ``certified_slack``, and ``ratio``, the variance over its proven lower bound.
    """
    import pandas as pd

    views, bounds, trials = {}, {}, []
    for (method, n, seed), indices in subsets.items():
        if seed not in views:
            views[seed] = view(seed)
        rows, spectrum = views[seed].rows, views[seed].spectrum
        k = covered_dimension(spectrum, n)
        if (n, seed) not in bounds:
            bounds[n, seed] = bound_v_optimality(spectrum.whiten(rows, k), n).lower_bound
        found = compare_moments(views[seed], indices, k=k)
        extra = {"certified_slack": found.certified_slack}
        extra["ratio"] = found.variance / bounds[n, seed]
        trials.append({"method": method, "n": n, "seed": seed} | asdict(found) | extra)
    return pd.DataFrame(trials)


def rounding_trials(
    whitened: NDArray[np.float64], budgets: Iterable[int], *, seeds: Iterable[int]
) -> pd.DataFrame:
    """Rounds the relaxed V-optimal design in six ways and compares the subsets with its bound.

    Args:
        whitened: Whitened rows, shape ``[N, k]``.
        budgets: Sizes of the subsets, at least ``k``.
        seeds: Of sampling and of the random subset that exchange starts from.

    Returns:
        ``method``, ``n``, ``seed``, ``ratio``: value over lower bound, infinite if a direction is
        left out.
    """
    import pandas as pd

    seeds, trials = list(seeds), []
    for n in budgets:
        design = bound_v_optimality(whitened, n, tolerance=1e-4)
        for seed in seeds:
            for method, indices in _roundings(whitened, n, seed, design):
                weights = np.bincount(indices, minlength=len(whitened)) / n
                ratio = v_optimality(whitened, weights) / design.lower_bound
                trials.append({"method": method, "n": n, "seed": seed, "ratio": ratio})
    return pd.DataFrame(trials)


def _roundings(
    whitened: NDArray[np.float64], n: int, seed: int, design: DesignBound
) -> Iterator[tuple[str, Indices]]:
    lowered = VOptimality(whitened, n, alpha=1e-6)
    random = as_generator(seed, "rounding_trials").choice(len(whitened), n, replace=False)
    top, regret = round_to_top(design.s, n), round_by_regret(design.s, whitened, n)
    yield "sample", round_by_sampling(design.s, n, rng=seed)
    yield "top", top
    yield "regret", regret
    yield "top, exchange", exchange(lowered, top).indices
    yield "regret, exchange", exchange(lowered, regret).indices
    yield "random, exchange", exchange(lowered, random).indices


def every_moment_gap(
    rows: NDArray[np.floating], n: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    r"""Tries every subset: :math:`\|\Sigma_S - \Sigma\|_F^2` of all of size ``n``.

    Args:
        rows: Shape ``[N, m]``; there are :math:`\binom{N}{n}` subsets.
        n: Budget, in ``1..N``.

    Returns:
        The subsets, ascending indices, shape ``[subsets, n]``, and their gaps.
    """
    check_budget(n, len(rows))
    kernel = np.square(rows @ rows.T)
    every = np.array(list(combinations(range(len(rows)), n)))
    gaps = kernel[every[:, :, None], every[:, None]].mean(axis=(1, 2)) + kernel.mean()
    gaps -= 2 * kernel.mean(axis=0)[every].mean(axis=1)
    return every, gaps
