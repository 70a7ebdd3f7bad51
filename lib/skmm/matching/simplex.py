r"""The capped simplex, the feasible set of the relaxed selection.

.. math:: \mathcal C_n = \{s \in \mathbb R^N : 0 \le s_i \le 1/n,\ \textstyle\sum_i s_i = 1\}

Its vertices are the subsets of size ``n``, each sample weighing ``1/n``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_budget, check_vector


def project_capped_simplex(y: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    r"""Projects ``y`` on the capped simplex, exactly.

    .. math:: \operatorname{argmin}_{s \in \mathcal C_n} \|s - y\|^2
              = \operatorname{clip}(y - \tau,\, 0,\, 1/n)

    The shift :math:`\tau` is the root of a piecewise linear, decreasing function. Newton's method
    finds it in a few O(N) passes, since on the right piece one step is exact; a bracket guards it.
    It lies within ``1/n`` below the n-th largest entry: measured from there, no digits are lost
    however large the entries are.

    Args:
        y: Any finite vector, shape ``[N]``.
        n: Budget, in ``1..N``.

    Returns:
        The projection, shape ``[N]``; its sum is 1 up to rounding.

    Raises:
        ValueError: ``n`` is outside ``1..N``, or ``y`` is no vector of finite numbers.

    Example:
        >>> import skmm
        >>> skmm.project_capped_simplex([0.9, 0.3, 0.1, -1.0], 2).round(3).tolist()
        [0.5, 0.35, 0.15, 0.0]
    """
    y = check_vector(y, "y")
    N = len(y)
    check_budget(n, N)
    cap = 1.0 / n
    if n == N:
        return np.full(N, cap)
    offset = y - np.partition(y, N - n)[N - n]
    low, high = -1.25 * cap, 0.25 * cap  # wider than need be, so that Newton may hit an end
    tau = (offset.sum() - 1.0) / N
    for _ in range(200):
        tau = tau if low < tau < high else 0.5 * (low + high)
        shifted = offset - tau
        clipped = np.minimum(np.maximum(shifted, 0.0), cap)
        excess = clipped.sum() - 1.0
        free = np.count_nonzero(clipped) - np.count_nonzero(shifted >= cap)
        if excess > 0:
            low = tau
        else:
            high = tau
        if abs(excess) <= 4e-16 * max(free, 1) or high - low <= 1e-16 * cap:
            break
        tau = tau + excess / free if free else 0.5 * (low + high)
    return clipped


def random_vertex(N: int, n: int, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the weights of a random subset of size ``n``: where solvers start, shape ``[N]``."""
    s = np.zeros(N)
    s[rng.choice(N, n, replace=False)] = 1.0 / n
    return s


def best_vertex(scores: NDArray[np.float64], n: int) -> tuple[NDArray[np.intp], float]:
    r"""Returns the vertex that minimises a linear function, and the value there.

    .. math:: \min_{s \in \mathcal C_n} \langle \text{scores}, s\rangle

    Args:
        scores: Any real vector, shape ``[N]``.
        n: Budget, in ``1..N``.

    Returns:
        The ``n`` samples with the smallest scores, in no order, and their mean score.
    """
    if n == len(scores):
        return np.arange(n), float(scores.mean())
    chosen = np.argpartition(scores, n - 1)[:n]
    return chosen, float(scores[chosen].mean())


def duality_gap(gradient: NDArray[np.float64], s: NDArray[np.float64], n: int) -> float:
    r"""Returns how far below a convex function's value at ``s`` its minimum can lie at most.

    .. math:: \max_{s' \in \mathcal C_n} \langle \nabla f(s), s - s'\rangle \ge f(s) - \min f

    Args:
        gradient: :math:`\nabla f(s)`, shape ``[N]``.
        s: Weights in the capped simplex, shape ``[N]``.
        n: Budget, in ``1..N``.

    Returns:
        The Frank-Wolfe (Fenchel duality) gap, not negative.

    References:
        Jaggi (2013), Revisiting Frank-Wolfe.
    """
    return max(0.0, float(gradient @ s) - best_vertex(gradient, n)[1])
