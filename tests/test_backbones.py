"""Backbones: weights that are what they claim, features that are the network's own, no pickles."""

import hashlib
import sys
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from skmm_study.pools.folder import data_folder
from skmm_study.storage import code, keys
from skmm_study.storage.arrays import ArrayCache
from skmm_study.storage.files import sha256
from skmm_study.vision.backbones import HEADS, load_backbone
from skmm_study.vision.cars import load_cars
from skmm_study.vision.features import pooled_features, trunk_activations
from skmm_study.vision.standin import write_standin

WEIGHTS = data_folder() / "weights" / "mobilenet_v2_imagenet.safetensors"


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    write_standin(data, rng=0, classes=2, train_per_class=5, test_per_class=1, size=48)
    return load_cars(data, split="train")


@pytest.fixture(scope="module")
def mobilenet():
    return load_backbone("mobilenet_v2", weights="random", size=48, rng=0)


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(models.resnet18(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize("name", HEADS)
def test_pooled_features_feed_the_head_of_the_whole_network(name):
    """Head(features) are the logits of the untouched torchvision network with the same weights."""
    backbone = load_backbone(name, weights="random", size=64, rng=3)
    whole = models.get_model(name, weights=None).eval()
    head, width = HEADS[name]
    whole.load_state_dict(backbone.network.state_dict(), strict=False)
    # In single precision the two memory layouts differ by more than a tight bound allows.
    network, whole = backbone.network.double(), whole.double()
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    with torch.inference_mode():
        features = network(batch)
        logits = getattr(whole, head)(features)
        torch.testing.assert_close(logits, whole(batch), rtol=1e-9, atol=1e-9)
    assert features.shape == (2, backbone.width) == (2, width)


def test_backbones_are_frozen(mobilenet):
    assert not mobilenet.network.training
    assert not any(p.requires_grad for p in mobilenet.network.parameters())


def test_random_weights_follow_rng_and_leave_torch_alone():
    before = torch.random.get_rng_state()
    hashes = [
        load_backbone("resnet18", weights="random", size=32, rng=seed).weights_sha256
        for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_random_weights_need_rng():
    with pytest.raises(ValueError, match="rng must be"):
        load_backbone("resnet18", weights="random")


def test_a_file_gives_its_weights_and_its_hash(weight_file):
    backbone = load_backbone("resnet18", weights=weight_file)
    assert backbone.weights_sha256 == hashlib.sha256(weight_file.read_bytes()).hexdigest()
    assert backbone.weights == weight_file.name


def test_weights_of_another_model_are_refused(weight_file):
    with pytest.raises(ValueError, match=r"18\.safetensors does not hold weights of resnet50"):
        load_backbone("resnet50", weights=weight_file)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_cut_weight_file_is_named(weight_file, tmp_path, share):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weight_file.read_bytes()[: int(share * weight_file.stat().st_size)])
    with pytest.raises(ValueError, match=r"cut\.safetensors does not read as a safetensors file"):
        load_backbone("resnet18", weights=path)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "evil.safetensors"
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="does not read as a safetensors file"):
        load_backbone("resnet18", weights=path)


@pytest.mark.parametrize(
    ("name", "weights", "error", "message"),
    [
        ("vgg", "random", ValueError, "name must be one of"),
        ("resnet18", "nowhere.safetensors", FileNotFoundError, "no weight file nowhere"),
        ("resnet18", "IMAGENET21K", ValueError, r"one of \['IMAGENET1K_V1'"),
    ],
)
def test_bad_requests_are_refused(name, weights, error, message):
    with pytest.raises(error, match=message):
        load_backbone(name, weights=weights, rng=0)


def test_features_are_the_network_on_each_image(pool, mobilenet, cache):
    """Batches, threads and shards change nothing but rounding."""
    features = pooled_features(pool, mobilenet, cache=cache, batch=4, progress=False)
    with torch.inference_mode():
        one_by_one = [
            mobilenet.network(mobilenet.transform(pool.image(row))[None])[0]
            for row in range(len(pool))
        ]
    expected = torch.stack(one_by_one).numpy()
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("layer", ["features.18", "features.17"])
def test_a_layer_on_its_activations_is_the_whole_network(pool, mobilenet, cache, layer):
    """What lies above the layer, run on cached activations, gives the pooled features."""
    stored = trunk_activations(pool, mobilenet, layer=layer, cache=cache, progress=False)
    assert stored.dtype == np.float16
    top = mobilenet.network.features[int(layer.split(".")[1]) :]
    with torch.inference_mode():
        above = nn.functional.adaptive_avg_pool2d(top(torch.from_numpy(stored).float()), 1)
    features = pooled_features(pool, mobilenet, cache=cache, progress=False)
    error = np.linalg.norm(above.flatten(1).numpy() - features) / np.linalg.norm(features)
    assert error < 4 * np.finfo(np.float16).eps


def test_each_setting_has_its_own_cache_entry(pool, mobilenet, cache):
    other = load_backbone("mobilenet_v2", weights="random", size=64, rng=0)
    reweighted = load_backbone("mobilenet_v2", weights="random", size=48, rng=1)
    for backbone in (mobilenet, other, reweighted):
        pooled_features(pool, backbone, cache=cache, progress=False)
    pooled_features(pool, mobilenet, cache=cache, crop=True, progress=False)
    trunk_activations(pool, mobilenet, layer="features.18", cache=cache, progress=False)
    assert len(list(cache.folder.iterdir())) == 5
    pooled_features(pool, mobilenet, cache=cache, batch=3, progress=False)
    assert len(list(cache.folder.iterdir())) == 5


@pytest.mark.parametrize("activation", [nn.Hardswish(), nn.ReLU()])
def test_features_of_another_activation_are_not_taken(pool, mobilenet, cache, activation):
    """Weights, file and name are equal; what tells is the network itself."""
    pooled_features(pool, mobilenet, cache=cache, progress=False)
    network = deepcopy(mobilenet.network)
    network.features[18][2] = activation.eval()
    other = replace(mobilenet, network=network)
    assert other.key == mobilenet.key
    features = pooled_features(pool, other, cache=cache, progress=False)
    alone = pooled_features(pool, other, cache=ArrayCache(cache.folder / "alone"), progress=False)
    np.testing.assert_array_equal(features, alone)


def test_features_of_another_version_are_not_taken(pool, mobilenet, cache, monkeypatch):
    """Of the package that wrote the network, such as open_clip."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, 8)).requires_grad_(False)
    monkeypatch.setitem(sys.modules, "toyclip", SimpleNamespace(__version__="1.0"))
    monkeypatch.setattr(code, "is_foreign", lambda name: True)
    monkeypatch.setattr(keys, "is_foreign", lambda name: True)
    tower = type("Tower", (nn.Sequential,), {"__module__": "toyclip.towers"})(*network)
    toy = replace(mobilenet, network=tower, width=8)
    pooled_features(pool, toy, cache=cache, progress=False)
    assert len(list(cache.folder.iterdir())) == 1
    monkeypatch.setitem(sys.modules, "toyclip", SimpleNamespace(__version__="1.1"))
    pooled_features(pool, toy, cache=cache, progress=False)
    assert len(list(cache.folder.iterdir())) == 2


def test_a_damaged_image_stops_the_run_and_is_named(tmp_path, mobilenet, cache):
    write_standin(tmp_path, rng=0, classes=2, train_per_class=2, test_per_class=1, size=48)
    images = load_cars(tmp_path, split="train")
    path = images.folder / images.names[2]
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ValueError, match=r"00003\.jpg does not decode"):
        pooled_features(images, mobilenet, cache=cache, progress=False)
    assert not list(cache.folder.rglob("*.npy"))


def test_an_unknown_layer_is_refused(pool, mobilenet, cache):
    with pytest.raises(ValueError, match="layer must name a submodule of mobilenet_v2"):
        trunk_activations(pool, mobilenet, layer="features.99", cache=cache, progress=False)


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="SKMM_DATA holds no weights")
def test_the_real_weights():
    backbone = load_backbone("mobilenet_v2", weights=WEIGHTS)
    assert backbone.weights_sha256 == sha256(WEIGHTS)
    with pytest.raises(ValueError, match="does not hold weights of resnet18"):
        load_backbone("resnet18", weights=WEIGHTS)
