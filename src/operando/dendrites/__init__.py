"""From images of a growing lithium electrode to its growth rate, what drives it, and how far a forecast holds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from operando.dendrites.colors import values_from_colors
from operando.dendrites.concentration import calibrate, concentration
from operando.dendrites.dense import dense_growth_rate, faraday_rows
from operando.dendrites.experiments import growth_features
from operando.dendrites.features import FEATURE_SETS, FEATURES, TIMES, feature_names, features_table
from operando.dendrites.global_sensitivity import grouped_sobol, morris, outside_share, sobol
from operando.dendrites.groups import feature_groups
from operando.dendrites.growth import growth_rate, height
from operando.dendrites.held_out import held_out_importance, shapley_importance
from operando.dendrites.importance import conditional_permutation
from operando.dendrites.interface import find_interface
from operando.dendrites.local_sensitivity import across_runs, sensitivity, sensitivity_runs, sensitivity_summary
from operando.dendrites.salt import electrode_surface, salt_concentration
from operando.dendrites.salt_displacement import displaced_per_charge, salt_displaced
from operando.dendrites.salt_transport import fit_salt_transport, fitted_diffusivity
from operando.dendrites.scores import advantage, correlation, leak, score, score_intervals, within_frame_correlation
from operando.dendrites.slopes import curvature, slopes
from operando.dendrites.splits import SPLITS, frame_numbers, possible_splits, split_rows
from operando.dendrites.stages import STAGES, depletion_stage, stage_of_point, stage_velocities
from operando.dendrites.surface import concentration_gradient, surface_concentration, surface_state
from operando.dendrites.tips import dendrite_metrics, tip_position

if TYPE_CHECKING:
    from operando.dendrites.committee import Committee
    from operando.dendrites.comparison import compare
    from operando.dendrites.conformal import FrameConformal
    from operando.dendrites.pattern import Pattern
    from operando.dendrites.rivals import MODELS, correlation_by_stage, rival
    from operando.dendrites.study import ablation

# Names of modules that need scikit-learn when they are imported: they load on first use.
_LAZY: dict[str, str] = {
    "Committee": "committee",
    "FrameConformal": "conformal",
    "MODELS": "rivals",
    "Pattern": "pattern",
    "ablation": "study",
    "compare": "comparison",
    "correlation_by_stage": "rivals",
    "rival": "rivals",
    "BayesianNetwork": "network",
    "best_of": "restarts",
    "train_networks": "restarts",
}

__all__: list[str] = [
    "FEATURES",
    "FEATURE_SETS",
    "MODELS",
    "SPLITS",
    "STAGES",
    "TIMES",
    "BayesianNetwork",
    "Committee",
    "FrameConformal",
    "Pattern",
    "ablation",
    "across_runs",
    "advantage",
    "best_of",
    "calibrate",
    "compare",
    "concentration",
    "concentration_gradient",
    "conditional_permutation",
    "correlation",
    "correlation_by_stage",
    "curvature",
    "dendrite_metrics",
    "dense_growth_rate",
    "depletion_stage",
    "displaced_per_charge",
    "electrode_surface",
    "faraday_rows",
    "feature_groups",
    "feature_names",
    "features_table",
    "find_interface",
    "fit_salt_transport",
    "fitted_diffusivity",
    "frame_numbers",
    "grouped_sobol",
    "growth_features",
    "growth_rate",
    "height",
    "held_out_importance",
    "leak",
    "morris",
    "outside_share",
    "possible_splits",
    "rival",
    "salt_concentration",
    "salt_displaced",
    "score",
    "score_intervals",
    "sensitivity",
    "sensitivity_runs",
    "sensitivity_summary",
    "shapley_importance",
    "slopes",
    "sobol",
    "split_rows",
    "stage_of_point",
    "stage_velocities",
    "surface_concentration",
    "surface_state",
    "tip_position",
    "train_networks",
    "values_from_colors",
    "within_frame_correlation",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"operando.dendrites.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'operando.dendrites' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
