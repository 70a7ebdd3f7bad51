"""What a step costs: wall time and peak memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_PROCESS = Path("/proc/self")


@dataclass
class Costs:
    """What a block cost; filled in when it ends.

    Attributes:
        seconds: wall time.
        peak_mb: memory in MB that the process held at its peak beyond what it held at the start;
            NaN where the system does not tell (it takes Linux).
    """

    seconds: float = np.nan
    peak_mb: float = np.nan


@contextmanager
def metered() -> Iterator[Costs]:
    """Measures its block, all threads and libraries included."""
    costs = Costs()
    before = _reset_peak()
    begin = time.perf_counter()
    yield costs
    costs.seconds = time.perf_counter() - begin
    costs.peak_mb = (_memory("VmHWM") - before) / 1e3


def resident_peak() -> float:
    """Returns the most memory in MB that this process has held so far; NaN as in `Costs`."""
    return _memory("VmHWM") / 1e3


def _reset_peak() -> float:
    """Makes the present memory the peak so far, and returns it in kB."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return np.nan
    return _memory("VmRSS")


def _memory(field: str) -> float:
    try:
        status = (_PROCESS / "status").read_text()
    except OSError:
        return np.nan
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return 1.024 * float(lines[field].split()[0])
