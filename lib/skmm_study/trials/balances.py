"""What the default's rule rests on: how much matching beside coverage, and how many directions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from skmm.criteria import Coverage, FourthMoment, VOptimality
from skmm.matching.design import bound_v_optimality
from skmm.rounding.exchange import exchange
from skmm.rounding.sampling import round_to_top
from skmm.selection.select import select
from skmm.selection.selectors.moments import DESIGN_GAP
from skmm_study.trials.comparisons import Comparison
from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.rates import rate_of
from skmm_study.trials.subsamples import Subsamples
from skmm_study.trials.subsets import in_order

if TYPE_CHECKING:
    import pandas as pd

    from skmm.selection.view import PoolView
    from skmm_study.pools.compact import CompactPool
    from skmm_study.pools.synthetic import Mixture
    from skmm_study.trials.fits import Fit
    from skmm_study.trials.trials import Indices


def balance_trials(
    source: Subsamples,
    budgets: Iterable[int],
    *,
    factors: Iterable[float],
    widths: Iterable[float],
    seeds: int,
    fit: Fit,
    **running: Any,
) -> pd.DataFrame:
    r"""Scores weights of matching and widths of the kernel on rows held out of the pool.

    .. math:: w = c\,\frac nN

    in `Balance`; the rows are training rows outside the seed's pool, and no test row is read.

    Args:
        source: the data set and its parts.
        budgets: sizes n of the subsets.
        factors: values of c.
        widths: values of the kernel's :math:`\sigma`.
        seeds: number of repeats.
        fit: what is trained.
        **running: ``folder`` and ``workers``; see `Comparison.of`.

    Returns:
        One row a trial: ``c``, ``sigma``, ``n``, ``seed`` and ``score``.
    """
    import pandas as pd

    named = {f"c = {c:g}, σ = {sigma:g}": (c, sigma) for c in factors for sigma in widths}
    parts = []
    for n in budgets:
        knobs = {
            name: {"method": "skmm", "criterion": "balanced", "sigma": sigma}
            | {"weight": c * n / source.size}
            for name, (c, sigma) in named.items()
        }
        compared = Comparison.of(source, knobs, [n], seeds=seeds, **running)
        parts.append(compared.scores(fit, on="rest", **running))
    scores = pd.concat(parts, ignore_index=True)
    pairs = scores["method"].map(named)
    scores = scores.assign(c=pairs.str[0], sigma=pairs.str[1])
    return scores[["c", "sigma", "n", "seed", "score"]]


def elbow_trials(
    mixture: Mixture, n: int, dimensions: Iterable[int], *, seeds: Iterable[int]
) -> pd.DataFrame:
    r"""Measures V-optimality over the k leading directions, beside the default and uniform draws.

    Args:
        mixture: the pool; the signal is its own, the noise has unit variance.
        n: budget.
        dimensions: values of k, of which those above :math:`\bar r` count as it.
        seeds: one sketch each.

    Returns:
        One row a trial: ``method`` (``skmm``, ``uniform``, or ``k = 8``), ``k`` (0 for those that
        are told none), ``seed``, ``constant`` in units of :math:`\sigma^2 K/n`, and ``lost``, the
        clusters without a sample; see `rate_trials`.
    """
    import pandas as pd

    measure, rows = rate_of(mixture, 1.0), []
    for seed in seeds:
        chosen: list[tuple[str, int, Indices]] = []
        for method in ("skmm", "uniform"):
            selection = select(mixture.features, n, method=method, rng=seed)
            chosen.append((method, 0, selection.indices))
        for k in dimensions:
            chosen.append((f"k = {k}", k, v_optimal(selection.view, n, k)))
        for method, k, indices in chosen:
            found = measure(indices, evaluation_rng(seed))
            row = {"method": method, "k": k, "seed": seed, "constant": found["constant"]}
            rows.append(row | {"lost": found["lost"]})
    return pd.DataFrame(rows)


def part_trials(
    data: CompactPool, n: int, sizes: Iterable[int], *, seeds: int, fit: Fit, **running: Any
) -> pd.DataFrame:
    r"""Measures the default where it looks at a random part of the pool and at no other row.

    That is what `select` does with a pool that is too large to compare every row with every other.

    Args:
        data: training and test rows; all training rows are the pool.
        n: budget.
        sizes: rows that are looked at, at most all of the pool.
        seeds: number of repeats, a part of its own each.
        fit: what is trained on the subset and scored on 80 % of the test rows.
        **running: ``folder`` and ``workers``; see `Comparison.of`.

    Returns:
        One row a trial: ``looked_at``, ``seed``, ``coverage`` and ``fourth``, the two criteria over
        the whole pool (1 is a uniform draw's mean), and ``score``.
    """
    import pandas as pd

    G = data.pool.astype(np.float64)
    G /= np.linalg.norm(G, axis=1, keepdims=True)
    coverage, fourth = Coverage(G, n), FourthMoment(G, n)
    rows = []
    for size in sizes:
        source = Subsamples(data, rows=size)
        compared = Comparison.of(source, ["skmm"], [n], seeds=seeds, **running)
        for trial in compared.scores(fit, on="test", **running).itertuples():
            subset, _ = in_order(compared.subsets["skmm", n, trial.seed])
            fourth.start(subset)
            reached = {"coverage": coverage.value_of(subset), "fourth": fourth.value()}
            seen = {"looked_at": size, "seed": trial.seed}
            rows.append(seen | reached | {"score": trial.score})
    return pd.DataFrame(rows)


def v_optimal(view: PoolView, n: int, k: int) -> Indices:
    r"""Returns n samples of least mean variance over min(k, r̄) directions, as `select` would."""
    spectrum = view.spectrum
    leading = spectrum.leading(min(k, spectrum.intrinsic_dimension))
    whitened = spectrum.whiten(view.rows, leading)
    design = bound_v_optimality(whitened, n, tolerance=DESIGN_GAP)
    return exchange(VOptimality(whitened, n), round_to_top(design.s, n)).indices
