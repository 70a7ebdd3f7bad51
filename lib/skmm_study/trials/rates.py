"""Excess risk in units of the fast rate, of every method, on mixtures whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from skmm.training.risk import RidgeRisk
from skmm_study.pools.synthetic import Mixture
from skmm_study.trials.trials import Indices, Trials, run_trials


def rate_trials(
    draw: Callable[[int], Mixture],
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    budgets: Iterable[int],
    *,
    seeds: Iterable[int],
    noise_variance: float,
    **common: Any,
) -> Trials:
    r"""Selects from a mixture a seed and measures the expected excess risk in closed form.

    .. math:: \text{constant} = \frac{n}{\sigma^2\bar r}
              \min_\alpha\mathbb E\,\mathrm{ER}(\theta_S), \qquad \bar r = K \text{ clusters}

    so that the rate :math:`\sigma^2\bar r/n` has the constant 1. All columns but ``n`` and ``lost``
    are in this unit: ``constant = variance + bias``, and the two terms of Theorem 2.2 at the rank
    where their sum, ``bound``, is least. Mixtures are drawn one after the other, so that memory is
    that of one.

    Args:
        draw: ``draw(seed)`` returns the mixture; see `skmm_study.gaussian_mixture`.
        methods: See `skmm_study.run_trials`.
        budgets: Sizes ``n`` of the subsets.
        seeds: One mixture and one ``rng`` of `skmm.select` each.
        noise_variance: :math:`\sigma^2` of the label noise; that of the mixture is not looked at.
        **common: Knobs of `skmm.select` that all methods share.

    Returns:
        ``results`` with the columns ``method``, ``n``, ``seed``, ``variance``, ``bias``,
        ``constant``, ``bound_variance``, ``bound_bias``, ``bound`` and ``lost``, the number of
        clusters without a selected sample; times and subsets as of `skmm_study.run_trials`.

    References:
        Sketchy Moment Matching (Dong et al., 2024), Theorem 2.2 and its corollary
    """
    import pandas as pd

    runs = []
    for seed in seeds:
        mixture = draw(seed)
        measure = rate_of(mixture, noise_variance)
        one = run_trials(
            mixture.features, methods, budgets, seeds=[seed], measure=measure, **common
        )
        runs.append(one)
    return Trials(
        pd.concat([run.results for run in runs], ignore_index=True),
        pd.concat([run.times for run in runs], ignore_index=True),
        {key: subset for run in runs for key, subset in run.subsets.items()},
    )


def rate_of(
    mixture: Mixture, noise_variance: float
) -> Callable[[Indices, np.random.Generator], dict[str, float]]:
    """Returns the measure of a subset of ``mixture``; its columns are those of `rate_trials`."""
    pool, signal = RidgeRisk.of(mixture.features), mixture.signal
    K, length = len(mixture.centres), float(np.linalg.norm(mixture.theta))

    def measure(indices: Indices, _: np.random.Generator) -> dict[str, float]:
        unit = noise_variance * K / len(indices)
        seen = pool.on(indices)
        risk = seen.excess_risk(signal, noise_variance=noise_variance).best
        bound = seen.theorem_2_2(noise_variance=noise_variance, theta_norm=length).best
        return {
            "variance": risk.variance.item() / unit,
            "bias": risk.bias.item() / unit,
            "constant": risk.total.item() / unit,
            "bound_variance": bound.variance.item() / unit,
            "bound_bias": bound.bias.item() / unit,
            "bound": bound.total.item() / unit,
            "lost": K - len(np.unique(mixture.clusters[indices])),
        }

    return measure
