"""Repeated sketches: maps x sizes x draws, measured or timed into one tidy table."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_integer, check_rows
from skmm.sketching import Sketch

if TYPE_CHECKING:
    import pandas as pd

Draw = Callable[..., Sketch]
Measure = Callable[[NDArray[np.floating]], Mapping[str, Any]]

_ROWS = 4
"""Rows that a timed map sketches: a million entries each, they still fit the memory of a laptop."""


def sketch_trials(
    rows: ArrayLike,
    draws: Mapping[str, Draw],
    sizes: Iterable[int],
    *,
    seeds: Iterable[int],
    measure: Measure,
) -> pd.DataFrame:
    r"""Sketches a pool with every map, size and seed, and measures every :math:`\tilde G`.

    Args:
        rows: :math:`G`, shape ``[N, r]``.
        draws: Name of a map -> ``draw(r, m, rng=seed)``, such as `skmm.GaussianSketch.draw`.
        sizes: Sketch sizes ``m``.
        seeds: One whole number a draw.
        measure: ``measure(sketched)`` -> column -> value; ``sketched`` has shape ``[N, m]``.

    Returns:
        One row a draw: ``map``, ``m``, ``seed`` and what was measured.

    Raises:
        ValueError: A size outside ``1..r``, or a seed that is none.
    """
    import pandas as pd

    rows = check_rows(rows, "rows")
    sizes, seeds = list(sizes), list(seeds)
    return pd.DataFrame(
        {"map": name, "m": m, "seed": seed, **measure(draw(rows.shape[1], m, rng=seed)(rows))}
        for name, draw in draws.items()
        for m in sizes
        for seed in seeds
    )


def sketch_costs(
    draws: Mapping[str, Draw], dimensions: Iterable[int], m: int, *, repeats: int = 3
) -> pd.DataFrame:
    r"""Times every map on four rows of every dimension, and traces the memory that it takes.

    Seconds are those of the processor, so that other processes on the machine count little. Memory
    is the peak of draw and use together, beyond the rows; tracing slows allocation, so it has a run
    of its own.

    Args:
        draws: Name of a map -> ``draw(r, m, rng=seed)``.
        dimensions: Dimensions ``r`` of the rows.
        m: Sketch size.
        repeats: How often each is timed.

    Returns:
        One row a repeat: ``map``, ``r``, ``repeat``, ``draw_seconds``, ``sketch_seconds`` and
        ``megabytes`` (10⁶ bytes, the same in all repeats).

    Raises:
        ValueError: ``repeats`` is below 1, or ``m`` is outside ``1..r``.
    """
    import pandas as pd

    check_integer(repeats, "repeats", low=1, hint="it is how often each map is timed")
    found = []
    for r in dimensions:
        rows = np.ones((_ROWS, r))
        for name, draw in draws.items():
            megabytes = _peak(lambda: draw(r, m, rng=0)(rows)) / 1e6  # noqa: B023
            for repeat in range(repeats):
                begin = time.process_time()
                sketch = draw(r, m, rng=repeat)
                drawn = time.process_time()
                sketch(rows)
                seconds = {"draw_seconds": drawn - begin}
                seconds["sketch_seconds"] = time.process_time() - drawn
                row = {"map": name, "r": r, "repeat": repeat, **seconds, "megabytes": megabytes}
                found.append(row)
    return pd.DataFrame(found)


def _peak(run: Callable[[], object]) -> int:
    """Returns the most bytes that ``run`` held at once."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
