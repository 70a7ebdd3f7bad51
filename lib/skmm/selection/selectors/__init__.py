"""Selectors: sketchy moment matching and the baselines, all of one shape (see `base`)."""

from skmm.selection.selectors import (
    centers,
    cholesky,
    clusters,
    difficulty,
    glister,
    herding,
    leverage,
    moments,
    paper,
    representatives,
    uncertainty,
    uniform,
)
from skmm.selection.selectors.base import SELECTORS, Choice, Pool, Selector, selector

__all__ = [
    "SELECTORS",
    "Choice",
    "Pool",
    "Selector",
    "centers",
    "cholesky",
    "clusters",
    "difficulty",
    "glister",
    "herding",
    "leverage",
    "moments",
    "paper",
    "representatives",
    "selector",
    "uncertainty",
    "uniform",
]
