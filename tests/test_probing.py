"""The probe: scikit-learn's optimum, invariances, penalties chosen without the test rows."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from skmm.numerics.streams import as_generator
from skmm.training.probing import LinearProbe, probe_scores
from skmm_study.pools.synthetic import load_digits_pool


def blobs(n, d, C, seed=0, scale=1.5):
    """Overlapping classes of unequal size with features of unequal scale."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(C), rng.integers(0, C, n - C)])
    rows = rng.standard_normal((C, d))[labels] + scale * rng.standard_normal((n, d))
    return rows * np.geomspace(1, 0.1, d) + 2, labels


def energy(rows):
    return np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))


SHAPES = [(40, 12, 3), (30, 80, 4), (60, 20, 2), (90, 10, 12)]


@pytest.mark.parametrize("alpha", [1e-1, 1e-3])
@pytest.mark.parametrize(("n", "d", "C"), SHAPES)
def test_reaches_the_optimum_of_scikit_learn(n, d, C, alpha):
    """At a tight tolerance logits agree to 1e-4 with scikit-learn on the unrotated features.

    The relation of the penalties is C = 1 / (n α ē). Two classes are two columns here and their
    difference there; splitting a vector in two halves its squared norm, so C doubles.
    """
    X, y = blobs(n, d, C)
    probe = LinearProbe.fit(X, y, rng=0, alphas=alpha, tolerance=1e-14)
    strength = 1 / (n * alpha * energy(X)) * (2 if C == 2 else 1)
    other = LogisticRegression(C=strength, tol=1e-9, max_iter=20000).fit(X, y)
    ours = X @ probe.weights + probe.intercept
    ours = ours[:, 1] - ours[:, 0] if C == 2 else ours - ours.mean(axis=1, keepdims=True)
    theirs = other.decision_function(X)
    theirs = theirs if C == 2 else theirs - theirs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(("n", "d", "C"), SHAPES)
def test_weights_are_those_of_scikit_learn(n, d, C):
    """Weighted losses have scikit-learn's optimum, with the energy of the weighted rows."""
    X, y = blobs(n, d, C)
    w = np.random.default_rng(3).exponential(size=n) + 0.05
    w /= w.sum()
    probe = LinearProbe.fit(X, y, rng=0, alphas=1e-3, tolerance=1e-14, weights=7 * w)
    spread = w @ np.sum((X - w @ X) ** 2, axis=1)
    strength = 1 / (n * 1e-3 * spread) * (2 if C == 2 else 1)
    other = LogisticRegression(C=strength, tol=1e-9, max_iter=20000)
    theirs = other.fit(X, y, sample_weight=n * w).decision_function(X)
    ours = X @ probe.weights + probe.intercept
    ours = ours[:, 1] - ours[:, 0] if C == 2 else ours - ours.mean(axis=1, keepdims=True)
    theirs = theirs if C == 2 else theirs - theirs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(("n", "d"), [(40, 12), (30, 80)])
def test_a_whole_weight_is_as_many_rows(n, d):
    """A row of weight three is three rows of weight one; equal weights are none."""
    X, y = blobs(n, d, 3)
    times = np.random.default_rng(4).integers(1, 4, n)
    options = {"rng": 0, "alphas": 1e-3, "tolerance": 1e-14}
    weighted = LinearProbe.fit(X, y, weights=times, **options)
    repeated = LinearProbe.fit(np.repeat(X, times, axis=0), np.repeat(y, times), **options)
    for ours, theirs in zip(*[(X @ p.weights + p.intercept,) for p in (weighted, repeated)],
                            strict=True):  # fmt: skip
        np.testing.assert_allclose(
            ours - ours.mean(axis=1, keepdims=True),
            theirs - theirs.mean(axis=1, keepdims=True),
            atol=1e-4 * np.abs(theirs).max(),
        )
    equal = LinearProbe.fit(X, y, rng=0, weights=np.full(n, 0.25))
    np.testing.assert_array_equal(equal.weights, LinearProbe.fit(X, y, rng=0).weights)


def test_held_out_accuracy_is_weighted():
    """A row that is missed counts by its weight: nearly all, or next to nothing."""
    X, y = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2], [0.15]]), [0, 0, 0, 1, 1, 1, 1]
    for weight, accuracy in ((1e-6, 1.0), (1e6, 0.0)):
        probe = LinearProbe.fit(
            X, y, rng=0, alphas=[1e-2, 1e-3], folds=7, weights=[1] * 6 + [weight]
        )
        assert abs(probe.accuracies[-1] - accuracy) < 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_default_tolerance_is_enough(dtype):
    """The default stops where accuracy on new rows is within two standard errors of the optimum."""
    X, y = blobs(900, 40, 8, scale=1.0)
    train, test = slice(0, 300), slice(300, None)
    quick = LinearProbe.fit(X[train].astype(dtype), y[train], rng=0, alphas=[1e-2, 1e-4])
    slow = LinearProbe.fit(X[train], y[train], rng=0, alphas=quick.alpha, tolerance=1e-12)
    scores = [probe_scores(p, X[test], y[test]).accuracy for p in (quick, slow)]
    assert abs(scores[0] - scores[1]) < 2 * np.sqrt(0.25 / 600)
    assert quick.weights.dtype == dtype


@pytest.mark.parametrize(("n", "d"), [(40, 12), (30, 80)])
def test_scale_shift_and_rotation_do_not_matter(n, d):
    """Predictions and the chosen penalty do not change with the features' units or basis."""
    X, y = blobs(n, d, 3)
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))[0]
    new = np.random.default_rng(2).standard_normal((200, d))
    one = LinearProbe.fit(X, y, rng=0, tolerance=1e-9)
    two = LinearProbe.fit(50 * X @ Q - 7, y, rng=0, tolerance=1e-9)
    assert one.alpha == two.alpha
    assert np.mean(one.predict(new) == two.predict(50 * new @ Q - 7)) > 0.99


def test_names_of_classes_do_not_matter():
    """Labels are names: gaps and negative numbers give the same predictions under those names."""
    X, y = blobs(60, 8, 3)
    names = np.array([-4, 17, 900])
    one, two = (LinearProbe.fit(X, labels, rng=0) for labels in (y, names[y]))
    np.testing.assert_array_equal(names[one.predict(X)], two.predict(X))


def test_held_out_accuracy_is_honest():
    """Random labels are guessed at chance (five standard errors), separated classes always."""
    X, y = blobs(400, 30, 2, scale=0.1)
    coins = np.random.default_rng(1).integers(0, 2, 400)
    chance = LinearProbe.fit(np.random.default_rng(2).standard_normal((400, 500)), coins, rng=0)
    assert (np.abs(chance.accuracies - 0.5) < 5 * np.sqrt(0.25 / 400)).all()
    assert LinearProbe.fit(X, y, rng=0, alphas=[1e-2, 1e-4]).accuracies.tolist() == [1, 1]


def test_the_most_accurate_penalty_wins_and_the_largest_of_equals():
    X, y = blobs(120, 10, 4)
    probe = LinearProbe.fit(X, y, rng=0, alphas=[1e-4, 1e3, 1e-2])
    np.testing.assert_array_equal(probe.alphas, [1e3, 1e-2, 1e-4])
    assert probe.alpha == probe.alphas[np.argmax(probe.accuracies)] < 1e3
    assert LinearProbe.fit(*blobs(60, 10, 2, scale=0.1), rng=0, alphas=[1e-3, 1e-2]).alpha == 1e-2


@pytest.mark.parametrize("labels", [[5], [5, 5, 5], [1, 2], [1, 2, 3, 4], [1, 1, 1, 2]])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_tiny_selections(labels, spread):
    """One row, one class, singletons and identical rows all give a probe that predicts a class."""
    rows = 1 + spread * np.random.default_rng(0).standard_normal((len(labels), 6))
    probe = LinearProbe.fit(rows, labels, rng=0)
    assert set(probe.predict(np.random.default_rng(1).standard_normal((9, 6)))) <= set(labels)
    if len(set(labels)) == 1:
        assert set(probe.predict(rows)) == set(labels)


def test_scores_are_those_of_scikit_learn():
    """Accuracy and macro-F1 over the classes of the test set, one class of which was never seen."""
    X, y = blobs(200, 8, 5)
    probe = LinearProbe.fit(X[:60][y[:60] != 2], y[:60][y[:60] != 2], rng=0)
    scores = probe_scores(probe, X[60:], y[60:])
    guesses = probe.predict(X[60:])
    assert scores.accuracy == accuracy_score(y[60:], guesses)
    assert scores.macro_f1 == f1_score(y[60:], guesses, average="macro", zero_division=0)
    assert 2 not in guesses


def test_f1_averages_over_the_classes_of_the_test_set_alone():
    """A class that is guessed but not among the labels costs those it takes from, and no more."""
    X, y = blobs(200, 8, 5)
    probe = LinearProbe.fit(X[:60], y[:60], rng=0)
    asked = y[60:] != 2
    X[60:] += 1.0  # so that some are taken for the class that is not there
    guesses = probe.predict(X[60:][asked])
    assert 2 in guesses
    expected = f1_score(y[60:][asked], guesses, labels=[0, 1, 3, 4], average="macro")
    assert probe_scores(probe, X[60:][asked], y[60:][asked]).macro_f1 == expected


def test_learns_the_digits():
    """A linear probe on 400 digit images is right on more than nine tenths of the others."""
    digits = load_digits_pool(rng=0)
    probe = LinearProbe.fit(digits.features[:400], digits.labels[:400], rng=0)
    assert probe_scores(probe, digits.test_features, digits.test_labels).accuracy > 0.9


def test_same_seed_same_probe():
    X, y = blobs(60, 8, 3)
    one, two = (LinearProbe.fit(X, y, rng=s) for s in (3, as_generator(3, "probe")))
    np.testing.assert_array_equal(one.weights, two.weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": [0.0]}, "alphas must be"),
        ({"alphas": []}, "alphas must be"),
        ({"folds": 1}, "folds must be"),
        ({"tolerance": 0}, "tolerance must be"),
        ({"labels": [0, 1]}, "labels must be"),
        ({"labels": [0.5] * 6}, "labels must be"),
        ({"features": np.full((6, 2), np.nan)}, "features must be finite"),
        ({"rng": None}, "rng must be"),
        ({"weights": [1.0] * 5}, r"weights must be n=6 .* got shape \[5\]"),
        ({"weights": [1.0] * 5 + [0.0]}, "weights must be finite and positive, got 0.0"),
        ({"weights": ["a"] * 6}, "weights must be n=6"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"features": np.eye(6, 2), "labels": [0, 0, 0, 1, 1, 1], "rng": 0} | change
    with pytest.raises(ValueError, match=message):
        LinearProbe.fit(**arguments)


def test_prediction_needs_the_fitted_columns():
    with pytest.raises(ValueError, match="d=2 columns"):
        LinearProbe.fit(np.eye(3, 2), [0, 1, 1], rng=0).predict(np.eye(3))
