"""A split of an image data set: files on disk that decode to the last row, labels, class names."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skmm_study.storage.files import sha256


@dataclass(frozen=True)
class ImageSet:
    r"""Images on disk with labels: a split of Stanford Cars or of its stand-in, or all of UTKFace.

    Attributes:
        title: what the images are; names a stand-in as such and belongs on every figure.
        split: ``"train"`` (the pool of N images) or ``"test"``; ``"all"`` where none is given.
        folder: the folder with the images.
        names: file names, one an image, in the order of the annotations.
        labels: classes ``0..C-1``, or ages in years, shape ``[N]``.
        class_names: the C names; none where there are no classes.
        boxes: annotated boxes (x1, y1, x2, y2), one-based and inclusive as in the devkit, shape
            ``[N, 4]``; ``None`` where the annotations have none.
    """

    title: str
    split: str
    folder: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    boxes: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int, *, crop: bool = False) -> Image.Image:
        """Decodes image ``index`` to RGB.

        Args:
            index: row of the image in this split.
            crop: cut the image to its annotated box.

        Raises:
            ValueError: the file does not decode to its end, there is no box to crop to, or the box
                lies outside the image, as it does in a copy that is already cropped.
        """
        path = self.folder / self.names[index]
        image = decode(path)
        if not crop:
            return image
        if self.boxes is None:
            raise ValueError(
                f"crop needs the annotated boxes, and the annotations of {self.folder} have none "
                "(the parquet mirror carries no boxes); pass crop=False"
            )
        left, top, right, bottom = (int(edge) for edge in self.boxes[index])
        if not (1 <= left < right <= image.width and 1 <= top < bottom <= image.height):
            raise ValueError(
                f"the box {(left, top, right, bottom)} of {path} lies outside the image of "
                f"{image.width}x{image.height}: this copy is cropped or resized; pass crop=False"
            )
        return image.crop((left - 1, top - 1, right, bottom))

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of every file, in order; reads each file once."""
        return tuple(sha256(self.folder / name) for name in self.names)

    def content_hash(self, *, crop: bool = False) -> str:
        """SHA-256 of what features depend on: the files, their order, and the boxes if cut to."""
        total = hashlib.sha256("".join(self.digests).encode())
        if crop and self.boxes is not None:
            total.update(np.ascontiguousarray(self.boxes, dtype="<i8").tobytes())
        return total.hexdigest()


def decode(path: Path) -> Image.Image:
    """Decodes an image file to RGB, to its last row.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or it is cut short.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: fetch this file again") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{path} does not decode ({error}): fetch this file again, it is damaged or cut short"
        ) from error


def duplicate_groups(*sets: ImageSet) -> list[list[tuple[int, int]]]:
    """Finds images whose files are the same byte for byte, within and across ``sets``.

    Returns:
        One list a group of at least two files, each file as (position in ``sets``, row). Rows of a
        test set that share a group with the pool have leaked into training.
    """
    groups = defaultdict(list)
    for position, images in enumerate(sets):
        for row, digest in enumerate(images.digests):
            groups[digest].append((position, row))
    return [group for group in groups.values() if len(group) > 1]
