"""Making the files that ship and hold what MobileNetV2 sees of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from skmm_study.pools.folder import data_folder, shipped_folder
from skmm_study.pools.making import announce, maker_options
from skmm_study.storage.arrays import ArrayCache
from skmm_study.storage.folder import cache_folder

WEIGHTS = "weights/mobilenet_v2_imagenet.safetensors"


def make_from_images(
    write: Callable[..., Path], about: str | None, file: str, **numbers: float
) -> None:
    """Makes a file as the command line says, from a copy of the images and of the weights.

    Args:
        write: ``data``, ``out``, ``backbone``, ``cache`` and the numbers -> path of the file.
        about: what the command says of itself.
        file: what it makes in ``data/`` without ``--out``.
        numbers: of the file, with their defaults.
    """
    from skmm_study.vision.backbones import load_backbone

    parser = maker_options(about, file, **numbers)
    parser.add_argument("--weights", help=f"default: {WEIGHTS} in the data folder")
    options = vars(parser.parse_args())
    options["out"] = options["out"] or shipped_folder() / file
    weights = options.pop("weights") or data_folder(options["data"]) / WEIGHTS
    backbone = load_backbone("mobilenet_v2", weights=weights)
    announce(write(**options, backbone=backbone, cache=ArrayCache(cache_folder())))
