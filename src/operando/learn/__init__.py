"""Networks, sampling, training, inference in blocks and metrics: the room where torch lives."""

from operando.learn.inference import block_logits, read_region
from operando.learn.metrics import (
    accuracy,
    background_index,
    calibration_error,
    confusion_matrix,
    fit_temperature,
    intersection_over_union,
    macro_iou,
    prior_shift,
    summary,
    total_iou,
)
from operando.learn.model_files import card_digest, load_card, load_network, save_model
from operando.learn.networks import NETWORKS, NetworkDesign, build_network, network_design
from operando.learn.normalization import gray_columns, gray_scale, normalized
from operando.learn.sampling import AnnotationCounts, PatchSampler, Window, count_annotations, draw_windows
from operando.learn.sections import PLANES, Sections
from operando.learn.training import TrainingSettings, train

__all__ = [
    "NETWORKS",
    "PLANES",
    "AnnotationCounts",
    "NetworkDesign",
    "PatchSampler",
    "Sections",
    "TrainingSettings",
    "Window",
    "accuracy",
    "background_index",
    "block_logits",
    "build_network",
    "calibration_error",
    "card_digest",
    "confusion_matrix",
    "count_annotations",
    "draw_windows",
    "fit_temperature",
    "gray_columns",
    "gray_scale",
    "intersection_over_union",
    "load_card",
    "load_network",
    "macro_iou",
    "network_design",
    "normalized",
    "prior_shift",
    "read_region",
    "save_model",
    "summary",
    "total_iou",
    "train",
]
