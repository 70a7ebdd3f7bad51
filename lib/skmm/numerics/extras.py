"""Optional dependencies: what brings them, said where they are missing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def extra(name: str, *, needed_by: str) -> Generator[None]:
    """Wraps the import of an optional dependency; if it is missing, says which extra brings it.

    Args:
        name: Extra of the distribution `skmm` that installs what is imported in the block.
        needed_by: What the caller asked for, in the caller's words.

    Raises:
        ImportError: a module that the block imports is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ImportError(
            f'{needed_by} needs {missing}: pip install "skmm[{name}]"', name=missing
        ) from error
