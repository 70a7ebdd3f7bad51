"""Sampling where a trained model is least sure: small margins, flat outputs, near boundaries."""

from __future__ import annotations

import numpy as np
import scipy.spatial.distance
import scipy.special
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_doubles
from skmm.numerics.ties import rounding_share
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.ranking import largest
from skmm.selection.selectors.signals import (
    HOW_TO_GET,
    require,
    require_outputs,
    require_probabilities,
)

_SURVEY = "Settles (2009), Active learning literature survey"


def _take(
    pool: Pool,
    scores: NDArray[np.float64],
    n: int,
    *,
    terms: int = 1,
    rng: np.random.Generator,
) -> Choice:
    """Takes the largest scores of probabilities; those of certain predictions are often equal."""
    tolerance = rounding_share(terms)
    return Choice(largest(scores, n, tolerance=tolerance, rng=rng, outside=pool.outside()))


@selector(
    "entropy",
    label="Entropy",
    needs=("probabilities",),
    cost="N C + N log N",
    reference=_SURVEY,
    nested=True,
    keeps=True,
)
def take_highest_entropy(
    pool: Pool, n: int, *, rng: np.random.Generator, probabilities: ArrayLike | None = None
) -> Choice:
    r"""Takes the samples with the flattest predictions.

    .. math:: \max_i\ -\sum_c p_{ic} \log p_{ic}

    ``probabilities`` ``[N, C]`` are a trained model's; features are not looked at. Of
    equal samples, as those of a certain model are, some are drawn at random.
    """
    p = require_probabilities(probabilities, pool.N)
    return _take(pool, scipy.special.entr(p).sum(axis=1), n, terms=p.shape[1], rng=rng)


@selector(
    "margin",
    label="Margin",
    needs=("probabilities",),
    cost="N C + N log N",
    reference=_SURVEY,
    nested=True,
    keeps=True,
)
def take_smallest_margin(
    pool: Pool, n: int, *, rng: np.random.Generator, probabilities: ArrayLike | None = None
) -> Choice:
    r"""Takes the samples whose two likeliest classes are closest.

    .. math:: \min_i\ p_{i(1)} - p_{i(2)}

    ``probabilities`` ``[N, C]`` are a trained model's; features are not looked at. Of
    equal samples, as those of a certain model are, some are drawn at random.
    """
    p = require_probabilities(probabilities, pool.N)
    top = np.partition(p, -2, axis=1)[:, -2:]
    return _take(pool, top[:, 0] - top[:, 1], n, rng=rng)


@selector(
    "least_confidence",
    label="Least confidence",
    needs=("probabilities",),
    cost="N C + N log N",
    reference=_SURVEY,
    nested=True,
    keeps=True,
)
def take_least_confident(
    pool: Pool, n: int, *, rng: np.random.Generator, probabilities: ArrayLike | None = None
) -> Choice:
    r"""Takes the samples whose likeliest class is least likely.

    .. math:: \min_i\ \max_c p_{ic}

    ``probabilities`` ``[N, C]`` are a trained model's; features are not looked at. Of
    equal samples, as those of a certain model are, some are drawn at random.
    """
    return _take(pool, -require_probabilities(probabilities, pool.N).max(axis=1), n, rng=rng)


@selector(
    "deepfool",
    label="DeepFool",
    needs=("logits", "weights"),
    cost="N C + C² d",
    reference="Ducoffe and Precioso (2018), arXiv 1802.09841",
    nested=True,
    keeps=True,
)
def take_nearest_boundary(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    logits: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Choice:
    r"""Takes the samples nearest to a decision boundary of the last layer.

    .. math:: \min_i \min_{c \ne \hat y_i}
              \frac{f_{i\hat y_i} - f_{ic}}{\|w_{\hat y_i} - w_c\|}

    ``logits`` :math:`f` ``[N, C]`` are a trained model's and ``weights`` :math:`w` ``[C, d]`` those
    of its last layer. For a linear layer this is DeepFool's perturbation in closed form; the
    reference iterates it through the whole network, in input space. Of equal samples some are drawn
    at random.
    """
    f = require_outputs("logits", logits, pool.N)
    w = check_doubles(require("weights", weights), "weights")
    if len(w) != f.shape[1]:
        raise ValueError(
            f"weights must have C={f.shape[1]} rows, one a column of logits, got shape "
            f"{list(w.shape)}; pass {HOW_TO_GET['weights']}"
        )
    apart = scipy.spatial.distance.cdist(w, w)
    predicted = f.argmax(axis=1)
    gap = f[np.arange(pool.N), predicted, None] - f
    # Classes of equal weights, the predicted one among them, share no boundary.
    across = apart[predicted]
    distance = np.divide(gap, across, out=np.full_like(gap, np.inf), where=across > 0)
    # Logits cancel in the gap, and a short distance of classes magnifies what is left.
    error = rounding_share(1) * np.abs(f).max() / across[across > 0].min(initial=np.inf)
    scores = -distance.min(axis=1)
    return Choice(largest(scores, n, tolerance=error, rng=rng, outside=pool.outside()))
