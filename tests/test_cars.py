"""Image folders: what is read is what torchvision reads, and damage is named, never used."""

import json
import os
import shutil

import numpy as np
import pytest
from numpy.lib.recfunctions import repack_fields
from torchvision.datasets import StanfordCars

from skmm_study.pools.folder import data_folder
from skmm_study.storage import code
from skmm_study.vision import standin
from skmm_study.vision.cars import ANNOTATIONS, CLASS_NAMES, load_cars
from skmm_study.vision.images import duplicate_groups
from skmm_study.vision.matlab import read_mat, write_mat
from skmm_study.vision.standin import standin_folder, write_standin

SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    write_standin(data, rng=0, classes=3, train_per_class=4, test_per_class=2, size=48)
    return data


@pytest.fixture
def data(written, tmp_path):
    """A copy of the stand-in that a test may damage."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def rewrite(path, change, variable="annotations"):
    write_mat(path, **{variable: change(read_mat(path, variable))})


@pytest.mark.parametrize("split", SPLITS)
def test_reads_what_torchvision_reads(written, split):
    ours, theirs = load_cars(written, split=split), StanfordCars(written, split=split)
    assert len(ours) == len(theirs)
    assert list(ours.class_names) == theirs.classes
    for row, (image, label) in enumerate(theirs):
        assert ours.labels[row] == label
        np.testing.assert_array_equal(np.asarray(ours.image(row)), np.asarray(image))


@pytest.mark.parametrize("split", SPLITS)
def test_the_standin_says_what_it_is(written, split):
    assert "stand-in" in load_cars(written, split=split).title


def test_the_standin_follows_its_rng(tmp_path):
    recipe = {"classes": 2, "train_per_class": 2, "test_per_class": 1, "size": 32}
    hashes = []
    for name, rng in (("a", 1), ("b", 1), ("c", 2)):
        base = write_standin(tmp_path / name, rng=rng, **recipe)
        files = sorted(path for path in base.rglob("*") if path.is_file())
        hashes.append([path.read_bytes() for path in files])
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


@pytest.mark.parametrize("changed", ["rng", "size", "code"])
def test_a_kept_standin_is_what_would_be_drawn(tmp_path, monkeypatch, changed):
    """Drawn once for the same arguments and code, and again for others."""

    def images(folder):
        paths = sorted(folder.rglob("*.jpg"))
        return {path.name: path.read_bytes() for path in paths if "train" in str(path)}

    recipe = {"rng": 0, "classes": 2, "train_per_class": 2, "test_per_class": 1, "size": 48}
    first = standin_folder(tmp_path, **recipe)
    inode = (first / "stanford_cars").stat().st_ino
    assert (standin_folder(tmp_path, **recipe) / "stanford_cars").stat().st_ino == inode
    if changed == "code":
        monkeypatch.setitem(standin.COLOURS, "red", (0, 255, 0))
        read = code._source
        monkeypatch.setattr(code, "_source", lambda name: (read(name)[0] + "\nnew = 1", ""))
    else:
        recipe[changed] += 16
    found = images(standin_folder(tmp_path, **recipe))
    assert found == images(write_standin(tmp_path / "alone", **recipe))
    assert found != images(first)


def test_a_kept_standin_needs_a_seed(tmp_path):
    with pytest.raises(ValueError, match="rng must be a whole number"):
        standin_folder(tmp_path, rng=np.random.default_rng(0))


def test_the_standin_never_replaces_a_real_folder(data):
    (data / "stanford_cars/standin.json").unlink()
    with pytest.raises(ValueError, match="is no stand-in"):
        write_standin(data, rng=0)


def test_standin_classes_can_be_learnt(tmp_path):
    """A nearest class mean on cropped 8x8 thumbnails beats chance by far more than its noise."""
    write_standin(tmp_path, rng=0, classes=8, train_per_class=10, test_per_class=10, size=48)
    pool, test = (load_cars(tmp_path, split=split) for split in SPLITS)

    def thumbnails(images):
        return np.stack(
            [
                np.asarray(images.image(row, crop=True).resize((8, 8)), float).ravel()
                for row in range(len(images))
            ]
        )

    pool_rows = thumbnails(pool)
    means = np.stack([pool_rows[pool.labels == label].mean(0) for label in range(8)])
    distance = ((thumbnails(test)[:, None] - means) ** 2).sum(-1)
    accuracy = np.mean(distance.argmin(1) == test.labels)
    assert accuracy > 1 / 8 + 5 * np.sqrt(1 / 8 * 7 / 8 / len(test))


def test_a_crop_has_the_size_of_its_box(written):
    images = load_cars(written, split="train")
    for row, (left, top, right, bottom) in enumerate(images.boxes):
        crop = images.image(row, crop=True)
        assert crop.size == (right - left + 1, bottom - top + 1)
        whole = np.asarray(images.image(row))
        np.testing.assert_array_equal(np.asarray(crop), whole[top - 1 : bottom, left - 1 : right])


def test_a_cropped_copy_is_not_cropped_again(data):
    def far(records):
        records["bbox_x2"][0] = 500
        return records

    rewrite(data / "stanford_cars" / ANNOTATIONS["train"], far)
    images = load_cars(data, split="train")
    with pytest.raises(ValueError, match=r"00001\.jpg lies outside the image.*crop=False"):
        images.image(0, crop=True)


def test_annotations_without_boxes_serve_without_crop(data):
    path = data / "stanford_cars" / ANNOTATIONS["train"]
    rewrite(path, lambda records: repack_fields(records[["class", "fname"]]))
    images = load_cars(data, split="train")
    images.image(0)
    with pytest.raises(ValueError, match="crop needs the annotated boxes"):
        images.image(0, crop=True)


def test_duplicates_are_found_within_and_across_splits(data):
    base = data / "stanford_cars"
    shutil.copy(base / "cars_train/00001.jpg", base / "cars_train/00003.jpg")
    shutil.copy(base / "cars_train/00001.jpg", base / "cars_test/00002.jpg")
    sets = [load_cars(data, split=split) for split in SPLITS]
    assert duplicate_groups(*sets) == [[(0, 0), (0, 2), (1, 1)]]


def test_content_hash_depends_on_images_order_and_boxes(written):
    images = load_cars(written, split="train")
    other = load_cars(written, split="test")
    hashes = {images.content_hash(), images.content_hash(crop=True), other.content_hash()}
    assert len(hashes) == 3
    assert load_cars(written, split="train").content_hash() == images.content_hash()


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def drop_last(records):
    return records[:-1]


def repeat_first(records):
    records["fname"][1] = records["fname"][0]
    return records


def raise_class(records):
    records["class"][0] = 99
    return records


def without_labels(records):
    return repack_fields(records[["fname"]])


ANNOS = ANNOTATIONS["train"]
DAMAGE = {
    "no folder": (shutil.rmtree, "", FileNotFoundError, "there is no folder"),
    "no annotations": (os.remove, ANNOS, FileNotFoundError, "cars_train_annos.mat: missing"),
    "no class names": (os.remove, CLASS_NAMES, FileNotFoundError, "cars_meta.mat: missing"),
    "no image": (os.remove, "cars_train/00002.jpg", FileNotFoundError, "00002.jpg: missing"),
    "no images at all": (shutil.rmtree, "cars_train", FileNotFoundError, "12 problems"),
    "cut image": (lambda p: cut(p, 0.6), "cars_train/00002.jpg", ValueError, "00002.jpg: .*trunc"),
    "empty image": (lambda p: cut(p, 0), "cars_train/00002.jpg", ValueError, "is no JPEG"),
    "cut annotations": (lambda p: cut(p, 0.5), ANNOS, ValueError, "annos.mat does not read"),
    "empty annotations": (lambda p: cut(p, 0), ANNOS, ValueError, "annos.mat does not read"),
    "missing entry": (lambda p: rewrite(p, drop_last), ANNOS, ValueError, "00012.jpg: no annot"),
    "entry twice": (lambda p: rewrite(p, repeat_first), ANNOS, ValueError, "annotated twice"),
    "unknown class": (lambda p: rewrite(p, raise_class), ANNOS, ValueError, "class 99, outside"),
    "no labels": (lambda p: rewrite(p, without_labels), ANNOS, ValueError, "WITH labels"),
    "class count": (
        lambda p: rewrite(p, drop_last, "class_names"),
        CLASS_NAMES,
        ValueError,
        "2 class names, expected 3",
    ),
    "cut mark": (lambda p: cut(p, 0.5), "standin.json", ValueError, "mark of a stand-in"),
    "no mark": (os.remove, "standin.json", ValueError, "3 class names, expected 196"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_before_anything_is_used(data, case):
    harm, where, error, message = DAMAGE[case]
    harm(data / "stanford_cars" / where)
    with pytest.raises(error, match=message):
        load_cars(data, split="train")


def test_a_cut_image_is_named_when_it_was_damaged_after_the_check(data):
    images = load_cars(data, split="train")
    cut(images.folder / images.names[3], 0.5)
    with pytest.raises(ValueError, match=r"00004\.jpg does not decode"):
        images.image(3)
    (images.folder / images.names[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"00004\.jpg is missing"):
        images.image(3)


def test_an_unknown_split_is_refused(written):
    with pytest.raises(ValueError, match="split must be one of test, train, got 'val'"):
        load_cars(written, split="val")


def test_the_setting_names_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SKMM_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("SKMM_DATA")
    assert data_folder().name == "data"


def test_the_mark_holds_the_counts(written):
    recipe = json.loads((written / "stanford_cars/standin.json").read_text())
    assert {split: recipe[split] for split in SPLITS} == {"train": 12, "test": 6}


@pytest.mark.skipif(
    not (data_folder() / "stanford_cars").is_dir(), reason="SKMM_DATA holds no Stanford Cars"
)
def test_the_real_folder():
    pool, test = (load_cars(split=split) for split in SPLITS)
    if "stand-in" in pool.title:
        pytest.skip("SKMM_DATA holds a stand-in")
    groups = duplicate_groups(pool, test)
    assert len(groups) == 38
    assert sum(len({position for position, _ in group}) == 2 for group in groups) == 19
