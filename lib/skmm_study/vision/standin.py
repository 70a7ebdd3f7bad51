"""A generated stand-in for Stanford Cars: drawn cars, same layout, for machines without it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator
from skmm_study.storage.code import code_behind
from skmm_study.storage.files import claim
from skmm_study.storage.folder import keyed_folder
from skmm_study.vision.cars import ANNOTATIONS, BOX, CLASS_NAMES, STANDIN_MARK
from skmm_study.vision.matlab import write_mat

STANDIN_TITLE = "generated stand-in, not Stanford Cars"
COLOURS = {
    "red": (190, 40, 40),
    "blue": (40, 70, 180),
    "green": (40, 140, 70),
    "white": (225, 225, 225),
    "black": (35, 35, 40),
    "yellow": (225, 190, 50),
    "orange": (225, 120, 40),
    "violet": (120, 60, 150),
}
#: Outline of a body in its box, x to the right and y down, both in [0, 1].
BODIES = {
    "sedan": [(0, 0.55), (0.2, 0.5), (0.35, 0.1), (0.7, 0.1), (0.85, 0.5), (1, 0.55)],
    "hatchback": [(0, 0.6), (0.25, 0.5), (0.4, 0.05), (0.9, 0.05), (1, 0.5)],
    "pickup": [(0, 0.5), (0.2, 0.45), (0.25, 0.05), (0.5, 0.05), (0.52, 0.45), (1, 0.45)],
    "van": [(0, 0.5), (0.12, 0.05), (1, 0.0)],
    "coupe": [(0, 0.7), (0.3, 0.55), (0.5, 0.2), (0.65, 0.25), (1, 0.6)],
}
MAX_CLASSES = len(COLOURS) * len(BODIES)


def write_standin(
    data: str | os.PathLike,
    *,
    rng: int | np.random.Generator,
    classes: int = 12,
    train_per_class: int = 10,
    test_per_class: int = 6,
    size: int = 96,
) -> Path:
    r"""Draws a small data set in the layout of Stanford Cars and marks it as generated.

    A class is a colour and a body; place, scale, shade, background and noise vary within it, so
    that classes can be learnt but not read off one pixel. Everything downstream carries its title.

    Args:
        data: the data folder; ``stanford_cars/`` is written into it.
        rng: draws the images; the same ``rng`` gives the same bytes.
        classes: number of classes C, at most 40.
        train_per_class: training images a class.
        test_per_class: test images a class.
        size: height and width of an image in pixels.

    Returns:
        The folder ``stanford_cars/``.

    Raises:
        ValueError: a count is out of range, or the folder exists and is no stand-in: a real data
            set is never overwritten.
    """
    check_integer(classes, "classes", low=2, high=MAX_CLASSES, hint="a colour and a body each")
    check_integer(train_per_class, "train_per_class", low=1, hint="10 is usual")
    check_integer(test_per_class, "test_per_class", low=1, hint="6 is usual")
    check_integer(size, "size", low=32, hint="96 shows a car")
    base = Path(data) / "stanford_cars"
    if base.exists() and not (base / STANDIN_MARK).exists():
        raise ValueError(f"{base} exists and is no stand-in; pass another folder as data")
    partial = base.with_name(f"{base.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    rng = as_generator(rng, "standin")
    counts = {"train": train_per_class, "test": test_per_class}
    for split, per_class in counts.items():
        _write_split(partial, split, np.repeat(np.arange(classes), per_class), size, rng)
    names = [f"{colour.title()} {body.title()}" for body in BODIES for colour in COLOURS]
    write_mat(partial / CLASS_NAMES, class_names=np.array(names[:classes], dtype=object))
    recipe = {"title": STANDIN_TITLE, "classes": classes}
    recipe |= {split: classes * per_class for split, per_class in counts.items()}
    (partial / STANDIN_MARK).write_text(json.dumps(recipe, indent=2) + "\n")
    shutil.rmtree(base, ignore_errors=True)
    os.replace(partial, base)
    return base


def standin_folder(cache: str | os.PathLike, *, rng: int, **counts: int) -> Path:
    r"""Returns a data folder with a stand-in that is drawn once for all who ask for the same.

    Args:
        cache: holds the stand-ins, each under the key of all that its images depend on: the
            arguments, the code that draws and the packages that it draws with.
        rng: a seed; see `write_standin`.
        **counts: further arguments of `write_standin`.

    Returns:
        The folder that holds ``stanford_cars/``, as `load_cars` takes it.

    Raises:
        ValueError: a count is out of range.
    """
    check_integer(rng, "rng", low=0, hint="a generator's state would be used up by the first call")
    libraries = [np.__version__, PIL.__version__]
    key = {"rng": rng, **counts, "code": code_behind(__name__), "libraries": libraries}
    folder = keyed_folder(cache, "stand-in", key)
    with claim(folder / "stand-in.lock", wait=True):
        if not (folder / "stanford_cars").exists():
            write_standin(folder, rng=rng, **counts)
    return folder


def _write_split(
    base: Path, split: str, labels: NDArray[np.int64], size: int, rng: np.random.Generator
) -> None:
    labels = rng.permutation(labels)
    folder = base / f"cars_{split}"
    folder.mkdir(parents=True)
    records = np.empty(len(labels), dtype=[(field, object) for field in (*BOX, "class", "fname")])
    for row, label in enumerate(labels):
        image, box = _draw(int(label), size, rng)
        name = f"{row + 1:05d}.jpg"
        image.save(folder / name, quality=90)
        records[row] = (*box, int(label) + 1, name)
    write_mat(base / ANNOTATIONS[split], annotations=records)


def _draw(
    label: int, size: int, rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Draws one car and returns it with its box, one-based and inclusive as in the devkit."""
    body = list(BODIES.values())[label // len(COLOURS)]
    colour = np.array(list(COLOURS.values())[label % len(COLOURS)])
    ground, sky = rng.integers(70, 130), rng.integers(140, 230, 3)
    image = Image.new("RGB", (size, size), tuple(int(c) for c in sky))
    pen = ImageDraw.Draw(image)
    width = int(size * rng.uniform(0.55, 0.85))
    height = int(width * rng.uniform(0.4, 0.5))
    left = int(rng.integers(1, size - width - 1))
    top = int(rng.integers(1, size - height - 1))
    pen.rectangle((0, top + 0.8 * height, size, size), fill=(int(ground),) * 3)
    paint = tuple(int(c) for c in np.clip(colour * rng.uniform(0.75, 1.15), 0, 255))
    outline = [*body, (1, 0.85), (0, 0.85)]
    if rng.random() < 0.5:  # a car may drive either way
        outline = [(1 - x, y) for x, y in outline]
    pen.polygon([(left + x * width, top + y * height) for x, y in outline], fill=paint)
    wheel = 0.17 * height
    for centre in (0.22, 0.78):
        x, y = left + centre * width, top + height - wheel
        pen.ellipse((x - wheel, y - wheel, x + wheel, y + wheel), fill=(20, 20, 20))
    noise = rng.normal(0, 8, (size, size, 3))
    pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), (left + 1, top + 1, left + width, top + height)
