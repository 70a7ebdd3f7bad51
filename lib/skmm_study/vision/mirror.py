"""``make data``: fetches the pinned parquet mirror of Stanford Cars into torchvision's layout.

Needs ``pip install 'skmm[data]'``. Run as ``python -m skmm_study.vision.mirror [--data FOLDER]``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from skmm_study.pools.folder import data_folder, shipped_folder
from skmm_study.storage.files import sha256
from skmm_study.vision.cars import ANNOTATIONS, CLASS_NAMES, load_cars
from skmm_study.vision.matlab import write_mat

PIN = "stanford_cars.json"
BLOCK = 1 << 20


def fetch_cars(data: str | os.PathLike | None = None, *, pin: str | os.PathLike | None = None):
    """Downloads, verifies and unpacks the mirror; goes on where an earlier call was interrupted.

    Announces licence and size first. Nothing appears under its final name before it is whole: not
    a parquet file before its SHA-256 is the pinned one, not ``stanford_cars/`` before it passes
    :func:`skmm_study.vision.cars.load_cars`. The mirror has no boxes, so images cannot be cropped.

    Args:
        data: the data folder; see :func:`skmm_study.pools.folder.data_folder`.
        pin: the file with revision, names and SHA-256; by default the one of the checkout.

    Returns:
        The folder ``stanford_cars/``.

    Raises:
        ValueError: the target exists, the disk is too small, or a file is not the pinned one.
        ConnectionError: the mirror cannot be reached; what has arrived is kept.
    """
    target = data_folder(data) / "stanford_cars"
    if target.exists():
        raise ValueError(f"{target} exists already; remove it to fetch it again")
    pin = json.loads(Path(pin or shipped_folder() / PIN).read_text())
    files = [entry for entries in pin["splits"].values() for entry in entries]
    megabytes = sum(entry["megabytes"] for entry in files)
    print(f"{pin['name']}, revision {pin['revision'][:12]}")
    print(f"licence: {pin['licence']}")
    print(f"{len(files)} files, {megabytes:,} MB to download, twice that on disk until unpacked")
    target.parent.mkdir(parents=True, exist_ok=True)
    download = target.with_name("stanford_cars.download")
    arrived = sum(path.stat().st_size for path in download.rglob("*") if path.is_file())
    free, needed = shutil.disk_usage(target.parent).free, 2 * megabytes * 10**6 - arrived
    if free < needed:
        raise ValueError(
            f"{target.parent} has {free // 10**6:,} MB free, {needed // 10**6:,} MB are needed; "
            "pass another folder with --data"
        )
    for entry in files:
        url = pin["url"].format(revision=pin["revision"], file=entry["file"])
        fetch_file(url, download / entry["file"], pinned=entry["sha256"])
    unpacked = download / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for split, entries in pin["splits"].items():
        unpack_split(
            [download / entry["file"] for entry in entries], unpacked / "stanford_cars", split
        )
    for split in pin["splits"]:
        load_cars(unpacked, split=split)
    os.replace(unpacked / "stanford_cars", target)
    shutil.rmtree(download)
    return target


def fetch_file(url: str, path: Path, *, pinned: str) -> None:
    """Downloads one file, from where a partial download stopped, and verifies it.

    By hand, since of 2 GB nobody wants to fetch half twice: pooch knows no ranges and starts over.

    Raises:
        ConnectionError: the server cannot be reached or hangs up; the part so far is kept.
        ValueError: the whole file has another SHA-256 than pinned; it is removed.
    """
    if path.exists() and sha256(path) == pinned:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            resumed = response.status == 206
            length = int(response.headers.get("Content-Length", 0))
            _append(response, partial, have if resumed else 0, length, path.name)
    except urllib.error.HTTPError as error:
        # 416: nothing is left to send, the part is the whole file or not a part of it.
        if error.code != 416:
            raise ConnectionError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, urllib.error.URLError) as error:
        raise ConnectionError(
            f"{url} broke off ({error}); run again to go on where it stopped"
        ) from error
    if (found := sha256(partial)) != pinned:
        partial.unlink()
        raise ValueError(
            f"{path.name} from {url} has SHA-256 {found}, pinned is {pinned}; it was removed. "
            "Run again; if it stays so, the mirror has changed and must not be used"
        )
    os.replace(partial, path)


def _append(response, partial: Path, have: int, length: int, title: str) -> None:
    bar = tqdm(total=have + length or None, initial=have, desc=title, unit="B", unit_scale=True)
    with bar, partial.open("ab" if have else "wb") as file:
        while block := response.read(BLOCK):
            file.write(block)
            bar.update(len(block))
    if length and bar.n != have + length:
        raise OSError(f"{bar.n - have} of {length} bytes arrived")


def unpack_split(files: list[Path], base: Path, split: str) -> None:
    """Writes the images of parquet ``files`` as they are, with annotations and class names.

    Raises:
        ValueError: a file does not carry the class names of the mirror.
        ImportError: pyarrow is not installed.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError("parquet files need pyarrow: pip install 'skmm[data]'") from error
    folder = base / f"cars_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for path in files:
        table = ParquetFile(path)
        class_names = _class_names(table, path)
        for batch in table.iter_batches(batch_size=64, columns=["image", "label"]):
            for row in batch.to_pylist():
                name = f"{len(records) + 1:05d}.jpg"
                (folder / name).write_bytes(row["image"]["bytes"])
                records.append((row["label"] + 1, name))
    annotations = np.array(records, dtype=[("class", object), ("fname", object)])
    write_mat(base / ANNOTATIONS[split], annotations=annotations)
    write_mat(base / CLASS_NAMES, class_names=np.array(class_names, dtype=object))


def _class_names(table, path: Path) -> list[str]:
    """The class names in the schema of a parquet file, in the order of the labels."""
    try:
        features = json.loads(table.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        return features["label"]["names"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not carry the class names of the mirror ({error!r}): fetch it again"
        ) from error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="data folder (default: SKMM_DATA, else data/)")
    parser.add_argument("--pin", help=f"pin file (default: data/{PIN})")
    options = parser.parse_args()
    print(f"ready: {fetch_cars(options.data, pin=options.pin)}")
