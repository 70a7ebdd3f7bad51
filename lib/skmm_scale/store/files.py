"""Files that are whole or absent, whenever the machine stops, and their digests."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_DRAFT = ".part"


class Digest:
    """A file open for writing that keeps count of its bytes and their SHA-256."""

    def __init__(self, file: BinaryIO):
        self._file, self._hash, self.bytes = file, hashlib.sha256(), 0

    def write(self, content: Any) -> int:
        """Writes bytes, or anything that lies in memory as such."""
        view = memoryview(content).cast("B")
        self._file.write(view)
        self._hash.update(view)
        self.bytes += view.nbytes
        return view.nbytes

    @property
    def sha256(self) -> str:
        """Digest of what has been written so far, in hexadecimal digits."""
        return self._hash.hexdigest()


@contextmanager
def written(path: Path) -> Iterator[Digest]:
    """Writes a file under another name and, if the block succeeds, gives it its own.

    File and folder are on the disk when the block has ended; drafts of the same file that a
    process left when it was killed are removed.
    """
    remove_drafts(path.parent, path.name)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_DRAFT, dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield Digest(file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        os.replace(draft, path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def remove_drafts(folder: Path, name: str = "*") -> None:
    """Removes what killed processes left of the file ``name``, or of all files of a folder."""
    for draft in folder.glob(f".{name}.*{_DRAFT}"):
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Brings names that were given or taken in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
