"""How good a subset is, beside uniform draws of its size: its certificate, and what it covers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

import skmm
from skmm.selection.selectors.clusters import lloyd
from skmm.selection.selectors.kernel import LinearKernel

_PROBES, _BLOCK = 2000, 256
"""Samples at which coverage is measured; chosen ones that they are compared with at once."""

_DRAWS = 9
"""Uniform draws, of which the median is told."""

_GROUPS, _LEARNT, _COORDINATES = 24, 5000, 16
"""Clusters at most; samples that they are learnt from; coordinates that they are learnt in."""


@dataclass(frozen=True)
class Figures:
    """How good a subset is. A subset that lacks a direction has infinite slack and variance.

    Attributes:
        n: Its size.
        slack: :math:`c_S`; 1 is a perfect match.
        variance: Mean price of a direction; excess risk is about ``variance * k * σ² / n``.
        bias_share: Share of the pool's energy in directions that the subset lacks.
        coverage: Mean cosine of a sample to the nearest of the subset; 1 at best.
        clusters: How many of the pool's clusters it has a sample of.
    """

    n: int
    slack: float
    variance: float
    bias_share: float
    coverage: float
    clusters: int


class Judge:
    """The yardstick of one pool: the same view, probes and clusters for all subsets.

    Args:
        view: The pool as certificates see it.
        seed: Of the probes, the clusters and the uniform draws.
    """

    def __init__(self, view: skmm.PoolView, seed: int):
        self.view = view
        self._rng = skmm.as_generator(seed, "judge")
        probes = min(_PROBES, self.N)
        self._probes = self.unit(np.sort(self._rng.choice(self.N, probes, replace=False)))
        self._seed = seed

    @property
    def N(self) -> int:
        """Pool size."""
        return len(self.view.rows)

    @property
    def dimension(self) -> int:
        """Leading directions that certificates count: the intrinsic dimension."""
        return self.view.spectrum.leading()

    def unit(self, indices: NDArray[np.intp] | slice) -> NDArray[np.float64]:
        """Returns rows of unit norm; rows of zeros stay."""
        rows = self.view.rows[indices].astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths > 0, lengths, 1.0)

    def figures(self, indices: NDArray[np.intp]) -> Figures:
        """Judges a subset."""
        certificate = skmm.certify(self.view, indices)
        return Figures(
            n=len(indices),
            slack=certificate.slack,
            variance=certificate.variance,
            bias_share=certificate.bias_share,
            coverage=self.coverage(indices),
            clusters=len(np.unique(self.clusters[indices])),
        )

    def row(self, figures: Figures) -> dict[str, float | str]:
        """Returns the figures as a line of a table."""
        return {
            "slack": figures.slack,
            "variance": figures.variance,
            "bias share": figures.bias_share,
            "coverage": figures.coverage,
            "clusters": f"{figures.clusters} of {int(self.clusters.max()) + 1}",
        }

    def coverage(self, indices: NDArray[np.intp]) -> float:
        """Returns the mean cosine of a sample of the pool to the nearest of the subset."""
        nearest = np.full(len(self._probes), -1.0)
        for start in range(0, len(indices), _BLOCK):
            some = self.unit(indices[start : start + _BLOCK])
            np.maximum(nearest, (self._probes @ some.T).max(axis=1), out=nearest)
        return float(nearest.mean())

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """The cluster of each sample, ``[N]``, the largest cluster first: k-means on unit rows.

        As many as directions matter, for so many groups as these can be told apart, up to 24.
        """
        count = int(np.clip(self.dimension, 1, min(_GROUPS, max(1, self.N // 4))))
        basis = self.view.spectrum.eigenvectors[:, :_COORDINATES]
        learnt = np.sort(self._rng.choice(self.N, min(_LEARNT, self.N), replace=False))
        with warnings.catch_warnings():  # clusters that still move a little serve as well
            warnings.simplefilter("ignore", skmm.ConvergenceWarning)
            centres, _ = lloyd(LinearKernel(self.unit(learnt) @ basis), count, rng=self._rng)
        halves = 0.5 * np.einsum("ij,ij->i", centres, centres)
        nearest = np.empty(self.N, dtype=np.intp)
        for start in range(0, self.N, _LEARNT):
            part = slice(start, start + _LEARNT)
            nearest[part] = (self.unit(part) @ (basis @ centres.T) - halves).argmax(axis=1)
        sizes = np.bincount(nearest, minlength=len(centres))
        return np.argsort(np.argsort(-sizes, kind="stable"))[nearest]

    def uniform(
        self, n: int, *, beside: NDArray[np.intp] | None = None
    ) -> tuple[Figures, NDArray[np.intp]]:
        """Judges uniform draws of ``n`` samples; returns the medians, and one of the draws.

        Args:
            n: Size of a draw.
            beside: Samples that belong to the subset besides, and are not drawn.
        """
        draws = self.draws(n, beside)
        judged = [self.figures(draw) for draw in draws]
        names = ("slack", "variance", "bias_share", "coverage", "clusters")
        medians = {name: median([getattr(one, name) for one in judged]) for name in names}
        return Figures(n=len(draws[0]), **medians), draws[0]

    def draws(self, n: int, beside: NDArray[np.intp] | None = None) -> list[NDArray[np.intp]]:
        """Draws ``n`` samples uniformly beside others, nine times: ``beside`` first, then the draw.

        The same nine whenever asked for the same size, so that all commands tell the same.
        """
        beside = np.zeros(0, dtype=np.intp) if beside is None else beside
        free = np.setdiff1d(np.arange(self.N), beside)
        rng = skmm.as_generator(self._seed, f"judge.uniform.{n}")
        return [np.concatenate([beside, rng.choice(free, n, replace=False)]) for _ in range(_DRAWS)]

    def chance(self, n: int, *, beside: NDArray[np.intp] | None = None) -> dict[str, float]:
        """Returns the medians of slack and variance that `uniform` tells, at a small price."""
        certificates = [skmm.certify(self.view, draw) for draw in self.draws(n, beside)]
        return {x: median([getattr(c, x) for c in certificates]) for x in ("slack", "variance")}
