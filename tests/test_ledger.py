"""The ledger: its rules judge by the numbers, its links lead somewhere, its pages are of today."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skmm_study.execution.notebook_source import code_digest, read_notebook
from skmm_study.ledger.evidence import Evidence
from skmm_study.ledger.page import (
    CLOSES,
    OPENS,
    STATEMENTS,
    headline_table,
    ledger_frame,
    ledger_table,
    with_ledger,
)
from skmm_study.ledger.statements import (
    FAILS,
    HOLDS,
    NOT_TESTED,
    ONLY_IF,
    decide,
    interval,
    number,
    proportion,
    span,
    student,
    where,
)

ROOT = Path(__file__).resolve().parent.parent
BY_NAME = {one.name: one for one in STATEMENTS}
JUDGED = [one for one in STATEMENTS if one.judge is not None]


@pytest.fixture(scope="module")
def evidence():
    """What this project has committed."""
    return Evidence(ROOT)


@pytest.fixture(scope="module")
def ledger(evidence):
    """Every statement judged by it."""
    return ledger_frame(evidence)


# What is committed.


def test_readme_is_of_the_committed_tables(evidence):
    """``make ledger`` would change nothing."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_ledger(text, evidence) == text


def test_ledger_of_notebook_00_is_of_the_committed_tables(ledger):
    """``make ledger`` would change nothing there, either."""
    folder = ROOT / "figures" / "00_ledger"
    committed = pd.read_csv(folder / "ledger.csv").fillna("")
    pd.testing.assert_frame_equal(committed, ledger, check_dtype=False)
    table = ledger_table(ledger, root="../../")
    assert (folder / "ledger.md").read_text(encoding="utf-8") == table + "\n"


def test_what_the_readme_says_in_short_follows_from_the_verdicts(ledger):
    """Its paragraph below the table is written by hand: whoever sees this fail rewrites it."""
    verdicts = ledger.set_index("name")["verdict"]
    sure = ["theorem-2-2", "theorem-2-2-subsets", "slack-bounds-variance", "rate-in-n", "one-map"]
    assert set(verdicts[[*sure, "near-the-bound"]]) == {HOLDS}
    assert set(verdicts[["draw-covers", "table-1-least", "cars-finetuning"]]) == {FAILS}
    assert verdicts["program-chooses"] == ONLY_IF + "c_S < 1"
    assert {
        verdicts[f"{pool}-standing"] for pool in ("cars", "banking77", "clinc150", "utkface")
    } == {HOLDS}


def test_names_are_unique_and_every_statement_is_whole():
    assert len(BY_NAME) == len(STATEMENTS) > 40
    for one in STATEMENTS:
        assert all([one.text, one.source, one.tested])
        assert (one.judge is None) == (not one.tables) == (not one.heading)


@pytest.mark.parametrize("one", JUDGED, ids=lambda one: one.name)
def test_link_leads_to_a_section(one, evidence):
    """Of the notebook that writes the tables, one for all of them, wherever they are there."""
    assert {table.partition("/")[0] for table in one.tables} == {one.notebook}
    if one.settle(evidence).verdict == NOT_TESTED:
        return
    notebook = read_notebook(ROOT / "notebooks" / f"{one.notebook}.ipynb")
    lines = [line for cell in notebook.cells for line in cell.source.splitlines()]
    assert f"## {one.heading}" in lines


@pytest.mark.parametrize("one", [one for one in STATEMENTS if one.test], ids=lambda one: one.name)
def test_test_that_decides_exists(one):
    file, _, name = one.test.partition("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_kind_of_statement_has_a_verdict(ledger):
    """A figure stands wherever there is one, and nothing but the four verdicts is said."""
    plain = ledger["verdict"].isin([HOLDS, FAILS, NOT_TESTED])
    assert (plain | ledger["verdict"].str.startswith(ONLY_IF)).all()
    assert (ledger.loc[ledger["verdict"] != NOT_TESTED, "figure"] != "").all()
    assert not ledger["figure"].str.contains("nan|inf|e[+-]0").any()


# The rules judge by the numbers.


def lose_clusters(table):
    table.loc[table["method"].isin(["skmm", "skmm_paper"]), ["lost", "constant"]] = [1, 9.0]


def keep_clusters(table):
    table.loc[table["method"] == "skmm_paper", "lost"] = 0
    table.loc[table["method"] == "skmm_paper", "constant"] = 0.9


def flatten(table):
    ours = table["method"] == "skmm"
    table.loc[ours, "constant"] = table.loc[ours, "n"] ** 0.5


def put_one_behind(table):
    table.loc[(table["pool"] == "cars") & (table["method"] == "k_medoids"), "verdict"] = "behind"


def put_one_ahead_of_ours(table):
    ours = (table["pool"] == "cars") & (table["method"] == "skmm_paper")
    table.loc[ours, "score"] += 0.05


def turn(column, by=-1.0):
    """Scales a column."""

    def spoil(table):
        table[column] *= by

    return spoil


def reverse(column):
    """Turns the order of positive numbers around."""

    def spoil(table):
        table[column] = 1 / table[column]

    return spoil


def put(column, value):
    """Sets a column to one value."""

    def spoil(table):
        table[column] = value

    return spoil


def put_first(method):
    """Makes a method the best at every budget."""

    def spoil(table):
        table.loc[table["method"] == method, "risk"] = 1e-9

    return spoil


def solve(table):
    table.loc[table["steps"] > 0, "objective"] = 0.0


def suffice(table):
    table[["constant", "lost"]] = 0.7, 0


def make_level(table):
    table.loc[table["method"] == "skmm", "score"] = 0.0


def make_worst(column, row, kind):
    """Gives the rows of a kind the largest value of all."""

    def spoil(table):
        table.loc[table[kind] == row, column] = 2 * table[column].max() + 1

    return spoil


FLIPS = [
    ("theorem-2-2", put("best leading $P$", 0), FAILS),
    ("theorem-2-2-subsets", turn("bound", 0.01), FAILS),
    ("slack-bounds-variance", turn("variance", 20), FAILS),
    ("corollary-bound", turn("constant", 100), FAILS),
    ("theorem-3-1", turn("ratio", 100), FAILS),
    ("rate-in-n", flatten, FAILS),
    ("rate-of-the-algorithm", keep_clusters, HOLDS),
    ("rate-of-the-algorithm", lose_clusters, FAILS),
    ("independent-of-r", put("constant", 0.7), HOLDS),
    ("linear-in-dimension", put("risk", 1e-5), FAILS),
    ("sketch-size", suffice, HOLDS),
    ("sketch-keeps-the-subspace", turn("left_out", 10), FAILS),
    ("one-map", put("fresh", 0.9), FAILS),
    ("one-map-for-subsets", put("clusters", 8), FAILS),
    ("program-chooses", put("uniform_objective", 0.1), HOLDS),
    ("program-chooses", put("uniform_objective", 0.0), FAILS),
    ("recipe", solve, HOLDS),
    ("smaller-slack", make_worst("constant", 8.0, "slack"), ONLY_IF + "c_S ≥ 1.111"),
    ("smaller-slack", put("constant", 0.7), HOLDS),
    ("draw-covers", put("clusters", 8), HOLDS),
    ("draw-matches", put("variance", 1.0), FAILS),
    ("failure-modes", put("variance", 1.0), FAILS),
    ("table-1-algorithm", put("ratio", 1.0), HOLDS),
    ("table-1-algorithm", put("ratio", 1.2), FAILS),
    ("table-1-least", put_first("skmm_paper"), HOLDS),
    ("cars-probing", put_one_ahead_of_ours, HOLDS),
    ("cars-finetuning", put("low", 0.01), HOLDS),
    ("gains-at-finetuning", put("low", -0.01), FAILS),
    ("activations", put("low", -0.01), FAILS),
    ("activations-random", put("low", 0.01), HOLDS),
    ("labels-of-their-own", put("low", -0.01), FAILS),
    ("rounds", put("mean", -0.05), FAILS),
    ("rounds-above-uniform", turn("mean"), FAILS),
    ("text-finetuning", put("low", -0.01), FAILS),
    ("text-finetuning", put("low", 0.01), HOLDS),
    ("embeddings-or-random-labels", turn("mean"), FAILS),
    ("embeddings-or-random-labels", put("holm", 0.5), FAILS),
    ("embeddings-or-random-labels", put("holm", 0.01), HOLDS),
    ("embeddings-or-pseudo-labels", put("holm", 0.5), FAILS),
    ("embeddings-or-pseudo-labels", put("holm", 0.01), HOLDS),
    ("cars-pipeline", put("low", 0.01), HOLDS),
    ("sketch-size-on-images", make_worst("mean", 0.9, "floor"), FAILS),
    ("softmax", put("to_uniform", 0.5), FAILS),
    ("squared-weights", put("kept", 0.9), FAILS),
    ("departures", put("mean", 0.02), FAILS),
    ("permuted-baselines", put("mean", 0.02), FAILS),
    ("one-draw", put("clear", 0.05), FAILS),
    ("best-on-test", put("low", -0.01), FAILS),
    ("cars-above-uniform", turn("mean"), FAILS),
    ("utkface-above-uniform", turn("mean"), FAILS),
    ("cars-standing", put_one_behind, FAILS),
    ("balance", put_one_behind, FAILS),
    ("fewer-labels", make_level, FAILS),
    ("any-penalty", put("tuned_risk", 1.0), FAILS),
    ("no-cluster-lost", lose_clusters, FAILS),
    ("near-the-bound", put("excess", 0.2), FAILS),
    ("elbow", put("constant", 0.7), FAILS),
    ("every-step-counts", put("counts", False), FAILS),
    ("design-start", make_worst("value", "design", "start"), FAILS),
    ("brute-force", turn("ours", 2), FAILS),
    ("regret", make_worst("ratio", "top, exchange", "method"), FAILS),
    ("certificate", reverse("bound"), FAILS),
    ("time-in-proportion", put("exponent", 1.3), FAILS),
    ("time-in-proportion", put("exponent", 1.0), HOLDS),
    ("announced", put("time_ratio", 3.0), FAILS),
    ("announced", put("time_ratio", 1.2), HOLDS),
    ("cells-lose-little", put("lost", 0.5), FAILS),
    ("cells-lose-little", put("lost", 0.01), HOLDS),
    ("peers", put("times_our_seconds", 0.5), FAILS),
    ("peers", put("times_our_seconds", 2.0), HOLDS),
]


@pytest.mark.parametrize(("name", "spoil", "then"), FLIPS)
def test_verdict_follows_the_numbers(name, spoil, then, evidence):
    """Other numbers, another verdict."""
    one = BY_NAME[name]
    source = evidence.find(one.tables, run=one.run)
    if source is None:
        pytest.skip("no table yet")
    frames = [frame.copy() for frame in source.frames]
    spoil(frames[0])
    assert one.judge(*frames)[0] == then


def test_every_rule_is_seen_to_flip(evidence):
    """Each rule gives at least two verdicts, over its statements and their altered tables."""

    def rule(one):
        return getattr(one.judge, "func", one.judge)

    seen = {rule(one): set() for one in JUDGED}
    for one in JUDGED:
        seen[rule(one)].add(one.settle(evidence).verdict)
    for name, _, then in FLIPS:
        seen[rule(BY_NAME[name])].add(then)
    assert not [rule.__name__ for rule, verdicts in seen.items() if len(verdicts) < 2]


# Tables of earlier versions, and none.


@pytest.fixture
def study(project):
    """A study of one notebook with a table in the default run and in the full one."""
    path = project.write_notebook("04_fast_rate", "x = 1")
    digest = code_digest(read_notebook(path))

    def write(folder, value, code=digest):
        folder = project.root / "figures" / folder / "04_fast_rate"
        folder.mkdir(parents=True, exist_ok=True)
        record = {"notebook": {"name": "04_fast_rate", "code_sha256": code}, "parameters": {"k": 3}}
        (folder / "provenance.json").write_text(json.dumps(record))
        pd.DataFrame({"value": [value]}).to_csv(folder / "a.csv", index=False)

    return project.root, write


def found(root, **knobs):
    source = Evidence(root).find(["04_fast_rate/a.csv"], **knobs)
    return source and (source.frames[0]["value"][0], source.earlier)


def test_best_run_is_the_full_study_of_today(study):
    root, write = study
    assert found(root) is None
    write("", 1, code="old")
    assert found(root) == (1, True)
    assert found(root, run="full") is None
    write("paper", 2, code="old")
    assert found(root) == (2, True)
    write("", 1)
    assert found(root) == (1, False)
    write("paper", 2)
    assert found(root) == (2, False)


def test_notebook_that_is_gone_leaves_tables_of_an_earlier_version(study):
    root, write = study
    write("", 1)
    (root / "notebooks" / "04_fast_rate.ipynb").unlink()
    assert found(root) == (1, True)


def test_parameters_of_a_run_are_a_row(study):
    root, write = study
    write("", 1)
    evidence = Evidence(root)
    (frame,) = evidence.find(["04_fast_rate/provenance.json"]).frames
    assert frame["k"][0] == 3
    assert list(evidence.files) == ["figures/04_fast_rate/provenance.json"]


def test_without_tables_nothing_is_tested(project):
    """Whatever needs one: neither holds nor fails."""
    (project.root / "figures").mkdir()
    frame = ledger_frame(Evidence(project.root), JUDGED)
    assert set(frame["verdict"]) == {NOT_TESTED}


def test_what_is_older_says_so(tmp_path):
    """The mark is in the row, of the README's as well, and goes when the notebook is run again."""
    one = BY_NAME["rate-in-n"]
    for folder in ("notebooks", "figures/04_fast_rate"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    file = tmp_path / "figures/04_fast_rate/provenance.json"
    record = json.loads(file.read_text())
    marks = []
    for code in ("0" * 64, digest_of_notebook(tmp_path)):
        record["notebook"]["code_sha256"] = code
        file.write_text(json.dumps(record))
        (row,) = ledger_frame(Evidence(tmp_path), [one]).itertuples()
        marks.append([text.endswith("(of an earlier version)") for text in (row.figure, row.brief)])
    assert marks == [[True, True], [False, False]]


def digest_of_notebook(root):
    return code_digest(read_notebook(root / "notebooks/04_fast_rate.ipynb"))


def test_folder_that_is_no_project_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"root must be the folder of the project, got .*"):
        Evidence(tmp_path)


# Pages.


@pytest.mark.parametrize("text", ["no marks", f"{CLOSES}\n{OPENS}", f"{OPENS}\n{CLOSES}\n" * 2])
def test_page_without_its_marks_is_refused(text, evidence):
    with pytest.raises(ValueError, match=r"text must have the line .* once each"):
        with_ledger(text, evidence)


def test_page_changes_between_its_marks_alone(evidence):
    page = with_ledger(f"before\n{OPENS}\nold\n{CLOSES}\nafter\n", evidence)
    assert page == f"before\n{OPENS}\n{headline_table(evidence)}\n{CLOSES}\nafter\n"
    assert with_ledger(page, evidence) == page


def test_links_of_the_table_exist_from_where_it_lies(ledger):
    table = ledger_table(ledger, root="../../")
    links = [part.partition(")")[0] for part in table.split("](")[1:]]
    assert len(links) > 80
    assert all((ROOT / "figures" / "00_ledger" / link).resolve().is_file() for link in links)


# How numbers are written.


def test_where_names_the_budgets():
    assert where({1: True, 2: True}) == HOLDS
    assert where({1: False, 2: False}) == FAILS
    assert where({1: True, 2: True, 3: False}) == ONLY_IF + "n ≤ 2"
    assert where({1: False, 2: True, 3: True}) == ONLY_IF + "n ≥ 2"
    assert where({1: False, 2: True, 3: True, 4: False}) == ONLY_IF + "2 ≤ n ≤ 3"
    assert where({3: True, 1: True, 2: False}, "m") == ONLY_IF + "m = 1, 3"


def test_decide_needs_a_condition_to_say_one():
    assert [decide(True, "x"), decide(False, "x"), decide(False)] == [HOLDS, ONLY_IF + "x", FAILS]


def test_numbers_have_true_signs():
    assert number(-0.04, 1, signed=True) == "0.0"
    assert number(-1.25, 1) == "−1.2"
    assert number(2, 0, signed=True) == "+2"


def test_interval_of_a_mean_is_student_s(rng):
    values = rng.standard_normal(5)
    test = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(student(values), [values.mean(), test.low, test.high])
    assert interval(*student([2.0]), 1) == "2.0"
    assert interval(1, 0.5, 1.5, 1, signed=True) == "+1.0 [+0.5, +1.5]"


def test_interval_of_a_share_covers():
    """The exact interval of 3 in 32; of none in 20,000 its upper end is near 3.7 / 20,000."""
    assert proportion(3, 32) == "3 of 32 [2 %, 25 %]"
    assert proportion(0, 20_000) == "0 of 20,000 [0 %, 0.018 %]"


def test_range_of_one_number_is_that_number():
    assert span([1.001, 0.999]) == "1.00"
    assert span([1.5, 0.5], 1) == "0.5 to 1.5"
