"""Sketched gradients of a whole pool, batch by batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from skmm.gradients.batches import Batch, check_batches, peeked, pieces, placed, unpacked
from skmm.gradients.forecast import Forecast
from skmm.gradients.functional import looped_gradients, vmapped_gradients
from skmm.gradients.layers import Recorder, add_gradients, residuals_at
from skmm.gradients.objectives import TOKEN_LOSSES, Objective, Outputs, OwnLoss, TokenLoss
from skmm.gradients.parameters import frozen, warn_of_idle_adapters
from skmm.gradients.plan import Plan, make_plan
from skmm.gradients.residuals import LOSSES, ResidualRule, SampleStream, UnitRule
from skmm.gradients.rows import Collector
from skmm.gradients.sketch import GradientSketch
from skmm.gradients.tokens import TokenBatches
from skmm.numerics.inputs import check_choice, check_integer
from skmm.numerics.streams import as_generator

OwnLossFunction = Callable[[Any, Any], Tensor]

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
    labels: str | None = None,
    loss: str | OwnLossFunction = "cross-entropy",
    rng: int | np.random.Generator,
    first: int = 0,
    autocast: bool = False,
    dtype: str = "float32",
    progress: bool = False,
) -> NDArray[np.floating]:
    r"""Computes the per-sample gradients of a pool, sketched on the fly by one map.

    .. math:: \tilde g_i = \nabla_\theta\,\ell\bigl(f(x_i;\theta), y_i\bigr)\,\Gamma

    The model runs on the device it is on, in eval mode: batch normalisation is frozen, dropout off.
    It is given back as it was, its modes and flags too. (Models of `transformers` checkpoint their
    activations in training mode only, so not here.) What a sample costs beside its forward pass
    and the backward pass to the first chosen layer, with ``P`` positions (1 for vectors):

    =======================  =============================================  ====================
    parameter of             time                                           memory
    =======================  =============================================  ====================
    Linear, Conv2d [d, e]    ``P (d + e + m log m)``                        ``P (d + e + m)``
    depthwise Conv2d         that of its weight gradient                    ``d e``
    Embedding [V, e]         ``P (e + m)``                                  ``P (e + m)``
    Batch, Layer, RMSNorm    ``P d``                                        ``P d``
    anything else            forward and backward of the whole model again  its entries
    =======================  =============================================  ====================

    The first batch's first two samples are also backpropagated one at a time, to choose for each
    parameter the fastest way that is right (see `skmm.gradients.plan`); this holds two samples'
    gradients once. Rows do not depend on how the pool is cut into batches, up to rounding.

    Args:
        model: Any module that takes a batch and returns ``[B, C]`` or ``[B]``: logits, predictions;
            or these as ``logits`` among others by name. With a loss of tokens or of your own,
            whatever that takes.
        batches: Batches in the pool's order: tensors, tensors by name (``model(**batch)``), or
            pairs of one of these and labels, as a DataLoader yields them; labels may also be an
            entry ``labels``, which the model never sees. Or `skmm.gradients.tokens.TokenBatches`,
            whose rows come back in the pool's order. Floating inputs are cast to the model's
            precision.
        m: Sketch size.
        sketch: Kind of map, see `GradientSketch.draw`; or a map that was drawn, with which ``m``,
            ``parameters`` and ``last`` are left out.
        parameters: Names of parameters; ``*`` stands for any letters, as in ``"*.lora_?.*"`` or
            ``"model.layers.31.*"``.
        last: Or the last so many layers, see `last_parameters`; 2 unless told.
        labels: ``"true"``, ``"random"`` (as the paper's code: no label is needed), ``"pseudo"``
            (the model's own), ``"fisher"`` (one row a sample, whose outer product is in expectation
            the Fisher information) or ``"fisher-exact"`` (one row a class); see
            `skmm.gradients.residuals`. Random unless told.
        loss: ``"cross-entropy"``, ``"squared-error"`` with the factor 1/2; ``"causal-lm"`` or
            ``"masked-lm"``, the mean over a sample's tokens whose label is not -100 (see
            `skmm.gradients.objectives`); or a function of the model's outputs and the batch that
            returns one loss a sample, ``[B]``. The last three read the batch's own labels.
        rng: Seed or generator, for the map and, on a stream of their own, labels.
        first: Index of the first sample: with the same seed and map, parts of a pool give the rows
            of the whole.
        autocast: Runs the model in bfloat16 where PyTorch deems it safe; the residuals at the
            output are computed in ``float32`` or better, the sketch in ``dtype``.
        dtype: Precision of the sketch and the rows, ``"float32"`` or ``"float64"``.
        progress: Shows a progress bar, and says after two batches how long the others will take and
            how much memory, where ``batches`` has a length.

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
    objective, rule = _task(loss, labels, SampleStream.draw(label_rng))
    check_integer(first, "first", low=0, hint="it is the index of the first sample in the pool")
    check_choice(dtype, "dtype", ("float32", "float64"))
    check_batches(batches)
    order = batches.order if isinstance(batches, TokenBatches) else None
    warn_of_idle_adapters(model, sketch.shapes)

    example = next(model.parameters())
    into = sketch.collector(dtype=getattr(torch, dtype), device=example.device)
    parts = []
    with frozen(model, list(sketch.shapes)):
        bar = tqdm(batches, desc="gradients", unit="batch", disable=not progress)
        forecast = Forecast.of(batches, example.device)
        taken = (unpacked(batch, example, whole=objective.whole) for batch in bar)
        head, stream = peeked(placed(taken, order, first))
        objective.check(head.x, head.places)
        objective = objective.fitted(model, head[:2].x)
        plan = make_plan(model, objective, sketch.shapes, head[:2].x)
        for batch in pieces(stream, _most(plan, sketch)):
            objective.check(batch.x, batch.places)
            rows = _batch_rows(model, objective, batch, plan, rule, autocast, into)
            _check_finite(rows, batch.places)
            parts.append(rows.cpu().numpy())
            if progress and (sentence := forecast.done(parts[-1].nbytes)):
                bar.write(sentence, file=sys.stderr)
    rows = np.concatenate(parts)
    if order is not None:
        rows[order] = rows.copy()
    return rows if labels == "fisher-exact" else rows[:, 0]


def map_generator(rng: int) -> np.random.Generator:
    """Returns what `sketched_gradients` draws the map from under this seed."""
    return _generators(rng)[0]


def _generators(rng: int | np.random.Generator) -> list[np.random.Generator]:
    return as_generator(rng, "gradients").spawn(2)


def _task(
    loss: str | OwnLossFunction, labels: str | None, stream: SampleStream
) -> tuple[Objective, ResidualRule | UnitRule]:
    """Returns what is differentiated, and what is backpropagated from there."""
    if isinstance(loss, str):
        check_choice(loss, "loss", (*LOSSES, *TOKEN_LOSSES))
    elif not callable(loss):
        raise ValueError(
            f"loss must be a name or a function loss(outputs, batch), got {type(loss).__name__}"
        )
    if loss in LOSSES:
        return Outputs(), ResidualRule("random" if labels is None else labels, str(loss), stream)
    if labels not in (None, "true"):
        raise ValueError(
            f"labels must be 'true', or left out, with a loss that reads the batch, got {labels!r}"
        )
    own = TokenLoss(loss == "causal-lm") if isinstance(loss, str) else OwnLoss(loss)
    return own, UnitRule()


def _most(plan: Plan, sketch: GradientSketch) -> int | None:
    """Returns how many samples' gradients may be formed at a time, if any are formed."""
    entries = sum(int(np.prod(sketch.shapes[name])) for name in plan.vmapped + plan.looped)
    return max(1, _FORMED_ENTRIES // entries) if entries else None


def _batch_rows(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    plan: Plan,
    rule: ResidualRule | UnitRule,
    autocast: bool,
    into: Collector,
) -> Tensor:
    """Returns the rows of one batch, ``[B, K, m]``."""
    x, B = batch.x, len(batch)
    mixed = torch.autocast(into.device.type, dtype=torch.bfloat16, enabled=autocast)
    graph = torch.set_grad_enabled(bool(plan.layers))
    with Recorder(plan.layers, B) as recorder, mixed, graph:
        outputs = objective(model, x)
    residuals = rule(outputs, batch.targets, places=batch.places)
    # Of a layer that part of the batch goes around, the closed form knows no sample's place.
    partial = dict.fromkeys(call.layer for call in recorder.calls if not call.covers(B))
    looped = plan.looped + [name for layer in partial for name in plan.layers[layer].values()]
    rows = []
    for k, residual in enumerate(residuals):
        into.start(B)
        if recorder.calls:
            keep = k + 1 < len(residuals)
            deltas = residuals_at(recorder.calls, outputs, residual, keep=keep)
            for call, delta in zip(recorder.calls, deltas, strict=True):
                if delta is not None and call.layer not in partial:
                    add_gradients(call.layer, plan.layers[call.layer], call.x, delta, into)
        with mixed:
            formed = {}
            if plan.vmapped:
                formed = vmapped_gradients(model, objective, plan.vmapped, x, residual)
            if looped:
                formed |= looped_gradients(model, objective, looped, x, residual)
        for name, gradients in formed.items():
            into.add(name, gradients)
        rows.append(into.rows())
    return torch.stack(rows, dim=1)


def _check_finite(rows: Tensor, places: NDArray[np.int64]) -> None:
    bad = ~rows.isfinite().flatten(1).all(1)
    if bad.any():
        i = places[int(bad.nonzero()[0, 0])]
        raise ValueError(
            f"gradients must be finite, sample {i} has NaN or infinite entries ({int(bad.sum())} "
            "such samples in its batch); check its input and, with autocast, try without"
        )
