"""Batches of tokenised texts: similar lengths together, at most so many tokens at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skmm.numerics.inputs import check_choice, check_integer

_FILL = {"labels": -100}
"""What stands at padding, where it is not 0."""


class TokenBatches:
    """The texts of a pool in batches of a bounded number of tokens, padding included.

    The longest come first: what fits into memory at first fits to the end. `sketched_gradients`
    returns their rows in the pool's order.

    Args:
        columns: Entries by name, as a tokenizer returns them: ``input_ids`` and others, for each
            text a list of one number a token; or one number a text, such as a class in ``labels``.
        tokens: The most tokens in a batch, padding included.
        pad: Token that fills up ``input_ids``. At padding ``labels`` are -100, other entries 0; an
            ``attention_mask`` is made where there is none.
        side: Where padding goes, ``"right"`` or ``"left"``.
        positions: Adds ``position_ids`` that count a text's own tokens from 0, for models with
            absolute positions that pad on the left; not for models that count in another way.

    Attributes:
        order: The pool's position of each text in the order of the batches, ``[N]``.

    Raises:
        ValueError: columns differ in length, or a text is empty or longer than a batch.

    Example:
        >>> from skmm.gradients.tokens import TokenBatches
        >>> batches = TokenBatches({"input_ids": [[5, 6], [7], [8, 9, 4], [3]]}, tokens=4)
        >>> batches.order.tolist(), [batch["input_ids"].tolist() for batch in batches]
        ([2, 0, 1, 3], [[[8, 9, 4]], [[5, 6], [7, 0]], [[3]]])
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]],
        tokens: int,
        *,
        pad: int = 0,
        side: str = "right",
        positions: bool = False,
    ):
        check_integer(tokens, "tokens", low=1, hint="4096 suits most memories")
        check_choice(side, "side", ("left", "right"))
        if not isinstance(columns, Mapping) or "input_ids" not in columns:
            raise ValueError(
                f"columns must hold input_ids, got {', '.join(map(str, columns))}; pass what a "
                "tokenizer returns for a list of texts"
            )
        self._columns = {name: list(column) for name, column in columns.items()}
        N = len(self._columns["input_ids"])
        if N == 0:
            raise ValueError("columns must hold at least one text, got none")
        for name, column in self._columns.items():
            if len(column) != N:
                raise ValueError(f"columns must hold {N} entries each, got {len(column)} {name}")
        lengths = np.array([len(ids) for ids in self._columns["input_ids"]])
        wrong = np.flatnonzero((lengths == 0) | (lengths > tokens))
        if wrong.size:
            raise ValueError(
                f"columns must hold texts of 1 to {tokens} tokens, the most in a batch, got "
                f"{lengths[wrong[0]]} at text {wrong[0]}; truncate, or raise tokens"
            )
        self._pad, self._left, self._positions = pad, side == "left", positions
        self.order: NDArray[np.int64] = np.argsort(-lengths, kind="stable")
        self._parts, start = [], 0
        while start < N:
            end = start + int(tokens // lengths[self.order[start]])
            self._parts.append(self.order[start:end])
            start = end

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for part in self._parts:
            yield self._batch(part)

    def _batch(self, part: NDArray[np.int64]) -> dict[str, Tensor]:
        fill = _FILL | {"input_ids": self._pad}
        batch = {
            name: self._filled([column[i] for i in part], fill.get(name, 0))
            for name, column in self._columns.items()
        }
        if "attention_mask" not in batch:
            ones = [[1] * len(self._columns["input_ids"][i]) for i in part]
            batch["attention_mask"] = self._filled(ones, 0)
        if self._positions:
            batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
        return batch

    def _filled(self, entries: list[Any], fill: int) -> Tensor:
        if np.ndim(entries[0]) == 0:
            return torch.as_tensor(entries)
        T = max(map(len, entries))
        filled = torch.full((len(entries), T), fill, dtype=torch.as_tensor(entries[0]).dtype)
        for row, entry in zip(filled, entries, strict=True):
            row[T - len(entry) if self._left else 0 :][: len(entry)] = torch.as_tensor(entry)
        return filled
