"""What the library states of its default, where the truth is known, and of its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import stats

from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    number,
    proportion,
    span,
    where,
)

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 8
"""Pools of ten on which a step must count to be a step."""


def _clusters_kept(*tables: pd.DataFrame) -> Judged:
    ours = [table.loc[table["method"] == "skmm", "lost"] for table in tables]
    lost = sum(int((part > 0).sum()) for part in ours)
    return decide(lost == 0), f"a cluster lost in {proportion(lost, sum(map(len, ours)))} subsets"


def _near_the_bound(design: pd.DataFrame) -> Judged:
    excess = design.loc[design["method"] == "skmm", "excess"]
    figure = f"{span(100 * excess)} % above what is proven for every subset, {len(excess)} cases"
    return decide(excess.max() <= 0.05), figure


def _tuned(tuned: pd.DataFrame) -> Judged:
    """Seed by seed against uniform sampling, the penalty cross-validated on either's own rows."""
    table = tuned.pivot(index=["n", "seed"], columns="method", values="tuned_risk")
    less = (table["skmm"] < table["uniform"]).groupby("n").agg(["sum", "count"])
    figure = "less risk than Uniform in " + ", ".join(
        f"{proportion(*row)} seeds at n = {n}" for n, row in less.iterrows()
    )
    return where({int(n): 2 * row["sum"] > row["count"] for n, row in less.iterrows()}), figure


def _certificate_orders(certificates: pd.DataFrame) -> Judged:
    parts, least = [], 1.0
    for ratio, frame in certificates.groupby("ratio"):
        columns = ["risk", "bound"]
        units = frame[frame["dropped"] == 0].groupby("pool")[columns].median()
        scaled = frame[columns].to_numpy() / units.loc[frame["pool"]].to_numpy()
        rank = stats.spearmanr(*scaled.T).statistic
        parts.append(f"{rank:.2f} at a signal of {ratio:g} ({len(frame)} subsets)")
        least = min(least, rank)
    return decide(least >= 0.9), "rank correlation of bound and mean risk: " + ", ".join(parts)


def _design_start(starts: pd.DataFrame) -> Judged:
    ends = starts.groupby(["directions", "pool", "start"])["value"].median().unstack()
    worse = int((ends["design"] > ends["random"] * (1 + 1e-9)).sum())
    swaps = starts.groupby("start")["swaps"].mean()
    figure = (
        f"higher than the median random start on {proportion(worse, len(ends))} pools; "
        f"{swaps['design']:.0f} swaps for {swaps['random']:.0f} on average"
    )
    return decide(2 * worse < len(ends)), figure


def _every_step(ablation: pd.DataFrame) -> Judged:
    counts = ablation.groupby(["criterion", "step"])["counts"].agg(["sum", "count"])
    share = counts["sum"] / counts["count"]
    (criterion, step), least = share.idxmin(), counts.loc[share.idxmin()]
    figure = f"{len(counts)} steps; {step} of {criterion} counts on {proportion(*least)} pools"
    return decide(bool((share >= ENOUGH / 10).all())), figure


def _elbow(elbow: pd.DataFrame) -> Judged:
    cost = elbow.groupby("method")["constant"].mean()
    widest = elbow.loc[elbow["k"].idxmax(), "method"]
    lost = int(elbow.loc[elbow["method"] == "skmm", "lost"].sum())
    figure = (
        f"constant {number(cost['skmm'], 3)} by the elbow, {number(cost[widest])} over all "
        f"{elbow['k'].max()} directions of r̄, {number(cost['uniform'])} for Uniform; "
        f"{elbow['seed'].nunique()} seeds"
    )
    return decide(cost["skmm"] < min(cost[widest], cost["uniform"]) and not lost), figure


def _brute_force(problems: pd.DataFrame) -> Judged:
    optimal = int((problems["ours"] <= problems["best"] * (1 + 1e-9)).sum())
    figure = f"the best of all subsets in {proportion(optimal, len(problems))} problems"
    return decide(optimal >= 0.8 * len(problems)), figure


def _regret(rounding: pd.DataFrame) -> Judged:
    table = rounding.pivot(index=["pool", "n", "seed"], columns="method", values="ratio")
    better = int((table["regret"] < table["top, exchange"] * (1 - 1e-9)).sum())
    figure = f"regret minimisation is better in {proportion(better, len(table))} cases"
    return decide(better == 0), figure


LIBRARY = [
    Statement(
        name="any-penalty",
        text="on the paper's mixture exchange has less risk than uniform sampling in most seeds, "
        "the penalty cross-validated",
        tested="each on its own rows, in place of the one fixed penalty of Table 1",
        tables=("01_synthetic_linear_probing/tuned.csv",),
        judge=_tuned,
        heading="What the ridge rule decides",
        headline=True,
    ),
    Statement(
        name="no-cluster-lost",
        text="the default loses no cluster of a mixture",
        tested="the rate, its dimension, and mixtures that break the theory's assumptions",
        tables=(
            "04_fast_rate/rates.csv",
            "04_fast_rate/dimension.csv",
            "04_fast_rate/assumptions.csv",
        ),
        judge=_clusters_kept,
        heading="Where the assumptions break",
    ),
    Statement(
        name="near-the-bound",
        text="where few directions matter no subset is more than 5 % better than the default's",
        tested="V-optimality against a lower bound proven for every subset, mixtures of 8 clusters",
        tables=("04_fast_rate/design.csv",),
        judge=_near_the_bound,
        heading="How far from the best any subset could do",
        headline=True,
    ),
    Statement(
        name="elbow",
        text="V-optimality over the directions before the spectrum's elbow costs less than over r̄",
        tested="the paper's mixture, another draw of it, n = 384",
        tables=("07_selection/elbow.csv",),
        judge=_elbow,
        heading="The rule of the elbow: few directions, and noise beyond",
    ),
    Statement(
        name="every-step-counts",
        text=f"no step of the default can be left out: each counts on {ENOUGH} pools of 10 or more",
        tested="each step replaced by its input: another subset, and a worse one by what it is for",
        tables=("03_moment_matching/ablation.csv",),
        judge=_every_step,
        heading="Where a relaxation is informative: V-optimal design",
    ),
    Statement(
        name="design-start",
        text="exchange ends lower from the relaxed design than from a random subset",
        tested="V-optimality on pools of five laws, with few directions or many",
        tables=("10_solvers_and_roundings/starts.csv",),
        judge=_design_start,
        heading="Where exchange starts",
    ),
    Statement(
        name="brute-force",
        text="exchange finds the best subset of tiny pools in four of five cases or more",
        tested="the full match against all subsets",
        tables=("10_solvers_and_roundings/brute_force.csv",),
        judge=_brute_force,
        heading="Full matching against brute force, and at scale",
    ),
    Statement(
        name="regret",
        text="regret minimisation, the rounding with a guarantee, is never better than exchange",
        tested="both from the optimal design of five pools",
        tables=("10_solvers_and_roundings/rounding.csv",),
        judge=_regret,
        heading="Is rounding by regret minimisation better than exchange?",
    ),
    Statement(
        name="certificate",
        text="the certificate's bound orders subsets as their excess risk does",
        tested="subsets of whole pools and of pools without some clusters, mixtures and real ones",
        tables=("10_solvers_and_roundings/certificates.csv",),
        judge=_certificate_orders,
        heading="Does the certificate order subsets as the risk does?",
        headline=True,
    ),
    Statement(
        name="taking-away",
        text="a subset from which samples are taken never certifies better",
        tested="random pools and subsets",
        test="tests/test_selection.py::test_taking_samples_away_never_certifies_better",
    ),
    Statement(
        name="same-everywhere",
        text="a seed gives the same subset for any number of threads and on any processor",
        tested="every selector that promises it, under the linear algebra kernels offered here",
        test="tests/test_kernels.py::test_kernels_and_threads_do_not_matter",
    ),
]
