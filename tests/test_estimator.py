"""The estimator: scikit-learn's own checks for every method, and what a user counts on."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ParameterGrid
from sklearn.utils.estimator_checks import parametrize_with_checks

from methods import METHODS
from skmm import SELECTORS, SubsetSelector, select

BLIND = [name for name in METHODS if not SELECTORS[name].needs]
"""Methods that need features alone."""

QUICK = {"active_ft": {"steps": 20}}


def estimator_of(method):
    return SubsetSelector(method=method, knobs=QUICK.get(method))


@parametrize_with_checks([estimator_of(method) for method in BLIND])
def test_scikit_learn_checks(estimator, check):
    """All of them, for every method: none is expected to fail."""
    check(estimator)


@pytest.fixture
def X(rng):
    return rng.standard_normal((80, 6)) * np.geomspace(3, 0.1, 6) + 0.5


@pytest.mark.parametrize("method", BLIND)
def test_estimator_chooses_what_select_does(method, X):
    """In the order chosen, with the weights of the method and the certificate."""
    knobs = QUICK.get(method, {})
    chosen = select(X, 12, method=method, rng=4, m=5, **knobs)
    seen = SubsetSelector(12, method=method, m=5, knobs=knobs, random_state=4).fit(X)
    np.testing.assert_array_equal(seen.selected_idx_, chosen.indices)
    np.testing.assert_array_equal(seen.weights_, chosen.weights)
    np.testing.assert_array_equal(np.flatnonzero(seen.support_), np.sort(chosen.indices))
    assert str(seen.selection_.certificate) == str(chosen.certificate)


def test_support_is_a_mask_or_positions(X):
    selector = SubsetSelector(7)
    with pytest.raises(NotFittedError):
        selector.get_support()
    selector.fit(X)
    np.testing.assert_array_equal(selector.get_support(), selector.support_)
    np.testing.assert_array_equal(
        selector.get_support(indices=True), np.sort(selector.selected_idx_)
    )


@pytest.mark.parametrize(("n", "size"), [(0.5, 40), (0.01, 1), (np.float32(0.25), 20), (80, 80)])
def test_budget_is_a_number_or_a_share(n, size, X):
    assert len(SubsetSelector(n).fit(X).selected_idx_) == size


@pytest.mark.parametrize("n", [0, 81, 1.0, 0.0, -0.5, np.nan, "10", None, True])
def test_bad_budget_is_named(n, X):
    with pytest.raises(ValueError, match=r"n must be a .*N=80 samples"):
        SubsetSelector(n).fit(X)


def test_randomness_is_that_of_the_state(X):
    """A seed repeats itself; generators of either kind go on; ``None`` is NumPy's global one."""

    def chosen(state):
        return (
            SubsetSelector(10, method="uniform", random_state=state).fit(X).selected_idx_.tolist()
        )

    assert chosen(3) == chosen(3) != chosen(4)
    for state in (np.random.default_rng(1), np.random.RandomState(1), None):
        assert chosen(state) != chosen(state)
    assert chosen(np.random.RandomState(2)) == chosen(np.random.RandomState(2))


def test_labelled_samples_are_kept(X):
    first = SubsetSelector(10).fit(X)
    second = SubsetSelector(20).fit(X, keep=first.selected_idx_)
    assert not np.isin(second.selected_idx_, first.selected_idx_).any()
    assert second.selection_.certificate.n == 30


def test_labels_are_not_looked_at(X):
    """Whatever is in their place, and of whatever length."""
    expected = SubsetSelector(10).fit(X).selected_idx_
    for y in ([None] * 80, ["?"], object()):
        np.testing.assert_array_equal(SubsetSelector(10).fit(X, y).selected_idx_, expected)


def test_tables_keep_their_names_and_their_index(X):
    columns = [f"f{k}" for k in range(6)]
    expected = SubsetSelector(10).fit(X)
    ids = [f"row {i}" for i in range(80)]
    frame = SubsetSelector(10).fit(pd.DataFrame(X, columns=columns, index=ids))
    table = SubsetSelector(10).fit(pa.table(dict(zip(columns, X.T, strict=True))))
    for seen in (frame, table):
        np.testing.assert_array_equal(seen.selected_idx_, expected.selected_idx_)
        assert seen.feature_names_in_.tolist() == columns
        assert seen.n_features_in_ == 6
    assert frame.selected_ids_.tolist() == [ids[i] for i in expected.selected_idx_]
    np.testing.assert_array_equal(table.selected_ids_, expected.selected_idx_)
    np.testing.assert_array_equal(expected.selected_ids_, expected.selected_idx_)


def test_sparse_rows_are_sketched_as_they_are(X):
    expected = SubsetSelector(10, method="uniform").fit(X).selected_idx_
    for layout in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        seen = SubsetSelector(10, method="uniform").fit(layout(X)).selected_idx_
        np.testing.assert_array_equal(seen, expected)


def test_resampling_returns_what_was_chosen_in_its_type(X):
    frame, y = pd.DataFrame(X, index=range(100, 180)), pd.Series(np.arange(80), name="label")
    rows, labels = SubsetSelector(10).fit_resample(frame, y)
    chosen = SubsetSelector(10).fit(X).selected_idx_
    pd.testing.assert_frame_equal(rows, frame.iloc[chosen])
    pd.testing.assert_series_equal(labels, y.iloc[chosen])


def test_parameters_can_be_searched_over(X):
    """A grid of methods, budgets and knobs is set on clones of one estimator."""
    base = SubsetSelector(random_state=1)
    grid = {"method": ["k_center", "herding"], "n": [5, 0.2], "knobs": [None, {"metric": "raw"}]}
    chosen = {
        tuple(clone(base).set_params(**parameters).fit(X).selected_idx_)
        for parameters in ParameterGrid(grid)
    }
    assert len(chosen) == 8


def test_errors_are_those_of_select(X):
    with pytest.raises(ValueError, match="probabilities must be given"):
        SubsetSelector(5, method="margin").fit(X)
    with pytest.raises(ValueError, match="takes no colour"):
        SubsetSelector(5, knobs={"colour": 3}).fit(X)
