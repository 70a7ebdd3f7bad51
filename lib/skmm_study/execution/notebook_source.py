"""A notebook's source: its cells, the parameters it declares, and a digest of its code."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skmm_study.storage.files import sha256

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Cell:
    """A cell as it was written: no outputs, no count."""

    cell_type: str
    source: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The cells of a notebook, in their order."""

    cells: list[Cell]


def read_source(path: Path) -> Source:
    """Reads what was written in the notebook at ``path``, of format 4.

    Without nbformat, which takes a second to load: every notebook reads its own source.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return Source(
        [Cell(cell["cell_type"], "".join(cell["source"]), cell["metadata"]) for cell in cells]
    )


def read_notebook(path: Path) -> NotebookNode:
    """Reads ``path`` whole, in the current notebook format, whatever version it was saved in."""
    import nbformat

    return nbformat.read(path, as_version=4)


def declared_parameters(notebook: Source | NotebookNode, name: str) -> dict[str, Any]:
    """Returns the literals that the cell tagged ``parameters`` assigns, by name.

    Raises:
        ValueError: the notebook called ``name`` has no such cell, or the cell does more than
            assign literals to names, so that a profile could not override it.
    """
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(
            f"{name} must have one cell tagged 'parameters', got {len(tagged)}; "
            "a profile overrides what that cell assigns"
        )
    parameters = {}
    for statement in ast.parse(tagged[0].source).body:
        try:
            (target,) = statement.targets
            parameters[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError) as error:
            raise ValueError(
                f"the parameters cell of {name} may only assign literals to names, "
                f"got {ast.unparse(statement)!r}; derive values in a later cell"
            ) from error
    return parameters


def code_digest(notebook: Source | NotebookNode) -> str:
    """Returns the SHA-256 of the code cells' sources: prose and outputs change no result."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return sha256(json.dumps(code).encode())
