"""Real features that ship with the project: small enough for git, their fidelity measured.

``python -m skmm_study.vision.compact --data FOLDER --out data/cars_mobilenet_v2.npz`` makes
the file from a copy of Stanford Cars and of the weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from skmm_study.pools.compact import (
    CompactPool,
    principal_coordinates,
    quantise,
    read_compact,
    restore,
    write_compact,
)
from skmm_study.pools.fidelity import measure_fidelity
from skmm_study.pools.folder import shipped_folder
from skmm_study.pools.making import label_arrays
from skmm_study.vision.making import make_from_images

if TYPE_CHECKING:
    from skmm_study.storage.arrays import ArrayCache
    from skmm_study.vision.backbones import Backbone

FILE = "cars_mobilenet_v2.npz"
#: Numbers of leading coordinates at which the loss is measured, besides all of them.
WIDTHS = (128, 256, 512, 768)
MAKE = "python -m skmm_study.vision.compact --data FOLDER --out FILE"


def load_cars_features(
    path: str | os.PathLike | None = None, *, r: int | None = None
) -> CompactPool:
    r"""Reads features of Stanford Cars in principal coordinates of the standardised pool.

    .. math:: G = Z V, \quad Z = (F - \mu) / \sigma, \quad Z^\top Z / N = V \Lambda V^\top

    with the pooled features F of the network and μ, σ of the POOL, also for the test rows. A
    rotation keeps norms, angles and second moments, so G serves wherever Z does. Do not standardise
    its columns again: they are in order of their second moment, which that would undo.

    Args:
        path: the ``.npz`` file, with its ``.json`` beside it; by default the one in ``data/`` of
            the checkout.
        r: keep the r leading coordinates; without it all of them (1280). Fewer are faster, the
            provenance says what they lose.

    Returns:
        Features, labels, class names and provenance; rows are in the order of the annotations.

    Raises:
        FileNotFoundError: there is no such file; says where to get it.
        ValueError: the file is damaged or does not belong to its provenance, or r is out of range.
    """
    return read_compact(path or shipped_folder() / FILE, make=MAKE, r=r)


def write_cars_features(
    data: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike,
    backbone: Backbone,
    cache: ArrayCache,
    step: float = 0.3,
) -> Path:
    """Extracts features, compresses them, measures the loss and writes both down.

    Takes about 12 minutes on two cores for Stanford Cars and MobileNetV2; features are cached, so
    an interrupted call goes on where it stopped.

    Args:
        data: the data folder; see :func:`skmm_study.pools.folder.data_folder`.
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``.
        backbone: the network; see :func:`skmm_study.vision.backbones.load_backbone`.
        cache: holds the features before compression.
        step: see :func:`quantise`.

    Returns:
        The path of the ``.npz``.
    """
    from skmm_study.vision.cars import load_cars
    from skmm_study.vision.features import pooled_features

    sets = [load_cars(data, split=split) for split in ("train", "test")]
    features = [pooled_features(images, backbone, cache=cache) for images in sets]
    exact = principal_coordinates(*features)
    arrays = quantise(*exact, step=step)
    restored = [restore(arrays[name], arrays["steps"]) for name in ("pool", "test")]
    labels = tuple(images.labels for images in sets)
    widths = (*(r for r in WIDTHS if r < backbone.width), backbone.width)
    arrays |= label_arrays(labels, sets[0].class_names)
    provenance = {
        "title": f"{sets[0].title}, {backbone.name} features",
        "licence": "features of Stanford Cars: for non-commercial research only",
        "made_by": f"{MAKE} --step {step:g}",
        "coordinates": "standardised by the pool, rotated to the eigenvectors of its second moment",
        "step": step,
        "backbone": backbone.key | {"weights": backbone.weights},
        "images": {images.split: images.content_hash() for images in sets},
        "fidelity": measure_fidelity(exact, restored, labels, widths=widths),
    }
    return write_compact(out, arrays, provenance)


def main() -> None:
    """Makes the file that ships, from a copy of Stanford Cars and of the weights."""
    make_from_images(write_cars_features, main.__doc__, FILE, step=0.3)


if __name__ == "__main__":
    main()
