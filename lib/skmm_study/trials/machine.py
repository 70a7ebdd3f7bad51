"""How near the machine's own limits the stages come that read every row."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from skmm.numerics.streams import as_generator
from skmm.sketching import SparseSignSketch
from skmm.spectrum import Spectrum

if TYPE_CHECKING:
    import pandas as pd

_SQUARE = 1024
"""Side of the matrices whose product is the yardstick of arithmetic."""


def machine_trials(
    N: int, m: int, *, r: int, size: int, megabytes: int = 128, repeats: int = 3
) -> pd.DataFrame:
    r"""Times a copy, a product of matrices, a spectrum and a sketch, one after the other.

    The copy is of the rows that are sketched, into a buffer that was written to before, and is
    counted as one byte read and one written; the sketch as the bytes of its rows, the spectrum as
    :math:`N m^2` multiplications and additions for half of :math:`G^\top G`, in double precision.
    Of several runs the quickest counts, in processor time.

    Args:
        N: Rows of the spectrum, in single precision.
        m: Numbers of each.
        r: Numbers of the rows that are sketched.
        size: Of their sketch.
        megabytes: Of these rows.
        repeats: Runs of each.

    Returns:
        One row a stage: ``stage``, ``seconds``, ``amount`` and ``unit`` of what it did (10⁹ bytes
        or operations), ``rate_per_seconds`` and ``share`` of the yardstick of that unit.
    """
    import pandas as pd

    rng = as_generator(0, "machine")
    rows = rng.standard_normal((max(1, megabytes * 250_000 // r), r), dtype=np.float32)
    pool = rng.standard_normal((N, m), dtype=np.float32)
    square, buffer = rng.standard_normal((_SQUARE, _SQUARE)), np.ones_like(rows)
    sketch = SparseSignSketch.draw(r, size, rng=0)
    gigabytes = rows.nbytes / 1e9
    stages: list[tuple[str, Callable[[], object], float, str]] = [
        ("copy of rows", lambda: np.copyto(buffer, rows), 2 * gigabytes, "GB"),
        ("sketch of rows", lambda: sketch(rows), gigabytes, "GB"),
        ("product", lambda: square @ square, 2 * _SQUARE**3 / 1e9, "GFLOP"),
        ("spectrum", lambda: Spectrum.of(pool), N * m * (m + 1) / 1e9, "GFLOP"),
    ]
    found = []
    for stage, run, amount, unit in stages:
        run()
        seconds = processor_seconds(run, repeats)
        rate = amount / seconds
        row = {"stage": stage, "seconds": seconds, "amount": amount, "unit": unit}
        found.append(row | {"rate_per_seconds": rate})
    frame = pd.DataFrame(found)
    yardstick = frame.groupby("unit")["rate_per_seconds"].transform("first")
    # A copy of the same rows takes as long as it takes: what it writes is no lead of its own.
    same = frame["seconds"].iloc[0] / frame["seconds"]
    copied = frame["unit"] == "GB"
    frame["share"] = np.where(copied, same, frame["rate_per_seconds"] / yardstick)
    return frame


def processor_seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Returns the least processor time of some runs."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return min(seconds)
