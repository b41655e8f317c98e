import dask.array as da
import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.report import cross_section, cross_sections, rgb_array
from operando.report.sections import gray_limits, overlay_rgba, section, solid_rgb


def _bars(figure):
    return [a for ax in figure.axes for a in ax.artists if a.get_gid() == "scale bar"]


def _texts(figure):
    figure.canvas.draw()
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_a_section_is_the_plane_nearest_to_the_position():
    image = labeled_image(np.arange(60).reshape(3, 4, 5), voxel_size_um=2.0)
    plane = section(image, normal="y", position=4.4)
    np.testing.assert_array_equal(plane.values, image.values[:, 2])
    assert plane.dims == ("z", "x")


def test_a_section_outside_the_image_names_the_range():
    image = labeled_image(np.zeros((3, 4, 5)), voxel_size_um=2.0)
    with pytest.raises(InputError, match=r"0 to 6 um along y, got 99"):
        section(image, position=99.0)


def test_a_scan_that_is_not_there_is_refused(image):
    with pytest.raises(InputError, match="scan must lie between -3 and 2, got 7"):
        section(image, scan=7)


def test_a_lazy_image_is_read_only_where_it_is_drawn():
    read = set()

    def block(info):
        place = info[None]["chunk-location"]
        read.add(place)
        return np.ones(info[None]["chunk-shape"], dtype=np.float32)

    data = da.map_blocks(
        lambda block_info=None: block(block_info), chunks=((1,) * 6, (4,), (2,) * 4, (8,)), dtype="f4",
        meta=np.empty((0,) * 4, dtype="f4"),
    )  # fmt: skip
    cross_sections(labeled_image(data, voxel_size_um=1.0), scans=[0, 5], position=4.0)
    assert read == {(0, 0, 2, 0), (5, 0, 2, 0)}


def test_the_overlay_has_the_colors_of_the_scheme_and_leaves_electrolyte_and_unlabeled_clear():
    labels = np.array([[0, 1, 2, 3, 4, 5, 255]], dtype=np.uint8)
    pixels = overlay_rgba(labels, CELL, opacity=0.4)[0]
    assert pixels[0, 3] == pixels[6, 3] == 0
    for name in ("electrode", "deposited", "dendrite", "pit", "redeposited"):
        np.testing.assert_allclose(pixels[CELL[name]], to_rgba(CELL.color(name), 0.4))


def test_the_truth_is_drawn_in_the_colors_of_the_scheme_and_white_where_unlabeled():
    pixels = solid_rgb(np.array([[0, 3, 255]], dtype=np.uint8), CELL)[0]
    np.testing.assert_allclose(pixels, [to_rgb(CELL.color("electrolyte")), to_rgb(CELL.color("dendrite")), (1, 1, 1)])


def test_a_cross_section_spans_the_voxels_in_um_with_a_round_scale_bar(image, labels):
    figure = cross_section(image, labels, CELL, scan=1)
    (ax,) = figure.axes
    assert ax.get_xlim() == (-1.0, 39.0)
    assert ax.get_ylim() == (-1.0, 31.0)
    (bar,) = _bars(figure)
    assert bar.txt_label.get_text() == "10 µm"


def test_an_uncalibrated_image_has_a_scale_bar_in_pixels():
    (bar,) = _bars(cross_section(labeled_image(np.eye(40).reshape(40, 1, 40))))
    assert bar.txt_label.get_text() == "10 px"


def test_the_grid_of_sections_has_scans_in_columns_and_rows_for_image_segmentation_and_truth(image, labels):
    figure = cross_sections(image, labels, CELL, truth=labels)
    assert len(figure.axes) == 9
    assert [ax.get_title() for ax in figure.axes[:3]] == ["0.00 h", "2.00 h", "4.00 h"]
    assert [figure.axes[row * 3].get_ylabel() for row in range(3)] == ["Image", "Segmentation", "Truth"]


def test_the_gray_limits_are_the_same_in_every_scan(image, labels):
    figure = cross_sections(image, labels, CELL)
    assert len({ax.images[0].get_clim() for ax in figure.axes}) == 1


def test_only_phases_that_are_drawn_are_in_the_legend(image, labels):
    for position, last in ((12.0, "dendrite"), (8.0, "redeposited")):
        (legend,) = cross_sections(image, labels, CELL, position=position).legends
        assert [t.get_text() for t in legend.get_texts()][-1] == last


def test_what_was_simulated_says_so_in_the_figure(image, labels):
    assert "simulated" not in _texts(cross_sections(image, labels, CELL))
    assert "simulated" in _texts(cross_sections(image.assign_attrs(simulated=True), labels, CELL))


def test_a_section_drawn_into_given_axes_returns_their_figure(image):
    from operando.report import style

    ax = style.new_figure(85, 60).add_subplot()
    assert cross_section(image, ax=ax) is ax.figure


def test_labels_without_phases_are_refused(image, labels):
    with pytest.raises(InputError, match="labels need the phases"):
        cross_section(image, labels)


def test_gray_limits_ignore_what_is_not_finite():
    assert gray_limits(np.array([np.nan, 1.0, 3.0, np.inf]), percent=0) == (1.0, 3.0)
    assert gray_limits(np.array([np.nan])) == (0.0, 1.0)
    assert gray_limits(np.array([2.0, 2.0])) == (1.5, 2.5)


def test_a_drawn_section_shows_the_color_of_the_electrode(image, labels):
    pixels = rgb_array(cross_section(image * 0 + 0.5, labels, CELL, opacity=1.0), dpi=60)
    electrode = np.round(np.array(to_rgb(CELL.color("electrode"))) * 255)
    assert (np.abs(pixels - electrode).max(axis=2) <= 1).mean() > 0.2
