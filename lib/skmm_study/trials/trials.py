"""Repeated selections: methods x budgets x seeds, measured into one tidy table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from skmm.numerics.inputs import check_budget, check_choice, check_integer, check_rows
from skmm.numerics.streams import as_generator
from skmm.selection.select import select
from skmm.selection.selectors import SELECTORS

if TYPE_CHECKING:
    import pandas as pd

Indices = NDArray[np.intp]
Measure = Callable[[Indices, np.random.Generator], Mapping[str, Any]]

_RUN = ("method", "n", "seed")


@dataclass(frozen=True, eq=False)
class Trials:
    """What a set of trials found.

    Attributes:
        results: One row a trial: ``method``, ``n``, ``seed`` and what was measured.
        times: One row a selection that was run: ``method``, ``n``, ``seed``, ``seconds``.
        subsets: ``(method, n, seed)`` -> the indices, shape ``[n]``, in the order chosen.
    """

    results: pd.DataFrame
    times: pd.DataFrame
    subsets: Mapping[tuple[str, int, int], Indices]


def evaluation_rng(seed: int) -> np.random.Generator:
    """Returns what a subset is evaluated with: the same for all methods and budgets of a seed."""
    return as_generator(seed, "evaluation")


def method_settings(
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]], common: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Returns the knobs of `skmm.select` by the name of the row; see `run_trials`."""
    named = methods if isinstance(methods, Mapping) else {name: {} for name in methods}
    settings = {name: {"method": name, **common, **knobs} for name, knobs in named.items()}
    for setting in settings.values():
        check_choice(setting["method"], "method", SELECTORS)
    return settings


def run_trials(
    features: ArrayLike,
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    budgets: Iterable[int],
    *,
    seeds: Iterable[int],
    measure: Measure,
    **common: Any,
) -> Trials:
    r"""Selects with every method, budget and seed, and measures every subset.

    Trials are paired: under one seed all methods see the same sketch, and ``measure`` gets a
    generator in the same state, so that differences between methods are not those of the draw.
    Nested selectors run once a seed, at the largest budget; the smaller subsets are its beginnings,
    exactly those that `skmm.select` returns for them.

    Args:
        features: :math:`G`, shape ``[N, r]``.
        methods: Selectors by name; or a mapping from the name that a row is to bear to the
            selector's knobs, where the knob ``method`` names the selector if the name does not:
            ``{"leverage": {"rank": 8}, "top": {"method": "skmm_paper", "rounding": "top"}}``.
        budgets: Sizes ``n`` of the subsets.
        seeds: One whole number a repeat: the ``rng`` of `skmm.select`.
        measure: ``measure(indices, rng)`` -> column -> value, called once a trial.
        **common: Knobs of `skmm.select` that all methods share, such as ``m`` and ``sketch``.

    Returns:
        Tidy tables and the subsets, ordered by method, budget and seed as given.

    Raises:
        ValueError: An unknown selector, a budget outside ``1..N``, or nothing to do.
    """
    import pandas as pd

    features = check_rows(features)
    settings = method_settings(methods, common)
    budgets = [check_budget(n, len(features)) for n in budgets]
    seeds = [check_integer(s, "seed", low=0, hint="it seeds a generator") for s in seeds]
    if not (settings and budgets and seeds):
        raise ValueError(
            f"methods, budgets and seeds must not be empty, got {len(settings)} methods, "
            f"{len(budgets)} budgets and {len(seeds)} seeds"
        )

    results, times, subsets, chosen = [], [], {}, {}
    with tqdm(total=len(settings) * len(budgets) * len(seeds), unit="trial") as progress:
        for (name, setting), n, seed in itertools.product(settings.items(), budgets, seeds):
            progress.set_description(name)
            nested = SELECTORS[setting["method"]].nested
            run = name, max(budgets) if nested else n, seed
            if run not in chosen:
                selection = select(features, run[1], rng=seed, **setting)
                chosen[run] = selection.indices
                times.append(dict(zip(_RUN, run, strict=True)) | {"seconds": selection.seconds})
            subsets[name, n, seed] = chosen[run][:n]
            trial = dict(zip(_RUN, (name, n, seed), strict=True))
            measured = measure(subsets[name, n, seed], evaluation_rng(seed))
            results.append(trial | dict(measured))
            progress.update()
    return Trials(pd.DataFrame(results), pd.DataFrame(times), subsets)
