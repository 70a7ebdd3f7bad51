"""What sketching and selecting costs before any of it is run: operations, bytes, memory, hours."""

from skmm_scale.costs.architecture import PRESETS, Architecture
from skmm_scale.costs.estimate import Costs, Rates, cost
from skmm_scale.costs.gradients import GradientCost, Target, sketch_cost
from skmm_scale.costs.selection import Stage, selection_stages, stored_bytes

__all__ = [
    "PRESETS",
    "Architecture",
    "Costs",
    "GradientCost",
    "Rates",
    "Stage",
    "Target",
    "cost",
    "selection_stages",
    "sketch_cost",
    "stored_bytes",
]
