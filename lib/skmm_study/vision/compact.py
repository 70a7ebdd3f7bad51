"""Real features that ship with the project: small enough for git, their fidelity measured.

``python -m skmm_study.vision.compact --data FOLDER --out data/cars_mobilenet_v2.npz`` makes
the file from a copy of Stanford Cars and of the weights.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer, check_positive, check_rows
from skmm_study.storage.arrays import ArrayCache
from skmm_study.storage.files import sha256, write_whole
from skmm_study.storage.folder import cache_folder
from skmm_study.vision.fidelity import measure_fidelity
from skmm_study.vision.folder import data_folder, shipped_folder

if TYPE_CHECKING:
    from skmm_study.vision.backbones import Backbone

FILE = "cars_mobilenet_v2.npz"
WEIGHTS = "weights/mobilenet_v2_imagenet.safetensors"
LEVELS = 127
#: Numbers of leading coordinates at which the loss is measured, besides all of them.
WIDTHS = (128, 256, 512, 768)
MAKE = "python -m skmm_study.vision.compact --data FOLDER --out FILE"


@dataclass(frozen=True)
class CarsFeatures:
    r"""Features of Stanford Cars in principal coordinates of the standardised pool.

    .. math:: G = Z V, \quad Z = (F - \mu) / \sigma, \quad Z^\top Z / N = V \Lambda V^\top

    with the pooled features F of the network and μ, σ of the POOL, also for the test rows. A
    rotation keeps norms, angles and second moments, so G serves wherever Z does. Do not standardise
    its columns again: they are in order of their second moment, which that would undo.

    Attributes:
        title: what the features are; belongs on every figure.
        pool: training rows, ``float32``, shape ``[N, r]``.
        pool_labels: classes ``0..C-1``, shape ``[N]``.
        test: test rows, ``float32``, shape ``[N_test, r]``.
        test_labels: shape ``[N_test]``.
        class_names: the C names.
        provenance: how the file was made, from what, under which licence, and its fidelity.
    """

    title: str
    pool: NDArray[np.float32]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: dict


def load_cars_features(
    path: str | os.PathLike | None = None, *, r: int | None = None
) -> CarsFeatures:
    r"""Reads the compact features and checks them against the SHA-256 in their provenance.

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
    path = Path(path or shipped_folder() / FILE)
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise FileNotFoundError(
                f"there is no file {needed}; it ships in data/ of the repository: pass its path, "
                f"or make it with `{MAKE}`"
            )
    try:
        provenance = json.loads(path.with_suffix(".json").read_text())
    except ValueError as error:
        raise ValueError(
            f"{path.with_suffix('.json')} does not read as JSON ({error}): restore it from git"
        ) from error
    content = path.read_bytes()
    if (found := sha256(content)) != provenance.get("sha256"):
        raise ValueError(
            f"{path} has SHA-256 {found}, its provenance says {provenance.get('sha256')}: it is "
            "damaged or cut short; restore both from git"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        width = len(arrays["steps"])
        r = width if r is None else r
        check_integer(r, "r", low=1, high=width, hint=f"{path.name} holds {width} coordinates")
        pool, test = (restore(arrays[name][:r], arrays["steps"][:r]) for name in ("pool", "test"))
        return CarsFeatures(
            title=provenance["title"],
            pool=pool,
            pool_labels=arrays["pool_labels"].astype(np.int64),
            test=test,
            test_labels=arrays["test_labels"].astype(np.int64),
            class_names=tuple(str(name) for name in arrays["class_names"]),
            provenance=provenance,
        )


def restore(levels: NDArray[np.int8], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turns levels ``[r, N]`` and steps ``[r]`` back into rows ``[N, r]``."""
    return np.ascontiguousarray((levels * steps[:, None]).T)


def principal_coordinates(pool: NDArray, test: NDArray) -> tuple[NDArray, NDArray]:
    r"""Standardises both by the pool's mean and deviation, rotates both to its eigenvectors.

    The standardised pool has mean zero, so centred and plain second moment are the same.

    Args:
        pool: features, shape ``[N, r]``; the test rows do not enter μ, σ or V.
        test: features, shape ``[N_test, r]``.

    Returns:
        Pool and test in coordinates of descending second moment, ``float64``.
    """
    pool, test = check_rows(pool, "pool"), check_rows(test, "test")
    mean, deviation = pool.mean(0, dtype=np.float64), pool.std(0, dtype=np.float64)
    deviation[deviation == 0] = 1.0  # a constant feature stays constant: zero
    pool, test = (pool - mean) / deviation, (test - mean) / deviation
    _, vectors = np.linalg.eigh(pool.T @ pool)
    return pool @ vectors[:, ::-1], test @ vectors[:, ::-1]


def quantise(pool: NDArray, test: NDArray, *, step: float) -> dict[str, NDArray]:
    r"""Rounds coordinates to multiples of one step, wherever an ``int8`` reaches that far.

    One step for all columns, then entropy coding, spends bits where the second moment is (reverse
    water-filling): at equal file size a fraction of the error of fewer columns at 8 bits each.

    Args:
        pool: coordinates, shape ``[N, r]``.
        test: coordinates, shape ``[N_test, r]``; values beyond the pool's range are clipped.
        step: distance of two levels, in standard deviations of a feature; the error of an entry
            has variance of at most step²/12, and the file shrinks by about one bit an entry when
            the step doubles.

    Returns:
        ``pool`` and ``test`` as levels ``[r, N]`` (a column compresses well on its own) and
        ``steps``, shape ``[r]``.
    """
    check_positive(step, "step", hint="0.3 gives 9 MB for 16,185 images and 1280 features")
    steps = np.maximum(np.abs(pool).max(0) / LEVELS, step).astype(np.float32)
    levels = {
        name: np.clip(np.rint(rows / steps), -LEVELS, LEVELS).astype(np.int8).T
        for name, rows in (("pool", pool), ("test", test))
    }
    return {name: np.ascontiguousarray(rows) for name, rows in levels.items()} | {"steps": steps}


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
        data: the data folder; see :func:`skmm_study.vision.folder.data_folder`.
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``.
        backbone: the network; see :func:`skmm_study.vision.backbones.load_backbone`.
        cache: holds the features before compression.
        step: see :func:`quantise`.

    Returns:
        The path of the ``.npz``.
    """
    from skmm_study.vision.cars import load_cars
    from skmm_study.vision.features import pooled_features

    out = Path(out)
    sets = [load_cars(data, split=split) for split in ("train", "test")]
    features = [pooled_features(images, backbone, cache=cache) for images in sets]
    exact = principal_coordinates(*features)
    arrays = quantise(*exact, step=step)
    restored = [restore(arrays[name], arrays["steps"]) for name in ("pool", "test")]
    labels = tuple(images.labels for images in sets)
    widths = (*(r for r in WIDTHS if r < backbone.width), backbone.width)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        **arrays,
        pool_labels=labels[0].astype(np.uint8),
        test_labels=labels[1].astype(np.uint8),
        class_names=np.array(sets[0].class_names),
    )
    content = buffer.getvalue()
    provenance = {
        "title": f"{sets[0].title}, {backbone.name} features",
        "licence": "features of Stanford Cars: for non-commercial research only",
        "made_by": f"{MAKE} --step {step:g}",
        "sha256": sha256(content),
        "bytes": len(content),
        "coordinates": "standardised by the pool, rotated to the eigenvectors of its second moment",
        "step": step,
        "backbone": backbone.key | {"weights": backbone.weights},
        "images": {images.split: images.content_hash() for images in sets},
        "fidelity": measure_fidelity(exact, restored, labels, widths=widths),
    }
    write_whole(out, content)
    write_whole(out.with_suffix(".json"), json.dumps(provenance, indent=2) + "\n")
    return out


def main() -> None:
    """Makes the file that ships, from a copy of Stanford Cars and of the weights."""
    from skmm_study.vision.backbones import load_backbone

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", help="data folder (default: SKMM_DATA, else data/)")
    parser.add_argument("--out", default=shipped_folder() / FILE, help=f"default: data/{FILE}")
    parser.add_argument("--weights", help=f"default: {WEIGHTS} in the data folder")
    parser.add_argument("--step", type=float, default=0.3, help="distance of two levels")
    options = parser.parse_args()
    weights = options.weights or data_folder(options.data) / WEIGHTS
    made = write_cars_features(
        options.data,
        out=options.out,
        backbone=load_backbone("mobilenet_v2", weights=weights),
        cache=ArrayCache(cache_folder()),
        step=options.step,
    )
    print(f"{made}: {made.stat().st_size / 1e6:.2f} MB, SHA-256 {sha256(made)}")


if __name__ == "__main__":
    main()
