"""Compact features: geometry kept up to the stated rounding, files whole or refused."""

import json
import shutil

import numpy as np
import pytest

from skmm_study.pools.compact import LEVELS, principal_coordinates, quantise
from skmm_study.pools.folder import shipped_folder
from skmm_study.storage.arrays import ArrayCache
from skmm_study.vision.backbones import load_backbone
from skmm_study.vision.compact import FILE, load_cars_features, write_cars_features
from skmm_study.vision.standin import write_standin

SHIPPED = shipped_folder() / FILE


@pytest.fixture(scope="module")
def features():
    """Rows with correlated columns on very different scales, as a network gives."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((12, 12)) * np.geomspace(1, 1e-2, 12)
    rows = np.maximum(rng.standard_normal((300, 12)) @ mix, 0).astype(np.float32)
    return rows[:200], rows[200:]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The whole pipeline on the stand-in, with random weights, into a cache of its own."""
    folder = tmp_path_factory.mktemp("compact")
    write_standin(folder, rng=0, classes=3, train_per_class=8, test_per_class=4, size=32)
    backbone = load_backbone("mobilenet_v2", weights="random", size=32, rng=0)
    cache = ArrayCache(folder / "cache")
    return write_cars_features(
        folder, out=folder / "small.npz", backbone=backbone, cache=cache, step=0.1
    )


@pytest.fixture
def copy(written, tmp_path):
    for suffix in (".npz", ".json"):
        shutil.copy(written.with_suffix(suffix), tmp_path)
    return tmp_path / written.name


def standardised(features):
    pool, test = (rows.astype(np.float64) for rows in features)
    return (pool - pool.mean(0)) / pool.std(0), (test - pool.mean(0)) / pool.std(0)


def test_coordinates_keep_all_inner_products(features):
    """Within and across pool and test: a rotation of the standardised rows."""
    Z, G = np.concatenate(standardised(features)), np.concatenate(principal_coordinates(*features))
    np.testing.assert_allclose(G @ G.T, Z @ Z.T, atol=1e-9 * np.abs(Z @ Z.T).max())


def test_coordinates_are_uncorrelated_and_descend(features):
    pool, _ = principal_coordinates(*features)
    moment = pool.T @ pool / len(pool)
    values = np.diag(moment)
    np.testing.assert_allclose(moment, np.diag(values), atol=1e-9)
    assert (np.diff(values) <= 1e-12).all()
    assert np.isclose(values.sum(), pool.shape[1])  # every standardised column has variance one


def test_the_test_rows_do_not_move_the_pool(features):
    pool, test = features
    np.testing.assert_array_equal(
        principal_coordinates(pool, test)[0], principal_coordinates(pool, 1e3 + test)[0]
    )


def test_a_constant_feature_is_harmless(features):
    constant = [np.hstack([rows, np.full((len(rows), 1), 7.0)]) for rows in features]
    pool, _ = principal_coordinates(*constant)
    assert np.isfinite(pool).all()
    np.testing.assert_allclose(pool[:, -1], 0, atol=1e-9)


@pytest.mark.parametrize("step", [1e-3, 0.1, 0.3, 1.0])
def test_rounding_is_at_most_half_a_step(features, step):
    exact = principal_coordinates(*features)
    arrays = quantise(*exact, step=step)
    steps = arrays["steps"]
    assert (steps >= np.float32(step)).all()
    error = np.abs((arrays["pool"] * steps[:, None]).T - exact[0])
    assert (error <= steps / 2 * (1 + 1e-5)).all()
    inside = np.abs(exact[1]) <= LEVELS * steps
    error = np.abs((arrays["test"] * steps[:, None]).T - exact[1])
    assert (error <= steps / 2 * (1 + 1e-5))[inside].all()


@pytest.mark.parametrize("step", [0, -1.0, np.nan, "wide"])
def test_a_bad_step_is_refused(features, step):
    with pytest.raises(ValueError, match="step must be a finite number above 0"):
        quantise(*features, step=step)


def test_what_is_read_is_what_was_written(written):
    cars = load_cars_features(written)
    assert "stand-in" in cars.title
    assert cars.pool.shape == (24, 1280)
    assert cars.test.shape == (12, 1280)
    assert len(cars.class_names) == 3
    assert sorted(set(cars.pool_labels)) == sorted(set(cars.test_labels)) == [0, 1, 2]
    last = cars.provenance["fidelity"]["compact"][-1]
    assert last["relative_error_pool"] < 0.1


def test_leading_coordinates_are_the_first_columns(written):
    whole, part = load_cars_features(written), load_cars_features(written, r=10)
    np.testing.assert_array_equal(part.pool, whole.pool[:, :10])
    np.testing.assert_array_equal(part.test, whole.test[:, :10])


def test_fidelity_improves_with_the_number_of_coordinates(written):
    entries = load_cars_features(written).provenance["fidelity"]["compact"]
    for measure in ("relative_error_pool", "relative_error_second_moment"):
        errors = [entry[measure] for entry in entries]
        assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("r", [0, 1281, 2.5])
def test_a_bad_width_is_refused(written, r):
    with pytest.raises(ValueError, match=r"r must be a whole number in \[1, 1280\]"):
        load_cars_features(written, r=r)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_missing_file_is_named_with_the_way_out(copy, suffix):
    copy.with_suffix(suffix).unlink()
    with pytest.raises(FileNotFoundError, match=rf"small\{suffix}.*pass its path"):
        load_cars_features(copy)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_file_cut_short_is_refused(copy, suffix, share):
    path = copy.with_suffix(suffix)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size) - 2])
    with pytest.raises(ValueError, match=rf"small\{suffix} (has SHA-256|does not read as JSON)"):
        load_cars_features(copy)


def test_provenance_of_another_file_is_refused(copy):
    path = copy.with_suffix(".json")
    provenance = json.loads(path.read_text())
    path.write_text(json.dumps(provenance | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="damaged or cut short"):
        load_cars_features(copy)


def test_the_shipped_file():
    cars = load_cars_features(r=16)
    assert cars.title == "Stanford Cars, mobilenet_v2 features"
    assert (cars.pool.shape, cars.test.shape) == ((8144, 16), (8041, 16))
    assert len(cars.class_names) == 196
    for labels in (cars.pool_labels, cars.test_labels):
        np.testing.assert_array_equal(np.unique(labels), np.arange(196))
    files = (SHIPPED, SHIPPED.with_suffix(".json"))
    assert sum(path.stat().st_size for path in files) < 10e6
