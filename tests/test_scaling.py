"""Measuring the scale of a choice: against the library itself, and by laws of each measure."""

import numpy as np
import pandas as pd
import pytest

import skmm
from skmm.selection.selectors.seams import choose_in_cells
from skmm_study.pools.written import write_pool
from skmm_study.trials import peers
from skmm_study.trials.gauge import gauge
from skmm_study.trials.machine import machine_trials
from skmm_study.trials.scaling import Size, exponents, scaling_trials
from skmm_study.trials.shortcuts import (
    cells_of_size,
    shortcut_trials,
    sketch_size_trials,
    written_rows,
)
from skmm_study.trials.stages import STAGES, staged_choice


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "rows.npy"
    write_pool(path, 900, 6, seed=0)
    return path


def unit(rows):
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_larger_pool_begins_with_the_smaller_one(path):
    np.testing.assert_array_equal(written_rows(40, 6, seed=0), np.load(path)[:40])
    assert np.load(path).dtype == np.float32


def test_directions_beyond_carry_noise_alone(tmp_path):
    write_pool(tmp_path / "low.npy", 500, 6, seed=0, directions=4, beyond=0.01)
    deviations = np.load(tmp_path / "low.npy").std(axis=0)
    assert deviations[:4].min() > 0.1
    np.testing.assert_allclose(deviations[4:], 0.01, rtol=0.15)


@pytest.mark.parametrize("criterion", ["balanced", "diagonal", "full"])
def test_stages_choose_what_select_chooses(path, criterion, monkeypatch):
    """By cells, too."""
    monkeypatch.setattr("skmm.selection.selectors.stratified.MOST", 300)
    monkeypatch.setattr("skmm.selection.selectors.stratified._LEAST", 200)
    monkeypatch.setattr("skmm.selection.selectors.stratified._MOST", 200)
    indices, costs = staged_choice(path, 20, criterion=criterion, seed=3)
    expected = skmm.select(np.load(path, mmap_mode="r"), 20, criterion=criterion, rng=3).indices
    np.testing.assert_array_equal(np.sort(indices), np.sort(expected))
    assert costs["seconds"] == pytest.approx(sum(costs[f"{stage}_seconds"] for stage in STAGES))
    assert costs["peak_mb"] > 10


def test_a_choice_in_a_process_of_its_own_is_measured_and_kept(tmp_path, monkeypatch):
    size = Size(11_600, 8, 3)
    values, times = scaling_trials([size], ["diagonal"], folder=tmp_path)
    assert values[["N", "n", "m"]].to_numpy().tolist() == [[11_600, 8, 3]]
    assert (times[["seconds", "peak_mb", "announced_seconds", "announced_mb"]] > 0).all(axis=None)
    monkeypatch.setattr("skmm_study.trials.scaling.write_pool", None)
    again, _ = scaling_trials([size], ["diagonal"], folder=tmp_path)
    pd.testing.assert_frame_equal(values, again)


@pytest.mark.parametrize(
    ("size", "criterion", "message"),
    [
        (Size(500, 8, 3), "full", "sizes must have pools that are cut into cells, got N = 500"),
        (Size(12_000, 8, 3), "worst", "a name in criteria must be one of"),
    ],
)
def test_what_cannot_be_measured_is_refused(size, criterion, message):
    with pytest.raises(ValueError, match=message):
        scaling_trials([size], [criterion], folder=None)


def test_exponents_of_a_power_law():
    N = np.array([1e4, 1e5, 1e6])
    table = pd.DataFrame(
        {"criterion": "full", "N": N, "seconds": 2e-5 * N**1.3, "cells_seconds": 0}
    )
    fit = exponents(table, "N", ["seconds", "cells_seconds"])
    assert fit[["criterion", "stage"]].to_numpy().tolist() == [["full", "all"]]
    np.testing.assert_allclose(fit["exponent"], [1.3], atol=1e-9)
    # A standard error is the root of a variance, of which rounding leaves some 1e-16.
    np.testing.assert_allclose(fit["error"] ** 2, [0.0], atol=1e-14)
    with pytest.raises(ValueError, match="three sizes or more of N"):
        exponents(table[:2], "N", ["seconds"])


def test_gauge_estimates_the_exact_criteria(path):
    """On all rows of a pool, of which the fourth moment counts no row against itself."""
    rows, indices = unit(np.load(path)), np.arange(0, 900, 30)
    fourth = skmm.FourthMoment(rows, 30)
    fourth.start(indices)
    found = gauge(path, indices, part=900)
    expected = fourth.value() * 899 / 900 - 30 / 900
    assert found["fourth"] == pytest.approx(expected, rel=1e-3)
    exact = skmm.Coverage(rows, 30).value_of(indices)
    assert found["coverage"] == pytest.approx(exact, rel=0.1)


def test_shortcuts_lie_between_the_exact_choice_and_chance():
    table = shortcut_trials(written_rows(500, 6, seed=1), 25, [120], seeds=1).set_index("way")
    assert table.loc["whole", "lost"] == 0
    lost = table.loc[["whole", "cells of 120", "120, not mended", "uniform"], "lost"]
    assert lost.is_monotonic_increasing
    assert lost.is_unique
    assert table.loc["cells of 120", "cells"] > 2


def test_one_cell_is_the_whole_pool():
    rows = written_rows(300, 6, seed=1)
    whole = skmm.select(rows, 20, criterion="balanced", rng=0).indices
    cells = cells_of_size(rows, 20, 300, rng=np.random.default_rng(0))
    assert len(cells) == 1
    np.testing.assert_array_equal(choose_in_cells(rows, cells)[0], np.sort(whole))


def test_sketch_sizes_are_certified_in_the_rows():
    """Without a sketch, the certificate is that of the selection."""
    table = sketch_size_trials(600, 12, 4, 60, [12], seed=0).set_index("m")
    assert (table["dimension"] == 4).all()
    assert table.loc[12, "slack"] < table.loc[0, "slack"]


def test_machine_is_its_own_yardstick():
    table = machine_trials(2000, 16, r=4096, size=32, megabytes=1, repeats=1).set_index("stage")
    assert table.loc["copy of rows", "share"] == table.loc["product", "share"] == 1
    assert (table["share"] > 0).all()


def test_peers_and_ours_are_judged_alike(monkeypatch):
    """A peer that chooses what ours does has its figures; one that is not there has a note."""

    def known(rows, n, seed):
        return skmm.select(rows, n, method="k_means", rng=seed).indices

    def absent(rows, n, seed):
        raise ModuleNotFoundError("absent")

    there = {"Known": ("numpy", "k_means", known), "Absent": ("numpy", "k_means", absent)}
    monkeypatch.setattr(peers, "PEERS", there | {"Gone": ("no-such-package", "k_means", known)})
    rows = written_rows(200, 6, seed=2)
    table = peers.peer_trials(rows, 10, ["Known", "Absent", "Gone"]).set_index("method")
    figures = ["distinct", "coverage", "fourth"]
    same = [table.loc[name, figures].astype(float) for name in ("Known", "k_means")]
    np.testing.assert_allclose(*same, rtol=1e-9)
    assert table.loc[["Absent", "Gone"], "note"].tolist() == ["not installed"] * 2
    assert table.loc[["Absent", "Gone"], figures].isna().all(axis=None)
    assert table.loc["skmm", "coverage"] < table.loc["uniform", "coverage"]
