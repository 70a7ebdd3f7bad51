"""Labelled queries as they lie on disk: BANKING77 and CLINC150, checked before they are used."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_choice
from skmm_study.pools.folder import SETTING, data_folder
from skmm_study.storage.files import sha256


@dataclass(frozen=True)
class QuerySet:
    r"""Sentences with their intents: a training pool and its test set.

    Attributes:
        title: what the queries are; belongs on every figure.
        licence: the terms of the source, and whom to name.
        pool: N sentences.
        pool_labels: classes ``0..C-1``, shape ``[N]``.
        test: N_test sentences.
        test_labels: shape ``[N_test]``.
        class_names: the C names.
        files: SHA-256 of every file that was read, by its path in the data folder.
    """

    title: str
    licence: str
    pool: tuple[str, ...]
    pool_labels: NDArray[np.int64]
    test: tuple[str, ...]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    files: dict[str, str]


def load_queries(name: str, data: str | os.PathLike | None = None) -> QuerySet:
    """Reads one of the data sets from a copy of its official files.

    Args:
        name: ``"banking77"``, from ``banking77/`` with ``train.csv``, ``test.csv`` (columns
            ``text`` and ``category``) and ``categories.json``, whose order is that of the classes;
            or ``"clinc150"``, from ``clinc150/data_imbalanced.json``: its ``train`` and ``test``
            rows, classes in the order of their names. CLINC150's validation rows and its
            out-of-scope queries are not read.
        data: the folder that holds ``banking77/`` and ``clinc150/``; see `skmm_study.data_folder`.

    Returns:
        Sentences and labels in the order of the files.

    Raises:
        FileNotFoundError: a file is missing; says where to put it.
        ValueError: a file does not read, a row has no text or an unknown class, or a class is
            absent from a split; file and row are named.

    References:
        Efficient Intent Detection with Dual Sentence Encoders (Casanueva et al., 2020)

        An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction (Larson et al.,
        2019)
    """
    check_choice(name, "name", tuple(READERS))
    return READERS[name](data_folder(data))


def _banking77(data: Path) -> QuerySet:
    train, test, names = (
        data / "banking77" / name for name in ("train.csv", "test.csv", "categories.json")
    )
    files = _digests(data, (train, test, names))
    return _assemble(
        "BANKING77",
        "CC BY 4.0, PolyAI Limited (Casanueva et al., 2020)",
        {path: _parsed(path, _csv_pairs) for path in (train, test)},
        tuple(_parsed(names, json.loads)),
        files,
    )


def _clinc150(data: Path) -> QuerySet:
    path = data / "clinc150" / "data_imbalanced.json"
    files = _digests(data, (path,))
    train, test = _parsed(path, _json_pairs)
    return _assemble(
        "CLINC150, imbalanced",
        "CC BY 3.0, Clinc, Inc. (Larson et al., 2019)",
        {f"{path}, train": train, f"{path}, test": test},
        tuple(sorted({intent for _, intent in train})),
        files,
    )


READERS: dict[str, Callable[[Path], QuerySet]] = {"banking77": _banking77, "clinc150": _clinc150}


def _digests(data: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the files, all of which must be there."""
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path}; put a copy of the official one there, or point "
                f"{SETTING} at the folder that holds {path.parent.name}/"
            )
    return {path.relative_to(data).as_posix(): sha256(path) for path in paths}


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not read as the official file ({error}): fetch it again, it is damaged, "
            "cut short or of another format"
        ) from error


def _csv_pairs(text: str) -> list[tuple[str, str]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [(row["text"], row["category"]) for row in rows]


def _json_pairs(text: str) -> list[list[tuple[str, str]]]:
    splits = json.loads(text)
    return [[(str(text), str(intent)) for text, intent in splits[x]] for x in ("train", "test")]


def _assemble(
    title: str,
    licence: str,
    splits: Mapping[Any, Sequence[tuple[str, str]]],
    class_names: tuple[str, ...],
    files: dict[str, str],
) -> QuerySet:
    """Checks the rows of pool and test, in this order and by the name of their place."""
    classes = {name: number for number, name in enumerate(class_names)}
    read = []
    for place, rows in splits.items():
        for number, (text, intent) in enumerate(rows):
            if not text or not text.strip() or intent not in classes:
                raise ValueError(
                    f"{place}: row {number} must be a text and one of {len(classes)} intents, got "
                    f"{text!r} and {intent!r}: fetch the file again"
                )
        labels = np.array([classes[intent] for _, intent in rows], np.int64)
        if len(absent := np.setdiff1d(np.arange(len(classes)), labels)):
            raise ValueError(
                f"{place} has no row of {len(absent)} of {len(classes)} intents, for example "
                f"{class_names[absent[0]]!r}: fetch the file again, it is cut short"
            )
        read += [tuple(text for text, _ in rows), labels]
    return QuerySet(title, licence, *read, class_names, files)
