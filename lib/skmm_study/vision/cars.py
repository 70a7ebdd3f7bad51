"""Stanford Cars as it lies on disk: checked file by file before a single image is used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skmm.numerics.inputs import check_choice
from skmm_study.pools.folder import SETTING, data_folder
from skmm_study.vision.images import ImageSet, decode
from skmm_study.vision.matlab import read_mat

CLASSES = 196
IMAGES = {"train": 8144, "test": 8041}
ANNOTATIONS = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
CLASS_NAMES = "devkit/cars_meta.mat"
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
STANDIN_MARK = "standin.json"

ADVICE = (
    f"point {SETTING} at a folder that holds a whole stanford_cars/, run `make data` to fetch one, "
    "or write a stand-in with skmm_study.vision.standin.write_standin"
)


def load_cars(data: str | os.PathLike | None = None, *, split: str) -> ImageSet:
    r"""Opens one split in the layout that ``torchvision.datasets.StanfordCars`` reads.

    The whole split is checked first: annotations, class count, one image an annotation and one
    annotation an image, and of every image its first and last bytes. Costs about a second for
    16,185 images; nothing is decoded.

    Args:
        data: the folder that holds ``stanford_cars/``; see `skmm_study.data_folder`.
        split: ``"train"`` or ``"test"``.

    Returns:
        The split. A folder with the mark of the stand-in (``standin.json``) is held to the counts
        written there, any other one to 196 classes and 8,144 or 8,041 images.

    Raises:
        FileNotFoundError: the folder, an annotation file or images are missing; all are counted
            and the first ones named.
        ValueError: a file is damaged, or files and annotations contradict each other; likewise.

    References:
        3D Object Representations for Fine-Grained Categorization (Krause et al., 2013)
    """
    check_choice(split, "split", tuple(IMAGES))
    base = data_folder(data) / "stanford_cars"
    if not base.is_dir():
        raise FileNotFoundError(f"there is no folder {base}; {ADVICE}")
    needed = [path for path in (CLASS_NAMES, ANNOTATIONS[split]) if not (base / path).is_file()]
    _raise_if_any(base, [f"{base / path}: missing" for path in needed], FileNotFoundError)
    title, expected_classes, expected_images = _expected(base, split)
    class_names = tuple(str(name) for name in read_mat(base / CLASS_NAMES, "class_names"))
    records = read_mat(base / ANNOTATIONS[split], "annotations")
    for field in ("fname", "class"):
        if field not in (records.dtype.names or ()):
            raise ValueError(
                f"{base / ANNOTATIONS[split]} has no field {field!r}; the test split needs the "
                "annotations WITH labels, cars_test_annos_withlabels.mat"
            )
    names = tuple(str(name) for name in records["fname"])
    labels = records["class"].astype(np.int64) - 1
    folder = base / f"cars_{split}"
    _raise_if_any(base, list(_missing(folder, names)), FileNotFoundError)
    problems = list(_contradictions(base, split, names, labels, class_names))
    if len(class_names) != expected_classes:
        problems.append(
            f"{base / CLASS_NAMES}: {len(class_names)} class names, expected {expected_classes}"
        )
    if len(names) != expected_images:
        problems.append(
            f"{base / ANNOTATIONS[split]}: {len(names)} annotations, expected {expected_images}"
        )
    _raise_if_any(base, problems, ValueError)
    has_boxes = set(BOX) <= set(records.dtype.names)
    boxes = np.stack([records[edge].astype(np.int64) for edge in BOX], 1) if has_boxes else None
    return ImageSet(title, split, folder, names, labels, class_names, boxes)


def _expected(base: Path, split: str) -> tuple[str, int, int]:
    """The title and the counts that a folder is held to."""
    mark = base / STANDIN_MARK
    if not mark.exists():
        return "Stanford Cars", CLASSES, IMAGES[split]
    try:
        recipe = json.loads(mark.read_text())
        return recipe["title"], recipe["classes"], recipe[split]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{mark} does not read as the mark of a stand-in ({error}): remove {base} and write "
            "the stand-in again"
        ) from error


def _missing(folder: Path, names: tuple[str, ...]) -> Iterator[str]:
    present = set(os.listdir(folder)) if folder.is_dir() else set()
    return (f"{folder / name}: missing" for name in names if name not in present)


def _contradictions(base, split, names, labels, class_names) -> Iterator[str]:
    """What is wrong with annotations and images that are all there, one line a file."""
    folder, annotations = base / f"cars_{split}", base / ANNOTATIONS[split]
    seen = set()
    for name, label in zip(names, labels, strict=True):
        if name in seen:
            yield f"{annotations}: {name} is annotated twice"
        seen.add(name)
        if not 0 <= label < len(class_names):
            yield (
                f"{annotations}: {name} has class {label + 1}, outside 1..{len(class_names)} "
                f"of {base / CLASS_NAMES}"
            )
    for name in sorted(set(os.listdir(folder)) - seen):
        if name.endswith(".jpg"):
            yield f"{folder / name}: no annotation in {annotations}"
    for name in seen:
        if (reason := _damage(folder / name)) is not None:
            yield f"{folder / name}: {reason}"


def _damage(path: Path) -> str | None:
    """Whether the first and last bytes are a JPEG's; a file without an end mark is decoded."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return "is no JPEG file"
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        if b"\xff\xd9" in file.read():
            return None
    try:
        decode(path)
    except ValueError as error:
        return str(error.__cause__)
    return None


def _raise_if_any(base: Path, problems: list[str], error: type[Exception]) -> None:
    if problems:
        shown = "\n  ".join(sorted(problems)[:20])
        more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise error(f"{base} cannot be used, {len(problems)} problems:\n  {shown}{more}\n{ADVICE}")
