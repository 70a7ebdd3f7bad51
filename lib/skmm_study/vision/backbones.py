"""Pretrained networks as feature maps: known weights, one transform, pooled features."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import v2

from skmm.numerics.inputs import check_choice, check_integer
from skmm.numerics.streams import as_generator
from skmm_study.storage.files import sha256
from skmm_study.storage.keys import fingerprint

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Name of the classification head, cut off here, and width of the pooled features before it.
HEADS = {"mobilenet_v2": ("classifier", 1280), "resnet18": ("fc", 512), "resnet50": ("fc", 2048)}
CLIP, CLIP_ARCHITECTURE = "clip_vit_b32", "ViT-B-32"


@dataclass(frozen=True)
class Backbone:
    r"""A frozen network in evaluation mode that maps images to pooled features.

    .. math:: \text{images } [B, 3, h, w] \mapsto G \in \mathbb{R}^{B \times r}

    Attributes:
        name: architecture.
        network: the network without its classification head, returns the pooled features.
        width: feature dimension r.
        size: height and width that images are resized to, in pixels.
        mean: mean of each colour channel that the weights expect.
        std: standard deviation of each colour channel that the weights expect.
        weights: what the weights are, in words.
        weights_sha256: SHA-256 of the weight file (of the tensors, where there is no file).
    """

    name: str
    network: nn.Module
    width: int
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str
    weights_sha256: str

    @property
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """Resizes to ``size`` x ``size``, all of the image in view, and normalises colours."""
        return v2.Compose(
            [
                v2.Resize((self.size, self.size), antialias=True),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(self.mean, self.std),
            ]
        )

    @property
    def key(self) -> dict:
        """Everything about this backbone that features depend on, for a cache."""
        return {
            "backbone": self.name,
            "weights_sha256": self.weights_sha256,
            "transform": ["resize", self.size, "normalise", [*self.mean], [*self.std]],
        }


def load_backbone(
    name: str,
    *,
    weights: str | os.PathLike,
    size: int = 224,
    rng: int | np.random.Generator | None = None,
) -> Backbone:
    r"""Builds a backbone and loads its weights; no pickle is executed.

    Args:
        name: ``"mobilenet_v2"``, ``"resnet18"``, ``"resnet50"`` or ``"clip_vit_b32"`` (needs
            ``pip install 'skmm[clip]'``).
        weights: a local ``.safetensors`` file with torchvision's keys; or a name from torchvision's
            enum, such as ``"IMAGENET1K_V1"``, downloaded once; or ``"random"``, which is for tests
            and needs ``rng``. CLIP takes an open_clip tag, such as ``"openai"``, downloaded once,
            in place of the first two.
        size: pixels per side that images are resized to; cost grows with its square. CLIP's is 224.
        rng: draws random weights; used for nothing else.

    Returns:
        The backbone, frozen and in evaluation mode, with the SHA-256 of its weights.

    Raises:
        FileNotFoundError: there is no such weight file.
        ValueError: the file is damaged or holds the weights of another model.
    """
    check_choice(name, "name", (*HEADS, CLIP))
    check_integer(size, "size", low=32, hint="224 is what ImageNet weights were trained at")
    if name == CLIP:
        return _load_clip(str(weights), size, rng)
    build = models.get_model_builder(name)
    if weights == "random":
        network, described = _random(build, size, rng), "random weights"
        digest = fingerprint(network.state_dict())
    elif str(weights).endswith(".safetensors"):
        network, described = build(weights=None), Path(weights).name
        _load_file(network, Path(weights), name)
        digest = sha256(Path(weights))
    else:
        network, described = build(weights=None), f"torchvision {name} {weights}"
        digest = _load_enum(network, name, str(weights))
    head, width = HEADS[name]
    setattr(network, head, nn.Identity())
    # Convolutions of one pixel or one channel dominate; on a CPU this layout halves their time.
    network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    return Backbone(name, network, width, size, IMAGENET_MEAN, IMAGENET_STD, described, digest)


def _random(build: Callable[..., nn.Module], size: int, rng) -> nn.Module:
    with _seeded(rng), torch.no_grad():
        network = build(weights=None)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # statistics of all passes, here of one
        # Without statistics of its own, a deep random network shrinks every image to nothing.
        network.train()(torch.randn(16, 3, size, size))
        return network


@contextmanager
def _seeded(rng) -> Iterator[None]:
    """Seeds the global generator that torch initialises from, and puts it back afterwards."""
    seed = int(as_generator(rng, "backbone").integers(2**63))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _load_file(network: nn.Module, path: Path, name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(
            f"there is no weight file {path}; put the safetensors file there, or pass "
            "weights='IMAGENET1K_V1' to download torchvision's"
        )
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} does not read as a safetensors file ({error}): fetch it again, it is damaged, "
            "cut short or of another format"
        ) from error
    wanted = network.state_dict()
    wrong = [key for key in wanted if key not in state]
    wrong += [key for key in state if key not in wanted]
    wrong += [key for key in wanted if key in state and wanted[key].shape != state[key].shape]
    if wrong:
        raise ValueError(
            f"{path} does not hold weights of {name}: {len(wrong)} of {len(wanted)} entries are "
            f"missing, unknown or of another shape, for example {', '.join(wrong[:3])}; "
            "pass the file that belongs to this backbone"
        )
    network.load_state_dict(state)


def _load_enum(network: nn.Module, name: str, member: str) -> str:
    enum = models.get_model_weights(name)
    if member not in enum.__members__:
        raise ValueError(
            f"weights must be a .safetensors file, 'random' or one of {[*enum.__members__]} "
            f"for {name}, got {member!r}"
        )
    chosen = enum[member]
    network.load_state_dict(chosen.get_state_dict(check_hash=True, weights_only=True))
    return sha256(Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name)


def _load_clip(tag: str, size: int, rng) -> Backbone:
    try:
        import open_clip
    except ImportError as error:
        raise ImportError(f"{CLIP} needs open_clip: pip install 'skmm[clip]'") from error
    if size != 224:
        raise ValueError(f"size must be 224 for {CLIP}, whose positions are fixed, got {size}")
    if tag == "random":
        with _seeded(rng):
            model = open_clip.create_model(CLIP_ARCHITECTURE)
        described = "random weights"
    else:
        trained = open_clip.get_pretrained_cfg(CLIP_ARCHITECTURE, tag)
        if not trained:
            # A file does not say which activation its weights were trained with.
            tags = open_clip.list_pretrained_tags_by_model(CLIP_ARCHITECTURE)
            raise ValueError(f"weights must be 'random' or one of {tags} for {CLIP}, got {tag!r}")
        model = open_clip.create_model(
            CLIP_ARCHITECTURE,
            pretrained=tag,
            require_pretrained=True,
            force_quick_gelu=trained.get("quick_gelu", False),
            weights_only=True,
        )
        described = f"open_clip {tag}"
    colours = open_clip.get_model_preprocess_cfg(model)
    network = model.visual.requires_grad_(False).eval()
    digest = fingerprint(network.state_dict())
    mean, std = tuple(colours["mean"]), tuple(colours["std"])
    return Backbone(CLIP, network, network.output_dim, size, mean, std, described, digest)
