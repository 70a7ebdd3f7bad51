"""Where per-sample gradients go: into rows of the sketch, or, where small, next to each other.

Both collectors take the same two kinds of contribution, several a parameter if it is used more than
once, and add them up. All arrays are channel first, ``P`` positions last.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from skmm.gradients.tensorsketch import TensorSketch
from skmm.sketching import Sketch
from skmm.sketching.fold import Fold
from skmm.sketching.products import worth_forming


class Collector(ABC):
    """Collects the contributions of one batch."""

    def __init__(self, *, dtype: torch.dtype, device: torch.device):
        self.dtype, self.device = dtype, device

    @abstractmethod
    def start(self, B: int) -> Self:
        """Empties the collector for a batch of ``B`` samples."""

    @abstractmethod
    def add_outer(self, name: str, delta: Tensor, a: Tensor) -> None:
        r"""Adds :math:`\sum_p \delta_p a_p^\top`, group by group of output channels.

        Args:
            name: The parameter.
            delta: Residuals ``[B, groups, d / groups, P]``.
            a: Activations ``[B, groups, e, P]``.
        """

    @abstractmethod
    def add_picked(self, name: str, picks: Tensor, delta: Tensor) -> None:
        r"""Adds :math:`\sum_p e_{i_p} \delta_p^\top`: residuals at rows of a table.

        Args:
            name: The parameter, ``[V, e]``.
            picks: Rows :math:`i`, ``[B, P]``.
            delta: Residuals ``[B, P, e]``.
        """

    @abstractmethod
    def add(self, name: str, gradients: Tensor) -> None:
        """Adds gradients that were formed, ``[B, ...]`` with as many entries as the parameter."""

    @abstractmethod
    def rows(self) -> Tensor:
        """Returns the collected rows, ``[B, m]``."""


class FormedGradients(Collector):
    """Forms the gradients and sketches them with a map on all of them: memory ``B r``.

    Attributes:
        blocks: Gradients by parameter, ``[B, *shape]``; a parameter that got none is missing.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        sketch: Sketch | None = None,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ):
        super().__init__(dtype=dtype, device=device)
        self._shapes, self._sketch = shapes, sketch

    def start(self, B: int) -> Self:
        """Forgets the gradients of the last batch."""
        self._B = B
        self.blocks: dict[str, Tensor] = {}
        return self

    def add_outer(self, name: str, delta: Tensor, a: Tensor) -> None:
        """Forms the product of the factors."""
        self.add(name, delta.to(self.dtype) @ a.to(self.dtype).transpose(-1, -2))

    def add_picked(self, name: str, picks: Tensor, delta: Tensor) -> None:
        """Adds the residuals of each row."""
        V, e = self._shapes[name]
        block = torch.zeros(self._B, V, e, dtype=self.dtype, device=self.device)
        index = picks.unsqueeze(-1).expand(-1, -1, e)
        self.add(name, block.scatter_add_(1, index, delta.to(self.dtype)))

    def add(self, name: str, gradients: Tensor) -> None:
        """Adds gradients that were formed elsewhere."""
        block = gradients.to(self.dtype).reshape(self._B, *self._shapes[name])
        self.blocks[name] = self.blocks[name] + block if name in self.blocks else block

    def rows(self) -> Tensor:
        """Returns the sketch of the concatenated gradients; themselves, if there is none."""
        flat = [
            self.blocks[name].reshape(self._B, -1)
            if name in self.blocks
            else torch.zeros(self._B, math.prod(shape), dtype=self.dtype, device=self.device)
            for name, shape in self._shapes.items()
        ]
        rows = torch.cat(flat, dim=1)
        return rows if self._sketch is None else self._sketch(rows)


class FactoredGradients(Collector):
    """Sketches outer products from their factors: memory ``B (d + e) P``, whatever ``r = d e``.

    All outer products of a batch are added up as spectra, so one inverse transform a sample is
    enough.
    """

    def __init__(
        self, maps: Mapping[str, TensorSketch], *, dtype: torch.dtype, device: torch.device
    ):
        super().__init__(dtype=dtype, device=device)
        self._maps = maps
        self._m = next(iter(maps.values())).m
        self._folds: dict[tuple[str, str, int], Fold] = {}

    def start(self, B: int) -> Self:
        """Sets sums and spectra to zero."""
        self._sums = torch.zeros(B, self._m, dtype=self.dtype, device=self.device)
        self._spectra = torch.zeros(
            B, self._m // 2 + 1, dtype=self.dtype.to_complex(), device=self.device
        )
        return self

    def add_outer(self, name: str, delta: Tensor, a: Tensor) -> None:
        """Multiplies the spectra of the folded factors."""
        groups, d, P = delta.shape[1:]
        e = a.shape[2]
        delta, a = delta.to(self.dtype), a.to(self.dtype)
        if worth_forming(d, e, P, self._m):
            self.add(name, delta @ a.transpose(-1, -2))
            return
        for g in range(groups):
            left = torch.fft.rfft(self._fold(name, "rows", g, d)(delta[:, g]), dim=1)
            right = torch.fft.rfft(self._fold(name, "columns", 0, e)(a[:, g]), dim=1)
            self._spectra += left.mul_(right).sum(-1)

    def add_picked(self, name: str, picks: Tensor, delta: Tensor) -> None:
        """Folds the residuals and turns each by the bucket of its row: no spectra are needed."""
        block = self._maps[name]
        columns = self._fold(name, "columns", 0, delta.shape[2])
        folded = columns(delta.to(self.dtype).transpose(1, 2))  # [B, m, P]
        buckets = torch.as_tensor(block.row_buckets, device=self.device)[picks]
        signs = torch.as_tensor(block.row_signs, device=self.device)[picks].to(self.dtype)
        j = torch.arange(self._m, device=self.device).view(1, -1, 1)
        sources = (j - buckets.unsqueeze(1)) % self._m
        self._sums += (folded.gather(1, sources) * signs.unsqueeze(1)).sum(-1)

    def add(self, name: str, gradients: Tensor) -> None:
        """Folds gradients that were formed."""
        flat = gradients.to(self.dtype).reshape(len(gradients), -1, 1)
        self._sums += self._fold(name, "entries", 0, flat.shape[1])(flat).squeeze(-1)

    def rows(self) -> Tensor:
        """Returns the sums, all spectra transformed back at once."""
        return self._sums + torch.fft.irfft(self._spectra, n=self._m, dim=1)

    def _fold(self, name: str, side: str, group: int, width: int) -> Fold:
        key = name, side, group
        if key not in self._folds:
            block = self._maps[name]
            buckets, signs = {
                "rows": lambda: (block.row_buckets, block.row_signs),
                "columns": lambda: (block.column_buckets, block.column_signs),
                "entries": lambda: (block.buckets, block.signs),
            }[side]()
            part = slice(group * width, (group + 1) * width)
            self._folds[key] = Fold(
                buckets[part], signs[part], self._m, dtype=self.dtype, device=self.device
            )
        return self._folds[key]
