"""What pairs the trials of one seed: all methods and budgets are evaluated alike."""

from __future__ import annotations

import numpy as np

from skmm.numerics.streams import as_generator


def evaluation_rng(seed: int) -> np.random.Generator:
    """Returns what a subset is evaluated with: the same for all methods and budgets of a seed."""
    return as_generator(seed, "evaluation")
