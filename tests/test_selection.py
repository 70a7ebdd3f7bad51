"""`select`: what it refuses, and whether its certificate tells the truth."""

import dataclasses
import re
import time
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch

from methods import METHODS
from skmm import SELECTORS, SKETCHES, PoolView, Spectrum, certify, select

N, R = 30, 6
FIGURES = ("slack", "variance", "bias_share", "least_bias_share")


@pytest.fixture
def features(rng):
    return rng.standard_normal((N, R)) * np.geomspace(2, 0.2, R) + 0.3


def _spoilt(value):
    features = np.ones((N, R))
    features[12, 4] = value
    return features


BAD_FEATURES = {
    "not a number": (_spoilt(np.nan), "nan at row 12, column 4"),
    "infinite": (_spoilt(-np.inf), "-inf at row 12, column 4"),
    "infinite float16": (_spoilt(np.inf).astype(np.float16), "inf at row 12, column 4"),
    "one axis": (np.ones(N), r"\[30\]"),
    "three axes": (np.ones((N, 2, 3)), r"\[30, 2, 3\]"),
    "a number": (3.0, r"\[\]"),
    "nothing": (None, r"\[\]"),
    "no rows": (np.ones((0, R)), r"\[0, 6\]"),
    "no columns": (np.ones((N, 0)), r"\[30, 0\]"),
    "text": (np.full((N, R), "a"), "dtype <U1"),
    "complex": (np.ones((N, R), complex), "dtype complex128"),
    "objects": (np.ones((N, R), object), r"dtype object; .*\.to_numpy\(dtype=float\)"),
}


@pytest.mark.parametrize("method", ["uniform", "skmm"])
@pytest.mark.parametrize(("features", "seen"), BAD_FEATURES.values(), ids=BAD_FEATURES)
def test_bad_features_are_named(method, features, seen):
    with pytest.raises(ValueError, match=f"features .*got.*{seen}"):
        select(features, 3, method=method, rng=0)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ma.masked_less(np.ones((N, R)), 0), "features must have no mask"),
        ([[1.0, 2.0], [3.0]], "features must have rows of equal length"),
        ([torch.ones(2, requires_grad=True)], "features must have rows of equal length"),
    ],
)
def test_what_is_no_array_of_rows_is_refused(features, message):
    with pytest.raises(ValueError, match=message):
        select(features, 1, rng=0)


def test_a_generator_that_cannot_spawn_is_refused(features):
    legacy = np.random.Generator(np.random.RandomState(0)._bit_generator)
    with pytest.raises(ValueError, match="rng must be able to spawn"):
        select(features, 3, rng=legacy)


BAD_ARGUMENTS = [
    ("n", [0, -1, N + 1, True, 2.0, 2.5, "3", None, np.nan]),
    ("m", [0, -2, R + 1, True, 2.0, "3"]),
    ("rng", [None, -1, 1.5, "seed", True]),
    ("method", ["SKMM", "", None, 0]),
    ("sketch", ["Gaussian", None]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_ARGUMENTS for value in values]
)
def test_bad_arguments_are_named(name, value, features):
    """The message says which argument, and what was seen."""
    arguments = {"n": 5, "method": "uniform", "rng": 0} | {name: value}
    with pytest.raises(ValueError, match=rf"{name} must .*got.*{re.escape(repr(value))}"):
        select(features, **arguments)


@pytest.mark.parametrize("method", SELECTORS)
def test_unknown_knob_is_named_with_the_known_ones(method, features):
    with pytest.raises(ValueError, match=f"method '{method}' takes no colour; it takes ") as caught:
        select(features, 5, method=method, rng=0, colour="red")
    assert all(knob in str(caught.value) for knob in SELECTORS[method].knobs)


def test_unknown_method_is_told_the_known_ones(features):
    with pytest.raises(ValueError, match="method must be one of") as caught:
        select(features, 5, method="magic", rng=0)
    assert all(name in str(caught.value) for name in SELECTORS)


def dense_certificate(rows, indices, k):
    """Slack, variance and bias, from r x r matrices and generalised eigenproblems alone."""
    moment = sum(np.outer(g, g) for g in rows) / len(rows)
    chosen = sum(np.outer(g, g) for g in rows[indices]) / len(indices)
    leading = np.linalg.eigh(moment)[1][:, ::-1][:, :k]
    # c_S is the largest c with c Σ_S - Σ singular on the range of P.
    on_range = leading.T @ moment @ leading, leading.T @ chosen @ leading
    spanned = np.linalg.matrix_rank(on_range[1]) == k
    slack = scipy.linalg.eigvalsh(*on_range)[-1] if spanned else np.inf
    variance = np.trace(np.linalg.solve(*on_range[::-1])) / k if spanned else np.inf
    own = np.linalg.eigh(chosen)[1][:, ::-1][:, : min(k, np.linalg.matrix_rank(chosen))]
    trace = np.trace(moment)
    bias = 1 - np.trace(own.T @ moment @ own) / trace
    return [slack, variance, bias, np.sort(np.linalg.eigvalsh(moment))[::-1][k:].sum() / trace]


@pytest.mark.parametrize("n", [1, 3, 6, 20, N])
@pytest.mark.parametrize("k", [1, 3, None])
@pytest.mark.parametrize("seed", range(3))
def test_certificate_against_dense_matrices(n, k, seed, features):
    """Eigenvalues of squares of condition up to 1e6 keep eight digits."""
    selection = select(features, n, method="uniform", rng=seed)
    certificate = certify(selection.view, selection.indices, k=k)
    assert certificate.dimension == (k or selection.view.spectrum.intrinsic_dimension)
    seen = [getattr(certificate, name) for name in FIGURES]
    expected = dense_certificate(features, selection.indices, certificate.dimension)
    np.testing.assert_allclose(seen, expected, rtol=1e-8, atol=1e-12)


def test_whole_pool_is_a_perfect_match(features):
    """Slack and variance 1, and the bias of the best projector."""
    certificate = select(features, N, method="uniform", rng=0).certificate
    assert certificate.dimension == Spectrum.of(features).intrinsic_dimension
    np.testing.assert_allclose([certificate.slack, certificate.variance], 1.0, rtol=1e-9)
    np.testing.assert_allclose(certificate.bias_share, certificate.least_bias_share, atol=1e-12)


@pytest.mark.parametrize("method", [name for name in METHODS if not SELECTORS[name].needs])
@pytest.mark.parametrize("n", [2, 5, 15])
def test_certificate_obeys_its_bounds(method, n, features):
    """No projector has less bias than the best; the mean price is below the worst."""
    certificate = select(features, n, method=method, rng=0).certificate
    assert certificate.least_bias_share - 1e-12 <= certificate.bias_share <= 1.0
    assert 0 < certificate.variance <= certificate.slack * (1 + 1e-12)
    assert np.isinf(certificate.slack) == (n < certificate.dimension)


def test_certificate_does_not_depend_on_units_or_axes(rng, features):
    """Scaling and rotating the rows changes none of its figures."""
    rotation = np.linalg.qr(rng.standard_normal((R, R)))[0]
    indices = rng.choice(N, 8, replace=False)
    one, two = (
        certify(PoolView.of(rows, rng=0), indices) for rows in (features, 1e3 * features @ rotation)
    )
    for name in FIGURES:
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-8, abs=1e-12)
    bounds = [
        one.risk_bound(noise_variance=1.0, theta_norm=2.0),
        two.risk_bound(noise_variance=1.0, theta_norm=2e-3),
    ]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_taking_samples_away_never_certifies_better(seed):
    """Whatever the pool and whichever samples: neither the bound nor c_S/n can fall."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((90, 8)) * np.exp(rng.standard_normal((90, 1)))
    rows @= rng.standard_normal((8, 8)) if seed % 2 else np.diag(np.geomspace(1, 1e-3, 8))
    view, order = PoolView.of(rows, rng=0), rng.permutation(90)
    fewer = [certify(view, order[:n], k=5) for n in range(60, 2, -3)]
    for noise in (1e-6, 1.0, 1e4):
        bounds = [c.risk_bound(noise_variance=noise, theta_norm=1.0) for c in fewer]
        assert np.all(np.diff(bounds) >= -1e-9 * np.array(bounds[1:]))
    shares = np.array([c.slack / c.n for c in fewer])
    assert np.all(shares[1:] >= shares[:-1] * (1 - 1e-9))


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_subset_that_misses_directions_never_certifies_better(lost, seed):
    """Exact directions: those dropped make slack infinite and all of their energy is bias.

    They used to be judged by the subset's own rank: two of eight dropped read slack 0.94 and the
    bias of the best projector of rank six.
    """
    rng = np.random.default_rng(seed)
    which = np.sort(rng.integers(8, size=400))
    rows = np.eye(8)[which] * rng.uniform(1, 3, 8)[which, None]
    good = select(rows, 40, rng=seed)
    dropped = rng.choice(8, lost, replace=False)
    part = np.flatnonzero(~np.isin(which, dropped))
    bad = certify(good.view, part[select(rows[part], 40, rng=seed).indices])
    assert good.certificate.slack < 2
    assert (bad.slack, bad.variance) == (np.inf, np.inf)
    energies = np.sum(rows**2, axis=1)
    missing = energies[np.isin(which, dropped)].sum() / energies.sum()
    assert bad.bias_share == pytest.approx(missing, rel=1e-9)
    assert good.certificate.bias_share == pytest.approx(
        good.certificate.least_bias_share, abs=1e-12
    )
    assert "does not span all k = 8 directions" in str(bad)
    # All that the dropped directions carry is in the bound, where noise does not cover it.
    for noise in (1e-4, 1e-2):
        told = [c.risk_bound(noise_variance=noise, theta_norm=1.0) for c in (bad, good.certificate)]
        assert told[0] > told[1]
        assert told[0] >= missing * energies.mean()


@pytest.mark.parametrize("sketch", SKETCHES)
@pytest.mark.parametrize("m", [4, None])
def test_a_subset_of_ones_own_gets_the_certificate_of_a_selection(sketch, m, features):
    chosen = select(features, 12, rng=3, m=m, sketch=sketch)
    again = certify(PoolView.of(features, m=m, rng=3, sketch=sketch), chosen.indices)
    for name, value in vars(chosen.certificate).items():
        np.testing.assert_array_equal(vars(again)[name], value)


def test_a_generator_s_view_belongs_to_the_selection(rng):
    """A later certificate is of the same sketch, though the generator has moved on."""
    features = rng.standard_normal((80, 40))
    generator = np.random.default_rng(5)
    one, two = (select(features, 12, rng=generator, m=10) for _ in range(2))
    assert not np.allclose(one.view.rows, two.view.rows)
    again = certify(one.view, one.indices)
    assert again.slack == one.certificate.slack != certify(two.view, one.indices).slack


@pytest.mark.parametrize("sketch", SKETCHES)
def test_methods_are_certified_in_the_same_sketch(sketch, rng):
    """Same seed, same sketch: two methods that take the same subset get the same certificate."""
    features = rng.standard_normal((20, 16))
    one, two = (
        select(features, 20, method=method, rng=4, m=8, sketch=sketch)
        for method in ("uniform", "herding")
    )
    assert one.m == two.m == 8
    assert one.certificate.dimension <= 8
    for name in FIGURES:
        figures = [getattr(chosen.certificate, name) for chosen in (one, two)]
        assert figures[0] == pytest.approx(figures[1], rel=1e-8)


def test_pool_of_zeros_has_nothing_to_miss():
    selection = select(np.zeros((9, 4)), 3, method="uniform", rng=0)
    certificate = selection.certificate
    assert (certificate.slack, certificate.bias_share) == (1.0, 0.0)
    assert certificate.risk_bound(noise_variance=1.0, theta_norm=1.0) == 0.0


def test_subset_of_zeros_misses_everything():
    features = np.zeros((9, 4))
    features[0] = 1.0
    certificate = certify(PoolView.of(features, rng=0), np.array([3, 5]))
    assert (certificate.slack, certificate.bias_share) == (np.inf, 1.0)


@pytest.mark.parametrize("method", ["skmm", "uniform"])
def test_selection_reads_as_a_certificate(method, features):
    """Its text holds the method, the sizes, the slack and the bias share."""
    selection = select(features, 5, method=method, rng=0, m=4)
    text = str(selection)
    assert text.startswith(f"{method}: 5 of {N} samples")
    slack, bias = selection.certificate.slack, selection.certificate.bias_share
    for fact in (f"in {selection.m} dim", f"{slack:.3g}", f"{bias:.2e}"):
        assert fact in text
    assert ("objective" in text) == np.isfinite(selection.objective)


def test_selection_says_what_it_chose_by_itself(rng):
    """The criterion, which follows the pool's dimension, the metric that follows it, the weight."""
    flat = rng.standard_normal((60, 12))
    low = flat[:, :3] @ rng.standard_normal((3, 12))
    weight = f"weight of the fourth moment {10 * 20 / 60:.3g}"
    chosen = {f"balanced, metric row, {weight}": flat, "v-optimal, metric raw": low}
    for words, features in chosen.items():
        selection = select(features, 20, rng=0)
        assert selection.settings == f"criterion {words}"
        assert selection.settings in str(selection)
    assert select(flat, 20, rng=0, method="uniform").settings == ""


def test_slack_below_one_reads_as_longer_rows(rng):
    features = rng.standard_normal((60, 3)) * np.geomspace(0.1, 10, 60)[:, None]
    selection = select(features, 9, rng=0, criterion="v-optimal")
    assert selection.certificate.slack < 1
    assert "below 1: more than the pool's in every direction" in str(selection)


@pytest.mark.parametrize("indices", [[], [0, 0], [0, N], [-1], [0.5], [[0, 1]]])
def test_bad_subsets_are_named(indices, features):
    with pytest.raises(ValueError, match="indices must "):
        certify(PoolView.of(features, rng=0), indices)


@pytest.mark.parametrize("k", [0, R + 1, 2.5])
def test_bad_dimensions_are_named(k, features):
    with pytest.raises(ValueError, match=f"k must .*got k={k}"):
        certify(PoolView.of(features, rng=0), [1, 2], k=k)


def test_selection_is_frozen_and_complete(features):
    selection = select(features, 5, rng=0)
    assert selection.method == "skmm"
    assert (selection.N, selection.m) == (N, R)
    assert selection.seconds > 0
    np.testing.assert_allclose(selection.weights, 1 / 5)
    for field in ("indices", "method", "certificate"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(selection, field, None)


@pytest.mark.parametrize("m", [20, 8])
def test_one_row_that_outweighs_all_others_is_named(m):
    """A corrupt row is no error, the subset is feasible, but it must not pass unseen."""
    rows = np.random.default_rng(0).standard_normal((60, 20))
    rows[17] *= 1e4
    with pytest.warns(UserWarning, match=r"^row 17 alone holds 1 of the pool's second moment"):
        selection = select(rows, 10, rng=0, m=m)
    assert len(set(selection.indices)) == 10


def test_rows_of_one_scale_raise_no_warning():
    """Nor do one row of two that holds nearly all, one of seven that holds half, rows of zeros."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        select(rng.standard_normal((60, 20)), 10, rng=0)
        select(np.diag([1.0, 9.0]), 1, rng=0)
        select(np.zeros((5, 3)), 2, rng=0)
        select(np.array([[3.0], [1.0], [1.0], [1.0], [1.0], [1.0], [2.0]]), 3, rng=0)


def test_seconds_include_the_sketch(monkeypatch, features):
    """Whichever part of `select` asks for the sketch first."""
    draw = SKETCHES["gaussian"].draw

    def slow(*args, **kwargs):
        time.sleep(0.2)
        return draw(*args, **kwargs)

    monkeypatch.setattr(SKETCHES["gaussian"], "draw", slow)
    assert select(features, 5, rng=0, m=3).seconds >= 0.2
