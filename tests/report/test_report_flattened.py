import numpy as np
import pytest
from matplotlib.colors import to_rgb

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.report import electrode_edges, style, traveling_map
from operando.report.flattened import STATE_COLORS


@pytest.fixture
def edges():
    density = np.zeros((3, 6, 10))
    for state in range(3):
        density[state, state] = 1.0
        density[state, 5] = 1.0
    return labeled_image(density, dims=("t", "z", "x"), voxel_size_um=2.0)


def test_an_edge_has_the_color_of_its_state_and_white_is_none(edges):
    pixels = electrode_edges(edges).axes[0].images[0].get_array()
    np.testing.assert_allclose(pixels[0, 0], to_rgb(STATE_COLORS[0]), atol=1e-6)
    np.testing.assert_allclose(pixels[3, 0], 1.0)


def test_where_states_overlap_colors_multiply(edges):
    pixels = electrode_edges(edges).axes[0].images[0].get_array()
    np.testing.assert_allclose(pixels[5, 0], np.prod([to_rgb(c) for c in STATE_COLORS[:3]], axis=0), atol=1e-6)


def test_separate_states_have_a_panel_each_and_one_for_all(edges):
    axes = electrode_edges(edges, separate=True).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["pristine", "half cycle", "full cycle", "all"]
    np.testing.assert_allclose(axes[1].images[0].get_array()[0, 0], 1.0)


def test_the_overlay_can_be_drawn_into_given_axes(edges):
    ax = style.new_figure(88, 60).add_subplot()
    assert electrode_edges(edges, ax=ax) is ax.figure
    assert len(ax.images) == 1


def test_each_state_needs_a_name(edges):
    with pytest.raises(InputError, match=r"got 2 names \['a', 'b'\] for 3 positions along t"):
        electrode_edges(edges, states=["a", "b"])


def test_edges_need_a_plane_per_state(edges):
    with pytest.raises(AxesError, match=r"dims \(t, z, x\) are needed"):
        electrode_edges(edges.isel(t=0))


def test_the_scale_of_changes_is_symmetric_around_zero():
    moved = labeled_image(np.array([[-1.0, 0.0], [4.0, np.nan]]), dims=("z", "x"), voxel_size_um=2.0, units="um")
    figure = traveling_map(moved)
    low, high = figure.axes[0].images[0].get_clim()
    assert -low == high == pytest.approx(4.0, rel=0.01)


def test_decrease_is_blue_and_increase_is_red():
    moved = labeled_image(np.array([[-1.0, 1.0]]), dims=("z", "x"), voxel_size_um=2.0, units="um")
    image = traveling_map(moved).axes[0].images[0]
    lost, gained = image.to_rgba(image.get_array())[0]
    assert lost[2] > lost[0]
    assert gained[0] > gained[2]


def test_leaving_and_arriving_lithium_are_laid_over_each_other():
    parts = np.array([[[-2.0, 0.0], [np.nan, 0.0]], [[0.0, 3.0], [np.nan, np.nan]]])
    moved = labeled_image(parts, dims=("component", "z", "x"), voxel_size_um=2.0, units="um")
    drawn = np.ma.filled(traveling_map(moved).axes[0].images[0].get_array(), np.nan)
    np.testing.assert_array_equal(drawn, [[-2.0, 3.0], [np.nan, 0.0]])


def test_a_volume_is_no_map_of_changes():
    with pytest.raises(AxesError, match="two of the dims z, y, x"):
        traveling_map(labeled_image(np.zeros((2, 2, 2)), voxel_size_um=1.0))
