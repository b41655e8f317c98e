"""What a label image measures: volumes, thickness, coverage, sides, connectivity and their uncertainty."""

from operando.morphometry.adjusted import error_adjusted_volumes
from operando.morphometry.boundaries import BOUNDARIES, electrode_boundaries, electrode_thickness
from operando.morphometry.colocalization import colocalize
from operando.morphometry.connectivity import inactive_lithium, inactive_mask
from operando.morphometry.contacts import contact_sigma
from operando.morphometry.current_density import current_closure, plating_current_density
from operando.morphometry.displacement import electrode_displacement, electrode_edges, swelling
from operando.morphometry.doubt import probability_moments
from operando.morphometry.flattening import flatten, thickness_map
from operando.morphometry.fractions import phase_fractions
from operando.morphometry.hot_spots import hot_spots
from operando.morphometry.interface import electrode_surfaces, interface_area
from operando.morphometry.layers import edge_sigma, layer_profile, layers_along_radius, radial_rows, winding_center
from operando.morphometry.pore_sizes import pore_size
from operando.morphometry.pores import pores
from operando.morphometry.porosity import near_interface_porosity, porosity_map, porosity_profile
from operando.morphometry.porosity_difference import porosity_difference
from operando.morphometry.porosity_electrolyte import electrolyte_porosity
from operando.morphometry.porosity_modes import porosity_modes
from operando.morphometry.profiles import boundaries_from_profiles, thickness_sigma
from operando.morphometry.residuals import residual_correlation
from operando.morphometry.sides import SIDE_SCHEME, lithium_by_side, side_labels
from operando.morphometry.spatial_regression import spatial_regression
from operando.morphometry.spot_tables import spot_table, track_spots
from operando.morphometry.surface_area import surface_area
from operando.morphometry.surface_error import interface_error
from operando.morphometry.traveling import traveling_colocalization, traveling_lithium
from operando.morphometry.uncertainty import segmentation_sigma
from operando.morphometry.voids import contact_area, unfilled_area, unfilled_pits, void_depth
from operando.morphometry.volume import coverage, effective_thickness, roi_area, volumes

__all__ = [
    "BOUNDARIES",
    "SIDE_SCHEME",
    "boundaries_from_profiles",
    "colocalize",
    "contact_area",
    "contact_sigma",
    "coverage",
    "current_closure",
    "edge_sigma",
    "effective_thickness",
    "electrode_boundaries",
    "electrode_displacement",
    "electrode_edges",
    "electrode_surfaces",
    "electrode_thickness",
    "electrolyte_porosity",
    "error_adjusted_volumes",
    "flatten",
    "hot_spots",
    "inactive_lithium",
    "inactive_mask",
    "interface_area",
    "interface_error",
    "layer_profile",
    "layers_along_radius",
    "lithium_by_side",
    "near_interface_porosity",
    "phase_fractions",
    "plating_current_density",
    "pore_size",
    "pores",
    "porosity_difference",
    "porosity_map",
    "porosity_modes",
    "porosity_profile",
    "probability_moments",
    "radial_rows",
    "residual_correlation",
    "roi_area",
    "segmentation_sigma",
    "side_labels",
    "spatial_regression",
    "spot_table",
    "surface_area",
    "swelling",
    "thickness_map",
    "thickness_sigma",
    "track_spots",
    "traveling_colocalization",
    "traveling_lithium",
    "unfilled_area",
    "unfilled_pits",
    "void_depth",
    "volumes",
    "winding_center",
]
