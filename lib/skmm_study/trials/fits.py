"""What a subset is worth: a model trained on its rows and labels alone, scored on other rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from skmm.training.probing import ALPHAS, LinearProbe, probe_scores
from skmm.training.ridge import RidgePath, cross_validate

PENALTIES = np.geomspace(1e-5, 10.0, 25)
"""Of ridge regression, in units of the rows' mean square distance from their mean."""


class Fit(Protocol):
    """Trains on rows ``[n, r]`` with labels ``[n]`` and scores on others.

    Attributes:
        best: whether a good score is large (``"max"``) or small (``"min"``).
        unit: factor under which scores are printed: 100 for percent.
    """

    best: ClassVar[str]
    unit: ClassVar[float]

    @property
    def key(self) -> dict[str, Any]:
        """What scores depend on beside rows and labels, as JSON values."""

    def __call__(
        self,
        rows: NDArray[np.floating],
        labels: NDArray[np.int64],
        others: NDArray[np.floating],
        truth: NDArray[np.int64],
        *,
        weights: NDArray[np.float64] | None,
        rng: np.random.Generator,
    ) -> float:
        """Returns the score on ``others`` ``[M, r]`` with labels ``truth`` ``[M]``."""


@dataclass(frozen=True)
class ProbeFit:
    r"""Accuracy of a linear probe.

    Attributes:
        penalty: :math:`\alpha` of `skmm.LinearProbe`, the same for all subsets; ``None`` has
            cross-validation on the subset choose, which with one or two labels a class adds its
            own noise.
    """

    penalty: float | None = None
    best: ClassVar[str] = "max"
    unit: ClassVar[float] = 100.0

    @property
    def key(self) -> dict[str, Any]:
        """Name and penalty."""
        return {"fit": "probe", **asdict(self)}

    def __call__(self, rows, labels, others, truth, *, weights, rng) -> float:
        """Returns the share of ``others`` that the probe classifies correctly."""
        alphas = ALPHAS if self.penalty is None else [self.penalty]
        probe = LinearProbe.fit(rows, labels, rng=rng, alphas=alphas, weights=weights)
        return probe_scores(probe, others, truth).accuracy


@dataclass(frozen=True)
class RidgeFit:
    r"""Mean absolute error of ridge regression, its penalty chosen by cross-validation.

    The intercept is not penalised: rows and labels are taken from their means on the subset.

    Attributes:
        folds: of the cross-validation, which sees the subset alone.
    """

    folds: int = 5
    best: ClassVar[str] = "min"
    unit: ClassVar[float] = 1.0

    @property
    def key(self) -> dict[str, Any]:
        """Name, folds and candidates."""
        return {"fit": "ridge", **asdict(self), "penalties": PENALTIES.tolist()}

    def __call__(self, rows, labels, others, truth, *, weights, rng) -> float:
        """Returns the mean distance of predictions from ``truth``."""
        centre = np.average(rows, axis=0, weights=weights)
        level = np.average(labels, weights=weights)
        G, y = (rows - centre).astype(np.float64), labels - level
        alphas = PENALTIES * max(np.mean(np.einsum("ij,ij->i", G, G)), np.finfo(float).tiny)
        chosen = cross_validate(G, y, rng=rng, alphas=alphas, folds=self.folds, weights=weights)
        ridge = RidgePath.fit(G, y, alphas=[chosen.alpha], weights=weights)
        return float(np.mean(np.abs(ridge.predict(others - centre)[0] + level - truth)))
