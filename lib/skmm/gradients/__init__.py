"""Per-sample gradients, sketched on the fly by one map for the whole pool."""

from skmm.numerics.extras import extra

with extra("gradients", needed_by="skmm.gradients"):
    from skmm.gradients.parameters import last_parameters
    from skmm.gradients.pool import sketched_gradients
    from skmm.gradients.sketch import GradientSketch

__all__ = ["GradientSketch", "last_parameters", "sketched_gradients"]
