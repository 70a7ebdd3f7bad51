"""The documentation runs: the README's first example, and one for every public name."""

import doctest
import re
from pathlib import Path

import pytest

import skmm
from examples import NAMES, example, run_example, run_readme

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_name_has_an_example_that_runs(name):
    """It uses the name, and prints what the docstring says."""
    lines = doctest.DocTestParser().get_examples(example(name))
    assert any(f"skmm.{name}" in line.source for line in lines), f"skmm.{name} has no example"
    assert any(line.want for line in lines)
    run_example(name)


def without_seconds(text):
    """What a run prints, but for how long it took."""
    return re.sub(r"in \S+ s$", "in ... s", text.strip(), flags=re.MULTILINE)


def test_readme_shows_what_its_first_example_prints():
    names, printed = run_readme(README)
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]
    assert without_seconds(shown) == without_seconds(printed)
    uniform = skmm.select(names["features"], n=80, method="uniform", rng=0, m=32).certificate
    assert f"slack {uniform.slack:.3g} and variance {uniform.variance:.3g}" in README


def test_wrong_example_is_refused(monkeypatch):
    """A docstring that promises what does not come fails."""
    wrong = "Text.\n\nExample:\n    >>> 1 + 1\n    3\n\nReferences:\n    None."
    monkeypatch.setattr("examples.docstring", lambda name: wrong)
    with pytest.raises(doctest.DocTestFailure):
        run_example("any")
