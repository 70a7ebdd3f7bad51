"""The selectors that can run here: all but those whose extra is not installed."""

from importlib.util import find_spec

from skmm import SELECTORS

METHODS = [name for name in SELECTORS if name != "kernel_thinning" or find_spec("goodpoints")]
