"""Scores of how hard a sample is to learn, from the course of a training run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.ties import rounding_share
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.ranking import largest
from skmm.selection.selectors.signals import (
    require_checkpoints,
    require_correctness,
    require_labels,
)


def _error_norms(
    probabilities: ArrayLike | None, labels: ArrayLike | None, N: int
) -> tuple[NDArray[np.float64], float]:
    r"""Returns :math:`\|p_i - e_{y_i}\|`, averaged over checkpoints, ``[N]``, and its rounding."""
    checkpoints = require_checkpoints(probabilities, N)
    labels = require_labels(labels, N, C=checkpoints[0].shape[1])
    norms = np.zeros(N)
    for p in checkpoints:
        errors = p.copy()
        errors[np.arange(N), labels] -= 1.0
        norms += np.linalg.norm(errors, axis=1)
    return norms / len(checkpoints), rounding_share(checkpoints[0].shape[1])


@selector(
    "el2n",
    label="EL2N",
    needs=("labels", "early_probabilities"),
    cost="N C T",
    reference="Paul et al. (2021), arXiv 2107.07075",
    nested=True,
    keeps=True,
)
def take_largest_errors(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    labels: ArrayLike | None = None,
    early_probabilities: ArrayLike | None = None,
) -> Choice:
    r"""Takes the samples with the largest errors of the predicted probabilities (EL2N).

    .. math:: \max_i\ \tfrac1T \sum_t \|p^{(t)}_i - e_{y_i}\|

    ``early_probabilities`` are ``[N, C]``, or ``[T, N, C]`` of several models trained for a few
    epochs (ten in the reference). Features are not looked at. Of equal samples, as those that a
    certain model has right are, some are drawn at random.
    """
    errors, rounding = _error_norms(early_probabilities, labels, pool.N)
    return Choice(largest(errors, n, tolerance=rounding, rng=rng, outside=pool.outside()))


@selector(
    "grand",
    label="GraNd",
    needs=("labels", "early_probabilities"),
    cost="N r + N C T",
    reference="Paul et al. (2021), arXiv 2107.07075",
    nested=True,
    keeps=True,
)
def take_largest_gradients(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    labels: ArrayLike | None = None,
    early_probabilities: ArrayLike | None = None,
) -> Choice:
    r"""Takes the samples with the largest gradients of the last layer (GraNd).

    .. math:: \max_i\ \tfrac1T \sum_t \|(p^{(t)}_i - e_{y_i})\, g_i^\top\|_F
              = \max_i\ \|g_i\| \, \tfrac1T \sum_t \|p^{(t)}_i - e_{y_i}\|

    The features must be the inputs of the last layer, the same at all checkpoints (linear probing).
    ``early_probabilities`` are ``[N, C]``, or ``[T, N, C]`` of several checkpoints. The reference
    takes the gradient of all layers, early in training. Of equal samples some are drawn at random.
    """
    errors, rounding = _error_norms(early_probabilities, labels, pool.N)
    norms = np.sqrt(LinearKernel(pool.features).energies)
    rounding = (rounding + rounding_share(pool.features.shape[1])) * norms.max()
    return Choice(largest(norms * errors, n, tolerance=rounding, rng=rng, outside=pool.outside()))


@selector(
    "forgetting",
    label="Forgetting",
    needs=("correctness",),
    cost="N T + N log N",
    reference="Toneva et al. (2019), arXiv 1812.05159",
    nested=True,
    keeps=True,
)
def take_most_forgotten(
    pool: Pool, n: int, *, rng: np.random.Generator, correctness: ArrayLike | None = None
) -> Choice:
    r"""Takes the samples that training forgot most often.

    .. math:: \max_i\ \#\{t : \text{right after epoch } t,\ \text{wrong after epoch } t + 1\}

    ``correctness`` ``[T, N]`` tells which samples were right after which epoch; it takes labels to
    know. Samples never learnt count as forgotten most, as in the reference; of equal counts, and
    there are many, samples are drawn at random, since a pool is often sorted by class.
    """
    right = require_correctness(correctness, pool.N)
    forgotten = np.count_nonzero(right[:-1] & ~right[1:], axis=0)
    forgotten[~right.any(axis=0)] = len(right)
    return Choice(largest(forgotten, n, tolerance=0.0, rng=rng, outside=pool.outside()))
