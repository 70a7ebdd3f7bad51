"""Rows of one seed that have a subset in common are measured by one cell, in any order."""

import numpy as np

from skmm_study.storage.rows import Outcome
from skmm_study.trials.subsets import WeightedSubset
from skmm_study.trials.twins import run_distinct


def test_twins_are_measured_once_and_every_row_is_there():
    """Another seed, and other weights, are other cells."""
    S, seen = np.arange(4), []
    subsets = {
        ("b", 4, 1): S,
        ("a", 4, 0): S,
        ("b", 4, 0): S[::-1],
        ("c", 4, 0): WeightedSubset(S, np.array([0.4, 0.2, 0.2, 0.2])),
        ("d", 3, 0): S[:3],
    }

    def measure(cell):
        seen.append(cell)
        return Outcome({"place": len(seen)}, {})

    found = run_distinct(measure, subsets, folder=None, name="toy", key={}, progress=False)
    assert len(seen) == 4
    assert [cell.seed for cell in seen] == [0, 0, 0, 1]
    assert list(zip(found["method"], found["n"], found["seed"], strict=True)) == list(subsets)
    place = found.set_index(["method", "seed"])["place"]
    assert place["a", 0] == place["b", 0]
    assert place.nunique() == 4
