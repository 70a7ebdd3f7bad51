"""Sketched gradients of a whole pool, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset
from tqdm import tqdm

from skmm.gradients.functional import as_matrix, looped_gradients, vmapped_gradients
from skmm.gradients.layers import Recorder, add_gradients, residuals_at
from skmm.gradients.parameters import frozen
from skmm.gradients.plan import Plan, make_plan
from skmm.gradients.residuals import ResidualRule, SampleStream
from skmm.gradients.rows import Collector
from skmm.gradients.sketch import GradientSketch
from skmm.numerics.inputs import check_choice, check_integer
from skmm.numerics.streams import as_generator

_FORMED_ENTRIES = 1 << 24
"""Gradients that `torch.func` may form at a time: 64 MB of float32."""


def sketched_gradients(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    m: int | None = None,
    sketch: str | GradientSketch = "tensor",
    parameters: Sequence[str] | None = None,
    last: int | None = None,
    labels: str = "random",
    loss: str = "cross-entropy",
    rng: int | np.random.Generator,
    first: int = 0,
    autocast: bool = False,
    dtype: str = "float32",
    progress: bool = False,
) -> NDArray[np.floating]:
    r"""Computes the per-sample gradients of a pool, sketched on the fly by one map.

    .. math:: \tilde g_i = \nabla_\theta\,\ell\bigl(f(x_i;\theta), y_i\bigr)\,\Gamma

    The model runs on the device it is on, in eval mode: batch normalisation is frozen, dropout off.
    It is given back as it was, its modes and flags too. What a sample costs beside its forward pass
    and the backward pass to the first chosen layer, with ``P`` positions (1 for vectors):

    =======================  =============================================  ====================
    parameter of             time                                           memory
    =======================  =============================================  ====================
    Linear, Conv2d [d, e]    ``P (d + e + m log m)``                        ``P (d + e + m)``
    depthwise Conv2d         that of its weight gradient                    ``d e``
    BatchNorm                ``P d``                                        ``P d``
    anything else            forward and backward of the whole model again  its entries
    =======================  =============================================  ====================

    The first batch's first two samples are also backpropagated one at a time, to choose for each
    parameter the fastest way that is right (see `skmm.gradients.plan`); this holds two samples'
    gradients once. Rows do not depend on how the pool is cut into batches, up to rounding.

    Args:
        model: Any module that takes a batch and returns ``[B, C]`` or ``[B]``: logits, predictions.
        batches: Batches in the pool's order: tensors, or pairs of inputs and labels, as a
            DataLoader yields them. Floating inputs are cast to the model's precision.
        m: Sketch size.
        sketch: Kind of map, see `GradientSketch.draw`; or a map that was drawn, with which ``m``,
            ``parameters`` and ``last`` are left out.
        parameters: Names of parameters.
        last: Or the last so many layers, see `last_parameters`; 2 unless told.
        labels: ``"true"``, ``"random"`` (as the paper's code: no label is needed), ``"pseudo"``
            (the model's own), ``"fisher"`` (one row a sample, whose outer product is in expectation
            the Fisher information) or ``"fisher-exact"`` (one row a class); see
            `skmm.gradients.residuals`.
        loss: ``"cross-entropy"``, or ``"squared-error"`` with the factor 1/2.
        rng: Seed or generator, for the map and, on a stream of their own, labels.
        first: Index of the first sample: with the same seed and map, parts of a pool give the rows
            of the whole.
        autocast: Runs the model in bfloat16 where PyTorch deems it safe; the residuals at the
            output are computed in ``float32`` or better, the sketch in ``dtype``.
        dtype: Precision of the sketch and the rows, ``"float32"`` or ``"float64"``.
        progress: Shows a progress bar.

    Returns:
        :math:`\tilde G`, ``[N, m]``; for ``"fisher-exact"`` ``[N, C, m]``.

    Raises:
        ValueError: a parameter is unknown (close names are listed), ``batches`` is empty or not
            made of batches, a label is out of range, or a gradient is not finite (the sample is
            named).

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3))
        >>> pool = torch.linspace(-1.0, 1.0, 50).reshape(10, 5)
        >>> rows = skmm.sketched_gradients(model, pool.split(4), m=8, rng=0)
        >>> rows.shape
        (10, 8)
        >>> whole = skmm.sketched_gradients(model, pool.split(10), m=8, rng=0)
        >>> np.allclose(rows, whole, atol=1e-5)  # cutting the pool into batches changes nothing
        True

    References:
        Sketchy Moment Matching (Dong et al., 2024), Algorithm 3.1, https://arxiv.org/abs/2407.06120
    """
    map_rng, label_rng = _generators(rng)
    if isinstance(sketch, GradientSketch):
        if (m, parameters, last) != (None, None, None):
            raise ValueError(
                f"sketch is drawn already: leave out m, parameters and last, got m={m}, "
                f"parameters={parameters}, last={last}"
            )
        sketch.check_model(model)
    else:
        m = check_integer(m, "m", low=1, hint="it is the sketch size, for example m=512")
        sketch = GradientSketch.draw(
            model, m, sketch=sketch, parameters=parameters, last=last, rng=map_rng
        )
    rule = ResidualRule(labels, loss, SampleStream.draw(label_rng))
    check_integer(first, "first", low=0, hint="it is the index of the first sample in the pool")
    check_choice(dtype, "dtype", ("float32", "float64"))
    _check_batches(batches)

    example = next(model.parameters())
    into = sketch.collector(dtype=getattr(torch, dtype), device=example.device)
    parts = []
    with frozen(model, list(sketch.shapes)):
        bar = tqdm(batches, desc="gradients", unit="batch", disable=not progress)
        (x, _), stream = _peeked(_unpacked(batch, example) for batch in bar)
        plan = make_plan(model, sketch.shapes, x[:2])
        for x, targets in _pieces(stream, plan, sketch):
            rows = _batch_rows(model, x, targets, plan, rule, first, autocast, into)
            _check_finite(rows, first)
            parts.append(rows.cpu().numpy())
            first += len(x)
    rows = np.concatenate(parts)
    return rows if labels == "fisher-exact" else rows[:, 0]


def map_generator(rng: int) -> np.random.Generator:
    """Returns what `sketched_gradients` draws the map from under this seed."""
    return _generators(rng)[0]


def _generators(rng: int | np.random.Generator) -> list[np.random.Generator]:
    return as_generator(rng, "gradients").spawn(2)


def _batch_rows(
    model: nn.Module,
    x: Tensor,
    targets: Tensor | None,
    plan: Plan,
    rule: ResidualRule,
    start: int,
    autocast: bool,
    into: Collector,
) -> Tensor:
    """Returns the rows of one batch, ``[B, K, m]``."""
    mixed = torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=autocast)
    graph = torch.set_grad_enabled(bool(plan.layers))
    with Recorder(plan.layers) as recorder, mixed, graph:
        outputs = as_matrix(model(x), len(x))
    residuals = rule(outputs, targets, start=start)
    # Of a layer that part of the batch goes around, the closed form knows no sample's place.
    partial = dict.fromkeys(call.layer for call in recorder.calls if not call.covers(len(x)))
    looped = plan.looped + [name for layer in partial for name in plan.layers[layer].values()]
    rows = []
    for k, residual in enumerate(residuals):
        into.start(len(x))
        if recorder.calls:
            keep = k + 1 < len(residuals)
            deltas = residuals_at(recorder.calls, outputs, residual, keep=keep)
            for call, delta in zip(recorder.calls, deltas, strict=True):
                if delta is not None and call.layer not in partial:
                    add_gradients(call.layer, plan.layers[call.layer], call.x, delta, into)
        with mixed:
            formed = vmapped_gradients(model, plan.vmapped, x, residual) if plan.vmapped else {}
            if looped:
                formed |= looped_gradients(model, looped, x, residual)
        for name, gradients in formed.items():
            into.add(name, gradients)
        rows.append(into.rows())
    return torch.stack(rows, dim=1)


Batch = tuple[Tensor, Tensor | None]


def _check_batches(batches: Any) -> None:
    if isinstance(batches, Tensor | np.ndarray):
        raise ValueError(
            f"batches must be an iterable of batches, got one array of shape "
            f"{list(batches.shape)}; pass a DataLoader, or inputs.split(64)"
        )
    mapped = isinstance(batches, Dataset) and not isinstance(batches, IterableDataset)
    if mapped or not isinstance(batches, Iterable):
        raise ValueError(
            f"batches must be an iterable of batches, got {type(batches).__name__}; "
            "pass a DataLoader, or inputs.split(64)"
        )


def _peeked(batches: Iterator[Batch]) -> tuple[Batch, Iterator[Batch]]:
    """Returns the first batch that has samples, and all of these with it."""
    filled = (batch for batch in batches if len(batch[0]))
    try:
        head = next(filled)
    except StopIteration:
        raise ValueError("batches is empty; pass at least one sample") from None
    return head, chain([head], filled)


def _unpacked(batch: Any, example: Tensor) -> Batch:
    """Splits a batch into inputs, moved to the model, and labels."""
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    if len(parts) not in (1, 2) or not isinstance(parts[0], Tensor) or parts[0].ndim == 0:
        raise ValueError(
            "batches must yield tensors [B, ...] or pairs (inputs, labels), got "
            f"{type(batch).__name__} of {[type(part).__name__ for part in parts]}"
        )
    x = parts[0].to(example.device, non_blocking=True)
    if x.is_inference():
        x = x.clone()  # no graph can be built on the original
    if x.is_floating_point():
        x = x.to(example.dtype)
    return x, parts[1] if len(parts) == 2 else None


def _pieces(batches: Iterator[Batch], plan: Plan, sketch: GradientSketch) -> Iterator[Batch]:
    """Yields batches, cut up where `torch.func` would form too many gradients at a time."""
    entries = sum(int(np.prod(sketch.shapes[name])) for name in plan.vmapped + plan.looped)
    size = max(1, _FORMED_ENTRIES // entries) if entries else None
    for x, targets in batches:
        step = size or len(x)
        for i in range(0, len(x), step):
            yield x[i : i + step], None if targets is None else targets[i : i + step]


def _check_finite(rows: Tensor, first: int) -> None:
    bad = ~rows.isfinite().flatten(1).all(1)
    if bad.any():
        i = first + int(bad.nonzero()[0, 0])
        raise ValueError(
            f"gradients must be finite, sample {i} has NaN or infinite entries ({int(bad.sum())} "
            "such samples in its batch); check its input and, with autocast, try without"
        )
