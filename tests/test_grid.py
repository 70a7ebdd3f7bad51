"""The grid: interrupted anywhere, shared by any number of processes, the same table comes out."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmm_study.storage.grid import Cell, Grid, Outcome, digest, run_grid

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


def row_files(folder):
    return sorted(set(folder.rglob("*.json")) - set(folder.rglob("key.json")))


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
    kills, written = 0, {}
    while kills < 20:
        team = [fork(run, slow, folder) for _ in range(workers)]
        for process in team:
            time.sleep(rng.uniform(0, 0.02))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        assert {path: path.stat().st_mtime_ns for path in written} == written
        written = {path: path.stat().st_mtime_ns for path in row_files(folder)}
        if len(written) == len(CELLS):
            folder, written = tmp_path / f"rows{kills}", {}
    resumed = run(slow, folder)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert len(row_files(folder)) == len(CELLS)
    pd.testing.assert_frame_equal(resumed.results, whole.results)
    run(slow, folder)
    assert not list(folder.rglob("*.partial"))


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
    while not (tmp_path / "rows").exists() or not list((tmp_path / "rows").rglob("claims")):
        time.sleep(0.005)
    time.sleep(0.05)
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


def test_order_of_a_key_does_not_matter():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})


@pytest.mark.parametrize("damage", ["half", "empty", "foreign"])
def test_damaged_row_is_measured_again(work, tmp_path, damage):
    whole = run(work, tmp_path / "rows")
    first, second = row_files(tmp_path / "rows")[:2]
    content = {"half": first.read_bytes()[:40], "empty": b"", "foreign": second.read_bytes()}
    first.write_bytes(content[damage])
    with pytest.warns(RuntimeWarning, match=f"{first.name} is damaged"):
        again = run(work, tmp_path / "rows")
    pd.testing.assert_frame_equal(again.results, whole.results)
    assert sorted(work.done.values())[-2:] == [1, 2]
    assert json.loads(first.read_text())["cell"]["method"] == first.name.split("-")[0]


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
    kept = len(row_files(tmp_path / "rows"))
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
