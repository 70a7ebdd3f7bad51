"""Per-sample gradients of a network under one map, a block of samples at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.utils.data import DataLoader, Subset

from skmm.gradients import GradientSketch, sketched_gradients
from skmm.gradients.pool import map_generator
from skmm.numerics.inputs import check_integer
from skmm_scale.sketching.digests import digest_of, feed
from skmm_scale.sketching.shards import Source, names_of
from skmm_scale.store.manifest import Recipe

BLOCK_SAMPLES = 1024
"""Samples whose rows are held at a time; counted from the first of a shard."""


class GradientSource(Source):
    r"""Rows :math:`\tilde g_i = \nabla_\theta\,\ell(f(x_i;\theta), y_i)\,\Gamma` of a network.

    Those that ``skmm.sketched_gradients(model, batches, m=m, rng=rng, ...)`` returns for the whole
    pool, up to rounding: map and random labels are of the same seed and do not depend on shards.

    Args:
        model: As for `skmm.sketched_gradients`, on the device that is to do the work.
        dataset: Samples by position, with a length: inputs, or pairs of inputs and labels.
        collate: Makes a batch of a list of samples; unless given, torch's own.
        m: Sketch size.
        rng: Seed.
        ids: Names of the samples, ``[N]``; unless given, their numbers from 0.
        batch_size: Samples of a batch; the last bits of rows may depend on it.
        sketch: Kind of map, see `skmm.GradientSketch.draw`.
        parameters: Names of parameters.
        last: Or the last so many layers; 2 unless told.
        labels: As for `skmm.sketched_gradients`, but not ``"fisher-exact"``.
        loss: As there; of a function, the manifest has the name.
        precision: In which rows are computed, ``"float32"`` or ``"float64"``; on disk they have the
            store's.

    Raises:
        ValueError: an argument is out of its range.

    Cost:
        That of `skmm.sketched_gradients`, with 1024 rows in memory; on a CPU one thread.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        *,
        m: int,
        rng: int,
        ids: ArrayLike | None = None,
        batch_size: int = 64,
        collate: Callable[[list[Any]], Any] | None = None,
        sketch: str = "tensor",
        parameters: Sequence[str] | None = None,
        last: int | None = None,
        labels: str | None = None,
        loss: str | Callable[..., Any] = "cross-entropy",
        precision: str = "float32",
    ):
        check_integer(rng, "rng", low=0, hint="a store names the seed that it was made with")
        check_integer(batch_size, "batch_size", low=1, hint="64 suits most networks")
        if labels == "fisher-exact":
            raise ValueError(
                "labels must give one row a sample, got 'fisher-exact', which gives one a class; "
                "'fisher' has the same second moment in expectation"
            )
        self.N, self.m = len(dataset), m
        check_integer(self.N, "len(dataset)", low=1, hint="a pool has at least one sample")
        self._map = GradientSketch.draw(
            model, m, sketch=sketch, parameters=parameters, last=last, rng=map_generator(rng)
        )
        self._model, self._dataset, self._ids = model, dataset, names_of(ids, self.N)
        self._facts = {"kind": sketch, "seed": rng, "precision": precision, "labels": labels}
        self._facts["loss"] = loss if isinstance(loss, str) else loss.__qualname__
        self._task = {"loss": loss, "rng": rng, "dtype": precision}
        self._task |= {} if labels is None else {"labels": labels}
        self._batch_size, self._collate = batch_size, collate

    def recipe(self, *, dtype: str, rows_per_shard: int) -> Recipe:
        """Returns the recipe: map, labels, loss and batches, and a digest of the weights."""
        facts = {
            **self._facts,
            "key": digest_of(self._map),
            "parameters": list(self._map.shapes),
            "batch_size": self._batch_size,
        }
        seen = hashlib.sha256(f"{self.N};".encode())
        for i in sorted({0, self.N // 2, self.N - 1}):
            for _ in self._batches(range(i, i + 1), seen):
                pass
            seen.update(np.ascontiguousarray(self.ids(range(i, i + 1))))
        weights = digest_of(self._model.state_dict())
        return Recipe(self.N, self.m, dtype, rows_per_shard, facts, seen.hexdigest(), weights)

    def ids(self, samples: range) -> NDArray:
        """Returns the names, or numbers, of samples."""
        return self._ids[samples.start : samples.stop]

    def blocks(self, samples: range, seen: hashlib._Hash) -> Iterator[NDArray[np.floating]]:
        """Yields the rows of at most `BLOCK_SAMPLES` samples at a time."""
        for start in range(samples.start, samples.stop, BLOCK_SAMPLES):
            part = range(start, min(start + BLOCK_SAMPLES, samples.stop))
            with _one_torch_thread():
                rows = sketched_gradients(
                    self._model,
                    self._batches(part, seen),
                    sketch=self._map,
                    first=start,
                    **self._task,
                )
            yield rows

    def _batches(self, samples: range, seen: hashlib._Hash) -> Iterator[Any]:
        """Yields batches in order, each of which the hash has seen."""
        for batch in DataLoader(
            Subset(self._dataset, samples), self._batch_size, collate_fn=self._collate
        ):
            feed(batch, seen)
            yield batch


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Lets torch have one thread: how a sum is shared among threads decides its last bits."""
    given = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(given)
