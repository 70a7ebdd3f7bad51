r"""The label rules: what is backpropagated from the model's outputs.

A per-sample gradient is :math:`J_i^\top \rho_i` with the Jacobian :math:`J_i` of the outputs
:math:`f(x_i) \in \mathbb R^C` and the loss's residual :math:`\rho_i`. Both losses and all rules for
labels are residuals in closed form, with :math:`p = \mathrm{softmax}(f)` and i.i.d. signs
:math:`\xi_c`:

================  ======================================================  ==========================
labels            cross-entropy                                           squared error, half
================  ======================================================  ==========================
``true``          :math:`p - e_y`                                         :math:`f - y`
``random``        the same, :math:`y` uniform over classes                :math:`y \sim N(f, I)`
``pseudo``        the same, :math:`y = \arg\max f`                        none: it would be zero
``fisher``        :math:`\sum_c \xi_c \sqrt{p_c}\,(p - e_c)`              :math:`\xi`
``fisher-exact``  rows :math:`\sqrt{p_c}\,(p - e_c)`, one for each c      rows :math:`e_c`
================  ======================================================  ==========================

The expected Fisher information of a sample is

.. math:: F_i = \mathbb E_{y \sim p}\,g_i(y)\,g_i(y)^\top

Its closed form has rank up to ``C - 1``, hence ``fisher-exact``, whose ``C`` rows ``g`` a sample
have :math:`\sum_c g_c g_c^\top = F_i`, at ``C`` backward passes and ``C`` times the rows.
``fisher`` is one row with :math:`\mathbb E_\xi\,g g^\top = F_i` at the price of any other rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from skmm.numerics.inputs import check_choice

LABEL_RULES = ("true", "random", "pseudo", "fisher", "fisher-exact")
LOSSES = ("cross-entropy", "squared-error")


@dataclass(frozen=True)
class SampleStream:
    """Random numbers by sample index: a sample gets the same in whatever batch or process."""

    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draws a stream; ``rng`` advances by one integer."""
        return cls(int(rng.integers(2**63)))

    def uniforms(self, places: NDArray[np.int64], width: int) -> NDArray[np.float64]:
        """Returns ``width`` uniforms in [0, 1) for each sample, by its place in the pool."""
        runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
        return np.concatenate([self._run(int(run[0]), len(run), width) for run in runs])

    def _run(self, start: int, count: int, width: int) -> NDArray[np.float64]:
        bits = np.random.PCG64(self.seed)
        bits.advance(start * width)  # a double uses up one step of the generator
        return np.random.Generator(bits).random((count, width))


@dataclass(frozen=True)
class ResidualRule:
    """A loss and a rule for labels.

    Attributes:
        labels: One of ``LABEL_RULES``.
        loss: One of ``LOSSES``.
        stream: Where random labels and signs come from.
    """

    labels: str
    loss: str
    stream: SampleStream

    def __post_init__(self) -> None:
        check_choice(self.labels, "labels", LABEL_RULES)
        check_choice(self.loss, "loss", LOSSES)
        if (self.labels, self.loss) == ("pseudo", "squared-error"):
            raise ValueError(
                "labels='pseudo' has zero gradients with loss='squared-error': the prediction is "
                "its own label; use labels='random', 'fisher' or 'true'"
            )

    def __call__(
        self, outputs: Tensor, targets: Tensor | None, *, places: NDArray[np.int64]
    ) -> Tensor:
        r"""Computes residuals, in ``float32`` or better.

        Args:
            outputs: The model's outputs, ``[B, C]``.
            targets: True labels ``[B]`` or, for the squared error, ``[B]`` or ``[B, C]``; read by
                the rule ``true`` only.
            places: Where the samples stand in the pool, ``[B]``.

        Returns:
            :math:`\rho`, ``[K, B, C]``: ``K = C`` rows a sample for ``fisher-exact``, else 1.

        Raises:
            ValueError: there is one class only; or true labels are missing, of the wrong shape or
                kind, or out of range, and the first such sample is named.
        """
        outputs = outputs.detach()
        f = outputs if outputs.dtype == torch.float64 else outputs.float()
        if self.loss == "cross-entropy":
            return self._cross_entropy(f, targets, places)
        return self._squared_error(f, targets, places)

    def _cross_entropy(
        self, f: Tensor, targets: Tensor | None, places: NDArray[np.int64]
    ) -> Tensor:
        B, C = f.shape
        if C == 1:
            raise ValueError(
                "loss='cross-entropy' needs two outputs or more, got C=1, whose gradients are all "
                "zero; use loss='squared-error', or return the logits [0, f] of two classes"
            )
        p = f.softmax(1)
        if self.labels == "fisher-exact":
            return p.T.sqrt().unsqueeze(-1) * (
                p - torch.eye(C, dtype=f.dtype, device=f.device)[:, None]
            )
        if self.labels == "fisher":
            weights = p.sqrt() * self._uniforms(places, f).sub_(0.5).sign_()
            return (p * weights.sum(1, keepdim=True) - weights).unsqueeze(0)
        if self.labels == "true":
            y = _checked_classes(targets, B, C, places).to(f.device)
        elif self.labels == "pseudo":
            y = f.argmax(1)
        else:
            classes = np.floor(self.stream.uniforms(places, 1)[:, 0] * C).astype(np.int64)
            y = torch.as_tensor(classes, device=f.device)
        return p.scatter_add(1, y.unsqueeze(1), p.new_full((B, 1), -1.0)).unsqueeze(0)

    def _squared_error(
        self, f: Tensor, targets: Tensor | None, places: NDArray[np.int64]
    ) -> Tensor:
        B, C = f.shape
        if self.labels == "fisher-exact":
            return torch.eye(C, dtype=f.dtype, device=f.device)[:, None].expand(C, B, C)
        if self.labels == "fisher":
            return self._uniforms(places, f).sub_(0.5).sign_().unsqueeze(0)
        if self.labels == "random":
            # Half a step keeps the quantile of 0 finite.
            z = ndtri(self.stream.uniforms(places, C) + 2.0**-54)
            return -torch.as_tensor(z).to(f).unsqueeze(0)
        y = _present(targets)
        if y.numel() != f.numel() or len(y) != B:
            raise ValueError(f"labels must have shape {[B, C]}, got {list(y.shape)}")
        return (f - y.to(f).view_as(f)).unsqueeze(0)

    def _uniforms(self, places: NDArray[np.int64], like: Tensor) -> Tensor:
        return torch.as_tensor(self.stream.uniforms(places, like.shape[1])).to(like)


class UnitRule:
    """The residual of a loss that the model's outputs end in already, ``[1, B, 1]``: ones."""

    def __call__(
        self, outputs: Tensor, targets: Tensor | None, *, places: NDArray[np.int64]
    ) -> Tensor:
        """Returns ones."""
        return torch.ones_like(outputs.detach()).unsqueeze(0)


def _present(targets: Tensor | None) -> Tensor:
    if targets is None:
        raise ValueError(
            "labels='true' needs batches of (inputs, labels), got inputs only; "
            "use labels='random', 'pseudo' or 'fisher'"
        )
    try:
        return torch.as_tensor(targets)
    except (TypeError, ValueError) as error:
        raise ValueError(f"labels must be numbers; {error}; encode classes as 0, 1, ...") from error


def _checked_classes(targets: Tensor | None, B: int, C: int, places: NDArray[np.int64]) -> Tensor:
    y = _present(targets)
    if y.shape != (B,) or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(
            f"labels must be {B} whole numbers, one a sample, got shape {list(y.shape)} and dtype "
            f"{y.dtype}; encode classes as 0, 1, ... or use loss='squared-error'"
        )
    outside = (y < 0) | (y >= C)
    if outside.any():
        i = int(outside.nonzero()[0, 0])
        raise ValueError(
            f"labels must be in [0, {C}), the model's outputs, "
            f"got {int(y[i])} at sample {places[i]}"
        )
    return y.long()
