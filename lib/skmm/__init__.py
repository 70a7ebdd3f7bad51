"""Sketchy Moment Matching: choose the n samples to label and finetune on, with a certificate.

The public surface, in the order in which data flows: gradients -> sketch -> spectrum -> matched
weights -> rounded subset -> training -> table and figure. Names are loaded on first use, so that
``import skmm`` is quick and a notebook depends only on the modules it uses.

References:
    Sketchy Moment Matching (Dong et al., NeurIPS 2024), https://arxiv.org/abs/2407.06120
"""

from importlib import import_module

_HOME = {
    "inputs": ["as_generator"],
    "report.artifacts": ["Study"],
    "report.clusters": ["plot_pool", "plot_subset", "ring_layout"],
    "report.methods": ["MethodStyle", "method_label", "method_styles"],
    "report.heatmaps": ["plot_differences"],
    "report.ladders": [
        "every_moment_gap",
        "moment_trials",
        "plot_grades",
        "rounding_trials",
    ],
    "report.published": ["compare_published", "read_published", "side_by_side"],
    "report.rates": ["rate_trials"],
    "report.sketches": ["sketch_costs", "sketch_trials"],
    "report.style": ["plain_log", "plot_bands", "set_style"],
    "report.tables": ["markdown_table"],
    "report.trials": ["Trials", "run_trials"],
    "gradients": ["GradientSketch", "last_parameters", "sketched_gradients"],
    "sketching": ["SKETCHES", "SRHT", "GaussianSketch", "RademacherSketch", "SparseSignSketch"],
    "spectrum": ["Spectrum", "intrinsic_dimension"],
    "distortion": [
        "batched_dimension",
        "distance_bound",
        "distance_ratios",
        "distance_tail",
        "effective_dimension",
        "gram_correlation",
        "gram_error",
        "reconstruction_bound",
        "reconstruction_error",
        "sketch_afresh",
    ],
    "vision.folder": ["cache_folder", "data_folder"],
    "vision.cars": ["load_cars"],
    "vision.images": ["duplicate_groups"],
    "vision.standin": ["STANDIN_TITLE", "write_standin"],
    "vision.backbones": ["load_backbone"],
    "vision.cache": ["ArrayCache"],
    "vision.features": ["pooled_features", "trunk_activations"],
    "vision.compact": ["CarsFeatures", "load_cars_features"],
    "simplex": ["project_capped_simplex"],
    "matching": ["RelaxedSelection", "match_moments", "moment_shares"],
    "matching_recipe": ["adam_clip_renormalise", "unscaled_objective"],
    "criteria": ["Combination", "DiagonalShortfall", "FourthMoment", "SecondMoment", "VOptimality"],
    "design": ["DesignBound", "bound_v_optimality", "v_optimality"],
    "rounding": ["exchange", "round_by_sampling", "round_to_top"],
    "regret": ["round_by_regret"],
    "agreement": ["Agreement", "compare_moments"],
    "selectors": ["SELECTORS"],
    "ridge": ["CrossValidation", "RidgePath", "cross_validate"],
    "risk": ["FixedDesign", "RiskSplit", "SelectedDesign"],
    "tightness": ["Tightness", "sample_tightness", "subspace_bound"],
    "synthetic": [
        "Digits",
        "Mixture",
        "gaussian_mixture",
        "geometric_shares",
        "load_digits_pool",
        "paper_mixture",
    ],
    "probing": ["LinearProbe", "ProbeScores", "probe_scores"],
    "training.grid": ["Cell", "Outcome", "run_grid"],
    "training.proxies": ["first_model", "training_history"],
    "training.selections": ["class_coverage", "run_selections"],
    "training.tails": ["TRUNKS", "tail_of"],
    "training.finetuning": ["Recipe", "finetune", "pooled_inputs"],
    "training.evaluations": ["run_finetuning", "run_probes"],
    "training.differences": ["average_ranks", "paired_differences"],
    "vision.sheets": ["contact_sheet"],
    "selection": ["Certificate", "Selection", "certify", "select", "selection_view"],
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
