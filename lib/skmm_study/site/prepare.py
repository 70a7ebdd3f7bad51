"""Lays out what Sphinx reads: ``python -m skmm_study.site.prepare --into FOLDER``.

Pages of ``docs/`` are taken over with their links; a fence ``{evidence} NAME`` becomes the table of
that name; notebooks, methods and the reference are written beside them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from skmm_study.site.evidence import Evidence
from skmm_study.site.layout import PAGES, Layout
from skmm_study.site.methods import write_methods
from skmm_study.site.notebooks import MissingCopyError, executed_copies, write_notebooks
from skmm_study.site.reference import write_reference

_EVIDENCE = re.compile(r"^```\{evidence\} ([\w-]+)\n```$", re.MULTILINE)
_GUIDES = re.compile(r"^```\{guides\}\n```$", re.MULTILINE)
GUIDES = ("shell", "scikit-learn", "pytorch", "language-models", "rounds", "reading-the-study")
"""Guides in the order in which they are listed; others follow by name."""

_OTHER = ("*.py", "*.txt", "*.md", "__pycache__")


def prepare(root: Path, target: Path, *, build: Path) -> None:
    """Writes the sources of the site into ``target``, which is emptied first.

    Args:
        root: of the checkout.
        target: folder for Sphinx.
        build: folder of the executed copies, within the checkout.

    Raises:
        MissingCopyError: a notebook has no executed copy; nothing is written.
        ValueError: a page links to no file, or asks for no table.
    """
    layout, evidence = Layout(root, target), Evidence(root)
    copies = executed_copies(root / "notebooks", build)
    shutil.rmtree(target, ignore_errors=True)
    write_notebooks(layout, copies, build=build)
    shutil.copytree(
        root / "docs", target, ignore=shutil.ignore_patterns(*_OTHER), dirs_exist_ok=True
    )
    for path in sorted((root / "docs").rglob("*.md")):
        source = path.relative_to(root).as_posix()
        layout.write(layout.place(source), page_text(layout, evidence, source))
    for source, page in PAGES.items():
        if page not in ("index.md", "methods/index.md"):
            text = (root / source).read_text(encoding="utf-8")
            layout.write(page, layout.adopt(source, text, page=page))
    write_methods(layout, evidence)
    layout.write("how-to/index.md", _GUIDES_HEAD + "\n".join(guides(root)) + "\n```\n")
    write_reference(layout)
    layout.close()


def page_text(layout: Layout, evidence: Evidence, source: str) -> str:
    """Returns a page of ``docs/`` as the site has it: links moved, tables in their places."""
    root = layout.root
    text = (root / source).read_text(encoding="utf-8")
    text = layout.adopt(source, text, page=layout.place(source))
    listed = "\n".join(f"- {opening(root, name)}" for name in guides(root))
    text = _GUIDES.sub(lambda match: listed, text)
    return _EVIDENCE.sub(lambda match: evidence.table(match[1]), text)


def guides(root: Path) -> list[str]:
    """Returns the names of the guides, in the order in which they are listed."""
    names = sorted(path.stem for path in (root / "docs" / "how-to").glob("*.md"))
    return sorted(names, key=lambda name: GUIDES.index(name) if name in GUIDES else len(GUIDES))


def opening(root: Path, guide: str) -> str:
    """Returns a link to a guide, under its heading, and the first sentence below it."""
    text = (root / "docs" / "how-to" / f"{guide}.md").read_text(encoding="utf-8")
    title, sentence = re.search(r"^# ([^\n]+)\n+(.+?[.:])(?:\s|\Z)", text, re.DOTALL).groups()
    return f"[{title}](how-to/{guide}.md): {' '.join(sentence.split())}"


def main(arguments: list[str] | None = None) -> int:
    """Runs from the command line and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m skmm_study.site.prepare", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="folder for Sphinx to read")
    parser.add_argument("--copies", type=Path, default=Path("build/default"))
    options = parser.parse_args(arguments)
    root = Path.cwd()
    try:
        prepare(root, options.into.resolve(), build=options.copies.resolve())
    except (MissingCopyError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


_GUIDES_HEAD = """# Guides

From what you have to a labelled subset; and how to read what was found.

```{toctree}
:maxdepth: 1

"""

if __name__ == "__main__":
    sys.exit(main())
