"""Sketchy Moment Matching: choose the n samples to label and finetune on, with a certificate.

The public surface, in the order in which data flows: gradients -> sketch -> spectrum -> matched
weights -> rounded subset -> training. Names are loaded on first use, so that ``import skmm`` is
quick and needs no optional dependency. Classes that functions return and nobody constructs are
not listed.

References:
    Sketchy Moment Matching (Dong et al., NeurIPS 2024), https://arxiv.org/abs/2407.06120
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "numerics.convergence": ["ConvergenceWarning"],
    "numerics.streams": ["as_generator"],
    "gradients": ["GradientSketch", "last_parameters", "sketched_gradients"],
    "sketching": ["SKETCHES", "SRHT", "GaussianSketch", "RademacherSketch", "SparseSignSketch"],
    "spectrum": ["Spectrum"],
    "matching.simplex": ["project_capped_simplex"],
    "matching.program": ["match_moments", "moment_shares"],
    "matching.recipe": ["adam_clip_renormalise"],
    "criteria": [
        "Combination",
        "Coverage",
        "DiagonalShortfall",
        "FourthMoment",
        "SecondMoment",
        "VOptimality",
    ],
    "matching.design": ["bound_v_optimality", "v_optimality"],
    "rounding.exchange": ["exchange"],
    "rounding.sampling": ["round_by_sampling", "round_to_top"],
    "rounding.regret": ["round_by_regret"],
    "selection.selectors": ["SELECTORS"],
    "selection.certificate": ["Certificate", "certify"],
    "selection.view": ["PoolView"],
    "selection.select": ["Selection", "select"],
    "selection.estimator": ["SubsetSelector"],
    "selection.datasets": ["select_from"],
    "training.ridge": ["RidgePath", "cross_validate"],
    "training.risk": ["RidgeRisk"],
    "training.probing": ["LinearProbe", "probe_scores"],
}

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)
__version__ = "0.1.0"

if TYPE_CHECKING:  # The same table, for who cannot run it; a test holds the two together.
    from skmm.criteria import Combination as Combination
    from skmm.criteria import Coverage as Coverage
    from skmm.criteria import DiagonalShortfall as DiagonalShortfall
    from skmm.criteria import FourthMoment as FourthMoment
    from skmm.criteria import SecondMoment as SecondMoment
    from skmm.criteria import VOptimality as VOptimality
    from skmm.gradients import GradientSketch as GradientSketch
    from skmm.gradients import last_parameters as last_parameters
    from skmm.gradients import sketched_gradients as sketched_gradients
    from skmm.matching.design import bound_v_optimality as bound_v_optimality
    from skmm.matching.design import v_optimality as v_optimality
    from skmm.matching.program import match_moments as match_moments
    from skmm.matching.program import moment_shares as moment_shares
    from skmm.matching.recipe import adam_clip_renormalise as adam_clip_renormalise
    from skmm.matching.simplex import project_capped_simplex as project_capped_simplex
    from skmm.numerics.convergence import ConvergenceWarning as ConvergenceWarning
    from skmm.numerics.streams import as_generator as as_generator
    from skmm.rounding.exchange import exchange as exchange
    from skmm.rounding.regret import round_by_regret as round_by_regret
    from skmm.rounding.sampling import round_by_sampling as round_by_sampling
    from skmm.rounding.sampling import round_to_top as round_to_top
    from skmm.selection.certificate import Certificate as Certificate
    from skmm.selection.certificate import certify as certify
    from skmm.selection.datasets import select_from as select_from
    from skmm.selection.estimator import SubsetSelector as SubsetSelector
    from skmm.selection.select import Selection as Selection
    from skmm.selection.select import select as select
    from skmm.selection.selectors import SELECTORS as SELECTORS
    from skmm.selection.view import PoolView as PoolView
    from skmm.sketching import SKETCHES as SKETCHES
    from skmm.sketching import SRHT as SRHT
    from skmm.sketching import GaussianSketch as GaussianSketch
    from skmm.sketching import RademacherSketch as RademacherSketch
    from skmm.sketching import SparseSignSketch as SparseSignSketch
    from skmm.spectrum import Spectrum as Spectrum
    from skmm.training.probing import LinearProbe as LinearProbe
    from skmm.training.probing import probe_scores as probe_scores
    from skmm.training.ridge import RidgePath as RidgePath
    from skmm.training.ridge import cross_validate as cross_validate
    from skmm.training.risk import RidgeRisk as RidgeRisk
else:

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'skmm' has no attribute {name!r}; it offers {__all__}")
        return getattr(import_module(f"skmm.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
