"""One choice from a pool on disk, timed stage by stage, in a module that is quick to import."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.selection.selectors import SELECTORS
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.seams import choose_in_cells
from skmm.selection.selectors.stratified import cells_of
from skmm.selection.view import look_at
from skmm_study.trials.costs import resident_peak

STAGES = ("spectrum", "cells", "choosing")
"""In the order in which they run; by candidates, there is no stage of cells."""


def staged_choice(
    path: Path, n: int, *, criterion: str, seed: int
) -> tuple[NDArray[np.intp], dict[str, float]]:
    """Chooses n rows of a file as `skmm.select` does, stage by stage.

    Returns:
        The subset, and processor seconds of each stage and of all, and the peak of the process.
    """
    clock = [time.process_time()]

    def lap() -> None:
        clock.append(time.process_time())

    pool, rng = look_at(np.load(path, mmap_mode="r"), None, "gaussian", seed)
    spectrum = pool.spectrum
    lap()
    if criterion == "balanced":
        nothing = np.zeros(0, dtype=np.intp)
        knobs: dict[str, Any] = {"kept": nothing, "sigma": 1.0, "weight": None}
        cells = cells_of(pool.sketched, n, metric=Metric("row", spectrum), rng=rng, **knobs)
        lap()
        indices, _ = choose_in_cells(pool.sketched, cells)
    else:
        lap()
        indices = SELECTORS["skmm"].choose(pool, n, rng=rng, criterion=criterion).indices
    lap()
    laps = dict(zip(STAGES, np.diff(clock), strict=True))
    costs = {f"{stage}_seconds": float(seconds) for stage, seconds in laps.items()}
    return indices, costs | {"seconds": clock[-1] - clock[0], "peak_mb": resident_peak()}
