"""UTKFace as a regression pool: features with ages ship, faces never do.

``python -m skmm_study.vision.faces --data FOLDER --out data/utkface_mobilenet_v2.npz`` makes the
file from a copy of the images and of the weights.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm_study.pools.compact import (
    CompactPool,
    principal_coordinates,
    quantise,
    read_compact,
    restore,
    write_compact,
)
from skmm_study.pools.fidelity import RidgeProbe, measure_fidelity
from skmm_study.pools.folder import SETTING, data_folder, shipped_folder
from skmm_study.pools.making import label_arrays
from skmm_study.storage.files import sha256
from skmm_study.vision.images import ImageSet
from skmm_study.vision.making import make_from_images

if TYPE_CHECKING:
    from skmm_study.storage.arrays import ArrayCache
    from skmm_study.vision.backbones import Backbone

FILE = "utkface_mobilenet_v2.npz"
MAKE = "python -m skmm_study.vision.faces --data FOLDER --out FILE"
AGES = "ages.csv"
OLDEST = 130
#: The rows lie on disk in order of age: this permutes them before the first ones become the test.
SPLIT_SEED = 0
TEST_SHARE = 0.2
WIDTH, STEP = 448, 0.3


def load_faces_pool(path: str | os.PathLike | None = None) -> CompactPool:
    r"""Reads features of UTKFace with ages in years, a regression pool.

    Coordinates as of :func:`skmm_study.vision.compact.load_cars_features`, the leading ones alone:
    standardised by the pool, rotated to its principal directions. Do not standardise them again.

    Args:
        path: the ``.npz`` file, with its ``.json`` beside it; by default the one in ``data/`` of
            the checkout.

    Returns:
        Features and provenance; labels are ages in whole years, class names there are none. Rows
        are in random order, 80 % of them in the pool.

    Raises:
        FileNotFoundError: there is no such file; says where to get it.
        ValueError: the file is damaged or does not belong to its provenance.
    """
    return read_compact(path or shipped_folder() / FILE, make=MAKE)


def load_faces(data: str | os.PathLike | None = None) -> ImageSet:
    """Opens ``utkface/``: ``ages.csv`` with columns ``file`` and ``age``, and ``images/``.

    Args:
        data: the folder that holds ``utkface/``; see `skmm_study.data_folder`.

    Returns:
        All images in the order of the table, with ages in years as labels; nothing is decoded.

    Raises:
        FileNotFoundError: the table or images are missing; the first one is named.
        ValueError: the table does not read, names an image twice or an impossible age, or there
            are images that it does not name.

    References:
        Age Progression/Regression by Conditional Adversarial Autoencoder (Zhang et al., 2017)
    """
    base = data_folder(data) / "utkface"
    table, folder = base / AGES, base / "images"
    if not table.is_file():
        raise FileNotFoundError(
            f"there is no file {table}; point {SETTING} at the folder that holds utkface/"
        )
    names, ages = [], []
    for row in csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")):
        name, age = row.get("file"), row.get("age") or ""
        if not name or not age.isdecimal() or int(age) > OLDEST:
            raise ValueError(
                f"{table}: row {len(names)} must be a file and an age in 0..{OLDEST}, got "
                f"{name!r} and {age!r}: restore the table"
            )
        names.append(name)
        ages.append(int(age))
    present = set(os.listdir(folder)) if folder.is_dir() else set()
    if missing := sorted(set(names) - present):
        raise FileNotFoundError(
            f"{len(missing)} images are missing, for example {folder / missing[0]}: copy them again"
        )
    if len(set(names)) < len(names) or (present - set(names)):
        raise ValueError(
            f"{table} must name every image of {folder} once, got {len(names)} rows, "
            f"{len(set(names))} names and {len(present)} images: restore both from one source"
        )
    return ImageSet("UTKFace", "all", folder, tuple(names), np.array(ages, np.int64), (), None)


def split_rows(N: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the rows of pool and test: a fixed permutation, a fifth of it for the test."""
    check_integer(N, "N", low=5, hint="a fifth of the images is the test set")
    order = np.random.default_rng(SPLIT_SEED).permutation(N)
    tests = round(TEST_SHARE * N)
    return order[tests:], order[:tests]


def write_faces_pool(
    data: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike,
    backbone: Backbone,
    cache: ArrayCache,
    width: int = WIDTH,
    step: float = STEP,
) -> Path:
    """Extracts features, compresses them, measures the loss and writes both down.

    Takes about 15 minutes on two cores for UTKFace and MobileNetV2; features are cached, so an
    interrupted call goes on where it stopped.

    Args:
        data: the data folder; see :func:`load_faces`.
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``. Of the images it
            holds the numbers of their rows in the table alone.
        backbone: the network; see :func:`skmm_study.vision.backbones.load_backbone`.
        cache: holds the features before compression.
        width: leading coordinates to keep.
        step: see :func:`skmm_study.pools.compact.quantise`.

    Returns:
        The path of the ``.npz``.

    Raises:
        ValueError: the network has fewer coordinates than ``width``.
    """
    from skmm_study.vision.features import pooled_features

    check_integer(
        width, "width", low=1, high=backbone.width, hint=f"{backbone.name} has {backbone.width}"
    )
    faces = load_faces(data)
    rows = split_rows(len(faces))
    features = pooled_features(faces, backbone, cache=cache)
    exact = principal_coordinates(*(features[part] for part in rows))
    arrays = quantise(*(part[:, :width] for part in exact), step=step)
    restored = [restore(arrays[name], arrays["steps"]) for name in ("pool", "test")]
    ages = [faces.labels[part] for part in rows]
    arrays |= label_arrays(ages, ()) | {
        "pool_rows": rows[0].astype(np.uint32),
        "test_rows": rows[1].astype(np.uint32),
    }
    provenance = {
        "title": f"{faces.title}, {backbone.name} features",
        "licence": "features of UTKFace: for non-commercial research only",
        "made_by": f"{MAKE} --width {width} --step {step:g}",
        "coordinates": "standardised by the pool, rotated to the eigenvectors of its second moment",
        "width": width,
        "step": step,
        "target": "age in years",
        "split": f"permuted by numpy.random.default_rng({SPLIT_SEED}); the first "
        f"{TEST_SHARE:.0%} are the test set",
        "backbone": backbone.key | {"weights": backbone.weights},
        "images": faces.content_hash(),
        "ages": sha256(faces.folder.parent / AGES),
        "fidelity": measure_fidelity(
            exact, restored, ages, widths=(max(1, width // 2), width), probe=RidgeProbe()
        ),
    }
    return write_compact(out, arrays, provenance)


def main() -> None:
    """Makes the file that ships, from a copy of UTKFace and of the weights."""
    make_from_images(write_faces_pool, main.__doc__, FILE, width=WIDTH, step=STEP)


if __name__ == "__main__":
    main()
