r"""What is differentiated of a model: its outputs, or a loss of its own for each sample.

Losses with labels in closed form backpropagate a residual from the outputs :math:`f(x_i)`, see
`skmm.gradients.residuals`. Every other loss is computed a sample and backpropagated with 1:

==============  ================================================================================
loss            :math:`\ell_i`, with the tokens :math:`t` of sample i that have a label
==============  ================================================================================
``causal-lm``   :math:`\frac{1}{|T_i|}\sum_{t \in T_i} -\log p(y_{it} \mid x_{i,<t})`
``masked-lm``   :math:`\frac{1}{|T_i|}\sum_{t \in T_i} -\log p(y_{it} \mid x_i)`
a callable      ``loss(outputs, batch)``, of shape ``[B]``
==============  ================================================================================

The mean is over a sample's own tokens, never the batch's: a row then does not depend on what the
sample is batched with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from skmm.gradients.batches import Inputs, inputs_of, labels_of, size
from skmm.gradients.vocabulary import head_of, reaching, token_losses

TOKEN_LOSSES = ("causal-lm", "masked-lm")
IGNORED = -100
"""The label of a token that has none."""

Call = Callable[..., Any]


class Objective(ABC):
    """What is differentiated, given a way to call the model."""

    whole: ClassVar[bool] = True
    """Whether it reads the labels of a batch."""

    @abstractmethod
    def __call__(self, call: Call, x: Any) -> Tensor:
        """Returns ``[B, C]``, from which residuals of the same shape are backpropagated."""

    def fitted(self, model: nn.Module, x: Any) -> Objective:
        """Returns the objective as it is best computed for this model, tried on two samples."""
        return self

    def check(self, x: Any, places: NDArray[np.int64]) -> None:  # noqa: B027
        """Raises ``ValueError`` if a sample has no loss, and names it."""


@dataclass(frozen=True)
class Outputs(Objective):
    """The outputs, logits where they have that name."""

    whole: ClassVar[bool] = False

    def __call__(self, call: Call, x: Any) -> Tensor:
        """Returns the model's outputs as ``[B, C]``."""
        return as_matrix(logits_of(called(call, x)), size(x))


@dataclass(frozen=True)
class OwnLoss(Objective):
    """A loss that the user wrote.

    Attributes:
        loss: Maps the model's outputs and the batch to ``[B]``.
    """

    loss: Callable[[Any, Any], Tensor]

    def __call__(self, call: Call, x: Any) -> Tensor:
        """Returns the losses as ``[B, 1]``."""
        losses = self.loss(called(call, inputs_of(x)), x)
        B = size(x)
        if not isinstance(losses, Tensor) or losses.shape != (B,):
            seen = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"loss must return one number a sample, shape [{B}], got {seen}; "
                "use reduction='none', and sum or average over a sample's own tokens"
            )
        return losses.unsqueeze(1)


@dataclass(frozen=True)
class TokenLoss(Objective):
    """The mean negative log-likelihood of a sample's labelled tokens.

    Attributes:
        shift: Whether the label of a token is predicted from those before it.
        head: The layer that makes logits of states, if these can be taken there and cut up.
    """

    shift: bool
    head: nn.Linear | None = field(default=None, compare=False)

    def __call__(self, call: Call, x: Any) -> Tensor:
        """Returns the losses as ``[B, 1]``."""
        y = self._labels(x)
        has = y != IGNORED
        if self.head is None:
            logits = logits_of(called(call, inputs_of(x)))
            wide = logits if logits.dtype == torch.float64 else logits.float()
            losses = F.cross_entropy(
                wide.transpose(1, 2), y, ignore_index=IGNORED, reduction="none"
            )
        else:
            with reaching(self.head) as states:
                called(call, inputs_of(x))
            part = token_losses(states[0][has], self.head.weight, self.head.bias, y[has])
            losses = part.new_zeros(y.shape).masked_scatter(has, part)
        return (losses.sum(1) / has.sum(1)).unsqueeze(1)

    def fitted(self, model: nn.Module, x: Any) -> TokenLoss:
        """Cuts the vocabulary up if the head's weight is frozen and the losses stay the same."""
        head = head_of(model)
        if head is None or any(p.requires_grad for p in head.parameters()):
            return self
        cut = replace(self, head=head)
        with torch.no_grad():
            whole = self(model, x)
            try:
                same = torch.allclose(
                    cut(model, x), whole, rtol=torch.finfo(whole.dtype).eps ** 0.5
                )
            except (RuntimeError, IndexError):  # the model calls its head in another way
                same = False
        return cut if same else self

    def check(self, x: Any, places: NDArray[np.int64]) -> None:
        """Raises ``ValueError`` if a sample has no token with a label."""
        y = self._labels(x)
        missing = ~(y != IGNORED).any(1)
        if missing.any():
            raise ValueError(
                f"labels must leave every sample a token to predict, sample "
                f"{places[int(missing.nonzero()[0, 0])]} has none: all are {IGNORED}"
            )

    def _labels(self, x: Any) -> Tensor:
        """Returns what is predicted at each token, ``[B, T]``: its own label, or the next one's."""
        if not isinstance(x, Mapping) or "input_ids" not in x:
            raise ValueError(
                f"batches must yield mappings with input_ids for this loss, got "
                f"{', '.join(x) if isinstance(x, Mapping) else type(x).__name__}"
            )
        ids, y = x["input_ids"], labels_of(x)
        seen = x.get("attention_mask", torch.ones_like(ids)) != 0
        if y is None and self.shift:
            y = ids.masked_fill(~seen, IGNORED)
        if y is None or y.shape != ids.shape:
            raise ValueError(
                f"labels must have the shape of input_ids, {list(ids.shape)}, with "
                f"{IGNORED} at tokens without one, got {'none' if y is None else list(y.shape)}"
            )
        if not self.shift:
            return y
        # Nor is a text's first token predicted from padding on its left.
        return F.pad(y[:, 1:].masked_fill(~seen[:, :-1], IGNORED), (0, 1), value=IGNORED)


def called(call: Call, x: Inputs) -> Any:
    """Returns what the model returns for inputs: a tensor, or tensors by name."""
    return call(**x) if isinstance(x, Mapping) else call(x)


def logits_of(outputs: Any) -> Any:
    """Returns the logits of outputs by name, or outputs that are no mapping as they are."""
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    return outputs


def as_matrix(outputs: object, B: int) -> Tensor:
    """Returns a model's outputs as ``[B, C]``; one number a sample is ``C = 1``.

    Raises:
        ValueError: they are no tensor of one or two axes with the batch first.
    """
    if isinstance(outputs, Tensor) and outputs.ndim in (1, 2) and len(outputs) == B:
        return outputs if outputs.ndim == 2 else outputs.unsqueeze(-1)
    seen = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ValueError(
        f"model must return a tensor [B, C] or [B] for a batch of B={B}, got {seen}; "
        "wrap it in a module that returns its logits"
    )
