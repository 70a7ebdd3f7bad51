"""A page for each method, written from the registry: what it does, needs, costs and has shown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from skmm.selection.selectors import SELECTORS, Selector
from skmm_study.site.evidence import Evidence
from skmm_study.site.layout import Layout

GROUPS = {
    "Features alone": lambda needs: not needs,
    "Labels": lambda needs: needs == {"labels"},
    "A trained model": lambda needs: bool(needs - {"labels"}),
}
"""Heading -> which methods stand below it, by what they need."""

_SECTION = re.compile(r"^(Args|Returns|Raises|References|Example|Attributes):$", re.MULTILINE)


def write_methods(layout: Layout, evidence: Evidence) -> None:
    """Writes ``methods/index.md`` and ``methods/<name>.md`` for each selector."""
    layout.write("methods/index.md", method_index())
    for one in SELECTORS.values():
        layout.write(f"methods/{one.name}.md", method_page(one, evidence))


def method_index() -> str:
    """Returns the page that lists all methods by what they need."""
    parts = [_HEAD]
    for title, belongs in GROUPS.items():
        group = sorted(name for name, one in SELECTORS.items() if belongs(set(one.needs)))
        lines = [f"| [`{name}`]({name}.md) | {_first(SELECTORS[name])} |" for name in group]
        table = "\n".join(["| method | what it does |", "| --- | --- |", *lines])
        entries = [f"{SELECTORS[name].label} <{name}>" for name in group]
        hidden = "\n".join(["```{toctree}", ":hidden:", "", *entries, "```"])
        parts += [f"## {title}", _ABOUT[title], table, hidden]
    return "\n\n".join(parts) + "\n"


def method_page(one: Selector, evidence: Evidence) -> str:
    """Returns the page of a method."""
    summary, _, rest = inspect.getdoc(one.choose).partition("\n")
    body = _SECTION.split(rest, maxsplit=1)[0].strip()
    knobs = [(name, text) for name, text in _arguments(rest) if name in one.knobs]
    arguments = "".join(f", {need}={need}" for need in one.needs)
    facts = {
        "call": f'`skmm.select(features, n, method="{one.name}"{arguments}, rng=0)`',
        "needs": ", ".join(f"`{need}`" for need in one.needs) or "features alone",
        "cost": one.cost,
        "reference": one.reference if one.reference != "-" else "–",
        "random": "no: the subset depends on the pool and n" if one.deterministic else "by `rng`",
        "nested": "yes: a larger budget adds to a smaller one's samples" if one.nested else "no",
    }
    table = [f"| {name} | {text} |" for name, text in facts.items()]
    parts = [f"# {one.label}: `{one.name}`", _rst(summary)]
    parts += ["\n".join([f"| method | `{one.name}` |", "| --- | --- |", *table])]
    parts += ["## What it does", _rst(body)] if body else []
    if knobs:
        parts += ["## Knobs", _rst("\n\n".join(f"``{name}``\n    {text}" for name, text in knobs))]
    parts += ["## What was measured", _measured(one, evidence)]
    return "\n\n".join(parts) + "\n"


def _measured(one: Selector, evidence: Evidence) -> str:
    table = evidence.record(one.name)
    if not table:
        return _UNMEASURED
    return "\n\n".join(filter(None, [evidence.verdict(one.name), table, _MEASURED]))


def _first(one: Selector) -> str:
    return one.summary.replace("``", "`")


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text}\n```"


def _arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """Yields name and text of each argument of a Google docstring, the text on lines of its own."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    for entry in re.split(r"^ {4}(?=\w)", section[1] if section else "", flags=re.MULTILINE)[1:]:
        name, _, text = entry.partition(":")
        yield name, " ".join(line.strip() for line in text.splitlines()).strip()


_HEAD = """# The methods

Every method that `skmm.select(features, n, method=..., rng=...)` knows, written from the registry
`skmm.SELECTORS`. Each has a page: algorithm, formula, knobs, cost, source, and where it has won or
failed. Which one to take: [choosing](../choosing.md)."""

_ABOUT = {
    "Features alone": "They can run before anything is labelled or trained.",
    "Labels": "The labels of the whole pool, so that they can only show what labels would buy.",
    "A trained model": "What a model says about each sample, passed by the name on the page.",
}

_MEASURED = """Means over budgets; gains over uniform sampling are paired by seed and positive where
the method is better, with 95 % intervals of one comparison each. The verdict is of the default
against this method, after Holm's correction over all rivals. From the tables of notebooks
[07](../notebooks/07_selection.ipynb) and [08](../notebooks/08_confirmation.ipynb), full study."""

_UNMEASURED = """Not among the methods that the comparison on four real pools ran; notebooks
[01](../notebooks/01_synthetic_linear_probing.ipynb) and
[05](../notebooks/05_linear_probing.ipynb) run some of them on others."""
