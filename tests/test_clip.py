"""CLIP by open_clip: its own embedding, and the activation that its weights were trained with.

Runs where the extra is installed (``pip install -e .[clip]``), without a download.
"""

import sys

import pytest
import torch
from safetensors.torch import save_file

from skmm_study.storage.keys import fingerprint
from skmm_study.vision.backbones import load_backbone


@pytest.fixture(scope="module")
def open_clip():
    return pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def checkpoint(open_clip, tmp_path_factory):
    """Weights of another draw than any model built below, as a tag's download would give them."""
    path = tmp_path_factory.mktemp("clip") / "weights.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state = open_clip.create_model("ViT-B-32").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@pytest.mark.parametrize("tag", ["openai", "laion400m_e32", "laion2b_s34b_b79k"])
def test_features_are_the_embedding_under_the_activation_of_the_tag(
    open_clip, checkpoint, monkeypatch, tag
):
    """Equal to open_clip's embedding under the activation that its register names, and no other."""
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *_, **__: str(checkpoint))
    backbone = load_backbone("clip_vit_b32", weights=tag)
    batch = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = backbone.network(batch)
        embeddings = {
            quick: open_clip.create_model(name, pretrained=str(checkpoint))
            .eval()
            .encode_image(batch)
            for quick, name in ((True, "ViT-B-32-quickgelu"), (False, "ViT-B-32"))
        }
    quick = tag != "laion2b_s34b_b79k"
    torch.testing.assert_close(ours, embeddings[quick])
    assert not torch.allclose(ours, embeddings[not quick], atol=1e-3)
    assert ours.shape == (2, backbone.width)
    assert not backbone.network.training
    assert not any(p.requires_grad for p in backbone.network.parameters())
    trained = open_clip.get_pretrained_cfg("ViT-B-32", tag)
    assert (backbone.mean, backbone.std) == (tuple(trained["mean"]), tuple(trained["std"]))


def test_random_weights_follow_rng(open_clip):
    hashes = [
        load_backbone("clip_vit_b32", weights="random", rng=seed).weights_sha256
        for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"weights": "nowhere.safetensors"}, "weights must be 'random' or one of .*openai"),
        ({"weights": "openai", "size": 160}, "size must be 224"),
        ({"weights": "random"}, "rng must be"),
    ],
)
def test_bad_requests_are_refused(open_clip, request_, message):
    with pytest.raises(ValueError, match=message):
        load_backbone("clip_vit_b32", **request_)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ImportError, match=r"pip install 'skmm\[clip\]'"):
        load_backbone("clip_vit_b32", weights="openai")


def test_networks_of_equal_weights_differ_by_their_activation(open_clip):
    """What cached features are kept under tells the two apart; their weights do not."""
    with torch.random.fork_rng(devices=[]):
        towers = {}
        for quick in (False, True):
            torch.manual_seed(0)
            towers[quick] = open_clip.create_model("ViT-B-32", force_quick_gelu=quick).visual
    states = [tower.state_dict() for tower in towers.values()]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert fingerprint(towers[False]) != fingerprint(towers[True])
