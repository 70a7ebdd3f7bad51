"""Selectors: sketchy moment matching and the baselines, all of one shape (see `base`)."""

from skmm.selectors import moments, uniform
from skmm.selectors.base import SELECTORS, Choice, Pool, Selector, selector

__all__ = ["SELECTORS", "Choice", "Pool", "Selector", "moments", "selector", "uniform"]
