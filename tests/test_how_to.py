"""The walk-throughs run as they stand, from the first block to the last."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "how-to"
LINK = re.compile(r"\]\(([^)#:]+)\)")
PAGES = ("large-pools", "language-models", "pytorch", "rounds", "scikit-learn")


@pytest.mark.parametrize("name", PAGES)
def test_page_runs_from_top_to_bottom(name, tmp_path, monkeypatch, capsys):
    """In an empty folder; what each block prints is shown below it, where the page shows it."""
    monkeypatch.chdir(tmp_path)
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", page, re.DOTALL)
    assert len(blocks) >= 4
    names = {"__name__": "__main__"}
    for code, shown in blocks:
        exec(compile(code, f"{name}.md", "exec"), names)
        printed = capsys.readouterr().out
        assert bool(printed) == bool(shown), f"the page must show what it prints: {printed}"
        assert without_seconds(printed) == without_seconds(shown)


def without_seconds(text):
    """What a block prints, but for how long it took."""
    return re.sub(r"in \S+ s$", "in ... s", text.strip(), flags=re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    links = LINK.findall((FOLDER / f"{name}.md").read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (FOLDER / link).is_file(), link
