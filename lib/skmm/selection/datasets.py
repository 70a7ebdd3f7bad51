"""Selection from a dataset by a network: from model and images to the samples to label."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from skmm.numerics.extras import extra
from skmm.numerics.inputs import check_budget
from skmm.selection.select import Selection, select

with extra("gradients", needed_by="skmm.select_from"):
    import torch
    from torch import nn
    from torch.utils.data import Subset

    from skmm.gradients import GradientSketch, sketched_gradients
    from skmm.gradients.activations import classifier_inputs
    from skmm.gradients.samples import open_pool

_GRADIENTS = ("autocast", "dtype", "labels", "last", "loss", "m", "parameters", "sketch")
_LABELS = ("fisher", "pseudo", "random")


def select_from(
    model: nn.Module,
    dataset: Any,
    n: int,
    *,
    rng: int | np.random.Generator,
    inputs: Callable[[Any], Any] | None = None,
    layer: str | None = None,
    gradients: Mapping[str, Any] | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    **options: Any,
) -> tuple[Subset, Selection]:
    r"""Chooses the samples of a dataset to label, by what a network makes of them.

    The rows that are selected from are the inputs of the network's classifier (linear probing) or,
    with ``gradients``, sketched per-sample gradients (finetuning); `skmm.select` does the rest.
    Labels of the pool are unknown: of a sample that is a pair its first entry alone is looked at,
    of one that is a mapping no entry called label or target, and neither is handed on.

    Args:
        model: Any module that takes a batch: of tensors, or of mappings, by names.
        dataset: What has a length and samples by position: a `torch.utils.data.Dataset` or one of
            Hugging Face, of tensors, tuples or mappings; a `DataLoader`, whose dataset is gone
            through in order, with its batches and its ``collate_fn``; or a folder of images.
        n: Budget, in ``1..N``.
        rng: Seed or generator, as for `skmm.select`.
        inputs: Makes the model's input of a sample, such as
            ``lambda sample: preprocess(sample["image"])``. For a folder, of an image of Pillow:
            ``weights.transforms()`` of torchvision. Unless told, samples are inputs as they are.
        layer: Name of the module whose inputs are the features; unless told, the classifier, see
            `skmm.gradients.activations`.
        gradients: Arguments of `skmm.sketched_gradients`, such as ``{"last": 2}`` or
            ``{"parameters": [...], "labels": "pseudo", "m": 256}``; ``{}`` for its own. Its labels
            are random unless told, and never true.
        batch_size: Samples in one pass, if ``dataset`` is no DataLoader.
        workers: Processes that load samples, if ``dataset`` is no DataLoader.
        device: Where the model runs, given back where it was; unless told, where it is.
        progress: Shows a progress bar.
        **options: Of `skmm.select`: ``method``, ``keep``, ``m`` and whatever the method takes.

    Returns:
        The samples to label, in the order chosen, as a `Subset` of ``dataset``, whose ``indices``
        are their positions, and the selection with its certificate. Of a folder the subset holds
        images; ``subset.dataset.paths`` are the files.

    Raises:
        ValueError: ``dataset`` has no positions, its samples are no inputs of the model, or an
            argument is out of its range.

    Example:
        >>> import skmm
        >>> import torch
        >>> pool = torch.utils.data.TensorDataset(torch.linspace(-1.0, 1.0, 500).reshape(100, 5))
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3))
        >>> subset, selection = skmm.select_from(model, pool, 10, rng=0)
        >>> len(subset), subset.indices == selection.indices.tolist()
        (10, True)
        >>> by_gradient = {"last": 1, "m": 16}
        >>> len(skmm.select_from(model, pool, 10, rng=0, gradients=by_gradient)[0])
        10
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if layer is not None and gradients is not None:
        raise ValueError(f"pass either layer or gradients, got both (layer={layer!r})")
    pool = open_pool(model, dataset, inputs=inputs, batch_size=batch_size, workers=workers)
    samples = pool.samples
    check_budget(n, len(samples))
    if gradients is not None:
        gradients = _checked(gradients)
    with _placed(model, device) as (place, dtype):
        batches = pool.batches(place, dtype)
        if gradients is None:
            rows = classifier_inputs(model, batches, layer=layer, progress=progress)
        else:
            rows = sketched_gradients(model, batches, rng=rng, progress=progress, **gradients)
            options = {"m": rows.shape[1]} | options
    if len(rows) != len(samples):
        raise ValueError(
            f"dataset must give one row a sample, got {len(rows)} of {len(samples)} samples; "
            "a collate_fn must not drop or repeat any"
        )
    selection = select(rows, n, rng=rng, **options)
    return Subset(samples, selection.indices.tolist()), selection


def _checked(gradients: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `sketched_gradients`, with a sketch size."""
    if unknown := sorted(set(gradients) - set(_GRADIENTS)):
        raise ValueError(
            f"gradients takes no {', '.join(unknown)}; it takes {', '.join(_GRADIENTS)}"
        )
    if (labels := gradients.get("labels", "random")) not in _LABELS:
        raise ValueError(
            f"gradients must have labels that no sample is asked for, one of {', '.join(_LABELS)}, "
            f"got {labels!r}; with true labels, call skmm.sketched_gradients"
        )
    drawn = isinstance(gradients.get("sketch"), GradientSketch)
    return dict(gradients) if drawn else {"m": 512} | dict(gradients)


@contextmanager
def _placed(
    model: nn.Module, device: str | torch.device | None
) -> Generator[tuple[torch.device, torch.dtype]]:
    """Holds the model on a device; yields that and the precision of its parameters."""
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(0))
    home = example.device
    try:
        if device is not None:
            model.to(device)
        yield home if device is None else torch.device(device), example.dtype
    finally:
        model.to(home)
