"""The ledger as tables, in the README and in its notebook: ``python -m skmm_study.ledger.page``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skmm_study.ledger.algorithm import ALGORITHM
from skmm_study.ledger.comparisons import COMPARISONS
from skmm_study.ledger.evidence import Evidence
from skmm_study.ledger.experiments import EXPERIMENTS
from skmm_study.ledger.finetuning import FINETUNING
from skmm_study.ledger.library import LIBRARY
from skmm_study.ledger.published import PUBLISHED
from skmm_study.ledger.scale import SCALE
from skmm_study.ledger.statements import EARLIER, Finding, Statement
from skmm_study.ledger.theory import THEORY
from skmm_study.report.tables import markdown
from skmm_study.storage.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

STATEMENTS: tuple[Statement, ...] = (
    *THEORY,
    *ALGORITHM,
    *EXPERIMENTS,
    *PUBLISHED,
    *COMPARISONS,
    *FINETUNING,
    *LIBRARY,
    *SCALE,
)

OPENS, CLOSES = "<!-- ledger: written by `make ledger` -->", "<!-- end of ledger -->"
"""Between these lines the README is not written by hand."""


def ledger_frame(evidence: Evidence, statements: Iterable[Statement] = STATEMENTS) -> pd.DataFrame:
    """Judges every statement.

    Returns:
        One row a statement: ``name``, ``source``, ``statement``, ``tested``, ``verdict``,
        ``figure``, ``brief`` (its first clause), ``notebook``, ``heading`` and ``tables``, paths
        below the root, or that of the test. A figure says if its tables are older than their
        notebook.
    """
    import pandas as pd

    rows = []
    for one in statements:
        finding = one.settle(evidence)
        rows.append(
            {
                "name": one.name,
                "source": one.source,
                "statement": one.text,
                "tested": one.tested,
                "verdict": finding.verdict,
                "figure": _marked(finding.figure, finding),
                "brief": _marked(finding.figure.partition("; ")[0], finding),
                "notebook": one.notebook,
                "heading": one.heading,
                "tables": " ".join(
                    table for table in finding.tables if not table.endswith(".json")
                ),
            }
        )
    return pd.DataFrame(rows)


def ledger_table(frame: pd.DataFrame, *, root: str = "") -> str:
    """Renders what `ledger_frame` returns, with links.

    Args:
        frame: the rows wanted.
        root: path to the root of the project from where the table will lie, ``"../../"``.
    """
    import pandas as pd

    rows = []
    for row in frame.fillna("").itertuples():  # what is empty reads back from a CSV as missing
        links = []
        if row.notebook and row.tables:  # a notebook to come is not linked before its tables
            links.append(
                f"[{row.notebook[:2]}, {row.heading}]({root}notebooks/{row.notebook}.ipynb)"
            )
        links += [f"[{Path(path).name}]({root}{path})" for path in row.tables.split()]
        rows.append(
            {
                "source": row.source,
                "statement": row.statement,
                "tested": row.tested,
                "verdict": f"**{row.verdict}**",
                "figure": row.figure,
                "evidence": "; ".join(links),
            }
        )
    return markdown(pd.DataFrame(rows))


def headline_table(evidence: Evidence) -> str:
    """Renders the README's rows: statement, verdict, figure, and where it is shown."""
    import pandas as pd

    chosen = [one for one in STATEMENTS if one.headline]
    rows = []
    for row in ledger_frame(evidence, chosen).itertuples():
        links = [f"[{Path(path).stem}]({path})" for path in row.tables.split()]
        if links:
            links.insert(0, f"[{row.notebook[:2]}](notebooks/{row.notebook}.ipynb)")
        rows.append(
            {
                "statement": row.statement,
                "verdict": f"**{row.verdict}**",
                "figure": row.brief,
                "where": ", ".join(links),
            }
        )
    return markdown(pd.DataFrame(rows))


def with_ledger(text: str, evidence: Evidence) -> str:
    """Returns a page with the headline table between its two marks renewed.

    Raises:
        ValueError: ``text`` does not have the two marks, once each and in order.
    """
    before, _, rest = text.partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    if text.count(OPENS) != 1 or text.count(CLOSES) != 1 or CLOSES not in rest:
        raise ValueError(
            f"text must have the line {OPENS!r} and below it {CLOSES!r}, once each; "
            "put them where the table belongs"
        )
    return f"{before}{OPENS}\n{headline_table(evidence)}\n{CLOSES}{after}"


def _marked(figure: str, finding: Finding) -> str:
    return f"{figure} ({EARLIER})" if finding.earlier else figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Renews the README's ledger and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m skmm_study.ledger.page", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."), help="folder of the project")
    root = parser.parse_args(arguments).root
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    renewed = with_ledger(text, Evidence(root))
    if renewed == text:
        print(f"{readme} is up to date")
    else:
        write_whole(readme, renewed)
        print(f"{readme} has new figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
