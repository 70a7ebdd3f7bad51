"""The order of scores where rounding must not decide: equals are told by index or by seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def largest(
    scores: NDArray[np.float64],
    n: int,
    *,
    tolerance: float,
    rng: np.random.Generator,
    outside: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """Returns the ``n`` samples of the largest scores, equal ones in random order.

    A pool is often sorted by class and a trained model often certain: the first of many equals
    would be a class. A score counts as equal to the next one below if that is within
    ``tolerance``; gaps that are real are far wider, so rounding cannot reach the order.

    Args:
        scores: Shape ``[N]``; infinite ones are equal.
        n: How many, in ``0..N``, of those that may be taken.
        tolerance: Size of a rounding error of the scores.
        rng: Draws the order of equals; it advances by ``N`` numbers whatever the scores.
        outside: Which samples may be taken, shape ``[N]``; all unless told.

    Returns:
        Indices, largest score first, shape ``[n]``.
    """
    order = np.argsort(-scores, kind="stable")
    with np.errstate(invalid="ignore"):  # infinity less infinity is no step
        steps = scores[order[:-1]] - scores[order[1:]] > tolerance
    ranks = np.empty(len(scores), dtype=np.intp)
    ranks[order] = np.concatenate([[0], np.cumsum(steps)])
    best = np.lexsort((rng.random(len(scores)), ranks))
    return best[:n] if outside is None else best[outside[best]][:n]
