"""Repeated selections measured into one tidy table: methods x budgets x seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.selections import run_selections
from skmm_study.trials.subsets import Subsets

if TYPE_CHECKING:
    import pandas as pd

Indices = NDArray[np.intp]
Measure = Callable[[Indices, np.random.Generator], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Trials:
    """What a set of trials found.

    Attributes:
        results: One row a trial: ``method``, ``n``, ``seed`` and what was measured.
        times: One row a selection that was run: ``method``, ``n``, ``seed`` and its costs.
        subsets: ``(method, n, seed)`` -> the indices, shape ``[n]``, in the order chosen.
    """

    results: pd.DataFrame
    times: pd.DataFrame
    subsets: Subsets


def run_trials(
    features: ArrayLike,
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    budgets: Iterable[int],
    *,
    seeds: Iterable[int],
    measure: Measure,
    labels: ArrayLike | None = None,
    **options: Any,
) -> Trials:
    r"""Selects with every method, budget and seed, and measures every subset.

    Trials are paired: under one seed all methods see the same sketch, and ``measure`` gets a
    generator in the same state, so that differences between methods are not those of the draw.

    Args:
        features: :math:`G`, shape ``[N, r]``.
        methods: See `run_selections`.
        budgets: Sizes ``n`` of the subsets.
        seeds: One whole number a repeat: the ``rng`` of `skmm.select`.
        measure: ``measure(indices, rng)`` -> column -> value, called once a trial.
        labels: See `run_selections`.
        **options: Further arguments of `run_selections`, and through it of `skmm.select`, such as
            ``m`` and ``sketch``.

    Returns:
        Tidy tables and the subsets, ordered by method, budget and seed as given.

    Raises:
        ValueError: An unknown selector, a budget outside ``1..N``, or nothing to do.
    """
    import pandas as pd

    subsets, costs = run_selections(features, labels, methods, budgets, seeds=seeds, **options)
    results = []
    for (method, n, seed), indices in tqdm(subsets.items(), desc="measures", unit="trial"):
        measured = measure(indices, evaluation_rng(seed))
        results.append({"method": method, "n": n, "seed": seed, **measured})
    return Trials(pd.DataFrame(results), costs, subsets)
