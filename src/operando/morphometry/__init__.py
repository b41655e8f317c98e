"""What a label image measures: volumes, thickness, coverage, sides, connectivity and their uncertainty."""

from operando.morphometry.connectivity import inactive_lithium, inactive_mask
from operando.morphometry.interface import electrode_surfaces, interface_area
from operando.morphometry.layers import edge_sigma, layer_profile, layers_along_radius, radial_rows, winding_center
from operando.morphometry.sides import SIDE_SCHEME, lithium_by_side, side_labels
from operando.morphometry.uncertainty import (
    error_adjusted_volumes,
    interface_error,
    probability_moments,
    segmentation_sigma,
)
from operando.morphometry.volume import coverage, effective_thickness, roi_area, thickness_map, volumes

__all__ = [
    "SIDE_SCHEME",
    "coverage",
    "edge_sigma",
    "effective_thickness",
    "electrode_surfaces",
    "error_adjusted_volumes",
    "inactive_lithium",
    "inactive_mask",
    "interface_area",
    "interface_error",
    "layer_profile",
    "layers_along_radius",
    "lithium_by_side",
    "probability_moments",
    "radial_rows",
    "roi_area",
    "segmentation_sigma",
    "side_labels",
    "thickness_map",
    "volumes",
    "winding_center",
]
