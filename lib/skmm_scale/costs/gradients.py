r"""What the sketched gradients of a transformer cost, a sample of ``T`` tokens.

A matrix ``[d, e]`` takes ``2 T d e`` operations forward and as many to pass the residual on; its
own gradient is never formed. Attention takes two products of :math:`2 T^2 d` forward and four back:

.. math:: 4\,T\,P + 12\,L\,T^2 d

for all blocks, with ``P`` parameters that every token is multiplied by. Blocks below the lowest
differentiated one are only run forward. Counts are exact for products of matrices of an attention
without a fused kernel (a fused one makes the scores again: :math:`2 T^2 d` a block more); all else,
norms and exponentials, is left out. The head is frozen: its losses and residuals are those of the
``T - 1`` tokens that have a label, see `skmm.gradients.vocabulary`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from skmm.numerics.inputs import check_integer
from skmm.sketching.products import worth_forming
from skmm_scale.costs.architecture import Architecture

_SINGLE = 4
_CHUNK = 1 << 23
"""Logits that are made at a time."""


def sketch_cost(d: int, e: int, P: int, m: int) -> tuple[float, float]:
    r"""Counts what sketching a sum of ``P`` outer products ``[d, e]`` takes, in single precision.

    A product that is formed takes ``2 P d e`` and its fold ``2 d e``. Otherwise each position is
    folded, :math:`2(d + e)`, transformed twice, :math:`5 m \log_2 m`, multiplied and added,
    ``4 m``.

    Returns:
        Operations, and bytes read and written.
    """
    if worth_forming(d, e, P, m):
        return 2.0 * (P + 1) * d * e, float(_SINGLE) * (P * (d + e) + 3 * d * e)
    position = 2.0 * (d + e) + 5.0 * m * math.log2(max(m, 2)) + 4.0 * m
    return P * position, float(_SINGLE) * P * (3 * (d + e) + 10 * m)


@dataclass(frozen=True)
class Target:
    """Which parameters are differentiated.

    Attributes:
        blocks: The last so many blocks, their norms included; with ``rank`` the blocks adapted.
        rank: Of low-rank adapters beside the matrices ``adapted``, none: the blocks' own matrices.
        adapted: Names of matrices, of `Architecture.matrices`.
    """

    blocks: int = 1
    rank: int | None = None
    adapted: tuple[str, ...] = ("q", "v")

    def parameters(self, model: Architecture) -> dict[str, tuple[int, int]]:
        """Returns the matrices of a block that are differentiated, ``[out, in]`` each."""
        if self.rank is None:
            return model.matrices
        sizes = {name: model.matrices[name] for name in self.adapted}
        down = {f"{name}.A": (self.rank, into) for name, (_, into) in sizes.items()}
        return down | {f"{name}.B": (out, self.rank) for name, (out, _) in sizes.items()}


@dataclass(frozen=True)
class GradientCost:
    """The gradient stage of one model.

    Attributes:
        model: Its sizes.
        T: Tokens of a sample.
        B: Samples of a batch.
        m: Sketch size.
        target: What is differentiated.
        itemsize: Bytes of an entry of the model: 2 for bfloat16, 4 for float32.
    """

    model: Architecture
    T: int
    m: int
    B: int = 1
    target: Target = Target()
    itemsize: int = _SINGLE

    def __post_init__(self):
        for name in ("T", "m", "B"):
            check_integer(getattr(self, name), name, low=1, hint="see skmm cost -h")
        check_integer(
            self.target.blocks,
            "blocks",
            low=1,
            high=self.model.layers,
            hint="the model has no more",
        )

    @property
    def r(self) -> int:
        """Dimension of the gradients."""
        norms = 0 if self.target.rank else 2 * self.model.width
        block = sum(d * e for d, e in self.target.parameters(self.model).values())
        return self.target.blocks * (block + norms)

    @property
    def forward(self) -> float:
        """Operations of the forward pass up to the states: ``2 T (P - d V) + 4 L T² d``."""
        model, adapters = self.model, 0
        if self.target.rank:
            sizes = self.target.parameters(model).values()
            adapters = self.target.blocks * sum(d * e for d, e in sizes)
        return 2.0 * self.T * (model.layers * model.block + adapters) + model.layers * (
            4.0 * self.T**2 * self._attended
        )

    @property
    def head(self) -> float:
        """Operations of logits and of the residual at the states: ``4 (T - 1) d V``."""
        return 4.0 * max(self.T - 1, 0) * self.model.width * self.model.vocabulary

    @property
    def backward(self) -> float:
        """Operations of passing the residual down to the lowest block and through it."""
        through = 2.0 * self.T * self.model.block + 8.0 * self.T**2 * self._attended
        if self.target.rank is None:
            return self.target.blocks * through
        sizes = self.target.parameters(self.model)
        adapters = 2.0 * self.T * sum(d * e for d, e in sizes.values())
        return (self.target.blocks - 1) * (through + adapters) + self._lowest_adapted(sizes)

    def _lowest_adapted(self, sizes: dict[str, tuple[int, int]]) -> float:
        """Nothing below the lowest block's adapters needs a residual."""
        adapted = set(self.target.adapted)
        scores, attends = bool(adapted & {"q", "k"}), bool(adapted & {"q", "k", "v"})
        between = attends or "o" in adapted  # what attention adds to the state carries a graph
        needed = dict.fromkeys(self.model.matrices, False) | {"o": attends}
        needed |= {name: between for name in ("gate", "up") if name in needed}
        needed["down"] = between or bool(adapted & {"gate", "up"})
        above = sum(
            2.0 * self.T * d * e * needed[name] for name, (d, e) in self.model.matrices.items()
        )
        for name in adapted:
            (rank, into), (out, _) = sizes[f"{name}.A"], sizes[f"{name}.B"]
            above += 2.0 * self.T * (out * rank + into * rank * needed[name])
        products = attends * (scores + len(adapted & {"q", "k", "v"}))
        return above + 2.0 * self.T**2 * self._attended * products

    @property
    def _attended(self) -> int:
        return self.model.heads * self.model.head_width

    @property
    def flops(self) -> float:
        """Operations a sample, without the sketch."""
        return self.forward + self.head + self.backward

    @property
    def products(self) -> float:
        """Operations of gradients that are formed before they are folded, a sample."""
        return self.target.blocks * sum(
            2.0 * self.T * d * e for d, e in self._sketched() if self._forms(d, e)
        )

    @property
    def sketch_flops(self) -> float:
        """Operations of the sketch, a sample."""
        return self.target.blocks * sum(
            sketch_cost(d, e, self.T, self.m)[0] for d, e in self._sketched()
        )

    @property
    def sketch_bytes(self) -> float:
        """Bytes that the sketch reads and writes, a sample."""
        return self.target.blocks * sum(
            sketch_cost(d, e, self.T, self.m)[1] for d, e in self._sketched()
        )

    def _sketched(self) -> list[tuple[int, int]]:
        return list(self.target.parameters(self.model).values())

    def _forms(self, d: int, e: int) -> bool:
        return worth_forming(d, e, self.T, self.m)

    @property
    def bytes(self) -> float:
        """Bytes read and written a sample: the weights once a pass and batch, and activations."""
        model, kept = self.model, self.target.blocks / self.model.layers
        passes = (1.0 + kept) * model.layers * model.block + 2.0 * model.vocabulary * model.width
        active = (2.0 + 2.0 * kept) * model.layers * self._activations
        return self.itemsize * (passes / self.B + active)

    @property
    def weights(self) -> float:
        """Bytes of the model, adapters included."""
        adapters = self.r if self.target.rank else 0
        return float(self.itemsize * self.model.parameters + _SINGLE * adapters)

    @property
    def plan(self) -> float:
        """Bytes of checking the plan on two samples, or of trying the head's losses on them.

        Gradients are held in three versions, the largest parameter's twice more to be compared; and
        logits of the whole vocabulary, in single precision with their logarithms.
        """
        gradients = 2.0 * self.r * (self.itemsize + 2 * _SINGLE) + 4.0 * _SINGLE * self._largest
        logits = 2.0 * self.T * self.model.vocabulary * (self.itemsize + 2 * _SINGLE)
        return max(gradients, logits)

    @property
    def working(self) -> float:
        """Bytes of a batch: graph, residuals at all layers, and the sketch of one of them."""
        tokens, sizes = self.B * self.T, self._sketched()
        deltas = self.target.blocks * sum(d for d, _ in sizes)
        widest = max(d + e for d, e in sizes)
        copies = widest if self.itemsize != _SINGLE else 0
        transforms = 0 if all(self._forms(d, e) for d, e in sizes) else widest + 4 * self.m
        formed = max([0, *(d * e for d, e in sizes if self._forms(d, e))])
        graph = self.itemsize * self.target.blocks * self._activations * self.B
        sketch = _SINGLE * (tokens * (copies + transforms) + 2 * self.B * formed)
        return float(graph + self.itemsize * tokens * deltas + sketch)

    @property
    def memory(self) -> float:
        """Peak of bytes: the model, and the largest of plan, batch and a chunk of logits."""
        chunk = 3.0 * _SINGLE * min(_CHUNK, self.B * self.T * self.model.vocabulary)
        return self.weights + max(self.plan, self.working, chunk)

    @property
    def _largest(self) -> int:
        return max(d * e for d, e in self._sketched())

    @property
    def _activations(self) -> float:
        """Entries that a block of one sample leaves behind for the backward pass."""
        model = self.model
        kv = model.groups * model.head_width
        attention = 3 * self._attended + 4 * kv
        hidden = (4 if model.gated else 2) * model.hidden
        return float(self.T * (8 * model.width + attention + hidden))
