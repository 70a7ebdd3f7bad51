"""Files that are either whole or absent, their digests, and claims that end with their holder."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes ``content`` to ``path`` so that no reader, nor a crash, ever sees half of it.

    It is on the disk when this returns; missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sha256(content: Path | bytes) -> str:
    """Returns the hexadecimal SHA-256 of a file, read in blocks, or of bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def claim(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds the lock file ``path`` for this block, if no other process does.

    The system frees it when its holder ends, however it ends, so no claim is ever stale.

    Args:
        path: a file of its own for this purpose, in a folder that exists.
        wait: whether to wait for another holder.

    Yields:
        Whether it is held; always true if told to wait.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Whoever waited for this file finds it gone, and asks for a new one.
        path.unlink(missing_ok=True)
        lock.release()
