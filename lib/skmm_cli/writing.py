"""Files out: whole or not at all, and never over another without leave."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.extras import extra
from skmm_cli.errors import CommandError, UsageError, reason


@dataclass
class Outputs:
    """Files that appear together when all of them are complete, under their own names.

    Attributes:
        force: Whether a file that is there may be replaced.
    """

    force: bool = False
    _places: dict[Path, Path] = field(default_factory=dict)

    def reserve(self, path: Path) -> None:
        """Makes sure, before any work is done, that ``path`` can be written.

        Raises:
            CommandError: something is there, or nothing can be put there.
        """
        try:
            final = Path(os.path.realpath(path))
            if final in self._places:
                raise UsageError(f"two outputs are the same file {path}")
            there = final.stat() if final.exists() else None
            if there is not None and not stat.S_ISREG(there.st_mode):
                raise CommandError(f"{path} is there and no plain file; choose another name")
            if there is not None and not self.force:
                raise CommandError(f"{path} exists already; --force replaces it")
            handle, draft = tempfile.mkstemp(prefix=".skmm-", suffix=".part", dir=final.parent)
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot write {path}: {reason(error)}") from error
        os.close(handle)
        self._places[final] = Path(draft)

    def write(self, path: Path, content: Callable[[BinaryIO], None]) -> None:
        """Writes the draft of a reserved file, down to the disk.

        Raises:
            CommandError: the disk takes no more.
        """
        draft = self._places[Path(os.path.realpath(path))]
        try:
            with draft.open("wb") as file:
                content(file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CommandError(f"cannot write {path}: {reason(error)}") from error

    def publish(self) -> None:
        """Gives all drafts their names.

        Raises:
            CommandError: another file has taken one of the names meanwhile.
        """
        mask = os.umask(0)
        os.umask(mask)
        for final, draft in self._places.items():
            os.chmod(draft, 0o666 & ~mask)
            if not self.force and final.exists():
                raise CommandError(f"{final} has appeared meanwhile; --force replaces it")
        while self._places:
            final, draft = next(iter(self._places.items()))
            os.replace(draft, final)
            del self._places[final]

    def discard(self) -> None:
        """Removes all drafts."""
        while self._places:
            with suppress(OSError):
                self._places.popitem()[1].unlink()


@contextmanager
def outputs(*paths: Path | None, force: bool) -> Iterator[Outputs]:
    """Reserves ``paths``, those that are given; on success they are there, otherwise none is.

    Raises:
        CommandError: one of them cannot be written.
    """
    with ExitStack() as stack:
        made = Outputs(force)
        stack.callback(made.discard)
        for path in paths:
            if path is not None:
                made.reserve(path)
        yield made
        made.publish()


def check_suffix(path: Path | None, known: tuple[str, ...]) -> None:
    """Refuses an output of a format that is unknown."""
    if path is not None and path.suffix.lower() not in known:
        raise UsageError(
            f"output {path} has the suffix {path.suffix!r}, but skmm writes {', '.join(known)}"
        )


def encode(columns: Mapping[str, NDArray], suffix: str) -> Callable[[BinaryIO], None]:
    """Returns what writes a table of one row a chosen sample.

    Args:
        columns: By name, each of shape ``[n]``; ``index`` among them.
        suffix: ``.csv``, ``.parquet``, or ``.npy``, which holds the indices alone.
    """
    if suffix == ".npy":
        indices = np.asarray(columns["index"], dtype=np.int64)
        return lambda file: np.lib.format.write_array(file, indices, allow_pickle=False)
    if suffix == ".csv":
        return lambda file: file.write(as_csv(columns).encode())
    with extra("cli", needed_by="writing Parquet"):
        import pyarrow
        from pyarrow import parquet
    table = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
    return lambda file: parquet.write_table(table, file)


def as_csv(columns: Mapping[str, NDArray]) -> str:
    """Returns a table as CSV: a header, then a line a row."""
    lists = [column.tolist() for column in columns.values()]
    lines = [",".join(map(_cell, columns))]
    lines += [",".join(map(_cell, row)) for row in zip(*lists, strict=True)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    if any(mark in text for mark in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text
