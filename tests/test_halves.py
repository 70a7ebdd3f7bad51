"""Scores on two halves of a test set: those of a probe that is fitted and scored by hand."""

import dataclasses

import numpy as np
import pytest

from skmm_study.pools.compact import CompactPool
from skmm_study.trials.comparisons import Comparison
from skmm_study.trials.fits import ProbeFit
from skmm_study.trials.halves import half_scores
from skmm_study.trials.subsamples import Subsamples
from skmm_study.trials.subsets import WeightedSubset


@pytest.fixture
def data(rng):
    labels, tests = np.arange(60) % 3, np.arange(25) % 3
    centres = 0.4 * rng.standard_normal((3, 4))
    pool, test = (centres[y] + rng.standard_normal((len(y), 4)) for y in (labels, tests))
    return CompactPool("toy", pool, labels, test, tests, ("a", "b", "c"), {})


def test_halves_are_those_of_separate_probes(data, tmp_path):
    """Even rows of the test set, odd rows, and all of them: three pools that share the fit."""
    subsets = {
        ("plain", 12, 0): np.arange(12),
        ("weighted", 12, 1): WeightedSubset(np.arange(9), np.r_[4, np.ones(8)] / 12),
    }
    found = half_scores(data, subsets, penalty=1e-3, folder=tmp_path).set_index("method")
    parts = {"first": slice(0, None, 2), "second": slice(1, None, 2), "score": slice(None)}
    for column, part in parts.items():
        one = dataclasses.replace(data, test=data.test[part], test_labels=data.test_labels[part])
        alone = Comparison(Subsamples(one, 1.0), subsets, None).scores(ProbeFit(1e-3))
        expected = alone.set_index("method")["score"]
        assert found[column].to_dict() == pytest.approx(expected.to_dict())
    assert found["first"].nunique() + found["second"].nunique() > 2
