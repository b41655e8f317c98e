"""Figures, tables, 3-D renders, movies and the self-contained HTML page. Nothing is measured here."""

from operando.report.agreement import agreement_chart, reliability_diagram, training_history, volume_bias
from operando.report.annotated import annotation_examples
from operando.report.area import coverage, unoccupied
from operando.report.balance import balance
from operando.report.charge import image_and_charge, image_over_charge
from operando.report.colocalization import correlation_series
from operando.report.current_maps import closure_chart, current_maps
from operando.report.cycling import voltage_envelope
from operando.report.electrolyte import electrolyte_depth, electrolyte_porosity
from operando.report.flattened import electrode_edges, traveling_map
from operando.report.flux import flux_field
from operando.report.growth_forecast import forecast_along, forecast_scatter
from operando.report.growth_interface import interface_frames, interface_overview
from operando.report.growth_methods import sensitivity_methods
from operando.report.growth_next import next_growth
from operando.report.growth_rates import growth_over_time
from operando.report.growth_sections import section_forecast, section_growth, section_interface
from operando.report.growth_sensitivity import sensitivity_distributions, sensitivity_over_runs
from operando.report.growth_study import overfitting_plot, study_maps
from operando.report.growth_training import growth_training
from operando.report.growth_trust import trust_plot
from operando.report.growth_trust_sections import (
    section_sensitivity,
    section_study,
    section_training,
    section_trust,
)
from operando.report.hot_spot_sections import hot_spot_sections
from operando.report.label_panels import label_panels
from operando.report.layers import layer_map, layer_profiles, layer_section, training_and_test, unrolled_layers
from operando.report.ledger import ledger_chart, ledger_table
from operando.report.map_rows import map_rows, void_map
from operando.report.maps import component_maps
from operando.report.microstructure import microstructure_factors, tortuosity_maps
from operando.report.motion import deformation_map, motion_series
from operando.report.movies import movie, movie_frames
from operando.report.pages import (
    FigureItem,
    MovieItem,
    Section,
    TableItem,
    TextItem,
    page,
    write_page,
)
from operando.report.persistence import spot_persistence
from operando.report.porosity_lines import porosity_by_depth, porosity_by_step, porosity_distributions
from operando.report.porous_maps import porosity_changes, porosity_maps
from operando.report.porous_sections import pore_sections
from operando.report.regression import effect_sizes
from operando.report.render import render_volume
from operando.report.renders import cycle_states, render_panel, render_scans, render_series
from operando.report.salt_profiles import salt_changes, salt_map
from operando.report.salt_series import salt_at_electrodes, salt_balance, salt_gradients, sand_times
from operando.report.sections import cross_section, cross_sections
from operando.report.series import component_volumes, quantity_lines, thickness
from operando.report.spectral_beam import drift_plot, i0_plot
from operando.report.spectral_clusters import cluster_map, reference_collinearity, scree_plot
from operando.report.spectral_complex import complex_image
from operando.report.spectral_composite import false_color
from operando.report.spectral_energies import energy_choice
from operando.report.spectral_fits import spectra_with_fit, spectrum_with_fit
from operando.report.spectral_lithium import core_to_rim_plot, lithiation_distribution, particle_map, phase_boundary
from operando.report.spectral_maps import ambiguity_map, flag_map, map_with_uncertainty, r_factor_map, weight_maps
from operando.report.spectral_movies import energy_frames, energy_movie
from operando.report.spectral_overview import spectral_overview
from operando.report.spectral_result_sections import section_doubt, section_energies, section_fit, section_lithium
from operando.report.spectral_sections import (
    section_overview,
    section_recording,
    section_references,
    section_structure,
)
from operando.report.spectral_spectra import reference_spectra
from operando.report.style import png_bytes, rgb_array, vector_bytes
from operando.report.voltage import voltage_trace
from operando.report.wording import quantity_text
from operando.report.workflow import workflow

__all__ = [
    "FigureItem",
    "MovieItem",
    "Section",
    "TableItem",
    "TextItem",
    "agreement_chart",
    "ambiguity_map",
    "annotation_examples",
    "balance",
    "closure_chart",
    "cluster_map",
    "complex_image",
    "component_maps",
    "component_volumes",
    "core_to_rim_plot",
    "correlation_series",
    "coverage",
    "cross_section",
    "cross_sections",
    "current_maps",
    "cycle_states",
    "deformation_map",
    "drift_plot",
    "effect_sizes",
    "electrode_edges",
    "electrolyte_depth",
    "electrolyte_porosity",
    "energy_choice",
    "energy_frames",
    "energy_movie",
    "false_color",
    "flag_map",
    "flux_field",
    "forecast_along",
    "forecast_scatter",
    "growth_over_time",
    "growth_training",
    "hot_spot_sections",
    "i0_plot",
    "image_and_charge",
    "image_over_charge",
    "interface_frames",
    "interface_overview",
    "label_panels",
    "layer_map",
    "layer_profiles",
    "layer_section",
    "ledger_chart",
    "ledger_table",
    "lithiation_distribution",
    "map_rows",
    "map_with_uncertainty",
    "microstructure_factors",
    "motion_series",
    "movie",
    "movie_frames",
    "next_growth",
    "overfitting_plot",
    "page",
    "particle_map",
    "phase_boundary",
    "png_bytes",
    "pore_sections",
    "porosity_by_depth",
    "porosity_by_step",
    "porosity_changes",
    "porosity_distributions",
    "porosity_maps",
    "quantity_lines",
    "quantity_text",
    "r_factor_map",
    "reference_collinearity",
    "reference_spectra",
    "reliability_diagram",
    "render_panel",
    "render_scans",
    "render_series",
    "render_volume",
    "rgb_array",
    "salt_at_electrodes",
    "salt_balance",
    "salt_changes",
    "salt_gradients",
    "salt_map",
    "sand_times",
    "scree_plot",
    "section_doubt",
    "section_energies",
    "section_fit",
    "section_forecast",
    "section_growth",
    "section_interface",
    "section_lithium",
    "section_overview",
    "section_recording",
    "section_references",
    "section_sensitivity",
    "section_structure",
    "section_study",
    "section_training",
    "section_trust",
    "sensitivity_distributions",
    "sensitivity_methods",
    "sensitivity_over_runs",
    "spectra_with_fit",
    "spectral_overview",
    "spectrum_with_fit",
    "spot_persistence",
    "study_maps",
    "thickness",
    "tortuosity_maps",
    "training_and_test",
    "training_history",
    "traveling_map",
    "trust_plot",
    "unoccupied",
    "unrolled_layers",
    "vector_bytes",
    "void_map",
    "voltage_envelope",
    "voltage_trace",
    "volume_bias",
    "weight_maps",
    "workflow",
    "write_page",
]
