"""What a sketch will take, from its first block: time, memory, space."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmm.numerics.threads import one_thread
from skmm_scale.sketching.shards import Source
from skmm_scale.store.building import Building
from skmm_scale.store.files import Digest

_MOMENT = 0.3
"""Seconds that blocks are timed for: one alone is too short beside other processes."""


@dataclass(frozen=True)
class Forecast:
    """What is to be expected.

    Attributes:
        seconds: Time of one worker.
        memory: Bytes that the process will hold at its peak.
        space: Bytes that the shards take on disk.
    """

    seconds: float
    memory: int
    space: int


def foresee(source: Source, building: Building, shards: Sequence[int]) -> Forecast:
    """Makes the first blocks of rows and tells what all of them will take.

    The first brings data and code to memory; those after it are timed for a moment, with
    digests and the way to the disk. What is held does not grow after the first, and so is measured,
    not reckoned.

    Args:
        source: Makes the rows.
        building: The store in the making, begun.
        shards: Those to be made, at least one.
    """
    recipe = building.recipe
    samples = recipe.layout.samples(shards[0])
    with one_thread():
        _time(source, building, samples, most=0.0)
        per_row = _time(source, building, samples, most=_MOMENT)
    rows = sum(len(recipe.layout.samples(number)) for number in shards)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Forecast(
        seconds=per_row * rows,
        memory=peak if sys.platform == "darwin" else peak * 1024,  # the one counts bytes
        space=rows * recipe.m * np.dtype(recipe.dtype).itemsize,
    )


def _time(source: Source, building: Building, samples: range, *, most: float) -> float:
    """Makes a block, and more for so many seconds; returns the seconds that a row took."""
    begin, count = time.perf_counter(), 0
    with tempfile.TemporaryFile(dir=building.path) as draft:
        file = Digest(draft)
        for block in source.blocks(samples, hashlib.sha256()):
            file.write(np.ascontiguousarray(block, building.recipe.dtype))
            count += len(block)
            if time.perf_counter() - begin > most:
                break
        draft.flush()
        os.fsync(draft.fileno())
    return (time.perf_counter() - begin) / count
