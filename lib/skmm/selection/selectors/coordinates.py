"""Coordinates: what sketched rows are measured in when their moments are matched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.stored import StoredRows, scan
from skmm.spectrum import Spectrum

METRICS = ("raw", "row", "whitened")

_SAMPLES_PER_DIRECTION = 3
"""With fewer samples for each direction of the pool, not all can be covered well."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A map of sketched rows ``[..., m]`` to coordinates, the same for all rows of a pool.

    Attributes:
        name: ``raw``: in units of the pool's trace; ``row``: unit norm; ``whitened``: the leading
            directions, each of which counts the same.
        spectrum: Of the pool that rows are of.
    """

    name: str
    spectrum: Spectrum

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Measures some rows, in double precision."""
        rows = rows.astype(np.float64, copy=False)
        if self.name == "raw":
            return rows / np.sqrt(self.spectrum.trace)
        if self.name == "whitened":
            return self.spectrum.whiten(rows, self.spectrum.leading())
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Measured:
    """Rows in a metric, in units that keep fourth powers in range: ``[N, m]``.

    Attributes:
        rows: All rows of the pool, or those that may be chosen of a larger one.
        known: The spectrum of the whole pool in the metric; ``None``: that of ``rows``, which are
            all of it.
        target: Second and first moment of the whole pool, if ``rows`` are not all of it.
    """

    rows: NDArray[np.float64]
    known: Spectrum | None
    target: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @classmethod
    def of(
        cls,
        rows: NDArray[np.floating] | StoredRows,
        metric: Metric,
        part: NDArray[np.intp] | None = None,
    ) -> Measured:
        """Measures a pool, or the rows ``part`` of it against the moments of all."""
        known = None
        if metric.name == "raw":
            eigenvalues = metric.spectrum.eigenvalues / metric.spectrum.trace
            known = Spectrum(eigenvalues, metric.spectrum.eigenvectors, metric.spectrum.N)
        if part is None:
            return cls(metric(rows.whole() if isinstance(rows, StoredRows) else rows), known)
        second, first = _moments(rows, metric)
        known = known or Spectrum.of_moment(second.copy(), len(rows))
        return cls(metric(rows[part]), known, (second, first))

    @cached_property
    def spectrum(self) -> Spectrum:
        """Spectrum of the pool's second moment; not every criterion asks for it."""
        return self.known or Spectrum.of(self.rows)

    def few(self, n: int) -> int:
        r"""Returns how many of the :math:`\bar r` leading directions ``n`` can cover."""
        return min(self.spectrum.intrinsic_dimension, n // _SAMPLES_PER_DIRECTION)

    def whitened(self, k: int) -> NDArray[np.float64]:
        """Coordinates in those of the k leading directions."""
        return self.spectrum.whiten(self.rows, self.spectrum.leading(max(1, k)))


def _moments(
    rows: NDArray[np.floating] | StoredRows, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the second and the first moment of a pool in a metric, read once in fixed blocks."""
    sums = []
    for _, block in scan(rows):
        measured = metric(block)
        sums.append((measured.T @ measured, measured.sum(axis=0)))
        if len(sums) > 1:
            sums = [tuple(np.add(one, other) for one, other in zip(*sums, strict=True))]
    second, first = sums[0]
    return second / len(rows), first / len(rows)


def dimension(spectrum: Spectrum, n: int) -> int:
    r"""Returns the directions whose variance is all of the risk at ``n``; 0 if there are no such.

    The risk is of the order :math:`\sigma^2 k/n` plus what :math:`\theta_*` has beyond the k
    directions; with labels of which half is noise, as large a share as the tail has of the trace.
    """
    elbow, r_bar = spectrum.elbow, spectrum.intrinsic_dimension
    if 0 < _SAMPLES_PER_DIRECTION * elbow <= n and spectrum.tail_share(elbow) <= elbow / n:
        return elbow
    if 2 * r_bar <= len(spectrum.eigenvalues) and _SAMPLES_PER_DIRECTION * r_bar <= n:
        return r_bar
    return 0
