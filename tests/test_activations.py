"""Activations that ship: classes by a rule, rounding as stated, the real layer on top."""

import numpy as np
import pytest
import torch

from skmm_study.pools.folder import shipped_folder
from skmm_study.storage.arrays import ArrayCache
from skmm_study.training.activations import (
    FILE,
    averaged_positions,
    folded_weights,
    load_cars_activations,
    spread_classes,
    write_cars_activations,
)
from skmm_study.training.finetuning import Recipe, pooled_inputs
from skmm_study.training.tails import TRUNKS, pointwise_tail, tail_of
from skmm_study.vision.backbones import load_backbone
from skmm_study.vision.cars import load_cars
from skmm_study.vision.features import trunk_activations
from skmm_study.vision.standin import write_standin


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("mobilenet_v2", weights="random", size=64, rng=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("activations")
    write_standin(folder, rng=0, classes=5, train_per_class=8, test_per_class=4, size=64)
    return folder


@pytest.fixture(scope="module")
def written(folder, backbone):
    """The whole pipeline on the stand-in, with random weights."""
    return write_cars_activations(
        folder,
        out=folder / "small.npz",
        backbone=backbone,
        cache=ArrayCache(folder / "cache"),
        classes=3,
        step=0.1,  # reaches 12.7, beyond which values would be clipped
        recipe=Recipe(epochs=1),
    )


def test_classes_are_spread_over_the_official_order(folder):
    images = load_cars(folder, split="train")
    kept = spread_classes(images, 3)
    assert kept.class_names == tuple(images.class_names[c] for c in (0, 1, 3))
    whole = dict(zip(images.names, images.labels, strict=True))
    for name, label in zip(kept.names, kept.labels, strict=True):
        assert images.class_names[whole[name]] == kept.class_names[label]
    assert len(kept) == sum(label in (0, 1, 3) for label in images.labels)


@pytest.mark.parametrize("count", [1, 6, 2.5])
def test_a_bad_number_of_classes_is_refused(folder, count):
    with pytest.raises(ValueError, match="count must be"):
        spread_classes(load_cars(folder, split="train"), count)


def test_what_is_read_is_what_the_trunk_gave(folder, written, backbone):
    """Rounded to half a step, and to half precision on the way out."""
    cars = load_cars_activations(written)
    assert "stand-in" in cars.title
    for part, split in ((cars.pool, "train"), (cars.test, "test")):
        images = spread_classes(load_cars(folder, split=split), 3)
        knobs = {"layer": TRUNKS["mobilenet_v2"], "cache": ArrayCache(folder / "cache")}
        exact = averaged_positions(trunk_activations(images, backbone, **knobs))
        assert part.shape == (len(images), 320, 2, 2)
        assert np.abs(part - exact).max() <= 0.05 * (1 + 1e-3) + np.abs(exact).max() * 2.0**-11


def test_average_over_quarters_keeps_what_is_constant():
    rows = np.broadcast_to(np.arange(6.0, dtype=np.float16)[:, None, None], (2, 6, 7, 7))
    np.testing.assert_array_equal(averaged_positions(rows.copy()), rows[:, :, :2, :2])


def test_folded_layer_is_the_layer_of_the_network(backbone):
    """Built from two arrays alone, it gives what enters the network's classifier."""
    whole = tail_of(backbone, 4)
    rows = np.random.default_rng(0).standard_normal((5, 320, 2, 2)).astype(np.float32)
    alone = pointwise_tail(*folded_weights(whole), 4)
    inputs = (pooled_inputs(tail, rows) for tail in (alone, whole))
    np.testing.assert_allclose(*inputs, rtol=1e-4, atol=1e-5)


def test_tail_starts_at_zero_or_drawn(written):
    cars, before = load_cars_activations(written), torch.get_rng_state()
    assert not cars.tail().fc.weight.any()
    assert torch.equal(cars.tail(rng=1).fc.weight, cars.tail(rng=1).fc.weight)
    assert torch.equal(before, torch.get_rng_state())
    half = np.abs(cars.weight).max() * 2.0**-11
    np.testing.assert_allclose(cars.tail().layer[0].weight.flatten(1), cars.weight, atol=half)


def test_weights_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"got shapes \[12, 6\] and \[6\]"):
        pointwise_tail(np.zeros((12, 6), np.float32), np.zeros(6, np.float32), 3)


def test_a_missing_file_is_named_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.activations"):
        load_cars_activations(tmp_path / "none.npz")


def test_the_shipped_file():
    """As small as promised, and its loss is stated."""
    cars = load_cars_activations()
    assert cars.title == "Stanford Cars, 30 of 196 classes"
    assert (cars.pool.shape, cars.test.shape) == ((1275, 320, 2, 2), (1256, 320, 2, 2))
    assert len(set(cars.class_names)) == 30
    for labels in (cars.pool_labels, cars.test_labels):
        np.testing.assert_array_equal(np.unique(labels), np.arange(30))
    files = [(shipped_folder() / FILE).with_suffix(suffix) for suffix in (".npz", ".json")]
    assert sum(path.stat().st_size for path in files) < 8e6
    fidelity = cars.provenance["fidelity"]
    assert {"probe", "finetuned"} <= fidelity["exact"].keys() & fidelity["compact"].keys()
