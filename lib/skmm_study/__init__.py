"""The study of Sketchy Moment Matching: pools, trials, theory checks, figures, notebooks.

It uses the library `skmm` and never the other way round. Names are loaded on first use, so that a
notebook depends only on the modules it uses.
"""

from importlib import import_module

_HOME = {
    "execution.output": ["OutputFolder"],
    "ledger.evidence": ["Evidence"],
    "ledger.page": ["ledger_frame", "ledger_table"],
    "figures.clusters": ["plot_pool", "plot_subset"],
    "figures.methods": ["CASE_COLORS", "MethodStyle", "method_label", "method_styles"],
    "figures.leads": ["plot_leads"],
    "figures.published": [
        "plot_bounds",
        "plot_departures",
        "plot_pipeline",
        "plot_reports",
        "plot_sweep",
    ],
    "figures.heatmaps": ["plot_differences", "plot_grades"],
    "trials.ablation": ["ablation_trials", "start_trials"],
    "trials.balances": ["balance_trials", "elbow_trials", "part_trials"],
    "trials.comparisons": ["Comparison"],
    "trials.fits": ["ProbeFit", "RidgeFit"],
    "trials.subsamples": ["Subsamples"],
    "trials.certificates": ["certificate_trials"],
    "trials.departures": ["DEPARTURES", "departed_subsets"],
    "trials.halves": ["half_scores"],
    "trials.slacks": ["sketch_bound_trials", "slack_trials"],
    "trials.ladders": ["every_moment_gap", "moment_trials", "rounding_trials"],
    "report.luck": ["best_of_each", "mean_interval", "one_draw_gaps", "points"],
    "report.leads": ["gains", "holm", "lead_table", "leads", "means_of_draws", "standing"],
    "report.published": ["compare_published", "read_published", "side_by_side"],
    "trials.rates": ["rate_trials"],
    "trials.rounds": ["select_in_rounds"],
    "trials.machine": ["machine_trials"],
    "trials.peers": ["peer_trials"],
    "trials.scaling": ["Size", "exponents", "scaling_trials"],
    "trials.shortcuts": ["random_part", "shortcut_trials", "sketch_size_trials", "written_rows"],
    "trials.sketches": ["sketch_costs", "sketch_trials"],
    "figures.style": ["mark_clipped", "plain_log", "plot_bands", "set_style"],
    "report.tables": ["markdown_table"],
    "trials.trials": ["Trials", "run_trials"],
    "theory.distortion": [
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
    "pools.folder": ["data_folder"],
    "vision.cars": ["load_cars"],
    "vision.standin": ["standin_folder", "write_standin"],
    "vision.backbones": ["load_backbone"],
    "storage.arrays": ["ArrayCache"],
    "storage.folder": ["cache_folder"],
    "vision.features": ["trunk_activations"],
    "pools.compact": ["CompactPool"],
    "vision.compact": ["load_cars_features"],
    "text.compact": ["load_text_pool"],
    "vision.faces": ["load_faces_pool"],
    "theory.departures": [
        "expected_best",
        "expected_distinct",
        "one_draw_error",
        "permuted",
        "softmax_distance_bound",
    ],
    "theory.objective": ["unscaled_objective"],
    "theory.agreement": ["Agreement", "compare_moments", "covered_dimension"],
    "theory.relaxation": ["inclusion_spread", "relaxation_trials"],
    "theory.tightness": ["Tightness", "sample_tightness"],
    "pools.standins": ["stand_in_pools"],
    "pools.synthetic": [
        "Digits",
        "Mixture",
        "gaussian_mixture",
        "geometric_shares",
        "load_digits_pool",
        "table1_mixture",
    ],
    "trials.selections": ["class_coverage", "run_selections"],
    "training.tails": ["TRUNKS", "tail_of"],
    "training.activations": ["load_cars_activations"],
    "training.token_states": ["load_banking77_states"],
    "training.label_gradients": ["LabelGradients"],
    "trials.label_draws": ["gradient_rows", "run_label_draws", "single_changes", "ways"],
    "report.contrasts": ["contrasts"],
    "training.finetuning": ["Recipe", "finetune", "pooled_inputs"],
    "trials.evaluations": ["run_finetuning", "run_probes"],
    "report.differences": ["average_ranks", "paired_differences"],
    "figures.sheets": ["contact_sheet"],
}

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'skmm_study' has no attribute {name!r}; it offers {__all__}")
    return getattr(import_module(f"skmm_study.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
