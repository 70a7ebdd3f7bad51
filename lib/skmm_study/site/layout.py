"""Where each file of the checkout is on the site: a page, or a file beside the pages."""

from __future__ import annotations

import posixpath
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from skmm.selection.selectors import SELECTORS
from skmm_study.execution.executed_copy import relink

PAGES = {
    "README.md": "index.md",
    "SELECTORS.md": "methods/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files at the root of the checkout, and the pages that stand for them."""

_WRITTEN = {f"docs/{folder}/index.md" for folder in ("api", "how-to", "notebooks")}


@dataclass
class Layout:
    """The sources of the site below ``target``, and what of the checkout lies where in it.

    Attributes:
        root: of the checkout.
        target: folder that Sphinx reads.
        files: paths in the checkout that a page shows or offers, and that are copied in `close`.
    """

    root: Path
    target: Path
    files: set[str] = field(default_factory=set)

    def write(self, page: str, text: str) -> None:
        """Writes a page whose links are those of the site already."""
        path = self.target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def adopt(self, source: str, text: str, *, page: str) -> str:
        """Returns the Markdown of a file of the checkout with links as ``page`` must have them.

        Args:
            source: the file, relative to the root; links in ``text`` are relative to its folder.
            text: all of it, or a cell.
            page: what becomes of it.

        Raises:
            ValueError: a link leads to no file of the checkout.
        """
        folder = posixpath.dirname(source)

        def rewrite(path: str) -> str:
            found = posixpath.normpath(posixpath.join(folder, path))
            if found.startswith("..") or not self._is_there(found):
                raise ValueError(
                    f"{source} must link to files of the checkout, got {path!r}; mend the link"
                )
            return posixpath.relpath(self.place(found), posixpath.dirname(page) or ".")

        return relink(text, rewrite)

    def place(self, path: str) -> str:
        """Returns where a file or folder of the checkout is on the site; notes it if it is no page.

        A folder stands for what the site says about it: its notebooks, its pages.
        """
        if path in PAGES:
            return PAGES[path]
        if path.startswith("docs/"):
            return path.removeprefix("docs/")
        if path.startswith(("notebooks/", "build/")) and path.endswith(".ipynb"):
            return f"notebooks/{posixpath.basename(path)}"
        if (self.root / path).is_dir():
            return "notebooks/index.md"
        self.files.add(path)
        return f"files/{path}"

    def close(self) -> None:
        """Copies the files that pages show or offer, and what these link to; Markdown as pages."""
        done = set()
        while waiting := sorted(self.files - done):
            for path in waiting:
                done.add(path)
                if path.endswith(".md"):
                    self._write_table(path)
                    continue
                copy = self.target / "files" / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / path, copy)

    def _write_table(self, path: str) -> None:
        """Writes Markdown of the checkout, a table mostly, as a page that no list has."""
        page = f"files/{path}"
        text = self.adopt(path, (self.root / path).read_text(encoding="utf-8"), page=page)
        if not text.startswith("# "):
            text = f"# {posixpath.basename(path)}\n\nFrom `{path}`.\n\n{text}"
        self.write(page, f"---\norphan: true\n---\n\n{text}")

    def _is_there(self, path: str) -> bool:
        folder, _, name = path.removeprefix("docs/").rpartition("/")
        if path.startswith("docs/") and folder == "methods":
            return name.removesuffix(".md") in SELECTORS or name == "index.md"
        return path in _WRITTEN or (self.root / path).exists()
