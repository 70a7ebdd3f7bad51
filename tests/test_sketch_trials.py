"""Tables of sketches: one row a draw, measured on the sketch that the row names."""

import numpy as np
import pytest

from skmm.sketching import SKETCHES, GaussianSketch, SparseSignSketch
from skmm_study.trials.sketches import sketch_costs, sketch_trials

DRAWS = {"gaussian": GaussianSketch.draw, "sparse-sign": SparseSignSketch.draw}


def test_each_row_is_measured_on_its_own_draw(rng):
    G = rng.standard_normal((6, 30))
    frame = sketch_trials(
        G, DRAWS, [4, 9], seeds=range(3), measure=lambda S: {"energy": np.sum(S**2)}
    )
    assert len(frame) == len(frame[["map", "m", "seed"]].drop_duplicates()) == 12
    for row in frame.itertuples():
        S = DRAWS[row.map](30, row.m, rng=row.seed)(G)
        assert row.energy == np.sum(S**2)


def test_iterables_are_read_once(rng):
    """Generators of sizes and seeds serve every map."""
    G = rng.standard_normal((6, 30))
    frame = sketch_trials(G, DRAWS, iter([4]), seeds=iter([0, 1]), measure=lambda S: {"one": 1})
    assert list(frame["map"]) == ["gaussian"] * 2 + ["sparse-sign"] * 2


def test_costs_count_the_map_and_take_time():
    """A Gaussian map of r·m doubles is in the peak, and is all of it but for a few objects."""
    frame = sketch_costs(DRAWS, [1000, 20_000], 32, repeats=2)
    assert len(frame) == 8
    assert (frame[["draw_seconds", "sketch_seconds"]] >= 0).all(axis=None)
    peak = frame[frame["map"] == "gaussian"].groupby("r")["megabytes"].agg(["min", "max"])
    assert (peak["min"] == peak["max"]).all()
    assert peak.loc[20_000, "max"] == pytest.approx(8e-6 * 20_000 * 32, rel=0.01)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="repeats must be"):
        sketch_costs(DRAWS, [10], 2, repeats=0)
    with pytest.raises(ValueError, match="m must be"):
        sketch_trials(np.ones((3, 4)), DRAWS, [5], seeds=[0], measure=lambda S: {})


def test_a_gaussian_map_takes_the_most_memory():
    """Its 8 r m bytes at least; the others take less than half, the sparse map a fifth."""
    r, m = 20_000, 64
    draws = {name: kind.draw for name, kind in SKETCHES.items()}
    megabytes = sketch_costs(draws, [r], m, repeats=1).set_index("map")["megabytes"]
    assert megabytes["gaussian"] >= 8e-6 * r * m
    assert megabytes.drop("gaussian").max() < megabytes["gaussian"] / 2
    assert megabytes["sparse-sign"] < megabytes["gaussian"] / 5
