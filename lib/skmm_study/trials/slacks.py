r"""Excess risk against slack and sketch size: the paper's bounds beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator
from skmm.selection.certificate import certify
from skmm.selection.select import select
from skmm.training.risk import RidgeRisk
from skmm_study.pools.synthetic import Mixture
from skmm_study.theory.corollary import corollary_bound

if TYPE_CHECKING:
    import pandas as pd


def uneven_subset(
    clusters: NDArray[np.integer], n: int, *, spread: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    r"""Draws n samples with as many of each cluster as chance says, at least one.

    Cluster k gets a share in proportion to :math:`p_k e^{\text{spread}\,z_k}`, z standard normal:
    proportional sampling at spread 0, and the larger it is the worse some cluster is covered.

    Args:
        clusters: the cluster of each sample, shape ``[N]``.
        n: budget, at least the number of clusters.
        spread: standard deviation of the logarithm of a share.
        rng: draws shares, then samples.

    Raises:
        ValueError: ``n`` is below the number of clusters.
    """
    names, sizes = np.unique(clusters, return_counts=True)
    check_integer(n, "n", low=len(names), hint="each cluster gets a sample")
    shares = sizes * np.exp(spread * rng.standard_normal(len(names)))
    counts = np.minimum(1 + rng.multinomial(n - len(names), shares / shares.sum()), sizes)
    while (left := n - counts.sum()) > 0:  # a cluster that ran out leaves its samples to the others
        open_shares = np.where(counts < sizes, shares, 0.0)
        more = rng.multinomial(left, open_shares / open_shares.sum())
        counts = np.minimum(counts + more, sizes)
    picks = [
        rng.choice(np.flatnonzero(clusters == name), count, replace=False)
        for name, count in zip(names, counts, strict=True)
    ]
    return np.concatenate(picks)


def slack_trials(
    draw: Callable[[int], Mixture],
    n: int,
    spreads: Iterable[float],
    *,
    seeds: Iterable[int],
    noise_variance: float,
) -> pd.DataFrame:
    r"""Measures excess risk in closed form against slack, over ever more uneven subsets.

    Args:
        draw: ``draw(seed)`` returns the mixture.
        n: size of the subsets.
        spreads: of `uneven_subset`, one subset each and one that SkMM's default selects.
        seeds: one mixture each.
        noise_variance: :math:`\sigma^2` of the label noise.

    Returns:
        One row a subset: ``seed``, ``spread`` (NaN: SkMM), ``slack`` on its K leading directions,
        and, in units of :math:`\sigma^2K/n`, ``constant`` (the risk at the best penalty),
        ``theorem`` (Theorem 2.2 at that rank), ``corollary`` (its corollary) and ``paper``,
        :math:`\frac1n(c_S\sigma^2\bar r + \mathrm{tr}(\Sigma)\|\theta_*\|^2)`, without a constant.
    """
    import pandas as pd

    spreads, found = list(spreads), []
    for seed in seeds:
        mixture, rng = draw(seed), as_generator(seed, "slack_trials")
        pool, K = RidgeRisk.of(mixture.features), len(mixture.centres)
        length = float(np.linalg.norm(mixture.theta))
        scale = {"noise_variance": noise_variance, "theta_norm": length}
        unit = noise_variance * K / n
        subsets = {np.nan: select(mixture.features, n, rng=seed).indices}
        for spread in spreads:
            subsets[spread] = uneven_subset(mixture.clusters, n, spread=spread, rng=rng)
        for spread, S in subsets.items():
            seen = pool.on(S)
            risk = seen.excess_risk(mixture.signal, noise_variance=noise_variance).best
            by_slack = corollary_bound(seen, K, **scale)
            terms = by_slack.slack * noise_variance * K + pool.trace * length**2
            row = {"seed": seed, "spread": spread, "slack": by_slack.slack}
            row["constant"] = risk.total.item() / unit
            row["theorem"] = float(seen.theorem_2_2(**scale).total[K - 1]) / unit
            found.append(row | {"corollary": by_slack.bound / unit, "paper": terms / n / unit})
    return pd.DataFrame(found)


def sketch_bound_trials(
    draw: Callable[[int], Mixture],
    n: int,
    sizes: Iterable[int],
    *,
    methods: Iterable[str],
    seeds: Iterable[int],
    noise_levels: Iterable[float],
) -> pd.DataFrame:
    r"""Puts Theorem 3.1's bound beside the truth, for selections in sketches of every size.

    .. math:: \text{bound} = \frac{c_S}n\bigl(\sigma^2 m + \mathrm{tr}(\Sigma)\|\theta_*\|^2\bigr)

    without the constant that the theorem does not give; the slack is measured in the sketch, over
    all of its directions.

    Args:
        draw: ``draw(seed)`` returns the mixture.
        n: size of the subsets.
        sizes: sketch sizes m, at most n, for fewer samples than directions have no slack.
        methods: of `skmm.select`.
        seeds: one mixture and one sketch each.
        noise_levels: :math:`\sigma^2` of the label noise, one row each.

    Returns:
        One row a subset and noise: ``method``, ``m``, ``seed``, ``noise_variance``, ``slack``,
        ``risk`` at the best penalty, ``bound``, ``ratio`` (risk over bound: what the theorem's
        constant must be at least) and ``lost``, the clusters without a sample.

    Raises:
        ValueError: a size above n.
    """
    import pandas as pd

    sizes, methods, levels, found = list(sizes), list(methods), list(noise_levels), []
    for m in sizes:
        check_integer(m, "m", low=1, high=n, hint=f"n={n} samples span no more directions")
    for seed in seeds:
        mixture = draw(seed)
        pool, length = RidgeRisk.of(mixture.features), float(np.linalg.norm(mixture.theta))
        for m in sizes:
            for method in methods:
                chosen = select(mixture.features, n, method=method, m=m, rng=seed)
                whole = certify(chosen.view, chosen.indices, k=chosen.view.spectrum.rank)
                seen = pool.on(chosen.indices)
                lost = len(mixture.centres) - len(np.unique(mixture.clusters[chosen.indices]))
                for level in levels:
                    risk = seen.excess_risk(mixture.signal, noise_variance=level).best.total.item()
                    bound = whole.slack / n * (level * m + pool.trace * length**2)
                    row = {"method": method, "m": m, "seed": seed, "noise_variance": level}
                    row |= {"slack": whole.slack, "risk": risk, "bound": bound}
                    found.append(row | {"ratio": risk / bound, "lost": lost})
    return pd.DataFrame(found)
