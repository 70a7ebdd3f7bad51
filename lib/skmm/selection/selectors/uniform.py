"""Uniform sampling, the baseline that every claim is measured against; also class by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.signals import require_labels


@selector("uniform", label="Uniform", cost="N", reference="-", keeps=True)
def choose_uniformly(pool: Pool, n: int, *, rng: np.random.Generator) -> Choice:
    """Samples uniformly without replacement."""
    return Choice(rng.choice(pool.others, n, replace=False))


@selector(
    "class_balanced",
    label="Class-balanced",
    cost="N log N",
    reference="-",
    needs=("labels",),
    nested=True,
    keeps=True,
)
def choose_by_class(
    pool: Pool, n: int, *, rng: np.random.Generator, labels: ArrayLike | None = None
) -> Choice:
    """Samples uniformly within classes, as many from each as the class sizes allow.

    Classes are dealt one sample at a time until they are used up; which of them get one more when
    ``n`` does not divide evenly is random. ``labels`` ``[N]`` are those of the whole pool. Samples
    kept were dealt before.
    """
    labels = require_labels(labels, pool.N)
    shuffled, outside = rng.permutation(pool.N), pool.outside()
    shuffled = shuffled[np.argsort(outside[shuffled], kind="stable")]
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    deal = np.arange(pool.N) - np.repeat(starts, sizes)
    turn = np.repeat(rng.permutation(len(sizes)), sizes)
    dealt = by_class[np.lexsort((turn, deal))]
    return Choice(dealt[outside[dealt]][:n])
