"""Batches of a pool: tensors, or tensors by name, with or without labels, in the pool's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import Dataset, IterableDataset

Inputs = Tensor | dict[str, Tensor]

LABELS = ("label", "labels", "target", "targets")
"""Entries of a sample that are never handed to the model, though it may take them."""


@dataclass(frozen=True)
class Batch:
    """Some samples of the pool.

    Attributes:
        x: What the loss is computed from, a tensor or a nest of tensors, each batch first.
        targets: Labels that are no part of ``x``.
        places: Where the samples stand in the pool, ``[B]``.
    """

    x: Any
    targets: Any = None
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return size(self.x)

    def __getitem__(self, part: slice) -> Batch:
        targets = None if self.targets is None else self.targets[part]
        return Batch(part_of(self.x, part), targets, self.places[part])


def size(x: Any) -> int:
    """Returns how many samples there are."""
    return len(tree_leaves(x)[0])


def part_of(x: Any, part: slice | NDArray[np.int64]) -> Any:
    """Returns some of the samples."""
    return tree_map(lambda tensor: tensor[part], x)


def inputs_of(x: Any) -> Inputs:
    """Returns what of a batch the model takes: all but labels."""
    if isinstance(x, Mapping):
        return {name: tensor for name, tensor in x.items() if name not in LABELS}
    return x[0] if isinstance(x, tuple | list) else x


def labels_of(x: Any) -> Any:
    """Returns the labels among a mapping's entries, or none."""
    return next((x[name] for name in LABELS if name in x), None)


def check_batches(batches: Any) -> None:
    """Raises ``ValueError`` if ``batches`` is no iterable of batches."""
    if isinstance(batches, Tensor | np.ndarray | Mapping):
        seen = (
            f"one mapping of {', '.join(map(str, batches))}"
            if isinstance(batches, Mapping)
            else f"one array of shape {list(batches.shape)}"
        )
        raise ValueError(
            f"batches must be an iterable of batches, got {seen}; "
            "pass a DataLoader, or inputs.split(64)"
        )
    mapped = isinstance(batches, Dataset) and not isinstance(batches, IterableDataset)
    if mapped or not isinstance(batches, Iterable):
        raise ValueError(
            f"batches must be an iterable of batches, got {type(batches).__name__}; "
            "pass a DataLoader, or inputs.split(64)"
        )


def peeked(batches: Iterator[Batch]) -> tuple[Batch, Iterator[Batch]]:
    """Returns the first batch that has samples, and all of these with it."""
    filled = (batch for batch in batches if len(batch))
    try:
        head = next(filled)
    except StopIteration:
        raise ValueError("batches is empty; pass at least one sample") from None
    return head, chain([head], filled)


def unpacked(batch: Any, example: Tensor, *, whole: bool) -> Batch:
    """Moves a batch to the model and takes the labels out of it.

    Args:
        batch: As the pool yields it.
        example: A parameter of the model.
        whole: Leaves the labels where they are, for a loss that reads the batch itself.

    Raises:
        ValueError: it is no tensor, mapping of tensors, or pair of one of these and labels.
    """
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    if len(parts) not in (1, 2) or not _is_inputs(parts[0]):
        raise ValueError(
            "batches must yield tensors [B, ...], mappings of such tensors by name, or pairs "
            f"(inputs, labels), got {type(batch).__name__} of "
            f"{[type(part).__name__ for part in parts]}"
        )
    x = parts[0]
    if isinstance(x, Mapping):
        x = _checked_mapping(x)
    if whole:
        if len(parts) == 2 and isinstance(x, Mapping):
            x = x | {"labels": torch.as_tensor(parts[1])}
        elif len(parts) == 2:
            x = x, torch.as_tensor(parts[1])
        return Batch(tree_map(lambda tensor: _moved(tensor, example), x))
    targets = parts[1] if len(parts) == 2 else None
    if isinstance(x, Mapping) and targets is None:
        targets = labels_of(x)
    return Batch(tree_map(lambda tensor: _moved(tensor, example), inputs_of(x)), targets)


def placed(
    batches: Iterator[Batch], order: NDArray[np.int64] | None, first: int
) -> Iterator[Batch]:
    """Tells the batches' samples their places: from ``first`` on, in ``order`` if there is one."""
    seen = 0
    for batch in batches:
        places = np.arange(seen, seen + len(batch))
        yield replace(batch, places=first + (places if order is None else order[places]))
        seen += len(batch)


def pieces(batches: Iterator[Batch], length: int | None) -> Iterator[Batch]:
    """Yields batches, cut up into at most ``length`` samples."""
    for batch in batches:
        step = length or len(batch)
        for i in range(0, len(batch), step):
            yield batch[i : i + step]


def _is_inputs(x: Any) -> bool:
    tensors = list(x.values()) if isinstance(x, Mapping) else [x]
    return bool(tensors) and all(isinstance(t, Tensor) and t.ndim > 0 for t in tensors)


def _checked_mapping(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the entries, all of as many samples."""
    lengths = {name: len(tensor) for name, tensor in x.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "batches must yield tensors with the batch first in every entry, got lengths "
            f"{', '.join(f'{name}: {B}' for name, B in lengths.items())}"
        )
    if all(name in LABELS for name in lengths):
        raise ValueError(
            f"batches must have an entry that the model takes, got {', '.join(lengths)} only"
        )
    return dict(x)


def _moved(x: Tensor, example: Tensor) -> Tensor:
    x = x.to(example.device, non_blocking=True)
    if x.is_inference():
        x = x.clone()  # no graph can be built on the original
    return x.to(example.dtype) if x.is_floating_point() else x
