"""Networks, sampling, training, inference in blocks and metrics: the room where torch lives."""

from operando.learn.calibration import calibration_error, fit_temperature, prior_shift, reliability, volume_shift
from operando.learn.inference import block_logits, read_region
from operando.learn.metrics import (
    accuracy,
    background_index,
    confusion_matrix,
    intersection_over_union,
    macro_iou,
    summary,
    total_iou,
)
from operando.learn.model_files import card_digest, load_card, load_network, save_model
from operando.learn.networks import NETWORKS, NetworkDesign, build_network, network_design
from operando.learn.normalization import gray_columns, gray_scale, normalized
from operando.learn.sampling import AnnotationCounts, PatchSampler, Window, count_annotations, draw_windows
from operando.learn.sections import PLANES, Sections
from operando.learn.training import TRAININGS, TrainingSettings, train, training_settings

__all__ = [
    "NETWORKS",
    "PLANES",
    "TRAININGS",
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
    "reliability",
    "save_model",
    "summary",
    "total_iou",
    "train",
    "training_settings",
    "volume_shift",
]
