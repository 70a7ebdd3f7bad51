"""What selectors may need beyond features: labels, and what a trained model says about the pool."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_labels, check_rows

HOW_TO_GET = {
    "labels": "class labels [N] of the whole pool: this method cannot run before labelling",
    "probabilities": "softmax outputs [N, C] of a model trained on data like the pool's",
    "early_probabilities": "softmax outputs [N, C] or [T, N, C] after the first epochs of training",
    "logits": "outputs [N, C] of a model trained on data like the pool's, before the softmax",
    "weights": "the matrix [C, d] of the model's last layer, such as model.fc.weight",
    "correctness": "booleans [T, N]: was sample i classified correctly after epoch t of training",
}
"""How a user comes by each of them."""


def require(name: str, value: Any) -> Any:
    """Returns ``value``.

    Raises:
        ValueError: it is ``None``; the message says how to get it.
    """
    if value is None:
        raise ValueError(f"{name} must be given, got None; pass {HOW_TO_GET[name]}")
    return value


def require_labels(labels: Any, N: int, *, C: int | None = None) -> NDArray[np.int64]:
    """Returns class labels, shape ``[N]``; in ``0..C-1`` if a number of classes is given."""
    labels = check_labels(require("labels", labels), N)
    if C is not None and (labels.min() < 0 or labels.max() >= C):
        raise ValueError(
            f"labels must be in [0, {C - 1}], one of the C={C} columns of probabilities, "
            f"got {labels.min()} to {labels.max()}; encode classes as 0, 1, ..."
        )
    return labels


def require_outputs(name: str, value: Any, N: int) -> NDArray[np.float64]:
    """Returns a model's outputs for the pool, finite, shape ``[N, C]`` with C at least 2."""
    outputs = check_rows(require(name, value), name)
    if len(outputs) != N or outputs.shape[1] < 2:
        raise ValueError(
            f"{name} must have shape [N, C] with N={N} and C at least 2, "
            f"got {list(outputs.shape)}; pass {HOW_TO_GET[name]}"
        )
    return outputs.astype(np.float64, copy=False)


def require_probabilities(value: Any, N: int, name: str = "probabilities") -> NDArray[np.float64]:
    """Returns class probabilities, rows that sum to 1, shape ``[N, C]``."""
    probabilities = require_outputs(name, value, N)
    total = probabilities.sum(axis=1)
    worst = int(np.argmax(np.abs(total - 1.0)))
    # Half-precision softmax outputs of a thousand classes sum to 1 within about 1 %.
    if probabilities.min() < 0 or abs(total[worst] - 1.0) > 0.01:
        raise ValueError(
            f"{name} must be at least 0 and sum to 1 in each row, got an entry of "
            f"{probabilities.min()} and a sum of {total[worst]} in row {worst}; apply a softmax"
        )
    return probabilities / total[:, None]


def require_checkpoints(value: Any, N: int) -> list[NDArray[np.float64]]:
    """Returns the early probabilities of each checkpoint: one of ``[N, C]``, T of ``[T, N, C]``."""
    name = "early_probabilities"
    axes = np.ndim(require(name, value))
    checkpoints = value if axes == 3 and len(value) > 0 else [value]
    return [require_probabilities(checkpoint, N, name) for checkpoint in checkpoints]


def require_correctness(value: Any, N: int) -> NDArray[np.bool_]:
    """Returns a history of right and wrong answers, shape ``[T, N]``."""
    history = np.asarray(require("correctness", value))
    if (
        history.dtype != np.bool_
        or history.ndim != 2
        or 0 in history.shape
        or history.shape[1] != N
    ):
        raise ValueError(
            f"correctness must be booleans of shape [T, N] with N={N}, got shape "
            f"{list(history.shape)} and dtype {history.dtype}; pass {HOW_TO_GET['correctness']}"
        )
    return history
