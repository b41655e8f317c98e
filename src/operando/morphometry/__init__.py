"""What a label image measures: volumes, thickness, coverage, sides, connectivity and their uncertainty."""

from operando.morphometry.adjusted import error_adjusted_volumes
from operando.morphometry.colocalization import colocalize
from operando.morphometry.connectivity import inactive_lithium, inactive_mask
from operando.morphometry.contacts import contact_sigma
from operando.morphometry.displacement import electrode_displacement, electrode_edges, swelling
from operando.morphometry.doubt import probability_moments
from operando.morphometry.flattening import flatten, thickness_map
from operando.morphometry.fractions import phase_fractions
from operando.morphometry.interface import electrode_surfaces, interface_area
from operando.morphometry.layers import edge_sigma, layer_profile, layers_along_radius, radial_rows, winding_center
from operando.morphometry.residuals import residual_correlation
from operando.morphometry.sides import SIDE_SCHEME, lithium_by_side, side_labels
from operando.morphometry.surface_error import interface_error
from operando.morphometry.traveling import traveling_colocalization, traveling_lithium
from operando.morphometry.uncertainty import segmentation_sigma
from operando.morphometry.voids import contact_area, unfilled_area, unfilled_pits, void_depth
from operando.morphometry.volume import coverage, effective_thickness, roi_area, volumes

__all__ = [
    "SIDE_SCHEME",
    "colocalize",
    "contact_area",
    "contact_sigma",
    "coverage",
    "edge_sigma",
    "effective_thickness",
    "electrode_displacement",
    "electrode_edges",
    "electrode_surfaces",
    "error_adjusted_volumes",
    "flatten",
    "inactive_lithium",
    "inactive_mask",
    "interface_area",
    "interface_error",
    "layer_profile",
    "layers_along_radius",
    "lithium_by_side",
    "phase_fractions",
    "probability_moments",
    "radial_rows",
    "residual_correlation",
    "roi_area",
    "segmentation_sigma",
    "side_labels",
    "swelling",
    "thickness_map",
    "traveling_colocalization",
    "traveling_lithium",
    "unfilled_area",
    "unfilled_pits",
    "void_depth",
    "volumes",
    "winding_center",
]
