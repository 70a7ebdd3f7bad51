"""The grid: interrupted anywhere, shared by any number of processes, the same table comes out."""

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmm_study.storage.grid import Grid, run_grid
from skmm_study.storage.keys import digest
from skmm_study.storage.rows import Cell, Outcome

CELLS = [
    Cell(method, n, seed) for method in ("uniform", "skmm") for n in (8, 4) for seed in range(5)
]
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Work:
    """Draws a number from the cell; notes in a file that it did."""

    log: Path
    seconds: float = 0.0

    def __call__(self, cell):
        time.sleep(self.seconds)
        with self.log.open("a") as log:
            log.write(f"{cell.method} {cell.n} {cell.seed}\n")
        drawn = np.random.default_rng([cell.n, cell.seed]).standard_normal()
        return Outcome({"score": drawn}, {"seconds": time.perf_counter()})

    @property
    def done(self):
        """How often each cell was measured."""
        return Counter(self.log.read_text().splitlines() if self.log.exists() else [])


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path / "log")


def run(work, folder, cells=CELLS, *, key=None, **knobs):
    return run_grid(work, cells, folder=folder, name="toy", key=key or {}, progress=False, **knobs)


def fork(target, *arguments):
    process = FORK.Process(target=target, args=arguments)
    process.start()
    return process


def query(folder, text, *values):
    """What the database of the only grid in ``folder`` answers."""
    found = list(folder.rglob("cells.sqlite"))
    if not found:
        return []
    with closing(sqlite3.connect(found[0], isolation_level=None)) as database:
        exists = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'cells'").fetchone()
        return database.execute(text, values).fetchall() if exists else []


def written(folder):
    """All rows as they lie there: measured times tell when each was written."""
    return set(query(folder, "SELECT * FROM cells"))


def test_rows_are_sorted_tables(work, tmp_path):
    grid = run(work, tmp_path / "rows")
    places = [(cell.method, cell.n, cell.seed) for cell in sorted(CELLS)]
    for table, column in ((grid.results, "score"), (grid.costs, "seconds")):
        assert list(table) == ["method", "n", "seed", column]
        assert [*zip(table["method"], table["n"], table["seed"], strict=True)] == places
    assert grid.results["score"].iloc[0] == np.random.default_rng([4, 0]).standard_normal()


def test_second_run_measures_nothing(work, tmp_path):
    first = run(work, tmp_path / "rows")
    second = run(work, tmp_path / "rows", list(reversed(CELLS)))
    assert set(work.done.values()) == {1}
    pd.testing.assert_frame_equal(first.results, second.results)
    pd.testing.assert_frame_equal(first.costs, second.costs)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_twenty_random_moments(work, tmp_path, rng, workers):
    """The same table as of an uninterrupted run; no row is lost and none is written again."""
    whole = run(work, tmp_path / "whole")
    slow, folder = Work(tmp_path / "slow", seconds=0.004), tmp_path / "rows"
    kills, kept = 0, set()
    while kills < 20:
        team = [fork(run, slow, folder) for _ in range(workers)]
        for process in team:
            time.sleep(rng.uniform(0, 0.03))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        assert kept <= written(folder)
        kept = written(folder)
        if len(kept) == len(CELLS):
            folder, kept = tmp_path / f"rows{kills}", set()
    resumed = run(slow, folder)
    assert kept <= written(folder)
    assert len(written(folder)) == len(CELLS)
    pd.testing.assert_frame_equal(resumed.results, whole.results)
    left = {path.name for path in folder.rglob("*.*")}
    # Killed between two steps, a process may leave an empty lock file or an unfinished key.
    small = {name for name in left if name.endswith((".lock", ".part"))}
    assert left - small == {"key.json", "cells.sqlite"}


def test_two_processes_at_once_share_the_cells(tmp_path):
    """Each cell is measured once, and both processes return all of them."""
    slow = Work(tmp_path / "log", seconds=0.01)

    def both(path):
        run(slow, tmp_path / "rows").results.to_csv(path, index=False)

    team = [fork(both, tmp_path / f"{k}.csv") for k in range(2)]
    for process in team:
        process.join()
    tables = [pd.read_csv(tmp_path / f"{k}.csv") for k in range(2)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == len(CELLS)
    assert slow.done == Counter(f"{cell.method} {cell.n} {cell.seed}" for cell in CELLS)


def test_workers_give_the_same_table(work, tmp_path):
    alone = run(work, tmp_path / "alone")
    shared = Work(tmp_path / "shared_log", seconds=0.01)
    table = run(shared, tmp_path / "rows", workers=2).results
    pd.testing.assert_frame_equal(table, alone.results)
    assert shared.done == work.done


def test_claim_of_a_dead_process_is_free(work, tmp_path):
    """A process that is killed while it works on a cell leaves nothing that has to be cleared."""
    stuck = fork(run, Work(tmp_path / "stuck", seconds=60.0), tmp_path / "rows")
    while not [path for path in tmp_path.rglob("*.lock") if path.name != "open.lock"]:
        time.sleep(0.005)
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.join()
    assert len(run(work, tmp_path / "rows").results) == len(CELLS)


@pytest.mark.parametrize("key", [{"recipe": 1}, {"recipe": 2}, {"recipe": 1, "data": "a"}])
def test_rows_of_another_key_are_not_used(work, tmp_path, key):
    run(work, tmp_path / "rows")
    run(work, tmp_path / "rows", key=key)
    assert set(work.done.values()) == {2}


def test_what_a_cell_alone_depends_on_is_its_own(work, tmp_path):
    """Changed knobs of one method cost the rows of that method."""
    run(work, tmp_path / "rows")
    knobs = digest({"m": 64})
    run(work, tmp_path / "rows", [Cell("skmm", 4, 0, knobs), *CELLS])
    assert {cell for cell, count in work.done.items() if count == 2} == {"skmm 4 0"}


@pytest.mark.parametrize("damage", ["half", "empty", "foreign", "flipped"])
def test_damaged_row_is_measured_again(work, tmp_path, damage):
    whole = run(work, tmp_path / "rows")
    name, n, seed, (first, second) = (
        "skmm",
        4,
        0,
        query(
            tmp_path / "rows", "SELECT results FROM cells WHERE method = 'skmm' AND n = 4 LIMIT 2"
        ),
    )
    content = {"half": first[0][:8], "empty": "", "foreign": second[0]}
    content["flipped"] = first[0].replace("0", "1", 1)
    change = "UPDATE cells SET results = ? WHERE (method, n, seed) = (?, ?, ?)"
    query(tmp_path / "rows", change, content[damage], name, n, seed)
    with pytest.warns(RuntimeWarning, match=r"row of Cell\(method='skmm', n=4, seed=0"):
        again = run(work, tmp_path / "rows")
    pd.testing.assert_frame_equal(again.results, whole.results)
    assert sorted(work.done.values())[-2:] == [1, 2]
    assert work.done["skmm 4 0"] == 2


@pytest.mark.parametrize("damage", ["head", "middle"])
def test_damaged_database_is_put_aside_and_measured_again(work, tmp_path, damage):
    whole = run(work, tmp_path / "rows")
    (path,) = (tmp_path / "rows").rglob("cells.sqlite")
    content = path.read_bytes()
    start = {"head": 0, "middle": len(content) // 2}[damage]
    path.write_bytes(content[:start] + b"?" * 5000 + content[start + 5000 :])
    with pytest.warns(RuntimeWarning, match=r"cells\.sqlite is damaged"):
        again = run(work, tmp_path / "rows")
    pd.testing.assert_frame_equal(again.results, whole.results)
    assert set(work.done.values()) == {2}
    assert (path.parent / "damaged-cells.sqlite").exists()
    run(work, tmp_path / "rows")
    assert set(work.done.values()) == {2}


def test_the_key_lies_beside_the_rows(work, tmp_path):
    run(work, tmp_path / "rows", key={"recipe": 1})
    (path,) = (tmp_path / "rows").rglob("key.json")
    assert json.loads(path.read_text()) == {"recipe": 1}


def test_without_a_folder_nothing_is_kept(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = run(work, tmp_path / "rows")
    before = set(tmp_path.rglob("*"))
    for workers in (1, 2):
        pd.testing.assert_frame_equal(run(work, None, workers=workers).results, kept.results)
    assert set(work.done.values()) == {3}
    assert set(tmp_path.rglob("*")) == before


def fails_once(cell):
    if cell == CELLS[7]:
        raise OSError("no luck")
    return Outcome({"score": 0.0}, {})


@pytest.mark.parametrize(("workers", "error"), [(1, OSError), (2, RuntimeError)])
def test_failure_names_the_cell_and_keeps_the_rows(work, tmp_path, workers, error):
    with pytest.raises(error, match="no luck") as caught:
        run(fails_once, tmp_path / "rows", workers=workers)
    notes = getattr(caught.value, "__notes__", [])
    assert str(CELLS[7]) in "\n".join([str(caught.value), *notes])
    kept = len(written(tmp_path / "rows"))
    assert kept >= 7 or workers == 2
    run(work, tmp_path / "rows")
    assert len(work.done) == len(CELLS) - kept


def dies(cell):
    os.kill(os.getpid(), signal.SIGKILL)


def test_death_of_all_workers_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match=r"20 cells left, exit codes \[-9\]"):
        run(dies, tmp_path / "rows", workers=2)


@pytest.mark.parametrize("cells", [[], [CELLS[0], CELLS[0]]])
def test_cells_must_be_distinct(work, tmp_path, cells):
    with pytest.raises(ValueError, match="cells must be distinct"):
        run(work, tmp_path / "rows", cells)
    assert not work.done


def test_bar_counts_what_was_there(work, tmp_path, capsys):
    """What is left is timed from this run alone: rows of earlier runs do not count as its speed."""
    run(work, tmp_path / "rows", CELLS[:15])
    grid = run_grid(work, CELLS, folder=tmp_path / "rows", name="toy", key={})
    assert isinstance(grid, Grid)
    shown = capsys.readouterr().err
    assert "15/20" in shown
    assert "20/20" in shown
