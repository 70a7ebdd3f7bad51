"""The whole cost of a pool: every stage, hours of a device, and seconds of a measured machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from skmm.numerics.inputs import check_budget, check_integer, check_positive
from skmm_scale.costs.architecture import Architecture
from skmm_scale.costs.gradients import GradientCost, Target
from skmm_scale.costs.selection import Stage, selection_stages


@dataclass(frozen=True)
class Costs:
    """What sketching and selecting takes.

    Attributes:
        gradients: The gradient stage, a sample.
        N: Pool size.
        n: Budget.
        stages: In the order in which they run, for the whole pool.
    """

    gradients: GradientCost
    N: int
    n: int
    stages: tuple[Stage, ...]

    @property
    def flops(self) -> float:
        """Operations of all stages."""
        return sum(stage.flops for stage in self.stages)

    def hours(self, *, peak: float, utilisation: float, bandwidth: float) -> dict[str, float]:
        r"""Returns hours of one device by stage, of arithmetic or of memory, whichever is longer.

        .. math:: \max\{\text{flops} / (\text{peak} \cdot u),\ \text{bytes} / \text{bandwidth}\}

        Args:
            peak: Operations a second that the device is sold for.
            utilisation: The share ``u`` of these that is attained, in (0, 1].
            bandwidth: Bytes a second that it moves.

        Raises:
            ValueError: one of them is out of range.
        """
        check_positive(peak, "peak", hint="it is the device's operations a second, such as 9.9e14")
        check_positive(utilisation, "utilisation", hint="0.4 is common")
        check_positive(bandwidth, "bandwidth", hint="it is in bytes a second, such as 3e12")
        if utilisation > 1:
            raise ValueError(f"utilisation must be at most 1, got {utilisation}; 0.4 is common")
        return {
            stage.name: max(stage.flops / (peak * utilisation), stage.bytes / bandwidth) / 3600
            for stage in self.stages
        }


def cost(
    model: Architecture,
    *,
    N: int,
    n: int,
    m: int = 512,
    T: int = 512,
    B: int = 8,
    target: Target | None = None,
    itemsize: int = 2,
) -> Costs:
    """Computes operations, bytes and peak memory of every stage.

    Args:
        model: Its sizes.
        N: Pool size.
        n: Budget.
        m: Sketch size.
        T: Tokens of a sample.
        B: Samples of a batch.
        target: What is differentiated; the last block unless told.
        itemsize: Bytes of an entry of the model.

    Raises:
        ValueError: a size is out of range.
    """
    check_integer(N, "N", low=1, hint="it is the pool size")
    check_budget(n, N)
    one = GradientCost(model, T, m, B, target or Target(), itemsize)
    working = 8.0 * m * B
    stages = [
        Stage("gradients", N * one.flops, N * one.bytes, one.memory),
        Stage("sketch", N * one.sketch_flops, N * one.sketch_bytes, working),
        *selection_stages(N, n, m),
    ]
    return Costs(one, N, n, tuple(stages))


@dataclass(frozen=True)
class Rates:
    """What a machine attains.

    Attributes:
        flops: Operations a second.
        bytes: Bytes a second.
        start: Seconds that a run takes whatever its size.
        error: Median relative error at the runs it was fitted to; ``nan`` if to none.
    """

    flops: float
    bytes: float
    start: float = 0.0
    error: float = float("nan")

    def seconds(self, stage: Stage) -> float:
        """Forecasts the time of a stage."""
        return self.start + stage.flops / self.flops + stage.bytes / self.bytes

    @classmethod
    def fitted(cls, stages: Sequence[Stage], seconds: Sequence[float]) -> Rates:
        r"""Fits rates to measured times by least squares of relative errors, none negative.

        .. math:: \min_{a \ge 0} \sum_i \Bigl(
                  \frac{a_0 + a_1\,\text{flops}_i + a_2\,\text{bytes}_i}{t_i} - 1 \Bigr)^2

        Args:
            stages: What was run.
            seconds: How long each took.

        Raises:
            ValueError: there are fewer than three runs, or a time is not above 0.
        """
        t = np.asarray(seconds, dtype=float)
        if len(stages) != len(t) or len(t) < 3 or not (t > 0).all():
            raise ValueError(
                f"seconds must be three or more times above 0, one a stage, got {len(t)} for "
                f"{len(stages)} stages"
            )
        columns = np.array([[1.0, stage.flops, stage.bytes] for stage in stages])
        unit = columns.max(axis=0)
        unit[unit == 0] = 1.0
        scaled = columns / unit / t[:, None]
        taken, _ = scipy.optimize.nnls(scaled, np.ones(len(t)))
        error = float(np.median(np.abs(scaled @ taken - 1)))
        with np.errstate(divide="ignore"):
            rates = 1.0 / (taken / unit)
        return cls(float(rates[1]), float(rates[2]), float(taken[0] / unit[0]), error)
