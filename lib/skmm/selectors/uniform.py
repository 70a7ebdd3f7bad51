"""Uniform sampling, the baseline that every claim is measured against."""

from __future__ import annotations

import numpy as np

from skmm.selectors.base import Choice, Pool, selector


@selector("uniform", cost="N", reference="-")
def choose_uniformly(pool: Pool, n: int, *, rng: np.random.Generator) -> Choice:
    """Samples uniformly without replacement."""
    return Choice(rng.choice(pool.N, n, replace=False))
