"""The last block of an encoder of BERT's kind with a classifier: a tail over a frozen trunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from skmm.numerics.inputs import check_integer
from skmm_study.training.tails import new_classifier

LAYERS = ("query", "key", "value", "attended", "inner", "outer")
"""The linear layers of a block, in the order in which data flows."""

NORMS = {"first_norm": "attended", "second_norm": "outer"}
"""Layer normalisations, and the layer whose outputs, added to the block's own, they normalise."""


class BlockTail(nn.Module):
    r"""A transformer block, the mean over a sentence's tokens, a classifier.

    .. math::
        u &= \mathrm{LN}(x + W_o\,\mathrm{softmax}(q^\top k / \sqrt{d_h})\,v), \\
        z &= \mathrm{LN}(u + W_2\,\mathrm{GELU}(W_1 u)), \qquad
        f(x) = b + A\,\frac1{|T|} \sum_{t \in T} z_t

    A sentence's tokens T are its positions that are not zero throughout: what a layer
    normalisation gives out never is, and padding is.

    Args:
        weights: ``<layer>.weight`` ``[out, in]`` and ``<layer>.bias`` of each of `LAYERS`;
            ``weight`` and ``bias`` ``[d]`` of each of `NORMS`.
        heads: attention heads.
        classes: number of classes C.
        rng: draws the classifier's weights, normal with variance 1/d; without it they are zero.
        epsilon: what the normalisations add to variances; 1e-12 is BERT's.

    Raises:
        ValueError: weights are missing, or the heads do not divide their width.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.floating]],
        *,
        heads: int,
        classes: int,
        rng: int | np.random.Generator | None = None,
        epsilon: float = 1e-12,
    ):
        super().__init__()
        check_integer(classes, "classes", low=2, hint="it is the number of outputs")
        needed = [f"{name}.{kind}" for name in (*LAYERS, *NORMS) for kind in ("weight", "bias")]
        if missing := [name for name in needed if name not in weights]:
            raise ValueError(f"weights must hold {missing[0]!r}, got {sorted(weights)}")
        width = weights["query.weight"].shape[1]
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width {width}, got heads={heads}")
        self.heads = heads
        for name in LAYERS:
            out, into = weights[f"{name}.weight"].shape
            self.add_module(name, nn.utils.skip_init(nn.Linear, into, out))
            for norm in (norm for norm, follows in NORMS.items() if follows == name):
                self.add_module(norm, nn.LayerNorm(width, eps=epsilon))
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(np.asarray(weights[name], np.float32)))
        self.requires_grad_(False).eval()
        self.fc = new_classifier(width, classes, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of what enters the block, ``[B, L, d]``, padding and all."""
        real = x.ne(0).any(2)
        states = self._states(x, real, pack=_same, spread=_same)
        return self.fc((states * real[:, :, None]).sum(1) / real.sum(1, keepdim=True))

    def folded(self, x: Tensor) -> Tensor:
        """The same without the arithmetic of padding: what training calls."""
        real = x.ne(0).any(2)
        real = real[:, : int(real.sum(1).max())]
        x = x[:, : real.shape[1]]

        def spread(rows: Tensor) -> Tensor:
            return rows.new_zeros(*real.shape, rows.shape[1]).masked_scatter(real[:, :, None], rows)

        states = self._states(x, real, pack=lambda whole: whole[real], spread=spread)
        return self.fc(spread(states).sum(1) / real.sum(1, keepdim=True))

    def _states(
        self,
        x: Tensor,
        real: Tensor,
        *,
        pack: Callable[[Tensor], Tensor],
        spread: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Returns what leaves the block; tokens lie packed in one row after another or do not."""
        x = pack(x)
        split = (*real.shape, self.heads, -1)
        q, k, v = (
            spread(layer(x)).reshape(split).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
        u = self.first_norm(x + self.attended(pack(mixed.transpose(1, 2).flatten(2))))
        return self.second_norm(u + self.outer(F.gelu(self.inner(u))))


def _same(whole: Tensor) -> Tensor:
    return whole
