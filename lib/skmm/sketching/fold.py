"""Sums of signed coordinates by bucket, on any device, in an order that is fixed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_RUNS = 64
"""Slices that are added one by one; with more of them, a gather has fewer and larger steps."""


class Fold:
    """Adds signed coordinates into buckets, in an order that is fixed: the same bits on every run.

    Runs of coordinates that go to consecutive buckets are added as slices, which takes half a
    gather's traffic. Otherwise each bucket gathers its coordinates by a table, padded with weight
    zero to the fullest bucket; a scatter would add in any order on a GPU. With buckets and signs
    of shape ``[d, k]``, each coordinate goes to ``k`` of them.
    """

    def __init__(
        self,
        buckets: NDArray[np.integer],
        signs: NDArray[np.int8],
        m: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ):
        self._m = m
        copies = buckets.size // len(buckets)
        buckets, signs = buckets.ravel(), signs.ravel()
        starts = np.flatnonzero(np.diff(buckets, prepend=-2) != 1)
        self._runs = None
        if copies == 1 and len(starts) <= _MOST_RUNS:
            ends = np.append(starts[1:], len(buckets))
            self._runs = [
                (slice(start, end), slice(bucket, bucket + end - start))
                for start, end, bucket in zip(
                    starts.tolist(), ends.tolist(), buckets[starts].tolist(), strict=True
                )
            ]
            self._weight = torch.as_tensor(signs, device=device).to(dtype).unsqueeze(-1)
            return
        counts = np.bincount(buckets, minlength=m)
        order = np.argsort(buckets, kind="stable")
        slot = np.arange(len(buckets)) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.zeros((counts.max(), m), np.int64)
        weight = np.zeros((counts.max(), m), np.int8)
        table[slot, buckets[order]] = order // copies
        weight[slot, buckets[order]] = signs[order]
        self._sources = torch.as_tensor(table.ravel(), device=device)
        self._weight = torch.as_tensor(weight, device=device).to(dtype).unsqueeze(-1)

    def __call__(self, x: Tensor) -> Tensor:
        """Folds ``x``, shape ``[B, d, P]``, along its middle axis to ``[B, m, P]``."""
        if self._runs is None:
            depth = len(self._weight)
            gathered = x.index_select(1, self._sources).view(len(x), depth, self._m, x.shape[2])
            return gathered.mul_(self._weight).sum(1)
        folded = x.new_zeros(len(x), self._m, x.shape[2])
        for source, target in self._runs:
            folded[:, target].addcmul_(x[:, source], self._weight[source])
        return folded
