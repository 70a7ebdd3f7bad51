"""Selectors: sketchy moment matching and the baselines, all of one shape (see `base`)."""

from skmm.selectors import centers, cholesky, herding, leverage, moments, uniform
from skmm.selectors.base import SELECTORS, Choice, Pool, Selector, selector

__all__ = [
    "SELECTORS",
    "Choice",
    "Pool",
    "Selector",
    "centers",
    "cholesky",
    "herding",
    "leverage",
    "moments",
    "selector",
    "uniform",
]
