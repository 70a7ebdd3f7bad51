"""Where randomness comes from: a generator, or a seed that names one."""

from __future__ import annotations

import numbers

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence


def as_generator(rng: int | np.random.Generator) -> np.random.Generator:
    """Returns the generator that ``rng`` names: itself, or a fresh one seeded by an integer.

    Raises:
        ValueError: ``rng`` is neither a non-negative integer nor a generator.
    """
    if isinstance(rng, np.random.Generator):
        if not isinstance(rng.bit_generator.seed_seq, ISpawnableSeedSequence):
            raise ValueError(
                f"rng must be able to spawn, got a generator around {rng.bit_generator!r}, which "
                "has no seed sequence; make it by numpy.random.default_rng(seed)"
            )
        return rng
    if isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(int(rng))
    raise ValueError(
        f"rng must be a non-negative int or a numpy.random.Generator, got {rng!r}; "
        "pass for example rng=0"
    )
