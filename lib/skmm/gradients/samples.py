"""The samples of a pool that has no labels, and their inputs to a network, in order."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from skmm.gradients.batches import LABELS, Inputs
from skmm.numerics.extras import extra
from skmm.numerics.inputs import check_integer

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class SamplePool:
    """Samples by position, and what loads their inputs batch by batch, in order.

    Attributes:
        samples: What has a length and samples by position.
        loader: Batches of them.
        take: Takes the inputs out of a batch.
    """

    samples: Any
    loader: DataLoader
    take: InputOf

    def batches(self, place: torch.device, dtype: torch.dtype) -> Batches:
        """Returns the inputs on a device and in a precision."""
        return Batches(self, place, dtype)


@dataclass(frozen=True, eq=False)
class Batches:
    """The inputs of a pool in order; can be gone through again."""

    pool: SamplePool
    place: torch.device
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.pool.loader)

    def __iter__(self) -> Iterator[Inputs]:
        for batch in self.pool.loader:
            x = self.pool.take(batch)
            if isinstance(x, Tensor):
                yield self._put(x)
            else:
                yield {name: self._put(part) for name, part in x.items()}

    def _put(self, x: Tensor) -> Tensor:
        x = x.to(self.place, non_blocking=True)
        return x.to(self.dtype) if x.is_floating_point() else x


def open_pool(
    model: nn.Module,
    dataset: Any,
    *,
    inputs: Callable[[Any], Any] | None,
    batch_size: int,
    workers: int,
) -> SamplePool:
    """Opens a pool for a model; see `skmm.select_from` for the arguments.

    Raises:
        ValueError: the samples have no positions, or an argument is out of its range.
    """
    take = InputOf.of(model)
    if isinstance(dataset, DataLoader):
        return SamplePool(_checked(dataset.dataset), _in_order(dataset, inputs), take)
    check_integer(batch_size, "batch_size", low=1, hint="64 suits most networks")
    check_integer(workers, "workers", low=0, hint="0 loads samples in this process")
    samples = dataset
    if isinstance(dataset, str | os.PathLike):
        samples = ImageFiles(dataset)
        if inputs is None:
            raise ValueError(
                "inputs must be given for a folder of images, got None; pass what makes the "
                "network's input of an image, such as weights.transforms() of torchvision"
            )
    of_samples = _Mapped(_checked(samples), take if inputs is None else inputs)
    return SamplePool(samples, DataLoader(of_samples, batch_size, num_workers=workers), take)


def _checked(samples: Any) -> Any:
    """Returns samples that have positions, at least one."""
    positions = hasattr(samples, "__len__") and hasattr(samples, "__getitem__")
    if not positions or isinstance(samples, IterableDataset | Mapping | nn.Module):
        raise ValueError(
            "dataset must have a length and samples by position, got "
            f"{type(samples).__name__}; pass a map-style dataset, of several splits one"
        )
    if len(samples) == 0:
        raise ValueError("dataset is empty; pass at least one sample")
    return samples


def _in_order(loader: DataLoader, inputs: Any) -> DataLoader:
    """Returns a loader of the same batches, but in the order of the dataset."""
    if inputs is not None:
        raise ValueError(
            "inputs must be left out with a DataLoader, whose dataset and collate_fn make them, "
            f"got {inputs!r}"
        )
    whole = isinstance(loader.sampler, SequentialSampler | RandomSampler)
    if not whole or loader.batch_size is None:
        raise ValueError(
            "dataset must be a DataLoader with batches of all of its samples, got one with a "
            f"{type(loader.sampler).__name__} and batch_size={loader.batch_size}; pass the dataset "
            "itself, or a torch.utils.data.Subset of it"
        )
    return DataLoader(
        loader.dataset,
        loader.batch_size,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
    )


class ImageFiles(Dataset):
    """The images below a folder, in the order of their paths, as images of Pillow in RGB.

    Attributes:
        paths: The files.
    """

    def __init__(self, folder: str | os.PathLike):
        if not Path(folder).is_dir():
            raise ValueError(f"dataset must be a folder of images, got {str(folder)!r}: no folder")
        files = (path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
        self.paths = sorted(path for path in files if path.is_file())
        if not self.paths:
            raise ValueError(
                f"dataset must hold images ({', '.join(_SUFFIXES)}), got none in {str(folder)!r}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        with extra("images", needed_by="a folder of images"):
            from PIL import Image
        try:
            with Image.open(self.paths[index]) as image:
                return image.convert("RGB")
        except OSError as error:
            raise ValueError(
                f"dataset must hold images, got {str(self.paths[index])!r}: {error}"
            ) from error


class _Mapped(Dataset):
    """The inputs of samples, without their labels."""

    def __init__(self, samples: Any, make: Callable[[Any], Any]):
        self._samples, self._make = samples, make

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return self._make(self._samples[index])


@dataclass(frozen=True)
class InputOf:
    """Takes the input out of a sample or of a batch, and leaves the label.

    Attributes:
        accepted: Names that the model takes; ``None`` if it takes any.
    """

    accepted: frozenset[str] | None

    @classmethod
    def of(cls, model: nn.Module) -> InputOf:
        """Reads the names off the model's ``forward``."""
        parameters = inspect.signature(model.forward).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return cls(None)
        return cls(frozenset(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL))

    def __call__(self, sample: Any) -> Inputs:
        """Returns a tensor, or tensors by name."""
        if isinstance(sample, tuple | list) and len(sample) > 0:
            return self(sample[0])
        if not isinstance(sample, Mapping):
            return _tensor(sample)
        taken = {name: _tensor(part) for name, part in sample.items() if self._takes(name)}
        if not taken:
            raise ValueError(
                "samples must have an entry that the model takes, got "
                f"{', '.join(map(str, sample))}; pass inputs=, such as "
                "inputs=lambda sample: preprocess(sample['image'])"
            )
        return taken

    def _takes(self, name: str) -> bool:
        return name not in LABELS and (self.accepted is None or name in self.accepted)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(np.asarray(value) if hasattr(value, "__array__") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"samples must be tensors, got {type(value).__name__}; pass inputs=, which makes a "
            "tensor of a sample"
        ) from error
