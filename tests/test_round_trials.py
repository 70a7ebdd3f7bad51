"""Rounds in the study: against a plain loop, with all the rounds of a seed from one selection."""

import numpy as np
import pytest

import skmm
from skmm_study.pools.standins import stand_in_pools
from skmm_study.trials.fits import ProbeFit
from skmm_study.trials.rounds import DROPPED, KEPT, select_in_rounds
from skmm_study.trials.subsamples import Subsamples

SIZES = [9, 4, 7]


@pytest.fixture(scope="module")
def source():
    return Subsamples(stand_in_pools()[0], rows=80)


def test_rounds_are_those_of_a_plain_loop(source):
    compared = select_in_rounds(source, SIZES, seeds=2, method="k_center", m=5)
    assert set(compared.subsets) == {
        (row, n, seed) for row in (KEPT, DROPPED) for n in (9, 13, 20) for seed in (0, 1)
    }
    for seed in (0, 1):
        pool = source.of(seed).pool
        rows, kept, dropped = source.data.pool[pool], [], []
        for n in SIZES:
            given = {"method": "k_center", "m": 5, "rng": seed}
            kept += skmm.select(rows, n, keep=kept, **given).indices.tolist()
            left = [i for i in range(80) if i not in dropped]
            dropped += [left[i] for i in skmm.select(rows[left], n, **given).indices]
            for row, labelled in ((KEPT, kept), (DROPPED, dropped)):
                subset = compared.subsets[row, len(labelled), seed]
                np.testing.assert_array_equal(subset, pool[labelled])


def test_finished_rounds_are_not_repeated(source, tmp_path, monkeypatch):
    first = select_in_rounds(source, SIZES, seeds=1, folder=tmp_path)
    monkeypatch.setattr("skmm.selection.select.select", None)
    again = select_in_rounds(source, SIZES, seeds=1, folder=tmp_path)
    for at, subset in first.subsets.items():
        np.testing.assert_array_equal(again.subsets[at], subset)
    scores = again.scores(ProbeFit(1e-5))
    assert set(scores["method"]) == {KEPT, DROPPED}
    assert scores["score"].between(0, 1).all()


def test_other_rounds_are_selected_anew(source, tmp_path):
    """What is stored is of these sizes and of this method."""
    whole = select_in_rounds(source, [20], seeds=1, folder=tmp_path)
    parts = select_in_rounds(source, [10, 10], seeds=1, folder=tmp_path)
    other = select_in_rounds(source, [20], seeds=1, folder=tmp_path, method="k_center")
    subsets = [set(one.subsets[KEPT, 20, 0]) for one in (whole, parts, other)]
    assert subsets[0] != subsets[1]
    assert subsets[0] != subsets[2]
    assert set(whole.subsets[DROPPED, 20, 0]) == subsets[0]  # one round forgets nothing


@pytest.mark.parametrize(
    ("sizes", "match"),
    [([40, 41], r"n must be .*\[1, 80\]"), ([3, 0], "sizes must be"), ([], "n must be")],
)
def test_impossible_rounds_are_refused(source, sizes, match):
    with pytest.raises(ValueError, match=match):
        select_in_rounds(source, sizes, seeds=1)
