"""Finetuning the last layers of a network on a subset, over the activations of a frozen trunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from skmm.gradients.parameters import frozen, last_parameters
from skmm.numerics.inputs import check_integer, check_labels, check_positive, is_tensor
from skmm.numerics.streams import as_generator

_EVALUATED = 256
"""Rows of one forward pass without gradients."""


@dataclass(frozen=True)
class Recipe:
    r"""How a tail is trained: AdamW, the rate falling along a half cosine.

    .. math:: \eta_t = \tfrac12 \eta\,(1 + \cos(\pi t / T)), \qquad
              T = \text{epochs} \cdot \lceil n_{\text{fit}} / \text{batch} \rceil

    With few rows a class, the held-out loss rises with confidence long before the accuracy falls:
    targets are smoothed, and early stopping looks at the accuracy, of equals at the last. Rate,
    smoothing and epochs were chosen on rows of the pool outside a uniform subset of 1000.

    Attributes:
        epochs: passes over the fitted rows, at most.
        patience: epochs that do not reach the best held-out accuracy after which training stops.
        batch: rows of one step.
        rate: :math:`\eta`, the learning rate at the start.
        decay: AdamW's weight decay.
        smoothing: share of each target that is spread over all classes.
        held_out: share of the selected rows that early stopping looks at and no step is made on. 0
            trains on all rows for all epochs: of a few dozen rows, the handful that would be held
            out picks an epoch by chance.
    """

    epochs: int = 12
    patience: int = 4
    batch: int = 50
    rate: float = 1e-3
    decay: float = 1e-2
    smoothing: float = 0.1
    held_out: float = 0.1

    def __post_init__(self):
        for name in ("epochs", "patience", "batch"):
            check_integer(getattr(self, name), name, low=1, hint=f"{name} of Recipe are counts")
        check_positive(self.rate, "rate", hint="see Recipe")
        shares = 0 <= self.held_out < 1 and 0 <= self.smoothing < 1
        if not (shares and 0 <= self.decay < np.inf):
            raise ValueError(
                "held_out and smoothing must be in [0, 1), decay at least 0, got "
                f"held_out={self.held_out}, smoothing={self.smoothing} and decay={self.decay}"
            )


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A finetuned tail.

    Attributes:
        tail: the module, its parameters those of the best epoch.
        accuracies: held-out accuracy after each epoch that was run, shape ``[epochs run]``; NaN
            where no row was held out, and the last epoch's parameters are kept.
    """

    tail: nn.Module
    accuracies: NDArray[np.float64]

    @property
    def epoch(self) -> int:
        """The epoch whose parameters were kept, from 1."""
        if np.isnan(self.accuracies).any():
            return len(self.accuracies)
        return int(np.flatnonzero(self.accuracies == self.accuracies.max())[-1]) + 1

    def predict(self, activations: ArrayLike) -> NDArray[np.int64]:
        """Returns the most probable class of each row, shape ``[M, ...]`` to ``[M]``."""
        rows = check_activations(activations)
        with frozen(self.tail, ()):
            parts = [out.argmax(1).cpu() for out in _outputs(self.tail, rows)]
        return torch.cat(parts).numpy()


def finetune(
    tail: nn.Module,
    activations: ArrayLike,
    labels: ArrayLike,
    *,
    rng: int | np.random.Generator,
    last: int = 2,
    recipe: Recipe | None = None,
    device: str = "cpu",
    autocast: bool = False,
) -> Finetuned:
    r"""Finetunes the last layers of ``tail`` on the selected rows, and on no others.

    Below the tail nothing is trained, so what enters it is computed once for the whole pool and an
    epoch costs the tail alone. Statistics of batch normalisation are frozen, its scale and shift
    are trained with the layer before it. A uniform share of the selected rows is held out, unless
    it is 0, and the parameters of the epoch with the best accuracy there are kept. All draws are
    NumPy's, the same on any device.

    Args:
        tail: maps activations to logits ``[B, C]``, such as `tail_of` makes; stays as it is.
        activations: what enters the tail, selected rows, ``[n, ...]``; half precision is enough.
        labels: classes in ``0..C-1``, shape ``[n]``.
        rng: draws the held-out rows and the order of the rows in each epoch.
        last: how many layers are trained, see `skmm.gradients.last_parameters`: 1 for the
            classifier alone.
        recipe: the rest of the recipe; unless told, that of `Recipe`.
        device: where the tail runs.
        autocast: whether products are in bfloat16; parameters and their steps stay ``float32``.

    Returns:
        The trained tail.

    Raises:
        ValueError: fewer than two rows, labels that do not belong to them, too few layers, or a
            loss that is not finite.
    """
    recipe = recipe or Recipe()
    rows = check_activations(activations)
    least = 2 if recipe.held_out else 1
    n = check_integer(len(rows), "n", low=least, hint="one row is held out, unless held_out is 0")
    labels = check_labels(labels, n)
    if labels.min() < 0:
        raise ValueError(f"labels must be at least 0, got {labels.min()}; encode them as 0, 1, ...")
    split_rng, order_rng = as_generator(rng, "finetune").spawn(2)
    shuffled = split_rng.permutation(n)
    count = min(max(round(recipe.held_out * n), 1), n - 1) if recipe.held_out else 0
    held_out, fitted = np.sort(shuffled[:count]), np.sort(shuffled[count:])

    tail = deepcopy(tail).to(device, torch.float32)
    names = last_parameters(tail, last)
    trained = [p for name, p in tail.named_parameters() if name in set(names)]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.decay)
    steps = -(-len(fitted) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * steps)
    mixed = nullcontext()
    if autocast:
        mixed = torch.autocast(torch.device(device).type, torch.bfloat16)
    inside, targets = _on_device(rows[fitted], tail), torch.from_numpy(labels).to(device)
    loss = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    accuracies: list[float] = []
    with frozen(tail, names):
        while len(accuracies) < recipe.epochs and not _stalled(accuracies, recipe.patience):
            for part in np.array_split(order_rng.permutation(len(fitted)), steps):
                optimiser.zero_grad(set_to_none=True)
                with mixed:
                    logits = _logits(tail, inside[part])
                value = loss(logits.float(), targets[fitted[part]])
                value.backward()
                optimiser.step()
                schedule.step()
            if not value.isfinite():
                raise ValueError(
                    f"the loss is {value.item()} in epoch {len(accuracies) + 1}; look for NaN in "
                    f"activations, or lower the recipe's rate={recipe.rate}"
                )
            if not recipe.held_out:
                accuracies.append(np.nan)
                continue
            with mixed:
                guesses = torch.cat([out.argmax(1) for out in _outputs(tail, rows[held_out])])
            accuracies.append(float((guesses == targets[held_out]).float().mean()))
            if accuracies[-1] == max(accuracies):
                best = [p.detach().clone() for p in trained]
    if recipe.held_out:
        with torch.no_grad():
            for p, value in zip(trained, best, strict=True):
                p.copy_(value)
    return Finetuned(tail, np.array(accuracies))


def classifier_of(tail: nn.Module, activations: ArrayLike) -> str:
    """Names the classifier of ``tail``: the linear layer whose outputs are those of ``tail``.

    Which one it is shows when a row passes, whatever the layers are called and in whatever order
    they are registered.

    Args:
        tail: maps activations to logits ``[B, C]``.
        activations: what enters it, ``[M, ...]``; one row is looked at.

    Returns:
        Its name in ``tail.named_modules()``, empty if it is ``tail`` itself.

    Raises:
        ValueError: no linear layer makes the outputs.
    """
    rows = check_activations(activations)
    linear = {name: one for name, one in tail.named_modules() if isinstance(one, nn.Linear)}
    made: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: made.update({name: out}))
        for name, layer in linear.items()
    ]
    try:
        with frozen(tail, ()):
            outputs = next(_outputs(tail, rows[:1])) if linear else None
    finally:
        for handle in handles:
            handle.remove()
    for name, out in made.items():
        if out is outputs:
            return name
    raise ValueError(
        f"tail must return what a linear layer makes, its classifier, got a {type(tail).__name__} "
        f"whose linear layers are {', '.join(linear) or 'none'}; put the classifier last and what "
        "follows it, such as a softmax, into the loss, or train with last=2"
    )


def pooled_inputs(tail: nn.Module, activations: ArrayLike) -> NDArray[np.float32]:
    r"""Returns what enters the classifier of ``tail``, shape ``[M, r]``; see `classifier_of`.

    With the layers before it frozen, training the classifier on these rows is training it within
    ``tail`` on ``activations``, without the other layers' cost in every epoch.

    Raises:
        ValueError: ``tail`` has no classifier.
    """
    rows = check_activations(activations)
    body = deepcopy(tail)
    caught: list[Tensor] = []
    classifier = body.get_submodule(classifier_of(body, rows))
    classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].cpu()))
    with frozen(body, ()):
        for _ in _outputs(body, rows):
            pass  # what counts is caught on the way
    return torch.cat(caught).numpy()


def check_activations(activations: ArrayLike) -> NDArray[np.floating]:
    """Returns activations, one row a sample, as an array that is not copied.

    Raises:
        ValueError: they are no floating-point numbers, or there is no row.
    """
    if is_tensor(activations):
        activations = activations.detach().cpu()
    array = np.asarray(activations)
    if array.ndim < 2 or 0 in array.shape or array.dtype.kind != "f":
        raise ValueError(
            f"activations must be floats of shape [n, ...], one row a sample, got shape "
            f"{list(array.shape)} and dtype {array.dtype}; see skmm_study.vision.features"
        )
    return array


def _stalled(accuracies: list[float], patience: int) -> bool:
    """Whether none of the last ``patience`` epochs reaches the best accuracy so far; NaN never."""
    return len(accuracies) > patience and max(accuracies[-patience:]) < max(accuracies)


def _outputs(tail: nn.Module, rows: NDArray[np.floating]) -> Iterator[Tensor]:
    """Yields the outputs of consecutive rows, without a graph."""
    for start in range(0, len(rows), _EVALUATED):
        with torch.no_grad():
            yield _logits(tail, _on_device(rows[start : start + _EVALUATED], tail))


def _on_device(rows: NDArray[np.floating], tail: nn.Module) -> Tensor:
    """Returns rows in single precision; images with their channels last, as products want them."""
    if rows.ndim == 4:
        rows = rows.transpose(0, 2, 3, 1)
    return torch.from_numpy(rows.astype(np.float32, order="C")).to(next(tail.parameters()).device)


def _logits(tail: nn.Module, rows: Tensor) -> Tensor:
    """Returns the outputs for rows that `_on_device` made."""
    return getattr(tail, "folded", tail)(rows.permute(0, 3, 1, 2) if rows.ndim == 4 else rows)
