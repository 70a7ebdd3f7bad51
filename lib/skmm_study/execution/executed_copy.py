"""An executed copy as it is read: each figure once, and links that work from its own folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import nbformat

PICTURE = re.compile(r"^!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)\)\s*$", re.MULTILINE)
"""A picture on a line of its own, as the notebooks show their committed figures."""

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_SAVED = re.compile(r"\bsave_figure\(\s*[\"'](\w+)[\"']")


def show_figures_once(notebook: nbformat.NotebookNode, name: str) -> None:
    """Drops the committed picture of every figure that the run has drawn afresh, in place.

    The fresh one takes over its alternative text, where myst-nb looks for it; what else the
    Markdown cell says stays. Doing it twice changes nothing.

    Args:
        notebook: executed.
        name: the notebook's, ``NN_name``: that of its folder of figures.
    """
    drawn = {
        figure: cell
        for cell in notebook.cells
        if cell.cell_type == "code" and _has_picture(cell)
        for figure in _SAVED.findall(cell.source)
    }

    def dropped(match: re.Match) -> str:
        target = PurePosixPath(match["target"])
        cell = drawn.get(target.stem)
        if cell is None or target.parts[-3:-1] != ("figures", name):
            return match[0]
        image = cell.metadata.setdefault("mystnb", {}).setdefault("image", {})
        image["alt"] = "; ".join(filter(None, [image.get("alt"), match["alt"]]))
        return ""

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = PICTURE.sub(dropped, cell.source).strip("\n")
    notebook.cells = [cell for cell in notebook.cells if cell.source or cell.cell_type == "code"]


def relink(text: str, rewrite: Callable[[str], str]) -> str:
    """Returns Markdown with ``rewrite`` applied to the path of every link to a file.

    Addresses on the web, anchors within the page and code are left alone; so is what follows a
    ``#`` in a link.
    """

    def rewritten(match: re.Match) -> str:
        path, mark, anchor = match[2].partition("#")
        if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
            return match[0]
        return f"{match[1]}{rewrite(path)}{mark}{anchor}{match[3]}"

    # Odd parts are code: fences, and what stands in backticks.
    parts = re.split(r"(^```.*?^```|`[^`\n]*`)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if k % 2 else _LINK.sub(rewritten, part) for k, part in enumerate(parts))


def finish(copy: Path, folder: Path, *, home: Path) -> None:
    """Makes the executed notebook at ``copy`` one to read, in place.

    Args:
        copy: just executed, still under a temporary name perhaps.
        folder: of the source; links are relative to it.
        home: folder that the copy is read in. Links to other notebooks stay, for their copies
            lie there too.
    """
    notebook = nbformat.read(copy, as_version=4)
    show_figures_once(notebook, copy.name.partition(".")[0])

    def moved(path: str) -> str:
        if "/" not in path:
            return path
        return Path(os.path.relpath(folder / path, home)).as_posix()

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, moved)
    nbformat.write(notebook, copy)


def _has_picture(cell: nbformat.NotebookNode) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)
