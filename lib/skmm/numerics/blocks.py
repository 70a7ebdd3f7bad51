"""Rows in blocks, so that the temporaries of a product stay small and in the cache."""

from __future__ import annotations

BLOCK_ENTRIES = 1 << 18
"""Entries of a temporary block: 2 MB of float64, about a core's L2 cache."""


def blocks(count: int, width: int, *, least: int = 1) -> list[slice]:
    """Cuts ``count`` rows of ``width`` entries into slices of a block's entries.

    Args:
        count: Number of rows.
        width: Entries that a row takes, 0 counts as 1.
        least: Rows of a block at least, however wide they are.
    """
    step = max(least, BLOCK_ENTRIES // max(width, 1))
    return [slice(i, i + step) for i in range(0, count, step)]
