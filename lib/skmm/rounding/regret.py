r"""Rounding a relaxed design by regret minimisation, the alternative to exchange descent.

Follow-the-regularised-leader with the :math:`\ell_{1/2}` regulariser adds samples one at a time;
its regret bound is what proves that no direction of the design is left out.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from skmm.numerics.eigen import rank_cutoff
from skmm.numerics.inputs import check_budget, check_doubles, check_positive, check_vector


def round_by_regret(
    s: NDArray[np.float64], whitened: NDArray[np.float64], n: int, *, rate: float = 3.0
) -> NDArray[np.intp]:
    r"""Rounds the weights of a design to ``n`` distinct samples by regret minimisation.

    With :math:`z_i = M_s^{-1/2} w_i / \sqrt n`, so that a perfect rounding has
    :math:`\sum_{i \in S} z_i z_i^\top = I`, each sample in turn is the best outsider of

    .. math:: \max_i \frac{z_i^\top A\, z_i}{1 + \eta\, z_i^\top A^{1/2} z_i}, \qquad
              A = \Bigl(cI + \eta \sum_{i \in S} z_i z_i^\top\Bigr)^{-2}, \quad
              \operatorname{tr} A = 1

    Costs ``n`` eigendecompositions of size k and ``n`` passes over the pool, ``n (N k² + k³)``.
    Exchange descent costs less and ends lower, whatever the start: this is here to be compared.

    Args:
        s: Weights of the relaxed design, shape ``[N]``, see `skmm.bound_v_optimality`.
        whitened: Whitened rows :math:`w_i`, shape ``[N, k]``; the design must span them.
        n: Budget, in ``1..N``.
        rate: Learning rate :math:`\eta` in units of :math:`\sqrt k`. The theory sets it to the
            inverse of the accuracy; between 1 and 10 little depends on it.

    Returns:
        Distinct indices, shape ``[n]``, in the order chosen.

    Raises:
        ValueError: ``n`` or ``rate`` out of range, weights that are not N finite numbers, or a
            design that leaves a direction out.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> whitened = np.sqrt(2.0) * np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> chosen = skmm.round_by_regret(np.full(4, 0.25), whitened, 2)
        >>> whitened[chosen].any(axis=0).tolist()  # no direction is left out
        [True, True]

    References:
        Allen-Zhu, Li, Singh and Wang (2021), Near-optimal discrete optimization for experimental
        design: a regret minimization approach.
    """
    whitened = check_doubles(whitened, "whitened")
    N, k = whitened.shape
    s = check_vector(s, "s", N)
    check_budget(n, N)
    eta = check_positive(rate, "rate", hint="between 1 and 10 little depends on it") * np.sqrt(k)
    values, vectors = scipy.linalg.eigh(whitened.T @ (s[:, None] * whitened))
    if values[0] <= rank_cutoff(k, values[-1]):
        raise ValueError(
            f"s must span all k={k} directions of whitened, got {values[0]:.2g} in one"
        )
    z = whitened @ (vectors / np.sqrt(n * values))
    covered, outside, chosen = np.zeros((k, k)), np.ones(N, dtype=bool), np.empty(n, dtype=np.intp)
    for turn in range(n):
        values, vectors = scipy.linalg.eigh(covered)
        damped = eta * values + trace_shift(eta * values)
        squares = np.square(z @ vectors)
        gain = squares @ damped**-2.0 / (1.0 + eta * (squares @ (1.0 / damped)))
        chosen[turn] = best = int(np.argmax(np.where(outside, gain, -np.inf)))
        outside[best] = False
        covered += np.outer(z[best], z[best])
    return chosen


def trace_shift(values: NDArray[np.float64]) -> float:
    r"""Returns the one :math:`c > -\min_j a_j` with :math:`\sum_j (c + a_j)^{-2} = 1`.

    The sum falls from above 1, one unit above :math:`-\min_j a_j`, to below 1 at :math:`\sqrt k`.
    """
    low, k = -values.min(), len(values)

    def excess(c: float) -> float:
        return float(np.sum((c + values) ** -2.0)) - 1.0

    return scipy.optimize.brentq(excess, low + 1.0 - 1e-9, low + np.sqrt(k) + 1e-9, xtol=1e-12)
