"""What the paper states of its algorithm, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    interval,
    number,
    proportion,
    span,
    student,
)

if TYPE_CHECKING:
    import pandas as pd


def _range_finder(fidelity: pd.DataFrame, theory: pd.DataFrame) -> Judged:
    """By the lower ends of the intervals: the bound is one on the mean over all maps."""
    gaussian = fidelity[fidelity["map"] == "gaussian"]
    of_pools = gaussian.groupby(["pool", "m"])["left_out"]
    bound = theory.set_index(["pool", "m"])["bound"]
    surely = (of_pools.agg(lambda draws: student(draws)[1]) / bound).max()
    figure = f"energy left out over its bound: {span(of_pools.mean() / bound)} (means over draws, "
    figure += f"each pool and m), lower ends of their intervals at most {number(surely)}"
    return decide(bool(surely <= 1)), figure


def _one_map(batches: pd.DataFrame) -> Judged:
    small = batches[batches["batch"] == 64]
    figure = (
        "correlation of inner products between batches of 64: "
        f"{interval(*student(small['shared']))} after one map, "
        f"{interval(*student(small['fresh']))} after one a batch"
    )
    return decide(small["shared"].min() > 0.9 and abs(small["fresh"]).max() < 0.1), figure


def _one_map_for_subsets(selection: pd.DataFrame) -> Judged:
    missed = (selection["clusters"] < 8).groupby(selection["method"]).agg(["sum", "count"])
    counts = {name: proportion(*missed.loc[name]) for name in missed.index}
    figure = "; ".join(
        f"{who} misses a cluster in {counts[f'{who}, one map']} subsets, with a map a batch in "
        f"{counts[f'{who}, a map a batch']}"
        for who in ("SkMM", "SkMM (paper)")
    )
    shares = missed["sum"] / missed["count"]
    worse = [
        shares[f"{who}, a map a batch"] > shares[f"{who}, one map"]
        for who in ("SkMM", "SkMM (paper)")
    ]
    return decide(all(worse)), figure


def _program_chooses(relaxation: pd.DataFrame) -> Judged:
    exact = relaxation[relaxation["solver"] == "newton"]
    left = exact.groupby("slack")["uniform_objective"].max()
    chooses = {float(c): bool(value > 1e-9) for c, value in left.items()}
    kept = exact.loc[np.isclose(exact["slack"], 1 / 0.9, atol=1e-2), "kept"]
    figure = (
        f"objective at uniform weights at most {left[left.index >= 1].max():.1g} for c_S ≥ 1; at "
        f"c_S = 1/0.9 a draw keeps {number(100 * kept.mean(), 0)} % of the solver's random start "
        f"(mean of {len(kept)} runs)"
    )
    if all(chooses.values()) or not any(chooses.values()):
        return decide(all(chooses.values())), figure
    first = min(c for c, does in chooses.items() if not does)
    return decide(False, f"c_S < {first:g}"), figure


def _recipe(relaxation: pd.DataFrame) -> Judged:
    """Adam's last objective over that of its random start; an exact solution has 0."""
    runs = relaxation[(relaxation["solver"] == "recipe") & (relaxation["slack"] > 1)]
    table = runs.pivot(index=["pool", "n", "seed"], columns="steps", values="objective")
    steps = int(table.columns.max())
    left = table[steps] / table[0]
    means = span(100 * left.groupby(["pool", "n"]).mean(), 0)
    figure = f"{means} % of the start's objective are left after {steps:,} steps"
    figure += " (means over seeds, each pool and n)"
    return decide(left.max() <= 0.01), figure


def _smaller_slack(slack: pd.DataFrame) -> Judged:
    """From the smallest slack on after which risk rises with every step."""
    draws = slack[slack["rounding"] == "draw"].groupby("slack")["constant"].mean().sort_index()
    falls = [c for c, step in zip(draws.index[:-1], np.diff(draws), strict=True) if step < 0]
    start = draws.index[draws.index > falls[-1]][0] if falls else draws.index[0]
    least, most = draws[start], draws.iloc[-1]
    figure = f"mean constant of a draw {least:.2f} at {start:g}, {most:.2f} at {draws.index[-1]:g}"
    if falls:
        figure += f"; up to {draws[draws.index < start].max():.1f} below"
    return decide(not falls, f"c_S ≥ {start:g}" if start < draws.index[-1] else ""), figure


def _draw_against_uniform(law: pd.DataFrame) -> Judged:
    table = law.pivot(index=["pool", "n"], columns="method", values="variance")
    ratio = (table["skmm_paper"] / table["uniform"]).sort_index()
    figure = "median V-optimality over a uniform draw's: " + ", ".join(
        f"{value:.2f} ({pool}, n = {n})" for (pool, n), value in ratio.items()
    )
    return decide(bool((ratio < 1).all())), figure


def _draw_misses_clusters(worst: pd.DataFrame) -> Judged:
    missed = (worst["clusters"] < 8).groupby(worst["method"]).agg(["sum", "count"])
    names = {"skmm_paper": "the draw", "SkMM (paper), top": "the n largest", "uniform": "Uniform"}
    figure = ", ".join(f"{label} {proportion(*missed.loc[name])}" for name, label in names.items())
    n = int(worst["n"].iloc[0])
    return decide(missed.loc["skmm_paper", "sum"] == 0), f"seeds that miss one at n = {n}: {figure}"


ALGORITHM = [
    Statement(
        name="sketch-keeps-the-subspace",
        source="Section 3.1",
        text="a Gaussian sketch keeps the leading subspace",
        tested="energy left out against the bound of Halko, Martinsson and Tropp",
        tables=("02_gradient_sketching/fidelity.csv", "02_gradient_sketching/theory.csv"),
        judge=_range_finder,
        heading="Subspace, Gram matrix and leverage",
    ),
    Statement(
        name="one-map",
        source="Algorithm 3.1, step 1",
        text="all rows must share one sketch, which the published code does not do",
        tested="32 batches of the paper's mixture, one map or one a batch",
        tables=("02_gradient_sketching/batches.csv",),
        judge=_one_map,
        heading="A fresh map for every batch",
        headline=True,
    ),
    Statement(
        name="one-map-for-subsets",
        source="Algorithm 3.1, step 1",
        text="subsets are worse for a map a batch",
        tested="two mixtures, budgets 24 to 192, shuffled batches of 64",
        tables=("02_gradient_sketching/selection.csv",),
        judge=_one_map_for_subsets,
        heading="What that does to the selected subset",
    ),
    Statement(
        name="closed-form-gamma",
        source="Algorithm 3.1, step 3",
        text="the program in s and γ is convex, and γ has a closed form",
        tested="against a generic convex solver",
        test="tests/test_equations.py::test_program_with_gamma_equals_program_without",
    ),
    Statement(
        name="program-chooses",
        source="Algorithm 3.1, step 3",
        text="the relaxed program decides which samples are taken",
        tested="exact solutions on a mixture and on Stanford Cars, c_S from 0.5 to 8; the paper "
        "uses 1/0.9 to 1/0.6",
        tables=("03_moment_matching/relaxation.csv",),
        judge=_program_chooses,
        heading="The program as stated",
        headline=True,
    ),
    Statement(
        name="recipe",
        source="Algorithm 3.1, step 3",
        text="the published recipe, Adam with clipping and renormalising, solves the program",
        tested="a reconstruction of it at c_S = 1/0.9; less than 1 % left counts as solved",
        tables=("03_moment_matching/relaxation.csv",),
        judge=_recipe,
        heading="The program as stated",
    ),
    Statement(
        name="smaller-slack",
        source="Algorithm 3.1, step 3",
        text="the smaller the slack c_S asked for, the better the draw",
        tested="excess risk of draws from exact solutions, a mixture with a 1 % cluster, n = 96",
        tables=("03_moment_matching/slack.csv",),
        judge=_smaller_slack,
        heading="The program as stated",
    ),
    Statement(
        name="draw-matches",
        source="Algorithm 3.1, step 4",
        text="a draw from s matches better than a uniform one",
        tested="exact solution at c_S = 1/0.9, many draws beside as many uniform ones",
        tables=("03_moment_matching/law.csv",),
        judge=_draw_against_uniform,
        heading="The program as stated",
    ),
    Statement(
        name="draw-covers",
        source="Algorithm 3.1, step 4",
        text="the paper's draw misses no cluster of its mixture",
        tested="the paper's mixture, many seeds",
        tables=("01_synthetic_linear_probing/worst_case.csv",),
        judge=_draw_misses_clusters,
        heading="What rounding does to SkMM, and its worst case",
        headline=True,
    ),
]
