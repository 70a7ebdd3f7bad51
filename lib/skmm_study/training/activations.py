"""Activations below the last convolution of MobileNetV2 that ship, with that layer's weights.

``python -m skmm_study.training.activations --data FOLDER --out data/cars_mobilenet_v2_trunk.npz``
makes the file from a copy of Stanford Cars and of the weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.training.probing import probe_scores
from skmm_study.pools.compact import CompactPool, quantise, read_compact, restore, write_compact
from skmm_study.pools.fidelity import LogisticProbe
from skmm_study.pools.folder import shipped_folder
from skmm_study.pools.making import label_arrays
from skmm_study.storage.arrays import ArrayCache
from skmm_study.training.finetuning import Recipe, finetune, pooled_inputs
from skmm_study.training.tails import TRUNKS, PointwiseTail, pointwise_tail, tail_of
from skmm_study.vision.backbones import Backbone
from skmm_study.vision.cars import load_cars
from skmm_study.vision.features import trunk_activations
from skmm_study.vision.images import ImageSet
from skmm_study.vision.making import make_from_images

FILE = "cars_mobilenet_v2_trunk.npz"
MAKE = "python -m skmm_study.training.activations --data FOLDER --out FILE"
KEPT = 30
"""Classes that are kept."""

GRID = 2
"""Positions a side that activations are averaged to."""


@dataclass(frozen=True, eq=False)
class CompactActivations(CompactPool):
    r"""What enters the last convolution of MobileNetV2, and the weights of that convolution.

    Pool and test are ``float16``, shape ``[N, 320, 2, 2]``.

    Attributes:
        weight: of the convolution of one pixel, batch normalisation folded in, ``[1280, 320]``.
        shift: what is added before ReLU6, shape ``[1280]``.
    """

    weight: NDArray[np.float32]
    shift: NDArray[np.float32]

    def tail(self, *, rng: int | np.random.Generator | None = None) -> PointwiseTail:
        """Builds the convolution and a new classifier on it; see `tail_of`."""
        return pointwise_tail(self.weight, self.shift, len(self.class_names), rng=rng)


def load_cars_activations(path: str | os.PathLike | None = None) -> CompactActivations:
    r"""Reads activations of 30 classes of Stanford Cars, for finetuning the last two layers.

    Args:
        path: the ``.npz`` file, with its ``.json`` beside it; by default the one in ``data/`` of
            the checkout.

    Raises:
        FileNotFoundError: there is no such file; says where to get it.
        ValueError: the file is damaged or does not belong to its provenance.
    """
    path = Path(path or shipped_folder() / FILE)
    rows = read_compact(path, make=MAKE)
    with np.load(path, allow_pickle=False) as arrays:
        weight, shift = arrays["weight"].astype(np.float32), arrays["shift"]
    shape = (-1, weight.shape[1], GRID, GRID)
    parts = {name: getattr(rows, name).reshape(shape) for name in ("pool", "test")}
    halves = {name: part.astype(np.float16) for name, part in parts.items()}
    return CompactActivations(**vars(rows) | halves, weight=weight, shift=shift)


def spread_classes(images: ImageSet, count: int = KEPT) -> ImageSet:
    r"""Keeps classes at equal distances in the official, alphabetical order, and renumbers them.

    .. math:: c_k = \lfloor k\,C / \text{count} \rfloor, \qquad k = 0, \dots, \text{count} - 1

    Makers follow one another in that order, so that nearly all are among them.
    """
    C = len(images.class_names)
    check_integer(count, "count", low=2, high=C, hint=f"there are {C} classes")
    kept = np.arange(count) * C // count
    rows = np.flatnonzero(np.isin(images.labels, kept))
    return replace(
        images,
        names=tuple(images.names[row] for row in rows),
        labels=np.searchsorted(kept, images.labels[rows]),
        class_names=tuple(images.class_names[c] for c in kept),
        boxes=None if images.boxes is None else images.boxes[rows],
    )


def averaged_positions(activations: NDArray[np.floating]) -> NDArray[np.float32]:
    """Averages activations ``[N, channels, height, width]`` over four overlapping quarters."""
    whole = torch.from_numpy(activations).float()
    return F.adaptive_avg_pool2d(whole, GRID).numpy()


def write_cars_activations(
    data: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike,
    backbone: Backbone,
    cache: ArrayCache,
    classes: int = KEPT,
    step: float = 0.05,
    recipe: Recipe | None = None,
) -> Path:
    """Passes the images through the trunk, compresses, measures the loss and writes both down.

    Takes about 4 minutes on two cores.

    Args:
        data: the data folder; see `skmm_study.data_folder`.
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``.
        backbone: MobileNetV2.
        cache: holds the activations before compression.
        classes: number of classes kept, see `spread_classes`.
        step: distance of two levels of an activation; see `skmm_study.pools.compact.quantise`.
        recipe: of the finetuning on the whole pool that the loss is measured by.

    Returns:
        The path of the ``.npz``.
    """
    layer = TRUNKS["mobilenet_v2"]
    images = [load_cars(data, split=split) for split in ("train", "test")]
    sets = [spread_classes(part, classes) for part in images]
    labels = [part.labels for part in sets]
    exact = [trunk_activations(part, backbone, layer=layer, cache=cache) for part in sets]
    averaged = [averaged_positions(part) for part in exact]
    arrays = quantise(*(part.reshape(len(part), -1) for part in averaged), step=step)
    weight, shift = folded_weights(tail_of(backbone, classes))
    arrays |= {"weight": weight.astype(np.float16), "shift": shift}
    arrays |= label_arrays(labels, sets[0].class_names)
    rows = [restore(arrays[name], arrays["steps"]) for name in ("pool", "test")]
    rounded = [r.reshape(e.shape).astype(np.float16) for r, e in zip(rows, averaged, strict=True)]
    tails = {"exact": pointwise_tail(weight, shift, classes)}
    tails["compact"] = pointwise_tail(arrays["weight"].astype(np.float32), shift, classes)
    parts = {"exact": exact, "compact": rounded}
    provenance = {
        "title": f"{sets[0].title}, {classes} of {len(images[0].class_names)} classes",
        "licence": "activations of Stanford Cars: for non-commercial research only; the weights of "
        "the convolution are those of the backbone, Apache-2.0",
        "made_by": f"{MAKE} --step {step:g}",
        "classes": f"floor(k C / {classes}) for k = 0, 1, ..., in the official order",
        "activations": f"input of {layer}, averaged over {GRID} x {GRID} overlapping quarters",
        "step": step,
        "backbone": backbone.key | {"weights": backbone.weights},
        "images": {part.split: part.content_hash() for part in sets},
        "fidelity": {"relative_error_of_rounding": _relative_error(rounded[0], averaged[0])}
        | {name: _scores(tails[name], parts[name], labels, recipe) for name in parts}
        | {"inner_products": _correlation(*(pooled_inputs(tails[k], parts[k][0]) for k in parts))},
    }
    return write_compact(out, arrays, provenance)


def folded_weights(tail: PointwiseTail) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the convolution with its batch normalisation folded in, and what is then added."""
    convolution, norm, _ = tail.layer
    with torch.no_grad():
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = convolution.weight.flatten(1) * scale[:, None]
        return weight.numpy(), (norm.bias - norm.running_mean * scale).numpy()


def _scores(
    tail: PointwiseTail,
    parts: Sequence[NDArray[np.floating]],
    labels: Sequence[NDArray[np.int64]],
    recipe: Recipe | None,
) -> dict[str, dict[str, float]]:
    """Returns scores of a probe on what enters the classifier, and of both layers finetuned."""
    inputs = [pooled_inputs(tail, part) for part in parts]
    mean, deviation = inputs[0].mean(0), np.maximum(inputs[0].std(0), 1e-6)
    trained = finetune(tail, parts[0], labels[0], rng=0, recipe=recipe)
    finetuned = asdict(probe_scores(trained, parts[1], labels[1]))
    return {
        "probe": LogisticProbe().scores(*((part - mean) / deviation for part in inputs), labels),
        "finetuned": {name: round(value, 4) for name, value in finetuned.items()},
    }


def _relative_error(rows: NDArray[np.floating], whole: NDArray[np.float32]) -> float:
    return round(float(np.linalg.norm(rows - whole) / np.linalg.norm(whole)), 5)


def _correlation(exact: NDArray[np.float32], compact: NDArray[np.float32]) -> float:
    """Returns the correlation of inner products of different standardised rows."""
    pairs = np.triu_indices(len(exact), 1)
    rows = ((part - part.mean(0)) / np.maximum(part.std(0), 1e-6) for part in (exact, compact))
    grams = [(part @ part.T)[pairs] for part in rows]
    return round(float(np.corrcoef(*grams)[0, 1]), 4)


def main() -> None:
    """Makes the file that ships, from a copy of Stanford Cars and of the weights."""
    make_from_images(write_cars_activations, main.__doc__, FILE, step=0.05)


if __name__ == "__main__":
    main()
