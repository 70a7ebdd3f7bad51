"""The page: what was chosen and why, and how good it is, beside a uniform draw."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

import skmm
from skmm_cli.choosing import Chosen, Recipe, Task
from skmm_cli.judging import Figures, Judge
from skmm_cli.reading.pool import PoolFile
from skmm_cli.report.charts import Map, shares_chart, spectrum_chart

_LABELS = {
    False: "Labels are looked at by this page, not by the choice.",
    True: "The choice looks at labels, too.",
}

_LISTED = 200
"""Samples in the table at most."""

_KEY = (
    '<p class="key"><span style="--c:var(--chosen)">subset</span>'
    '<span style="--c:var(--uniform)"{ring}>uniform draw</span>'
    '<span style="--c:var(--{pool})"{tick}>{what}</span></p>'
)


def report_page(
    task: Task, chosen: Chosen, recipe: Recipe, pool: PoolFile, columns: Mapping[str, NDArray]
) -> str:
    """Returns the page as HTML, whole: it loads nothing, and runs nothing.

    Args:
        task: The pool.
        chosen: The subset.
        recipe: How it was chosen.
        pool: The file that the pool is from.
        columns: The table of the samples chosen, as it is written.
    """
    judge = Judge(chosen.view, recipe.seed)
    subset = judge.figures(chosen.labelled)
    uniform, draw = judge.uniform(len(chosen.indices), beside=task.kept)
    names = _names(task, pool)
    clusters = [f"cluster {k + 1}" for k in range(int(judge.clusters.max()) + 1)]
    sections = [
        _head(task, chosen, recipe, pool, subset, uniform, judge),
        _maps(judge, recipe.seed, names, chosen, draw),
        _shares(
            "Clusters",
            judge.clusters,
            clusters,
            chosen.labelled,
            draw,
            "Groups of similar samples, found by k-means on rows of unit norm.",
        ),
    ]
    if task.labels is not None:
        classes, codes = np.unique(task.labels.astype(str), return_inverse=True)
        sections.append(
            _shares(
                "Classes",
                codes,
                classes.tolist(),
                chosen.labelled,
                draw,
                _LABELS["labels" in recipe.knobs],
            )
        )
    sections += [_spectrum(chosen, draw, judge), _why(task, chosen, recipe, pool), _list(columns)]
    style = files("skmm_cli.report").joinpath("style.css").read_text(encoding="utf-8")
    title = f"{len(chosen.indices):,} of {task.N:,} samples"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _names(task: Task, pool: PoolFile) -> list[str]:
    """Returns what each sample is called when pointed at."""
    ids = task.origin if pool.ids is None else pool.ids[task.origin]
    names = [f"{'row ' if pool.ids is None else ''}{name}" for name in ids.tolist()]
    if task.labels is None:
        return names
    return [f"{name}: {label}" for name, label in zip(names, task.labels.tolist(), strict=True)]


def _head(
    task: Task,
    chosen: Chosen,
    recipe: Recipe,
    pool: PoolFile,
    subset: Figures,
    uniform: Figures,
    judge: Judge,
) -> str:
    kept = f", beside {len(task.kept):,} labelled already" if len(task.kept) else ""
    total = int(judge.clusters.max()) + 1
    cards = [
        ("Slack", _show, subset.slack, uniform.slack, "1 is a perfect match of the pool's moments"),
        (
            "Variance",
            _show,
            subset.variance,
            uniform.variance,
            f"mean price of each of {judge.dimension} directions; risk is about this × k/n × noise",
        ),
        (
            "Bias share",
            _percent,
            subset.bias_share,
            uniform.bias_share,
            "energy of the pool in directions that no sample shows",
        ),
        (
            "Coverage",
            _cosine,
            subset.coverage,
            uniform.coverage,
            "mean cosine of a sample to the nearest one chosen",
        ),
    ]
    shown = "".join(
        f'<div class="card"><h3>{name}</h3><div class="value">{show(mine)}</div>'
        f'<div class="beside">uniform {show(theirs)}</div><p>{what}</p></div>'
        for name, show, mine, theirs, what in cards
    )
    reached = (
        f"It has samples of {subset.clusters} of the pool's {total} clusters; "
        f"uniform draws of as many have {uniform.clusters}."
    )
    return (
        f'<p class="kicker">skmm · {escape(str(pool.path.name))}</p>'
        f"<h1>{len(chosen.indices):,} of {task.N:,} samples to label{kept}</h1>"
        f'<p class="lede">{_verdict(subset, uniform)} {reached}</p>'
        f'<div class="cards">{shown}</div>'
    )


def _verdict(subset: Figures, uniform: Figures) -> str:
    """Says in a sentence what the subset buys."""
    covers = f"{_cosine(subset.coverage)} against {_cosine(uniform.coverage)} of a uniform draw"
    if math.isinf(subset.variance):
        return (
            "The subset does not span every direction that matters, and larger budgets would. What "
            f"it can do is to be near to every sample: its coverage is {covers}."
        )
    if math.isinf(uniform.variance):
        return (
            "The subset spans every direction that matters; half or more of uniform draws of as "
            "many samples miss at least one."
        )
    ratio = uniform.variance / subset.variance
    if ratio > 1.005:
        return (
            f"Noise in the labels costs {_times(ratio)} less than with a uniform draw: "
            f"variance {_show(subset.variance)} against {_show(uniform.variance)}."
        )
    return (
        "Noise in the labels costs no less than with a uniform draw, variance "
        f"{_show(subset.variance)} against {_show(uniform.variance)}; what the subset has is "
        f"coverage, {covers}."
    )


def _maps(judge: Judge, seed: int, names: list[str], chosen: Chosen, draw: NDArray[np.intp]) -> str:
    chart = Map(judge, seed)
    n = len(chosen.labelled)
    pictures = [
        (
            "The subset",
            chart.draw(
                chosen.labelled,
                "chosen",
                names,
                f"Map of the pool with the {n} samples of the subset",
            ),
        ),
        (
            "A uniform draw of as many",
            chart.draw(draw, "uniform", names, f"Map of the pool with {n} uniform samples"),
        ),
    ]
    figures = "".join(
        f'<figure class="map"><h3>{title}</h3>{picture}</figure>' for title, picture in pictures
    )
    return (
        "<h2>A map of the pool</h2><p class='hint'>Rows of unit norm in their two principal "
        "coordinates; what lies apart in others may coincide here. Point at a sample for its "
        f'name.</p><div class="pair">{figures}</div>'
    )


def _shares(
    title: str, of: NDArray, names: list[str], subset: NDArray, draw: NDArray, hint: str
) -> str:
    sizes = np.bincount(of, minlength=len(names))
    reached = [
        int(np.count_nonzero(np.bincount(of[s], minlength=len(names)))) for s in (subset, draw)
    ]
    filled = int(np.count_nonzero(sizes))
    key = _KEY.format(
        ring=' class="ring"', pool="ink", tick=' class="tick"', what="in proportion to the pool"
    )
    return (
        f"<h2>{title}: {reached[0]} of {filled} reached, {reached[1]} by a uniform draw</h2>"
        f'<p class="hint">{hint}</p><figure>{shares_chart(of, names, subset, draw)}{key}</figure>'
    )


def _spectrum(chosen: Chosen, draw: NDArray[np.intp], judge: Judge) -> str:
    chart = spectrum_chart(chosen.view, chosen.labelled, draw)
    spectrum = chosen.view.spectrum
    r_bar, m = spectrum.intrinsic_dimension, len(spectrum.eigenvalues)
    key = _KEY.format(ring=' class="ring"', pool="pool", tick="", what="pool")
    return (
        f"<h2>Spectrum: {r_bar} of {m} directions matter</h2>"
        "<p class='hint'>How much of its energy a set of samples has along each principal "
        "direction of the pool. A subset stands for the pool where its points lie on the line or "
        "above; the intrinsic dimension r\u0304 counts the directions that hold all but a 1/N "
        f'share.</p><figure class="narrow">{chart}{key}</figure>'
    )


def _why(task: Task, chosen: Chosen, recipe: Recipe, pool: PoolFile) -> str:
    method = skmm.SELECTORS[recipe.method]
    m, r = chosen.view.rows.shape[1], task.rows.shape[1]
    facts = {
        "method": f"{method.name}: {method.summary}",
        "reference": method.reference,
        "settings": chosen.settings or "as the method has them",
        "knobs": ", ".join(f"{k} = {v}" for k, v in recipe.knobs.items() if k not in method.needs),
        "pool": f"{task.N:,} samples with {r:,} features ({pool.source})",
        "sketch": f"{recipe.sketch}, {m} dimensions" if m < r else "none: rows as they are",
        "seed": str(recipe.seed),
        "budgets": ", ".join(f"{name} {n}" for name, n in chosen.budgets.items()),
        "time": f"{chosen.seconds:.3g} s",
        "version": f"skmm {skmm.__version__}",
    }
    lines = "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v)
    words = ["skmm", "select", pool.path.name, "-n", str(len(chosen.indices))]
    words += ["--method", recipe.method, "--seed", str(recipe.seed)]
    words += ["-m", str(recipe.m)] if recipe.m else []
    return (
        f"<h2>What was chosen, and why these</h2><dl>{lines}</dl>"
        "<p class='hint'>The same seed chooses the same samples on every machine:</p>"
        f"<pre>{escape(shlex.join(words))}</pre>"
    )


def _list(columns: Mapping[str, NDArray]) -> str:
    rows = list(zip(*(column[:_LISTED].tolist() for column in columns.values()), strict=True))
    total = len(next(iter(columns.values())))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    which = f"The first {_LISTED} samples" if total > _LISTED else f"All {total} samples"
    return (
        f"<details><summary>{which}, in the order chosen</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div></details>"
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _cosine(value: float) -> str:
    return f"{value:.3f}"


def _show(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if 1e3 <= value < 1e6 else f"{value:.3g}"
