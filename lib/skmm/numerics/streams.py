"""Where randomness comes from: a generator, or a seed that names one stream for each object.

A seed is shared: a study draws its pool, its sketch and its subset from ``rng=3``. If all of them
read the same numbers, the map would span the pool's cluster centres. So every function that takes a
seed names its own stream, and no two functions name the same.
"""

from __future__ import annotations

import hashlib
import numbers

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence


def as_generator(rng: int | np.random.Generator, stream: str) -> np.random.Generator:
    """Returns the generator that ``rng`` names: itself, or a fresh one for a seed and a stream.

    Generators of one seed and different streams are independent, of each other and of
    ``numpy.random.default_rng(seed)``, as children of one ``SeedSequence`` are: the stream's name
    is hashed to the key of the child, the same on every machine.

    Args:
        rng: Seed, or a generator, which is used as it is.
        stream: What is drawn, such as ``"sketch.gaussian"``: a name that nothing else has.

    Raises:
        ValueError: ``rng`` is neither a non-negative integer nor a generator.

    Example:
        >>> import skmm
        >>> one, two = skmm.as_generator(3, "pool"), skmm.as_generator(3, "labels")
        >>> bool(one.integers(10**9) == two.integers(10**9))
        False
        >>> skmm.as_generator(one, "labels") is one
        True
    """
    if isinstance(rng, np.random.Generator):
        if not isinstance(rng.bit_generator.seed_seq, ISpawnableSeedSequence):
            raise ValueError(
                f"rng must be able to spawn, got a generator around {rng.bit_generator!r}, which "
                "has no seed sequence; make it by numpy.random.default_rng(seed)"
            )
        return rng
    if isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and rng >= 0:
        hashed = hashlib.blake2b(stream.encode(), digest_size=16).digest()
        key = tuple(int(word) for word in np.frombuffer(hashed, "<u4"))
        return np.random.default_rng(np.random.SeedSequence(int(rng), spawn_key=key))
    raise ValueError(
        f"rng must be a non-negative int or a numpy.random.Generator, got {rng!r}; "
        "pass for example rng=0"
    )
