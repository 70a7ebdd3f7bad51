"""What the library states of large pools: how its cost grows, what cells lose, and its rivals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skmm_study.ledger.statements import Judged, Statement, decide, number, span

if TYPE_CHECKING:
    import pandas as pd

LINEAR = 1.05
"""Exponent up to which time grows in proportion."""

LOST = 0.02
"""Part of the way from chance to the exact choice that cells may lose."""

LATE = 1.5
"""Measured over announced time that still is what was announced."""


def _grows_in_proportion(exponents: pd.DataFrame) -> Judged:
    fits = exponents.query("criterion == 'balanced' and along == 'N' and stage == 'all'")
    (fit,) = fits.itertuples()
    figure = f"exponent {number(fit.exponent)}, standard error {number(fit.error)}"
    return decide(fit.exponent <= LINEAR), figure


def _cells_lose_little(shortcuts: pd.DataFrame) -> Judged:
    lost = shortcuts.groupby(["way", "pool"])["lost"].mean().unstack("way")
    ways = [way for way in lost if way.startswith("cells")]
    best = min(ways, key=lambda way: lost[way].mean())
    figure = (
        f"{best}: {span(100 * lost[best], 1)} % lost on {len(lost)} pools; a random half: "
        f"{span(100 * lost['random half'], 1)} %"
    )
    return decide(lost[best].max() <= LOST), figure


def _announced(announced: pd.DataFrame) -> Judged:
    by = announced.groupby("criterion")[["time_ratio", "memory_ratio"]]
    late = by.max()["time_ratio"]
    figure = ", ".join(f"{name} {span(part['time_ratio'])}" for name, part in by)
    figure += f" of the time announced; of the memory {span(announced['memory_ratio'])}"
    kept = [f"`{name}`" for name in late.index[late <= LATE]]
    condition = "the criterion is " + " or ".join(kept) if kept else ""
    return decide(late.max() <= LATE, condition), figure


def _quicker_than_peers(pairs: pd.DataFrame) -> Judged:
    times = pairs["times_our_seconds"]
    figure = f"{span(times, 1)} times our seconds, {len(pairs)} selectors"
    for one in pairs[times < 1.0].itertuples():
        gap = number(one.coverage_above, 3, signed=True)
        figure += f"; quicker: {one.method} of {one.package}, coverage left {gap}"
    return decide(bool((times >= 1.0).all())), figure


SCALE = [
    Statement(
        name="time-in-proportion",
        text=f"the default's time grows as N to a power of at most {LINEAR}, n a hundredth of N",
        tested="processor time on one thread, each pool in a process of its own",
        tables=("13_scaling/times_exponents.csv",),
        judge=_grows_in_proportion,
        heading="Time and memory",
        headline=True,
    ),
    Statement(
        name="announced",
        text="choosing from a large pool takes at most half more time than was announced",
        tested="processor time on one thread against what the command line announces",
        tables=("13_scaling/times_announced.csv",),
        judge=_announced,
        heading="Time and memory",
    ),
    Statement(
        name="cells-lose-little",
        text=f"cells lose at most {100 * LOST:.0f} % of what an exact choice gains over chance",
        tested="pools that can be compared as a whole, cut into cells all the same",
        tables=("13_scaling/shortcuts.csv",),
        judge=_cells_lose_little,
        heading="What cells cost",
        headline=True,
    ),
    Statement(
        name="peers",
        text="ours are quicker than the selectors of other packages that do the same",
        tested="the same rows and budget, one run; where the packages are installed",
        tables=("13_scaling/times_pairs.csv",),
        judge=_quicker_than_peers,
        heading="Other packages",
        run="full",
    ),
]
