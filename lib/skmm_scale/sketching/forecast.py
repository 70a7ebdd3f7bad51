"""What a sketch will take, from its first block: time, memory, space."""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmm.numerics.threads import one_thread
from skmm_scale.sketching.shards import Source
from skmm_scale.store.manifest import Recipe


@dataclass(frozen=True)
class Forecast:
    """What is to be expected.

    Attributes:
        seconds: Processor time of one worker.
        memory: Bytes that the process will hold at its peak.
        space: Bytes that the shards take on disk.
    """

    seconds: float
    memory: int
    space: int


def foresee(source: Source, recipe: Recipe, shards: Sequence[int]) -> Forecast:
    """Makes the first block of rows, twice, and tells what all of them will take.

    The first time brings data and code to memory, the second is timed, with the digests that a
    shard needs. What is held does not grow after the first block, and so is measured, not reckoned.
    Time on a slow disk is not in it.

    Args:
        source: Makes the rows.
        recipe: Of the store.
        shards: Those to be made, at least one.
    """
    samples = recipe.layout.samples(shards[0])
    with one_thread():
        for _ in range(2):
            begin = time.perf_counter()
            block = next(source.blocks(samples, hashlib.sha256()))
            cast = np.ascontiguousarray(block, recipe.dtype)
            hashlib.sha256(cast)
            elapsed = time.perf_counter() - begin
    rows = sum(len(recipe.layout.samples(number)) for number in shards)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Forecast(
        seconds=elapsed / len(block) * rows,
        memory=peak if sys.platform == "darwin" else peak * 1024,  # the one counts bytes
        space=rows * cast.nbytes // len(cast),
    )
