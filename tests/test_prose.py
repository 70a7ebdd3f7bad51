"""No number stands in prose that no table gives: notebooks and README. See `prose.py`."""

import re

import pandas as pd
import pytest

import skmm
from prose import ROOT, asserted, complaints, namespace, numbers, parameters, passages, prints_alike
from skmm.numerics.ties import TIE
from skmm.selection.selectors import stratified
from skmm_study.ledger.page import CLOSES, OPENS

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))

EVERYWHERE = {"95": "level of the intervals, in percent"}
"""Printed number -> what it is, in the prose of any notebook."""

CONSTANTS = {
    "00_ledger": {
        "0": "the mark of a cluster without a sample",
        "0.05": "NEAR of skmm_study.ledger.theory",
        "10": "MATCHED of skmm_study.ledger.experiments, in percent",
    },
    "01_synthetic_linear_probing": {
        "2,000": "rows of the paper's mixture",
        "2000": "rows of the paper's mixture",
        "2400": "features of the paper's mixture",
        "1,797": "digit images of scikit-learn",
    },
    "02_gradient_sketching": {
        "0": "end of an interval; an expectation",
        "1": "end of an interval; share of the smallest cluster, by construction, in percent",
        "2": "the default's rule, in units of the intrinsic dimension",
        "6": "budget in units of the intrinsic dimension, by construction",
        "600": "features of a mixture, by construction",
        "2003": "year of a publication",
        "2011": "year of a publication",
    },
    "05_linear_probing": {
        "1": "rank of the best; a slack",
        "160": "pixels of an image",
        "196": "classes of Stanford Cars",
        "8,144": "training images of Stanford Cars",
        "16,185": "images of Stanford Cars",
    },
    "06_finetuning": {
        "196": "classes of Stanford Cars",
        "1,275": "images of 30 of them that ship",
        "8,144": "training images of Stanford Cars",
    },
    "07_selection": {
        "0": "the regret of a criterion that is served alone",
        "80": "share of the rows, a parameter, in percent",
        "196": "classes of Stanford Cars",
        "2400": "features of the paper's mixture",
        "11,585": "rows whose kernel fits into the library's limit, held by a test below",
        "2018": "year of a publication",
        "2022": "year of a publication",
    },
    "08_confirmation": {"25": "rows of the smallest class of CLINC150's imbalanced split"},
    "09_published_code": {
        "1": "numerator of a slack",
        "2.0": "expected greatest of 28 normal scores, held by test_departures.py",
        "96": "budget on the mixtures, by construction",
        "192": "budget on the mixtures, by construction",
        "2026": "year in which the code was read",
        "8,041": "test images of Stanford Cars",
        "8,144": "training images of Stanford Cars",
    },
    "11_gradients_at_random_labels": {"196": "classes of Stanford Cars"},
    "14_text_finetuning": {"24": "tokens that queries are cut at, held by test_text.py"},
}
"""Notebook -> printed number -> what it is, if it is no measurement of the notebook."""

README = {
    "2024": "year of the paper",
    "2407.06120": "the paper's number on arXiv",
    "3.11": "lowest version of Python",
    "2": "minutes of an installation; a seed of the example",
    "3": "minutes of an installation",
    "86.2": "printed by the first example, held by test_docs.py",
    "11.5": "printed by the first example, held by test_docs.py",
    "95": "level of the intervals, in percent",
    "0": "least weight of a selection",
    "1": "a perfect match; the weights' sum; one in 1/n",
    "8": "bytes of a float64; minutes of `make test`, timed by hand",
    "11": "minutes of `make figures`, timed by hand",
    "30": "classes of Stanford Cars whose activations ship",
    "256": "MB that the kernel takes at most",
    "512": "MB that the balance takes at most",
    "1e-10": "gap of scores that rounding cannot make, and that counts as none",
    "10": "factor of the rule of the default's weight, a parameter of notebook 07",
    "11,585": "rows whose kernel fits into the 512 MB",
    "300": "rows looked at for each sample, held by a test below",
}
"""Printed number -> what it is: no measurement stands in the README's prose."""


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_every_number_of_a_notebook_is_accounted_for(stem):
    path = ROOT / "notebooks" / f"{stem}.ipynb"
    own = CONSTANTS.get(stem, {})
    prose = "\n".join(text for text, _ in passages(path))
    constants = {n: why for n, why in EVERYWHERE.items() if n in numbers(prose)} | own
    knobs = {"names": namespace(stem), "known": parameters(path), "constants": constants}
    assert not complaints(passages(path), **knobs)


def test_every_number_of_the_readme_is_generated_or_no_measurement():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(OPENS)
    prose = before + rest.partition(CLOSES)[2]
    assert not complaints([(prose, set())], names={}, known=set(), constants=README)


def test_limits_in_the_readme_are_those_of_the_library():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{stratified.MOST:,} rows" in text
    assert f"among {stratified.ROWS_PER_SAMPLE} rows for each sample" in text
    assert f"differ by about {TIE:.0e}" in text
    assert len(skmm.SELECTORS) == 31
    assert "thirty other methods" in text


def test_headings_of_the_readme_stand_where_it_says():
    """Every link of the README leads to a file that is there, or to a heading of its own."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    own = {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}
    links = [one for one in re.findall(r"\]\(([^)\s]+)\)", text) if not one.startswith("http")]
    assert len(links) > 40
    for link in links:
        assert link[1:] in own if link[0] == "#" else (ROOT / link).is_file(), link


# The check finds what it is meant to find.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gains 4.4 points (3.7 to 5.1), 8,144 images", ["4.4", "3.7", "5.1", "8,144"]),
        ("−0.4 ± 1.0, +2.2 and 2.95e-3", ["−0.4", "1.0", "+2.2", "2.95e-3"]),
        ("at $n = 1000$, $m \\approx 160$ and $\\pm 0.05$", ["1000", "160", "0.05"]),
        ("MobileNetV2, ViT-B/32, ResNet-18, BANKING77, F1", []),
        ("Section 4.2, Table 1, notebooks 05 and 07, [03](03_x.ipynb), Theorem 10.5", []),
        ("`0.5` and ![3 of 4](../5.png)\n$$x = 6$$", []),
        ("in notebook 05 and 7 others", ["7"]),
        ("the exponent $x^2$ of $10^{-4}$", []),
    ],
)
def test_numbers_of_a_text(text, found):
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("number", "exact", "alike"),
    [
        ("4.4", 4.449, True),
        ("4.4", 4.46, False),
        ("3.7", -3.7, True),
        ("+3.7", -3.7, False),
        ("−0.4", -0.36, True),
        ("2.95e-3", 2.951e-3, True),
        ("2.95e-3", 2.956e-3, False),
        ("1,260", 1260.4, True),
        ("73", 72.5, True),
        ("73", 72.4, False),
    ],
)
def test_number_prints_what_it_is(number, exact, alike):
    assert prints_alike(number, exact) is alike


KNOBS = {"names": {"risk": pd.DataFrame({"mean": [0.044]})}, "known": {48.0}, "constants": {}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gains 4.4 points at n = 48\n<!-- check\n4.4: 100 * risk['mean'].item()\n-->", None),
        ("gains 4.5 points\n<!-- check\n4.5: 100 * risk['mean'].item()\n-->", "4.5: 100 * risk['m"),
        ("gains 4.4 points at n = 48", "4.4: from no table"),
        ("gains 4.4\n<!-- check\n4.4: 4.4\n7: 7\n-->", "7: checked, but"),
        ("| a | b |\n| --- | --- |\n| x | 4.4 |\n<!-- check\ntable: 100 * risk['mean']\n-->", None),
        ("| a |\n| --- |\n| 4.5 |\n<!-- check\ntable: 100 * risk['mean']\n-->", "4.5: 100 * risk"),
        ("| a |\n| --- |\n| 4.4 |\n<!-- check\ntable: [4.4, 1]\n-->", "table: 1 numbers, but"),
        ("within 5 % of it", None),
        ("within 6 % of it", "6: from no table"),
        ("at least 0.9", None),
        ("at n = 49", "49: from no table"),
    ],
)
def test_what_is_not_accounted_for_is_found(text, complaint):
    held = asserted("assert risk.max() < 1.05\nassert (share >= 0.9).all()\nx = 49")
    found = complaints([(text, held)], **KNOBS)
    assert len(found) == (complaint is not None)
    assert all(one.startswith(complaint) for one in found)


def test_a_comment_accounts_for_its_own_text_alone():
    texts = [("4.4\n<!-- check\n4.4: 4.4\n-->", set()), ("4.4 again", set())]
    assert complaints(texts, **KNOBS) == ["4.4: from no table, no parameter and not on the list"]


def test_list_has_no_number_that_no_text_has():
    knobs = KNOBS | {"constants": {"196": "classes", "77": "intents"}}
    assert complaints([("196 classes", set())], **knobs) == ["77: on the list, but in no text"]
