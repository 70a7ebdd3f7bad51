"""Scores on two halves of a test set: those of a probe that is fitted and scored by hand."""

import dataclasses

import numpy as np
import pytest

from skmm.training.probing import LinearProbe
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


def test_what_rows_have_in_common_is_fitted_once(data, monkeypatch):
    """Two rows with one subset, in another order, and one of another seed: two fits, three rows."""
    fits = []
    fit = LinearProbe.fit
    monkeypatch.setattr(LinearProbe, "fit", lambda *a, **k: fits.append(1) or fit(*a, **k))
    S = np.arange(12)
    found = half_scores(
        data, {("a", 12, 0): S, ("b", 12, 0): S[::-1], ("a", 12, 1): S}, penalty=0.1
    )
    assert len(fits) == 2
    assert found["method"].tolist() == ["a", "b", "a"]
    assert found["score"].nunique() == 1
