"""Faces as a regression pool: a split that mixes ages, features that ship, whole tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skmm_study.pools.fidelity import RidgeProbe
from skmm_study.pools.folder import data_folder, shipped_folder
from skmm_study.storage.arrays import ArrayCache
from skmm_study.storage.files import sha256
from skmm_study.vision import faces
from skmm_study.vision.backbones import load_backbone
from skmm_study.vision.faces import load_faces, load_faces_pool, split_rows, write_faces_pool
from skmm_study.vision.features import pooled_features


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise in the layout of UTKFace, in order of age."""
    data, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    images = data / "utkface" / "images"
    images.mkdir(parents=True)
    lines = ["file,age"]
    for row in range(30):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{row:05d}.jpg")
        lines.append(f"{row:05d}.jpg,{100 - 3 * row}")
    (data / "utkface" / "ages.csv").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("mobilenet_v2", weights="random", size=32, rng=0)


@pytest.fixture(scope="module")
def written(data, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return write_faces_pool(
        data,
        out=folder / "small.npz",
        backbone=backbone,
        cache=ArrayCache(folder / "cache"),
        width=12,
        step=0.05,
    )


@pytest.fixture
def copy(data, tmp_path):
    return Path(shutil.copytree(data, tmp_path / "data"))


def test_table_and_images_are_read_in_order(data):
    images = load_faces(data)
    np.testing.assert_array_equal(images.labels, 100 - 3 * np.arange(30))
    assert images.image(7).size == (32, 32)


def test_a_missing_table_is_named(copy):
    (copy / "utkface" / "ages.csv").unlink()
    with pytest.raises(FileNotFoundError, match="SKMM_DATA at the folder that holds utkface/"):
        load_faces(copy)


def test_a_missing_image_is_named(copy):
    (copy / "utkface" / "images" / "00003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images are missing.*00003\.jpg"):
        load_faces(copy)


def test_an_image_without_an_age_is_refused(copy):
    shutil.copy(copy / "utkface/images/00003.jpg", copy / "utkface/images/99999.jpg")
    with pytest.raises(ValueError, match=r"must name every image .* once, got 30 rows"):
        load_faces(copy)


@pytest.mark.parametrize("line", ["00003.jpg,131", "00003.jpg,-1", "00003.jpg,2.5", "00003.jpg"])
def test_an_impossible_age_is_named(copy, line):
    table = copy / "utkface" / "ages.csv"
    rows = table.read_text().splitlines()
    rows[4] = line
    table.write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"row 3 must be a file and an age in 0\.\.130"):
        load_faces(copy)


@pytest.mark.parametrize("N", [5, 30, 23318])
def test_the_split_is_a_fifth_and_a_partition(N):
    pool, test = split_rows(N)
    assert len(test) == round(N / 5)
    np.testing.assert_array_equal(np.sort(np.concatenate([pool, test])), np.arange(N))


def test_the_split_mixes_what_the_table_sorts():
    """Mean row of the test set within four deviations of the middle, and no order left."""
    N = 23318
    pool, test = split_rows(N)
    deviation = N / np.sqrt(12 * len(test))
    assert abs(test.mean() - N / 2) < 4 * deviation
    for rows in (pool, test):  # a correlation of independent rows has deviation 1 / sqrt(len)
        assert abs(np.corrcoef(rows, np.arange(len(rows)))[0, 1]) < 4 / np.sqrt(len(rows))


def test_rows_of_the_pool_are_those_of_its_images(written, data, backbone, tmp_path):
    """Angles between compact rows are those of standardised features, up to what is cut off."""
    pool = load_faces_pool(written)
    with np.load(written) as arrays:
        rows = arrays["pool_rows"]
        np.testing.assert_array_equal(np.sort([*rows, *arrays["test_rows"]]), np.arange(30))
    images = load_faces(data)
    np.testing.assert_array_equal(pool.pool_labels, images.labels[rows])
    features = pooled_features(images, backbone, cache=ArrayCache(tmp_path))[rows].astype(float)
    spread = features.std(0)
    Z = (features - features.mean(0)) / np.where(spread > 0, spread, 1)
    left = np.linalg.svd(Z, full_matrices=False)
    best = (left.U[:, :12] * left.S[:12] ** 2) @ left.U[:, :12].T
    error = np.linalg.norm(pool.pool @ pool.pool.T - best) / np.linalg.norm(best)
    assert error < 0.02  # rounding alone; another order of rows gives more than 1
    assert np.linalg.norm(pool.pool[::-1] @ pool.pool[::-1].T - best) > np.linalg.norm(best) / 2


def test_a_face_is_neither_kept_nor_named(written):
    with np.load(written) as arrays:
        assert set(arrays) == {
            *("pool", "test", "steps", "pool_labels", "test_labels", "class_names"),
            *("pool_rows", "test_rows"),
        }
    assert ".jpg" not in written.with_suffix(".json").read_text()


def test_more_coordinates_than_the_network_has_are_refused(data, backbone, tmp_path):
    with pytest.raises(ValueError, match=r"width must be a whole number in \[1, 1280\]"):
        write_faces_pool(
            data,
            out=tmp_path / "x.npz",
            backbone=backbone,
            cache=ArrayCache(tmp_path),
            width=1281,
        )


def test_the_ridge_probe_finds_a_linear_target():
    """Without noise the error is what the smallest penalty costs; the median ignores the rows."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((400, 5))
    ages = 40 + rows @ np.array([9.0, -4.0, 3.0, 0.0, 1.0])
    scores = RidgeProbe().scores(rows[:300], rows[300:], (ages[:300], ages[300:]))
    assert scores["penalty"] == min(RidgeProbe().penalties)
    assert scores["mean_absolute_error"] < 0.01
    away = np.abs(ages[300:] - np.median(ages[:300])).mean()
    assert scores["mean_absolute_error_of_median"] == pytest.approx(away, abs=1e-4)


def test_the_shipped_pool():
    pool = load_faces_pool()
    path = shipped_folder() / faces.FILE
    assert (len(pool.pool), len(pool.test)) == (18654, 4664)
    assert pool.pool.shape[1] == pool.test.shape[1] == pool.provenance["width"]
    for labels in (pool.pool_labels, pool.test_labels):
        assert labels.min() == 1
        assert 100 < labels.max() <= 116
    assert pool.class_names == ()
    assert pool.title == "UTKFace, mobilenet_v2 features"
    assert pool.provenance["sha256"] == sha256(path)
    assert "non-commercial" in pool.provenance["licence"]
    second = np.square(pool.pool, dtype=np.float64).mean(0)
    assert (np.diff(second) <= 1e-2 * second[:-1]).all()  # principal directions, leading first
    fidelity = pool.provenance["fidelity"]
    exact, kept = fidelity["exact"], fidelity["compact"][-1]
    assert exact["mean_absolute_error"] < 0.8 * exact["mean_absolute_error_of_median"]
    assert kept["mean_absolute_error"] < 1.05 * exact["mean_absolute_error"]
    assert kept["relative_error_gram"] < 0.05
    assert path.stat().st_size < 6e6
    table = (shipped_folder() / "README.md").read_text()
    (line,) = [line for line in table.splitlines() if line.startswith(f"| `{path.name}`")]
    assert "non-commercial" in line


@pytest.mark.skipif(not (data_folder() / "utkface").is_dir(), reason="SKMM_DATA holds no UTKFace")
def test_the_shipped_pool_is_of_these_images():
    """The table's ages, by the rows that the file names, are the labels that ship."""
    pool = load_faces_pool()
    images = load_faces()
    rows = split_rows(len(images))
    np.testing.assert_array_equal(pool.pool_labels, images.labels[rows[0]])
    np.testing.assert_array_equal(pool.test_labels, images.labels[rows[1]])
    assert pool.provenance["images"] == images.content_hash()
