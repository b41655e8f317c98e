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
from operando.report.sections import cross_section, cross_sections
from operando.report.series import component_volumes, quantity_lines, thickness
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
    "annotation_examples",
    "balance",
    "closure_chart",
    "component_maps",
    "component_volumes",
    "correlation_series",
    "coverage",
    "cross_section",
    "cross_sections",
    "current_maps",
    "cycle_states",
    "deformation_map",
    "effect_sizes",
    "electrode_edges",
    "electrolyte_depth",
    "electrolyte_porosity",
    "flux_field",
    "hot_spot_sections",
    "image_and_charge",
    "image_over_charge",
    "label_panels",
    "layer_map",
    "layer_profiles",
    "layer_section",
    "ledger_chart",
    "ledger_table",
    "map_rows",
    "microstructure_factors",
    "motion_series",
    "movie",
    "movie_frames",
    "page",
    "png_bytes",
    "pore_sections",
    "porosity_by_depth",
    "porosity_by_step",
    "porosity_changes",
    "porosity_distributions",
    "porosity_maps",
    "quantity_lines",
    "quantity_text",
    "reliability_diagram",
    "render_panel",
    "render_scans",
    "render_series",
    "render_volume",
    "rgb_array",
    "spot_persistence",
    "thickness",
    "tortuosity_maps",
    "training_and_test",
    "training_history",
    "traveling_map",
    "unoccupied",
    "unrolled_layers",
    "vector_bytes",
    "void_map",
    "voltage_envelope",
    "voltage_trace",
    "volume_bias",
    "workflow",
    "write_page",
]
