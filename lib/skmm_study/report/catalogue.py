"""The table of all selectors: ``python -m skmm_study.report.catalogue > SELECTORS.md``."""

from __future__ import annotations

from skmm.selection.selectors import SELECTORS
from skmm_study.report.tables import markdown

_HEAD = """\
# Selectors

Every method that `skmm.select(features, n, method=..., rng=...)` knows. Those that need nothing but
features come first: they can run before anything is labelled or trained. What the others need is
passed by the name in the table, such as `select(..., method="margin", probabilities=p)`. Rounds: it
takes `keep=`, samples that are labelled already, which count and are not chosen again.
"""

_FOOT = """\
Cost is the order of the running time, with N the pool size, n the budget, r the feature dimension,
m the sketch size, C the number of classes, d the inputs of the last layer and T the number of
checkpoints. What the methods do exactly, and where they differ from their references, is in their
docstrings: `help(skmm.SELECTORS["skmm"].choose)`.

Written by `python -m skmm_study.report.catalogue` from the registry; a test keeps it up to date.
"""


def catalogue() -> str:
    """Renders the registry as a Markdown page, one row a selector."""
    import pandas as pd

    rows = []
    for name, one in sorted(SELECTORS.items(), key=lambda item: (bool(item[1].needs), item[0])):
        needs = set(one.needs)
        rows.append(
            {
                "method": f"`{name}`",
                "what it does": one.summary.rstrip("."),
                # Right or wrong is known only by the labels.
                "labels": "yes" if {"labels", "correctness"} & needs else "no",
                # Whatever is not a label is something that a trained model says.
                "trained model": "yes" if needs - {"labels"} else "no",
                "needs": ", ".join(f"`{need}`" for need in one.needs) or "–",
                "knobs": ", ".join(f"`{knob}`" for knob in one.knobs if knob not in needs) or "–",
                "rounds": "yes" if one.keeps else "no",
                "cost": one.cost,
                "reference": one.reference,
            }
        )
    return "\n".join([_HEAD, markdown(pd.DataFrame(rows)), "", _FOOT])


if __name__ == "__main__":
    print(catalogue(), end="")
