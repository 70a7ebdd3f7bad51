"""What the paper's experiments state: its tables and figures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from skmm_study.figures.methods import method_label
from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    interval,
    points,
    proportion,
    span,
    student,
    where,
)
from skmm_study.report.leads import seed_means

if TYPE_CHECKING:
    import pandas as pd

MATCHED = 0.1
"""Relative distance to a published mean that counts as met."""

ERRORS = {"utkface"}
"""Pools whose score is an error: less is better."""


def _published_row(comparison: pd.DataFrame, method: str) -> Judged:
    ratio = comparison[comparison["method"] == method].set_index("n")["ratio"]
    good = {int(n): bool(abs(value - 1) <= MATCHED) for n, value in ratio.items()}
    far = ratio[[n for n, met in good.items() if not met]]
    figure = f"{sum(good.values())} of {len(good)} budgets within {100 * MATCHED:.0f} %"
    if len(far):
        figure += "; mean over the published one " + ", ".join(
            f"{value:,.{0 if value > 100 else 2}f} at n = {n}" for n, value in far.items()
        )
    else:
        figure += f"; mean over the published one {span(ratio)}"
    return where(good), figure


def _least_risk(risk: pd.DataFrame, method: str) -> Judged:
    """By the mean over seeds at each budget; a missed cluster decides it, so both are told."""
    means = risk.groupby(["n", "method"])["risk"].mean().unstack()
    ranks = means.rank(axis=1)[method].astype(int)
    first = means.index[0]
    trials = {name: part for name, part in risk[risk["n"] == first].groupby("method")}
    next_best = means.loc[first].drop(method).idxmin()
    places, budgets = (", ".join(map(str, part)) for part in (ranks, ranks.index))
    figure = f"place {places} of {means.shape[1]} by mean risk at n = {budgets}; at n = {first} "
    figure += "; ".join(
        f"{method_label(name)} {_risk(trials[name]['risk'])}, a cluster missed in "
        f"{proportion((trials[name]['clusters'] < 8).sum(), len(trials[name]))}"
        for name in (method, next_best)
    )
    return where({int(n): rank == 1 for n, rank in ranks.items()}), figure


def _risk(trials: pd.Series) -> str:
    """Returns the mean with its interval; where a few trials decide it, the median."""
    mean, low, high = student(1e3 * trials)
    return (
        f"{interval(mean, low, high)}e-3" if low > 0 else f"{1e3 * trials.median():.2f}e-3 (median)"
    )


def _failure_modes(balance: pd.DataFrame) -> Judged:
    """Coverage alone pays variance, chance pays bias; both against the best of either."""
    part = balance[balance["n"] == balance["n"].min()].groupby("method")[["variance", "bias"]]
    mean, worst = part.mean(), part.max()
    variance = mean.loc["k_center", "variance"] / mean.loc["skmm", "variance"]
    bias = worst.loc["uniform", "bias"] / worst.loc["skmm", "bias"]
    figure = (
        f"at n = {balance['n'].min()} K-center has {variance:.1f} times the mean variance of "
        f"exchange, Uniform {bias:,.0f} times its worst bias"
    )
    return decide(variance > 2 and bias > 2), figure


def _against_uniform(scores: pd.DataFrame, pool: str, unit: float, digits: int) -> Judged:
    """By the paired means over budgets of the seeds that both have."""
    means = seed_means(scores[scores["pool"] == pool])[["skmm_paper", "uniform"]].dropna()
    sign = -1.0 if pool in ERRORS else 1.0
    gain = sign * unit * (means["skmm_paper"] - means["uniform"])
    mean, low, high = student(gain)
    what = "years less error" if pool in ERRORS else "points"
    figure = f"{interval(mean, low, high, digits, signed=True)} {what}, {len(gain)} seeds"
    return decide(low > 0), figure


def finetuned(differences: pd.DataFrame, method: str, layers: str = "last two layers") -> Judged:
    """Judges by the budgets whose interval is clear of zero upwards."""
    rows = differences[(differences["method"] == method)]
    rows = rows[rows["layers"] == layers].set_index("n").sort_index()
    figure = "points at n = " + ", ".join(
        f"{n}: {points(row)}"
        for n, row in rows.iloc[sorted({0, len(rows) // 2, len(rows) - 1})].iterrows()
    )
    figure += f"; clear of zero upwards at {int((rows['low'] > 0).sum())} of {len(rows)} budgets"
    figure += f", downwards at {int((rows['high'] < 0).sum())}; {int(rows['trials'].max())} seeds"
    return where({int(n): bool(low > 0) for n, low in rows["low"].items()}), figure


SYNTHETIC, TUNED, FACES = (
    "01_synthetic_linear_probing",
    "07_selection",
    "08_confirmation",
)

EXPERIMENTS = [
    Statement(
        name="failure-modes",
        source="Figure 1",
        text="covering alone pays in variance, chance alone in bias",
        tested="the closed-form split of the excess risk on the paper's mixture",
        tables=(f"{SYNTHETIC}/balance.csv",),
        judge=_failure_modes,
        heading="Variance and bias",
    ),
    Statement(
        name="table-1-herding",
        source="Table 1",
        text="the published risk of Herding",
        tested="herding that takes the farthest sample, not the nearest as in the text's reference",
        tables=(f"{SYNTHETIC}/comparison.csv",),
        judge=partial(_published_row, method="herding_farthest"),
        heading="Risk of every selector",
    ),
    Statement(
        name="table-1-algorithm",
        source="Table 1",
        text="the published risk of SkMM",
        tested="the paper's algorithm as stated, with an exact solver",
        tables=(f"{SYNTHETIC}/comparison.csv",),
        judge=partial(_published_row, method="skmm_paper"),
        heading="Risk of every selector",
    ),
    Statement(
        name="table-1-exchange",
        source="Table 1",
        text="the published risk of SkMM, by exchange in place of the draw",
        tested="exchange on V-optimality in unit rows, a metric chosen on this pool",
        tables=(f"{SYNTHETIC}/comparison.csv",),
        judge=partial(_published_row, method="skmm"),
        heading="Risk of every selector",
    ),
    Statement(
        name="table-1-least",
        source="Table 1",
        text="the paper's algorithm has the least risk of the methods of Table 1",
        tested="the selectors of the paper's table and exchange, at one ridge penalty",
        tables=(f"{SYNTHETIC}/risk.csv",),
        judge=partial(_least_risk, method="skmm_paper"),
        heading="Risk of every selector",
        headline=True,
    ),
    Statement(
        name="table-1-least-exchange",
        source="Table 1",
        text="exchange in place of the draw has the least risk of the methods of Table 1",
        tested="the same; unit rows, a metric chosen on this pool, one ridge penalty",
        tables=(f"{SYNTHETIC}/risk.csv",),
        judge=partial(_least_risk, method="skmm"),
        heading="Risk of every selector",
        headline=True,
    ),
    Statement(
        name="cars-probing",
        source="Table 2",
        text="over all budgets the paper's algorithm beats uniform sampling, probes on Stanford "
        "Cars",
        tested="MobileNetV2 features (CLIP's do not ship), mean over budgets 500 to 4,000",
        tables=(f"{TUNED}/scores.csv",),
        judge=partial(_against_uniform, pool="cars", unit=100, digits=1),
        heading="Who leads",
    ),
    Statement(
        name="cars-finetuning",
        source="Table 3",
        text="on gradients at random labels SkMM beats uniform sampling, finetuning on Stanford "
        "Cars",
        tested="two layers of MobileNetV2 (not ResNet-18), exchange on the combined match in place "
        "of the draw",
        tables=("06_finetuning/differences.csv",),
        judge=partial(finetuned, method="SkMM, random labels"),
        heading="On the images, all 196 classes",
        headline=True,
        run="full",
    ),
    Statement(
        name="faces",
        source="Section 4.2, appendix",
        text="the paper's algorithm beats uniform sampling, ages of UTKFace",
        tested="MobileNetV2 features, ridge regression, mean over budgets 100 to 1,000",
        tables=(f"{FACES}/scores.csv",),
        judge=partial(_against_uniform, pool="utkface", unit=1, digits=2),
        heading="Who leads",
    ),
    Statement(
        name="cifar",
        source="Appendix",
        text="the paper's algorithm beats uniform sampling on CIFAR-10",
        tested="not run here",
    ),
    Statement(
        name="clip",
        source="Tables 2 and 3",
        text="the published accuracies on Stanford Cars",
        tested="CLIP features and ResNet-18 weights do not ship: differences to uniform sampling "
        "compare, accuracies do not",
    ),
]
