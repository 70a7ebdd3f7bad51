"""Selectors: sketchy moment matching and the baselines, all of one shape (see `base`).

Example:
    >>> import numpy as np
    >>> import skmm
    >>> print(skmm.SELECTORS["k_center"].summary)
    Covers the pool: each sample is the farthest from those taken (greedy k-center).
    >>> rows = np.array([[0.0, 1.0], [0.1, 1.0], [9.0, 1.0], [9.1, 1.0]])
    >>> ends = skmm.select(rows, 2, method="k_center", rng=0).indices
    >>> sorted(rows[ends, 0].round().tolist())
    [0.0, 9.0]
"""

from skmm.selection.selectors import (
    balls,
    centers,
    centroids,
    cholesky,
    clusters,
    covariance,
    determinant,
    difficulty,
    discrepancy,
    glister,
    herding,
    leverage,
    medoids,
    moments,
    paper,
    representatives,
    sensitivity,
    thinning,
    typicality,
    uncertainty,
    uniform,
)
from skmm.selection.selectors.base import SELECTORS, Choice, Pool, Selector, selector

__all__ = [
    "SELECTORS",
    "Choice",
    "Pool",
    "Selector",
    "balls",
    "centers",
    "centroids",
    "cholesky",
    "clusters",
    "covariance",
    "determinant",
    "difficulty",
    "discrepancy",
    "glister",
    "herding",
    "leverage",
    "medoids",
    "moments",
    "paper",
    "representatives",
    "selector",
    "sensitivity",
    "thinning",
    "typicality",
    "uncertainty",
    "uniform",
]
