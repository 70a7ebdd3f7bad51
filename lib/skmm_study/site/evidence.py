"""What was measured, as tables for pages: read from the committed CSV files, none typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from skmm.selection.selectors import SELECTORS
from skmm_study.figures.methods import method_label
from skmm_study.report.leads import seed_means
from skmm_study.report.tables import markdown


@dataclass(frozen=True)
class RealPool:
    """A pool of the selection study: where its scores are, and how they are printed."""

    name: str
    title: str
    notebook: str
    best: str = "max"
    unit: float = 100.0
    digits: int = 1


POOLS = [
    RealPool("cars", "Stanford Cars, accuracy in %", "07_selection"),
    RealPool("banking77", "BANKING77, accuracy in %", "07_selection"),
    RealPool("clinc150", "CLINC150, accuracy in %", "08_confirmation"),
    RealPool("utkface", "UTKFace, error in years", "08_confirmation", "min", 1.0, 2),
]
"""The two that the default was chosen on, then the two that nothing was."""


class Evidence:
    """Tables from the figures of a checkout, by name; pages ask for them by that name.

    Args:
        root: of the checkout.
    """

    def __init__(self, root: Path):
        self._root = root
        self._tables: dict[str, Callable[[], str]] = {
            "methods": self.methods,
            "budgets": self.budgets,
            "criteria": self.criteria,
            "sketch-size": self.sketch_size,
            "kernel": self.kernel,
            "run-times": self.run_times,
            "gradient-peers": self.gradient_peers,
        }

    @property
    def names(self) -> list[str]:
        """What pages can ask for."""
        return list(self._tables)

    def table(self, name: str) -> str:
        """Returns a table as Markdown.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in self._tables:
            raise ValueError(f"evidence must be one of {', '.join(self.names)}, got {name!r}")
        return self._tables[name]()

    @cache  # noqa: B019  # one object a build
    def gains(self, pool: str) -> pd.DataFrame:
        r"""Returns what each method gains over uniform sampling on a pool, positive where better.

        Means over budgets are paired by seed; the interval is Student's, 95 %, of one comparison.

        Returns:
            Index ``method``, best first; ``mean``, ``gain``, ``low``, ``high``, ``seeds``,
            ``verdict`` of the default against it, and the median ``seconds`` of a selection.
        """
        told = next(one for one in POOLS if one.name == pool)
        sign = 1.0 if told.best == "max" else -1.0
        means = seed_means(self._read(told.notebook, "scores", pool))
        seconds = self._read(told.notebook, "times_selection", pool)
        seconds = seconds.groupby("method")["seconds"].median()
        verdicts = self._read(told.notebook, "leads", pool).set_index("method")["verdict"]
        rows = {}
        for method in means:
            gaps = (sign * (means[method] - means["uniform"])).dropna()
            test = stats.ttest_1samp(gaps, 0.0) if len(gaps) > 1 and gaps.any() else None
            low, high = test.confidence_interval(0.95) if test else (np.nan, np.nan)
            rows[method] = {
                "mean": means[method].mean(),
                "gain": gaps.mean(),
                "low": low,
                "high": high,
                "seeds": len(gaps),
                "verdict": verdicts[method],
                "seconds": seconds[method],
            }
        return pd.DataFrame(rows).T.sort_values("gain", ascending=False, kind="stable")

    def methods(self) -> str:
        """Every method on every real pool: the gain over uniform sampling, the best on top."""
        gains = {pool.name: self.gains(pool.name)["gain"] for pool in POOLS}
        ranks = pd.DataFrame({name: gain.rank(ascending=False) for name, gain in gains.items()})
        return self._comparison(ranks.mean(axis=1).sort_values(kind="stable").index)

    def record(self, method: str) -> str:
        """One method on every real pool that it was run on; empty if on none."""
        rows = []
        for pool in POOLS:
            gains = self.gains(pool.name)
            if method not in gains.index:
                continue
            one = gains.loc[method]
            rows.append(
                {
                    "pool": pool.title,
                    "mean": f"{pool.unit * one['mean']:.{pool.digits}f}",
                    "gain over uniform": self._gain(pool, method),
                    "place": f"{gains.index.get_loc(method) + 1} of {len(gains)}",
                    "the default against it": one["verdict"],
                    "seeds": one["seeds"],
                    "seconds a selection": _seconds(one["seconds"]),
                }
            )
        return markdown(pd.DataFrame(rows)) if rows else ""

    def verdict(self, method: str) -> str:
        """Says on which pools a method is surely better or worse than uniform sampling."""
        sure = {"better": [], "worse": [], "not told apart": []}
        for pool in POOLS:
            gains = self.gains(pool.name)
            if method not in gains.index or method == "uniform":
                continue
            low, high = gains.at[method, "low"], gains.at[method, "high"]
            kind = "better" if low > 0 else "worse" if high < 0 else "not told apart"
            sure[kind].append(pool.title.partition(",")[0])
        return " ".join(
            f"{head} uniform sampling on {', '.join(sure[kind])}."
            for kind, head in (
                ("better", "**Wins:** better than"),
                ("worse", "**Fails:** worse than"),
                ("not told apart", "**Not told apart** from"),
            )
            if sure[kind]
        )

    def budgets(self) -> str:
        """The default's gain over uniform sampling at each budget of each pool."""
        rows = []
        for pool in POOLS:
            for row in self._read(pool.notebook, "above_uniform", pool.name).itertuples():
                ends = (row.low, row.high) if pool.best == "max" else (-row.high, -row.low)
                gain = row.mean if pool.best == "max" else -row.mean
                text = _interval(gain, *ends, unit=pool.unit, digits=pool.digits)
                rows.append({"pool": pool.title, "n": row.n, "gain over uniform": text})
        return markdown(pd.DataFrame(rows))

    def criteria(self) -> str:
        """What SkMM descends on, pool by pool: the default, its single criteria, the paper's."""
        return self._comparison(["skmm", "SkMM, fourth", "SkMM, combined", "skmm_paper"])

    def sketch_size(self) -> str:
        """Excess risk of the default in units of σ² r̄/n against the sketch size, on mixtures."""
        # Of the first notebook that varies the sketch.
        frame = pd.read_csv(min(self._root.glob("figures/[0-9]*/sketch.csv")))
        frame = frame[frame["method"] == "skmm"]
        parts = frame.groupby("m")
        table = pd.DataFrame(
            {
                "m": list(parts.groups),
                "median": [f"{x:.2f}" for x in parts["constant"].median()],
                "worst seed": [f"{x:.3g}" for x in parts["constant"].max()],
                "runs that lose a cluster": [f"{100 * x:.0f} %" for x in (parts["lost"].agg(_any))],
            }
        )
        return markdown(table)

    def kernel(self) -> str:
        """Accuracy of the default for other weights of the fourth moment and kernel widths."""
        frame = pd.read_csv(self._root / "figures/paper/07_selection/rule.csv")
        table = frame.groupby(["c", "sigma", "pool", "n"])["score"].mean().mul(100).round(1)
        table = table.unstack(["pool", "n"])
        heads = [f"{pool}, n = {n}" for pool, n in table.columns]
        table.columns = heads
        return markdown(table.reset_index().rename(columns={"c": "weight in n/N", "sigma": "σ"}))

    def run_times(self) -> str:
        """How long each notebook took, by profile, as its provenance says."""
        rows = {}
        for profile, folder in (("default", "figures"), ("paper", "figures/paper")):
            for path in sorted((self._root / folder).glob("[0-9]*/provenance.json")):
                record = json.loads(path.read_text(encoding="utf-8"))
                rows.setdefault(path.parent.name, {})[profile] = _long(record["wall_seconds"])
        table = [
            {
                "notebook": f"[{name}](/notebooks/{name}.ipynb)"
                if (self._root / "notebooks" / f"{name}.ipynb").exists()
                else name,
                "`make figures`": times.get("default", "–"),
                "`PROFILE=paper`": times.get("paper", "–"),
            }
            for name, times in sorted(rows.items())
        ]
        return markdown(pd.DataFrame(table))

    def gradient_peers(self) -> str:
        """Sketched gradients by other packages: time against the plain pass, and two errors."""
        frame = pd.read_csv(self._root / "figures/bench/gradient_peers.csv")
        frame = frame[frame["numbers"] > 0]
        table = pd.DataFrame(
            {
                "way": frame["way"],
                "numbers a text": frame["numbers"],
                "seconds": frame["seconds"].map("{:.2f}".format),
                "over forward and backward": frame["over_plain"].map("{:.2f}".format),
                "error of the Gram matrix": frame["gram_error"].map("{:.3f}".format),
                "error of the cosines": frame["cosine_error"].map("{:.3f}".format),
            }
        )
        return markdown(table)

    def _comparison(self, methods: Iterable[str]) -> str:
        rows = []
        for method in methods:
            gains = {pool.title: self._gain(pool, method) for pool in POOLS}
            seconds = _seconds(self.gains("cars")["seconds"].get(method))
            rows.append({"method": linked(method), **gains, "seconds, Cars": seconds})
        return markdown(pd.DataFrame(rows))

    def _gain(self, pool: RealPool, method: str) -> str:
        gains = self.gains(pool.name)
        if method not in gains.index:
            return "–"
        gain, low, high = (float(gains.at[method, column]) for column in ("gain", "low", "high"))
        return _interval(gain, low, high, unit=pool.unit, digits=pool.digits)

    def _read(self, notebook: str, table: str, pool: str) -> pd.DataFrame:
        frame = pd.read_csv(self._root / "figures/paper" / notebook / f"{table}.csv")
        return frame[frame["pool"] == pool]


def linked(method: str) -> str:
    """Returns a method's label, with a link to its page if it has one."""
    label = method_label(method)
    return f"[{label}](/methods/{method}.md)" if method in SELECTORS else label


def _interval(mean: float, low: float, high: float, *, unit: float = 100.0, digits: int = 1) -> str:
    """Returns a difference with its interval, if it has one, as it is printed."""
    first, *ends = (f"{unit * x:+.{digits}f}".replace("-", "−") for x in (mean, low, high))
    return first if np.isnan(low) else f"{first} [{', '.join(ends)}]"


def _any(lost: pd.Series) -> float:
    return float((lost > 0).mean())


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.1" if value < 0.1 else f"{value:.1f}"


def _long(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
