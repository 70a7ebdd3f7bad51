"""Verifying: one line a table, and a failure where a claim fails or a table is gone."""

import json
import os
import shutil
import subprocess

import pytest

from skmm_study.execution.comparison import compare_tables
from skmm_study.execution.provenance import is_current, provenance
from skmm_study.execution.verify import main
from skmm_study.storage.files import sha256

OPEN = """import pandas as pd

import skmm_study

output = skmm_study.OutputFolder(out_dir, parameters=globals())
frame = pd.DataFrame({"method": ["a", "b"], "n": [4, 8], "risk": [0.1, 0.2]})"""
CLOSE = "output.close()"


def save(name):
    return f'output.save_table("{name}", frame)'


@pytest.fixture
def verified(project, capfd, monkeypatch, _unmeasured):
    """Writes the results of a notebook as committed, and returns what verifying them says."""
    monkeypatch.chdir(project.root)

    def verify(*code, committed=None, name="01_toy", profile="default"):
        project.write_notebook(name, OPEN, *code, CLOSE)
        for table, text in (committed or {}).items():
            (project.root / f"figures/{name}/{table}.csv").write_text(text)
        status = main(["--profile", profile])
        return status, capfd.readouterr().out.splitlines()

    return verify


AS_WRITTEN = "method,n,risk\na,4,0.1\nb,8,0.2\n"


HOLDS = "every claim of the notebook holds"
TABLES = {
    "same": (AS_WRITTEN, "identical"),
    "rounded": (
        AS_WRITTEN.replace("0.1", "0.10000000000001"),
        "equal to rounding (largest relative difference 1.0e-13)",
    ),
    "cells": (
        AS_WRITTEN.replace("a,4,0.1", "c,4,0.1001"),
        f"other subsets (2 of 6 cells differ; {HOLDS})",
    ),
    "rows": (AS_WRITTEN + "c,9,0.3\n", f"other subsets (2 rows in place of 3; {HOLDS})"),
    "columns": (
        AS_WRITTEN.replace("risk", "loss"),
        f"other subsets (columns method, n, risk in place of method, n, loss; {HOLDS})",
    ),
}


def test_each_table_has_its_line(verified, project):
    """A table that is missing fails; other results, more tables and measured times do not."""
    tables = {name: text for name, (text, _) in TABLES.items()}
    tables |= {"gone": AS_WRITTEN, "times_old": "seconds\n1\n"}
    more = ['output.save_times("risk", frame.assign(seconds=1.0))', save("more")]
    status, lines = verified(*map(save, TABLES), *more, committed=tables)
    for name, (_, line) in TABLES.items():
        assert f"01_toy/{name}.csv: {line}" in lines
    assert "01_toy/more.csv: not committed" in lines
    assert "01_toy/gone.csv: missing" in lines
    assert not [line for line in lines if "times_" in line]
    counted = "1 identical, 1 equal to rounding, 3 other subsets, 1 missing, 1 not committed"
    assert lines[-2:] == [f"7 tables: {counted}", "every claim holds"]
    assert status == 1
    figures = project.root / "figures/01_toy"
    assert {path.stem: path.read_text() for path in figures.glob("*.csv")} == tables


def test_a_claim_that_fails_fails(verified):
    """What was written before it is compared, what would have come after it is missing."""
    tables = {"risk": AS_WRITTEN.replace("0.1", "0.3"), "later": AS_WRITTEN}
    claim = "assert frame['risk'].max() < 0.1, 'claim'"
    status, lines = verified(save("risk"), claim, save("later"), committed=tables)
    assert "01_toy/risk.csv: other subsets (1 of 6 cells differ; the notebook failed)" in lines
    assert "01_toy/later.csv: missing (the notebook failed)" in lines
    assert "AssertionError: claim" in "\n".join(lines)
    assert lines[-1] == "claims fail in 01_toy"
    assert status == 1


def test_a_claim_after_the_last_table_fails_too_however_often_it_is_asked(verified):
    """A notebook that failed is not up to date, although its results are complete."""
    for _ in range(2):
        late = 'output.close()\nassert False, "late"'
        status, lines = verified(save("risk"), late, committed={"risk": AS_WRITTEN})
        assert "01_toy/risk.csv: identical" in lines
        assert lines[-1] == "claims fail in 01_toy"
        assert status == 1


def test_what_is_up_to_date_is_not_run_again(verified, project, tmp_path, monkeypatch):
    """A second run takes the first one's results, and none takes any from the user's caches."""
    monkeypatch.setenv("SKMM_CACHE", str(tmp_path / "users"))
    told = "frame['method'] = '/'.join(skmm_study.cache_folder().parts[-3:])"
    place = "method,n,risk\nverify/default/cache,4,0.1\nverify/default/cache,8,0.2\n"

    def ran(*code):
        status, lines = verified(told, save("risk"), *code, committed={"risk": place})
        assert status == 0
        assert "01_toy/risk.csv: identical" in lines
        return "[01_toy] is up to date" not in lines

    assert ran()
    assert not ran()
    assert ran("x = 1")
    (project.root / "build/verify/default/figures/01_toy/risk.csv").write_text("n\n1\n")
    assert ran("x = 1")


@pytest.fixture
def record(tmp_path):
    """The provenance of a run, what a run now would rest on, and a change of each part of it."""
    (tmp_path / "risk.csv").write_text("n\n1\n")
    parts = {"code": "c", "parameters": {"profile": "default", "seed": 0}, "root": tmp_path}
    written = provenance(
        **parts,
        notebook="01_toy",
        data={"pool": tmp_path / "risk.csv"},
        files={"risk.csv": sha256(tmp_path / "risk.csv")},
        seconds=1.0,
    )
    return json.loads(json.dumps(written)), parts | {"results": tmp_path}


def test_a_run_is_current_until_what_it_rests_on_changes(record):
    written, now = record
    assert is_current(written, **now)
    assert not is_current(written, **now | {"code": "d"})
    assert not is_current(written, **now | {"parameters": {"profile": "default", "seed": 1}})
    assert not is_current(written, **now | {"parameters": {"profile": "paper", "seed": 0}})


@pytest.mark.parametrize(
    "changed",
    [
        {"kernels": ["openblas Other"]},
        {"versions": {}},
        {"modules": {"skmm/spectrum.py": "0"}},
        {"modules": {"skmm/gone.py": "0"}},
        {"data": {"pool": {"sha256": "0", "path": "risk.csv"}}},
        {"data": {"outside": {"sha256": "0"}}},
        {"files": {"risk.csv": "0"}},
    ],
    ids=str,
)
def test_a_run_elsewhere_or_of_something_else_is_not_current(record, changed):
    written, now = record
    assert not is_current(written | changed, **now)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_committed_is_what_the_last_commit_holds(verified, project):
    """Tables that were written since are not taken for committed ones."""
    (project.root / "figures/01_toy/sub").mkdir(parents=True)
    (project.root / "figures/01_toy/sub/deep.csv").write_text("n\n1\n")
    (project.root / "figures/01_toy/risk.csv").write_text(AS_WRITTEN.replace("0.1", "0.3"))
    identity = {
        f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for command in (["init", "-q"], ["add", "figures"], ["commit", "-q", "-m", "Results"]):
        subprocess.run(["git", *command], cwd=project.root, check=True, env=os.environ | identity)
    tables = {"risk": AS_WRITTEN, "new": AS_WRITTEN}
    status, lines = verified(save("risk"), save("new"), committed=tables)
    assert f"01_toy/risk.csv: other subsets (1 of 6 cells differ; {HOLDS})" in lines
    assert "01_toy/new.csv: not committed" in lines
    assert not [line for line in lines if "deep" in line]
    assert status == 0


def test_a_profile_without_committed_tables_is_refused(verified):
    status, lines = verified(save("risk"), profile="smoke")
    assert "must have committed tables in" in lines[-1]
    assert status == 2
    status, lines = verified(save("risk"), profile="huge")
    assert lines == ["profile must be one of default, smoke, got 'huge'"]
    assert status == 2


# Cells.


def column(*cells):
    return "\n".join(["x", *map(str, cells)]).encode()


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ((1.0, 2.0), (1.0, 2.0 + 1e-7), "equal to rounding"),
        ((1.0, 2.0), (1.0, 2.0 + 3e-7), "other subsets"),
        ((1.0, "1e-300"), (1.0, "2e-300"), "equal to rounding"),  # what is left of a cancellation
        (("1e-300", "1e-300"), ("1e-300", "2e-300"), "other subsets"),  # numbers of that size
        ((1.0, 1e-3), (1.0, 1e-3 + 1e-9), "other subsets"),
        ((0.0, 0.0, 0.0, 5.0), (0.0, 0.0, 1e-3, 5.0), "other subsets"),
        ((1, 2), ("1.0", 2), "equal to rounding"),
        ((1, 2), (1, 3), "other subsets"),
        ((1.0, "nan"), (1.0, 2.0), "other subsets"),
        ((1.0, "inf"), (1.0, "-inf"), "other subsets"),
        ((1.0, "inf"), (1.0 + 1e-12, "inf"), "equal to rounding"),
        ((1.0, ""), (1.0, 0.0), "other subsets"),
        (("a", 1.0), ("b", 1.0), "other subsets"),
        ((), (1,), "other subsets"),
    ],
)
def test_rounding_is_told_from_other_results(before, now, verdict):
    """In both directions alike, but for the scale, which is the committed column's."""
    assert compare_tables(column(*before), column(*now)).verdict == verdict
