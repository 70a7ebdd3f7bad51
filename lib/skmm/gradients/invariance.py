"""Whether rows depend on what a text is batched with; if so, on what, and what mends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skmm.gradients.pool import sketched_gradients
from skmm.gradients.sketch import GradientSketch
from skmm.gradients.tokens import TokenBatches
from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator

Rows = NDArray[np.floating]
Columns = Mapping[str, Sequence[Any]]

_ROUNDINGS = 100
_ATTENTION = ("eager", "sdpa")
_RIGHT = "pad on the right, side='right'"
_ALONE = "sketch texts of one length together, or one at a time"


@dataclass(frozen=True)
class Difference:
    """Rows in one arrangement against those of each text on its own.

    Attributes:
        arrangement: What was changed.
        relative: Norm of the difference over the norm of the rows; ``None`` if there are no rows.
        same: Whether that is rounding.
        mend: The setting that makes rows independent of it; empty where they are.
    """

    arrangement: str
    relative: float | None
    same: bool
    mend: str = ""


def differences(
    model: nn.Module,
    columns: Columns,
    *,
    loss: str | Callable[[Any, Any], torch.Tensor],
    parameters: Sequence[str] | None = None,
    last: int | None = None,
    m: int = 64,
    pad: int = 0,
    rng: int | np.random.Generator,
) -> list[Difference]:
    """Compares rows of texts on their own with those in batches, padded and arranged otherwise.

    Rows are the same where they differ by a hundred roundings in the model's precision, or in
    single precision, in which norms of a model in double may work; in bfloat16 by less than the
    square root of that.

    Args:
        model: A model of tokens; given back as it was.
        columns: Texts of several lengths, see `skmm.gradients.tokens.TokenBatches`.
        loss: See `skmm.sketched_gradients`; of classes, the model's own are taken for labels.
        parameters: Names of parameters.
        last: Or the last so many layers; 2 unless told.
        m: Sketch size.
        pad: Token that fills up.
        rng: Seed or generator, of the map and of labels.

    Returns:
        One entry for each of: one batch padded on the right, on the left, on the left with
        positions told (where the model takes them), padded to twice the length, in reversed
        order, and with each implementation of attention that the model names.

    Raises:
        ValueError: there are fewer than two texts, or a text on its own has no rows.
    """
    lengths = [len(ids) for ids in columns["input_ids"]]
    check_integer(len(lengths), "texts", low=2, hint="batches need two texts or more")
    seed = int(as_generator(rng, "gradients.invariance").integers(2**31))
    sketch = GradientSketch.draw(model, m, parameters=parameters, last=last, rng=seed)
    rows = _RowsOf(model, sketch, loss, seed, pad)
    truth = rows.alone(columns)
    precision = max(
        torch.finfo(dtype).eps for dtype in (next(model.parameters()).dtype, torch.float32)
    )
    tolerance = min(_ROUNDINGS * precision, precision**0.5)
    found: dict[str, Difference] = {}

    def compare(arrangement: str, make: Callable[[], Rows], mend: str) -> None:
        try:
            relative = float(np.linalg.norm(make() - truth) / np.linalg.norm(truth))
        except (ValueError, RuntimeError, IndexError) as error:
            found[arrangement] = Difference(arrangement, None, False, f"{mend}; it says: {error}")
            return
        same = relative <= tolerance
        found[arrangement] = Difference(arrangement, relative, same, "" if same else mend)

    compare("batches padded on the right", lambda: rows.together(columns), _ALONE)
    compare("batches padded on the left", lambda: rows.together(columns, side="left"), _RIGHT)
    right, left = found.values()
    if "position_ids" in inspect.signature(model.forward).parameters:
        told = dict(side="left", positions=True)
        compare("left, positions told", lambda: rows.together(columns, **told), _RIGHT)
        if found["left, positions told"].same and not left.same:
            found[left.arrangement] = replace(left, mend=f"{_RIGHT}, or tell positions=True")
    if not right.same and left.same:
        found[right.arrangement] = replace(right, mend="pad on the left, side='left'")
    compare("padded to twice the length", lambda: rows.longer(columns), _ALONE)
    turned = {name: column[::-1] for name, column in columns.items()}
    compare("texts in reversed order", lambda: rows.together(turned)[::-1], _ALONE)
    for name in _ATTENTION if hasattr(model, "set_attn_implementation") else ():
        mend = f"keep one for the whole pool, model.set_attn_implementation({name!r}) or the other"
        compare(f"attention {name}", lambda name=name: rows.attending(columns, name), mend)
    return list(found.values())


@dataclass(frozen=True)
class _RowsOf:
    """Rows of texts by one map, in one arrangement or another."""

    model: nn.Module
    sketch: GradientSketch
    loss: Any
    seed: int
    pad: int

    def __call__(self, batches: Iterable[Any]) -> Rows:
        # Labels that are the text's own, wherever it stands.
        labels = {"cross-entropy": "pseudo", "squared-error": "fisher-exact"}
        rows = sketched_gradients(
            self.model,
            batches,
            sketch=self.sketch,
            loss=self.loss,
            labels=labels.get(self.loss) if isinstance(self.loss, str) else None,
            rng=self.seed,
            dtype="float64",
        )
        return rows.reshape(len(rows), -1)

    def alone(self, columns: Columns) -> Rows:
        texts = [
            dict(zip(columns, text, strict=True)) for text in zip(*columns.values(), strict=True)
        ]
        longest = max(len(text["input_ids"]) for text in texts)
        return self(
            next(iter(TokenBatches({name: [entry] for name, entry in text.items()}, longest)))
            for text in texts
        )

    def together(self, columns: Columns, **options: Any) -> Rows:
        lengths = [len(ids) for ids in columns["input_ids"]]
        whole = len(lengths) * max(lengths)
        return self(TokenBatches(columns, whole, pad=self.pad, **options))

    def longer(self, columns: Columns) -> Rows:
        """Pads all to twice the length by one more text, and drops its row."""
        longest = int(np.argmax([len(ids) for ids in columns["input_ids"]]))
        more = {
            name: [*column, [*column[longest]] * 2 if np.ndim(column[longest]) else column[longest]]
            for name, column in columns.items()
        }
        return self.together(more)[:-1]

    def attending(self, columns: Columns, implementation: str) -> Rows:
        """Attends in another way, and sets the model's own again."""
        model: Any = self.model
        own = model.config._attn_implementation
        try:
            model.set_attn_implementation(implementation)
            return self.together(columns)
        finally:
            model.set_attn_implementation(own)
