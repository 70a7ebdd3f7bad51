"""Executed copies of the notebooks as pages: nothing is run for the site."""

from __future__ import annotations

from pathlib import Path

import nbformat

from skmm_study.execution.notebook_source import read_notebook
from skmm_study.site.layout import Layout

_WIDGET = "application/vnd.jupyter.widget-view+json"
_INJECTED = "injected-parameters"


class MissingCopyError(Exception):
    """An executed copy is not there, or not of the notebook as it stands; the message says so."""


def executed_copies(sources: Path, build: Path) -> dict[str, nbformat.NotebookNode]:
    """Returns the executed copy of each notebook of a folder, by name.

    Raises:
        MissingCopyError: a notebook has no copy in ``build``, or one of other code.
    """
    names = [path.stem for path in sorted(sources.glob("[0-9][0-9]_*.ipynb"))]
    return {name: checked_copy(sources, build, name) for name in names}


def write_notebooks(
    layout: Layout, copies: dict[str, nbformat.NotebookNode], *, build: Path
) -> None:
    """Writes a page for each executed copy, and one that lists them.

    Args:
        layout: of the site.
        copies: of `executed_copies`; they are changed.
        build: where they lie, which their links are relative to.
    """
    for name, notebook in copies.items():
        page = f"notebooks/{name}.ipynb"
        without_progress(notebook)
        home = f"{build.relative_to(layout.root).as_posix()}/{name}.ipynb"
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = layout.adopt(home, cell.source, page=page)
            for output in cell.get("outputs", []):
                if (text := output.get("data", {}).get("text/markdown")) is not None:
                    output.data["text/markdown"] = layout.adopt(home, text, page=page)
        layout.write(page, nbformat.writes(notebook))
    layout.write("notebooks/index.md", _INDEX.format(names="\n".join(copies)))


def checked_copy(sources: Path, build: Path, name: str) -> nbformat.NotebookNode:
    """Returns the executed copy of a notebook, if its code is that of the source.

    Raises:
        MissingCopyError: there is none, or its code differs.
    """
    path = build / f"{name}.ipynb"
    if not path.exists():
        raise MissingCopyError(
            f"{build.name}/{path.name} is missing, and nothing is run for the site: "
            "run make figures first"
        )
    copy = read_notebook(path)
    if _code(copy) != _code(read_notebook(sources / path.name)):
        raise MissingCopyError(
            f"{build.name}/{path.name} was executed from other code than notebooks/{path.name} "
            "holds now: run make figures first"
        )
    return copy


def without_progress(notebook: nbformat.NotebookNode) -> None:
    """Drops, in place, bars of progress and the cell in which papermill repeats the parameters.

    The bars are widgets, for which a page would load scripts from the web.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if _INJECTED in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-cell"]
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if _WIDGET not in out.get("data", {})]


def _code(notebook: nbformat.NotebookNode) -> list[str]:
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and _INJECTED not in cell.metadata.get("tags", [])
    ]


_INDEX = """# The notebooks

The study, one claim a notebook, in the order in which it is best read. Each page is the copy that
`make figures` executed: text, code, tables and figures of one run. The title is the claim; the
notebook asserts it, and fails where it does not hold. How to read one: [reading the
study](../how-to/reading-the-study.md).

```{{toctree}}
:maxdepth: 1

{names}
```
"""
