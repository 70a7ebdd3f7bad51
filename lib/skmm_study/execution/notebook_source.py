"""A notebook's source: its cells, the parameters it declares, and a digest of its code."""

import ast
import json
from pathlib import Path
from typing import Any

import nbformat

from skmm_study.storage.files import sha256


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Reads ``path`` in the current notebook format, whatever version it was saved in."""
    return nbformat.read(path, as_version=4)


def declared_parameters(notebook: nbformat.NotebookNode, name: str) -> dict[str, Any]:
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


def code_digest(notebook: nbformat.NotebookNode) -> str:
    """Returns the SHA-256 of the code cells' sources: prose and outputs change no result."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return sha256(json.dumps(code).encode())
