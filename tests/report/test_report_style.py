import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.report import png_bytes, rgb_array, style, vector_bytes, wording


def test_an_axis_label_takes_name_and_unit_from_attrs():
    array = xr.DataArray(0.0, attrs={"long_name": "Effective thickness", "units": "um"})
    assert wording.array_label(array) == "Effective thickness [µm]"


def test_an_array_without_long_name_is_labeled_by_its_name():
    assert wording.array_label(xr.DataArray(0.0, name="current_density", attrs={"units": "mA cm-2"})) == (
        "Current density [mA cm⁻²]"
    )


@pytest.mark.parametrize(("extent", "length"), [(100.0, 20.0), (36.0, 10.0), (3000.0, 500.0), (0.9, 0.2)])
def test_a_scale_bar_is_a_round_length_below_its_share_of_the_width(extent, length):
    assert style.scale_bar_length(extent) == pytest.approx(length)
    assert length <= 0.28 * extent


def test_a_scale_bar_of_no_extent_is_refused():
    with pytest.raises(InputError, match="must be positive, got 0"):
        style.scale_bar_length(0.0)


@pytest.mark.parametrize("voxel", [0.5, 1.33, 33.97])
def test_the_scale_bar_drawn_covers_its_length_in_voxels(voxel):
    ax = style.new_figure(85, 60).add_subplot()
    ax.set(xlim=(0, 200 * voxel), ylim=(0, 100 * voxel))
    drawn = style.add_scale_bar(ax)
    (bar,) = [a for a in ax.artists if a.get_gid() == "scale bar"]
    (patch,) = bar.size_bar.get_children()
    assert patch.get_width() == drawn
    assert bar.txt_label.get_text() == wording.length_text(drawn)


def test_the_colors_of_components_are_those_of_the_scheme():
    for name in CELL:
        assert style.color_of(name) == CELL.color(name)


def test_a_sequential_map_darkens_steadily_and_passes_the_color_of_the_phase():
    for name in ("electrode", "deposited", "dendrite", "redeposited"):
        colors = style.sequential_map(CELL.color(name))(np.linspace(0, 1, 64))[:, :3]
        lightness = colors @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(lightness) < 0).all()
        base = np.array(mpl.colors.to_rgb(CELL.color(name)))
        assert np.abs(colors - base).max(axis=1).min() < 0.03


def test_drawing_leaves_the_settings_of_the_caller_alone():
    before = dict(mpl.rcParams)
    png_bytes(style.new_figure(85, 60))
    assert dict(mpl.rcParams) == before


def test_a_column_wide_figure_has_the_pixels_of_its_width_at_200_dpi():
    assert rgb_array(style.new_figure(85, 50)).shape == (393, 669, 3)


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [(-1.0, 0.25, "−1.00 ± 0.25 µm³"), (float("nan"), 1.0, "not known"), (52.0, float("nan"), "52.0 µm³")],
)
def test_a_number_is_spelled_as_far_as_its_interval_supports(value, half, text):
    assert wording.quantity_text(value, half, "um3") == text


def test_scans_without_a_time_unit_are_numbered():
    image = xr.DataArray([0, 0], dims="t", coords={"t": ("t", [0.0, 1.0], {"units": "1"})})
    assert wording.scan_titles(image, [1]) == ["scan 1"]


@pytest.mark.parametrize(("format", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_figure_becomes_vectors_and_the_same_ones_again(format, start):
    def drawn():
        ax = style.new_figure(88, 40).add_subplot()
        ax.set_title("thickness")
        return vector_bytes(ax.figure, format=format)

    first = drawn()
    assert first.startswith(start)
    assert first == drawn()


def test_text_in_an_svg_stays_text():
    ax = style.new_figure(88, 40).add_subplot()
    ax.set_title("thickness of lithium")
    assert b"thickness of lithium" in vector_bytes(ax.figure, format="svg")


def test_other_vector_formats_are_refused():
    with pytest.raises(InputError, match="must be pdf or svg, got 'eps'"):
        vector_bytes(style.new_figure(88, 40), format="eps")


def test_a_line_is_as_wide_as_asked_at_most():
    text = "the effective thickness of both electrodes over the whole cycle"
    lines = wording.wrapped(text, 30)
    assert " ".join(lines) == text
    assert len(lines) >= 3
    assert len(wording.wrapped(text, 200)) == 1


def test_a_word_wider_than_its_line_is_broken_and_nothing_is_lost():
    word = "Oberflaechenspannungskoeffizient"
    assert "".join(wording.wrapped(word, 12)) == word
    assert wording.wrapped("", 12) == []


def test_panels_are_lettered_in_order():
    axes = style.new_figure(88, 40).subplots(1, 2)
    style.panel_letters(axes, start="d")
    assert [ax.texts[0].get_text() for ax in axes] == ["d", "e"]
