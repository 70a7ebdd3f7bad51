"""How long the rest of a pool will take and what it will hold, told by its first two batches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sized
from typing import Self

import torch

try:
    import resource
except ImportError:  # not a Unix
    resource = None


class Forecast:
    """Watches the batches of a pool; after the second one it says what is to come.

    The first batch waits for the plan and for caches to fill, so the second one counts: batches are
    taken to be alike, as those of a token budget or of one size are.

    Args:
        total: Batches of the pool; ``None``, and nothing is said, if that is not known.
        device: Where the model is.
        clock: What tells seconds.
    """

    def __init__(
        self,
        total: int | None,
        device: torch.device,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._total, self._device, self._clock = total, device, clock
        self._ends: list[float] = []

    @classmethod
    def of(cls, batches: object, device: torch.device) -> Self:
        """Counts the batches, where these have a length."""
        try:
            return cls(len(batches) if isinstance(batches, Sized) else None, device)
        except TypeError:  # a loader of an iterable that has no length
            return cls(None, device)

    def done(self, row_bytes: int) -> str | None:
        """Notes the end of a batch; returns what is to be said at the end of the second.

        Args:
            row_bytes: Bytes of the batch's rows; in the end all are held twice for a moment.
        """
        if self._total is None or len(self._ends) == 2:
            return None
        self._ends.append(self._clock())
        if len(self._ends) < 2:
            return None
        left = (self._ends[1] - self._ends[0]) * (self._total - 2)
        held = _peak(self._device)
        if held is None:
            return f"gradients: about {_words(left)} left"
        if self._device.type == "cpu":
            held += 2 * row_bytes * self._total
        return f"gradients: about {_words(left)} left, {held / 1e9:.2g} GB at the peak"


def _peak(device: torch.device) -> int | None:
    """Returns the most bytes that were held so far: on an accelerator, or by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _words(seconds: float) -> str:
    """Returns a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
