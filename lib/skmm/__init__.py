"""Sketchy Moment Matching: choose the n samples to label and finetune on, with a certificate.

The public surface, in the order in which data flows: gradients -> sketch -> spectrum -> matched
weights -> rounded subset -> training. Names are loaded on first use, so that ``import skmm`` is
quick and needs no optional dependency. Classes that functions return and nobody constructs are
not listed.

References:
    Sketchy Moment Matching (Dong et al., NeurIPS 2024), https://arxiv.org/abs/2407.06120
"""

from importlib import import_module

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


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'skmm' has no attribute {name!r}; it offers {__all__}")
    return getattr(import_module(f"skmm.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
