"""The commands that make what ships: what they read from the command line reaches the maker."""

import json
from importlib import import_module
from unittest import mock

import pytest

from skmm_study.pools.folder import data_folder, shipped_folder

FROM_IMAGES = [
    ("vision.compact", "write_cars_features", "cars_mobilenet_v2.npz"),
    ("vision.faces", "write_faces_pool", "utkface_mobilenet_v2.npz"),
    ("training.activations", "write_cars_activations", "cars_mobilenet_v2_trunk.npz"),
]
FROM_QUERIES = [
    ("text.compact", "write_text_pool", "clinc150_minilm.npz", ["clinc150"]),
    ("training.token_states", "write_banking77_states", "banking77_minilm_block.npz", []),
]


def step_that_shipped(file):
    """As the provenance tells it."""
    return json.loads((shipped_folder() / file).with_suffix(".json").read_text())["step"]


def call(monkeypatch, module, write, loader, *arguments):
    """What the command of ``module`` calls its maker with; a network is what it is loaded from."""
    made = mock.Mock(**{"return_value.stat.return_value.st_size": 1})
    monkeypatch.setattr(f"skmm_study.{module}.{write}", made)
    monkeypatch.setattr(loader, lambda *names, **places: (*names, *places.values()))
    monkeypatch.setattr("skmm_study.pools.making.sha256", lambda path: "digest")
    monkeypatch.setattr("sys.argv", ["maker", *arguments])
    import_module(f"skmm_study.{module}").main()
    return made.call_args.kwargs


@pytest.mark.parametrize(("module", "write", "file"), FROM_IMAGES)
def test_makers_from_images(monkeypatch, module, write, file):
    loader = "skmm_study.vision.backbones.load_backbone"
    told = call(monkeypatch, module, write, loader)
    weights = "weights/mobilenet_v2_imagenet.safetensors"
    assert told["out"] == shipped_folder() / file
    assert told["backbone"] == ("mobilenet_v2", data_folder() / weights)
    assert told["step"] == step_that_shipped(file)
    options = ["--data", "here", "--out", "there", "--weights", "those", "--step", "0.7"]
    told = call(monkeypatch, module, write, loader, *options)
    assert (told["data"], told["out"], told["step"]) == ("here", "there", 0.7)
    assert told["backbone"] == ("mobilenet_v2", "those")


@pytest.mark.parametrize(("module", "write", "file", "name"), FROM_QUERIES)
def test_makers_from_queries(monkeypatch, module, write, file, name):
    loader = f"skmm_study.{module}.load_encoder"
    told = call(monkeypatch, module, write, loader, *name, "--encoder", "this")
    assert told["out"] == shipped_folder() / file
    assert told["encoder"][0] == "this"
    assert told["step"] == step_that_shipped(file)
    options = [*name, "--encoder", "this", "--data", "here", "--out", "there", "--step", "0.7"]
    told = call(monkeypatch, module, write, loader, *options)
    assert (told["data"], told["out"], told["step"]) == ("here", "there", 0.7)
