"""Arrays from images: pooled features, and what enters a layer when the trunk below is frozen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from skmm_study.storage.arrays import ArrayCache
from skmm_study.storage.code import code_behind
from skmm_study.storage.keys import fingerprint
from skmm_study.vision.backbones import Backbone
from skmm_study.vision.images import ImageSet


def pooled_features(
    images: ImageSet,
    backbone: Backbone,
    *,
    cache: ArrayCache,
    crop: bool = False,
    batch: int = 64,
    device: str = "cpu",
    progress: bool = True,
) -> NDArray[np.float32]:
    r"""Pooled penultimate features of all images: the rows G of linear probing.

    Args:
        images: N images.
        backbone: maps images to r features.
        cache: holds finished shards; an interrupted call goes on where it stopped.
        crop: cut every image to its annotated box first.
        batch: images in one forward pass; memory grows with it, features change by rounding only.
        device: where the network runs.
        progress: draw a bar with the time left.

    Returns:
        ``float32`` features, shape ``[N, r]``.

    Raises:
        ValueError: an image does not decode; it is named.
    """
    return _extract(
        images,
        backbone,
        backbone.network.to(device),
        stage="pooled",
        dtype="float32",
        cache=cache,
        crop=crop,
        batch=batch,
        progress=progress,
    )


def trunk_activations(
    images: ImageSet,
    backbone: Backbone,
    *,
    layer: str,
    cache: ArrayCache,
    crop: bool = False,
    batch: int = 64,
    device: str = "cpu",
    progress: bool = True,
) -> NDArray[np.float16]:
    r"""What enters ``layer``: with the trunk frozen, all that finetuning from there on needs.

    The trunk then runs once per image instead of once per image and epoch.

    Args:
        images: N images.
        backbone: the network; what lies above ``layer`` is never run.
        layer: name of a submodule, such as ``"features.18"`` of MobileNetV2 (320 channels).
        cache: holds finished shards; an interrupted call goes on where it stopped.
        crop: cut every image to its annotated box first.
        batch: images in one forward pass; memory grows with it.
        device: where the network runs.
        progress: draw a bar with the time left.

    Returns:
        ``float16`` activations, shape ``[N, channels, height, width]``: half the memory, at a
        relative rounding of at most 2^-11 wherever they exceed 6e-5 in absolute value.

    Raises:
        ValueError: the network has no such layer, or an image does not decode.
    """
    if layer not in dict(backbone.network.named_modules()):
        raise ValueError(f"layer must name a submodule of {backbone.name}, got {layer!r}")
    return _extract(
        images,
        backbone,
        _Trunk(backbone.network.to(device), layer),
        stage=f"input of {layer}",
        dtype="float16",
        cache=cache,
        crop=crop,
        batch=batch,
        progress=progress,
    )


class _Reached(Exception):
    """Carries the input of the layer out of the network, so that nothing above it runs."""


class _Trunk:
    """The part of a network below one of its layers, as a function of the images."""

    def __init__(self, network: nn.Module, layer: str):
        self.network, self.layer = network, network.get_submodule(layer)

    def __call__(self, batch: Tensor) -> Tensor:
        def stop(_, inputs):
            raise _Reached(inputs[0])

        handle = self.layer.register_forward_pre_hook(stop)
        try:
            self.network(batch)
        except _Reached as reached:
            return reached.args[0]
        finally:
            handle.remove()
        raise ValueError(f"the network never reached {self.layer}; name a layer it uses")


def _extract(
    images: ImageSet,
    backbone: Backbone,
    forward: Callable[[Tensor], Tensor],
    *,
    stage: str,
    dtype: str,
    cache: ArrayCache,
    crop: bool,
    batch: int,
    progress: bool,
) -> NDArray:
    transform = backbone.transform
    device = next(backbone.network.parameters()).device
    key = {
        **backbone.key,
        "images": images.content_hash(crop=crop),
        "crop": crop,
        "stage": stage,
        "dtype": dtype,
        "device": device.type,
        # The weights' digest says nothing of activations, nor of who wrote the layers.
        "network": fingerprint(backbone.network),
        "code": code_behind(__name__),
        "libraries": [torch.__version__, torchvision.__version__, PIL.__version__],
    }

    def load(row: int) -> Tensor:
        return transform(images.image(row, crop=crop))

    def compute(start: int, stop: int) -> NDArray:
        parts = []
        for first in range(start, stop, batch):
            rows = range(first, min(first + batch, stop))
            pixels = torch.stack(list(threads.map(load, rows)))
            pixels = pixels.to(device, memory_format=torch.channels_last)
            parts.append(forward(pixels).cpu().numpy().astype(dtype, copy=False))
        return np.concatenate(parts)

    title = f"{backbone.name}, {stage}, {images.split}"
    bar = tqdm(total=len(images), desc=title, unit="image", disable=not progress)
    with bar, ThreadPoolExecutor(2) as threads, torch.inference_mode():
        name = f"{backbone.name}-{images.split}"
        return cache.rows(compute, len(images), name=name, key=key, report=bar.update)
