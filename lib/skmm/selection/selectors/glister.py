r"""GLISTER: the samples whose gradient step lowers a validation loss most."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_integer, check_positive
from skmm.numerics.ties import rounding_share
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.ranking import largest
from skmm.selection.selectors.signals import require_labels, require_probabilities


@selector(
    "glister",
    label="GLISTER",
    needs=("labels", "probabilities"),
    cost="N r C x updates",
    reference="Killamsetty et al. (2021), arXiv 2012.10630",
    keeps=True,
)
def take_best_steps(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    labels: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    validation_share: float = 0.1,
    step: float = 1.0,
    updates: int = 20,
) -> Choice:
    r"""Takes the samples whose gradient steps lower a validation loss most (GLISTER-Online).

    With :math:`W` the last layer, :math:`R_i = p_i - e_{y_i}` and gradients :math:`R_i g_i^\top`,
    the first-order gain of sample ``i`` once the subset's steps are taken is

    .. math:: \bigl\langle R_i g_i^\top,\ \tfrac1V \sum_v R_v(W_S)\, g_v^\top \bigr\rangle, \qquad
              W_S = W - \eta \sum_{j \in S} R_j g_j^\top,\quad
              \eta = \frac{\text{step}}{\tfrac1N \sum_i \|g_i\|^2}

    The features must be the inputs of the last layer. The validation split is a uniform share of
    the pool, whose samples may be chosen too; the reference has a validation set of its own, a
    fixed :math:`\eta`, and selects anew every few epochs of training.

    Args:
        pool: Features, the inputs of the last layer.
        n: Budget.
        rng: Draws the validation split, and the order of equal gains.
        labels: ``[N]``.
        probabilities: ``[N, C]``, of the model before it is trained on the subset.
        validation_share: Share of the pool that the loss is measured on, in (0, 1].
        step: Size of a gradient step, relative to the mean squared norm of the features.
        updates: Number of times that the validation gradient is taken anew, each time for
            ``n / updates`` samples; ``n`` is the greedy algorithm. Each costs ``N r C``.
    """
    N = pool.N
    p = require_probabilities(probabilities, N)
    y = require_labels(labels, N, C=p.shape[1])
    share = check_positive(validation_share, "validation_share", hint="it is at most 1")
    if share > 1.0:
        raise ValueError(f"validation_share must be in (0, 1], got {validation_share!r}")
    check_positive(step, "step", hint="it is relative to the mean squared norm of the features")
    check_integer(updates, "updates", low=1, hint="more are slower and closer to greedy")
    kernel = LinearKernel(pool.features)
    energy = kernel.energies.mean()
    eta = step / energy if energy > 0 else 0.0
    rounding = rounding_share(pool.features.shape[1]) * 2.0 * np.sqrt(kernel.energies.max())
    residuals = p.copy()
    residuals[np.arange(N), y] -= 1.0

    held_out = np.sort(rng.choice(N, max(1, round(share * N)), replace=False))
    validation = pool.features[held_out].astype(np.float64)
    # Logits up to a constant a row; where a probability underflows, the class is out of reach.
    logits = np.log(np.maximum(p[held_out], np.finfo(np.float64).tiny))

    def step_along(taken: NDArray[np.intp]) -> NDArray[np.float64]:
        change = pool.features[taken].T.astype(np.float64) @ residuals[taken]
        return eta * (validation @ change)

    logits -= step_along(pool.kept)
    outside = pool.outside()
    parts = []
    for part in np.array_split(np.arange(n), min(updates, n)):
        q = np.exp(logits - logits.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        q[np.arange(len(held_out)), y[held_out]] -= 1.0
        gradient = validation.T @ q / len(held_out)
        gains = np.einsum("nc,nc->n", kernel.times(gradient), residuals)
        gains[~outside] = -np.inf
        chosen = largest(gains, len(part), tolerance=rounding * np.linalg.norm(gradient), rng=rng)
        outside[chosen] = False
        parts.append(chosen)
        logits -= step_along(chosen)
    return Choice(np.concatenate(parts))
