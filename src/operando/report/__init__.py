"""Figures, tables, 3-D renders, movies and the self-contained HTML page. Nothing is measured here."""

from operando.report.agreement import agreement_chart, reliability_diagram, training_history
from operando.report.layers import layer_map, layer_profiles, layer_section, training_and_test, unrolled_layers
from operando.report.maps import component_maps
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
from operando.report.render import render_series, render_volume
from operando.report.sections import cross_section, cross_sections
from operando.report.series import balance, component_volumes, coverage, thickness
from operando.report.style import png_bytes, quantity_text, rgb_array

__all__ = [
    "FigureItem",
    "MovieItem",
    "Section",
    "TableItem",
    "TextItem",
    "agreement_chart",
    "balance",
    "component_maps",
    "component_volumes",
    "coverage",
    "cross_section",
    "cross_sections",
    "layer_map",
    "layer_profiles",
    "layer_section",
    "movie",
    "movie_frames",
    "page",
    "png_bytes",
    "quantity_text",
    "reliability_diagram",
    "render_series",
    "render_volume",
    "rgb_array",
    "thickness",
    "training_and_test",
    "training_history",
    "unrolled_layers",
    "write_page",
]
