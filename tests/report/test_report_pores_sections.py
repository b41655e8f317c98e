import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL
from operando.report import hot_spot_sections, pore_sections, rgb_array
from operando.report.sections import overlay_rgba

STEPS = ["pristine", "plate 1"]
SHAPE = (2, 30, 20, 24)


@pytest.fixture(scope="module")
def labels():
    data = np.full(SHAPE, CERAMIC_CELL["electrolyte"], dtype=np.uint8)
    data[:, :3] = data[:, 27:] = CERAMIC_CELL["collector"]
    data[:, 3:10] = data[:, 21:27] = CERAMIC_CELL["electrode"]
    data[1, 8:10, 8:12, 10:14] = CERAMIC_CELL["pore"]
    data[:, 13:15, 5:9, 5:9] = CERAMIC_CELL["electrolyte_pore"]
    return labeled_image(data, voxel_size_um=3.0, t=[0, 5], coords={"step": ("t", STEPS)}, attrs={"simulated": True})


@pytest.fixture(scope="module")
def image(labels):
    gray = np.array([1.0, 0.10, 0.06, 1.3, 0.06])[labels.values]
    noise = np.random.default_rng(0).normal(scale=0.01, size=gray.shape)
    return labels.copy(data=gray + noise)


@pytest.fixture(scope="module")
def boundaries():
    heights = np.array([7.5, 28.5, 61.5, 79.5])
    names = ["low collector", "low interface", "high interface", "high collector"]
    values = np.broadcast_to(heights[None, :, None, None], (2, 4, 20, 24))
    dims = ("t", "component", "y", "x")
    return labeled_image(values, dims=dims, voxel_size_um=3.0, coords={"component": names}, units="um")


SPOT = {
    "y_um": 30.0,
    "x_um": 36.0,
    "extent_y_um": 12.0,
    "extent_x_um": 18.0,
    "component": "low",
    "kind": "hot",
    "id": 3,
}


def test_methods_and_confidence_are_rows_and_steps_are_columns(image, labels):
    figure = pore_sections(image, {"Otsu": labels, "network": labels}, confidence=image * 0 + 0.9)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_ylabel() for ax in panels[::2] if ax.get_ylabel()] == ["Image", "Otsu", "Network", "Confidence"]
    assert [ax.get_title() for ax in panels[:2]] == STEPS
    assert figure.get_suptitle() == "simulated"


def test_only_the_part_asked_for_is_drawn(image, labels):
    figure = pore_sections(image, {"truth": labels}, z_um=(9.0, 30.0), x_um=(0.0, 30.0))
    assert figure.axes[0].images[0].get_array().shape == (8, 11)
    with pytest.raises(InputError, match="0 to 87 along z, got 200 to 300"):
        pore_sections(image, z_um=(200.0, 300.0))


def test_gray_is_scaled_by_the_lithium_and_not_by_the_steel(image, labels):
    low, high = pore_sections(image, {"truth": labels}).axes[0].images[0].get_clim()
    assert 0.0 < low < 0.1 < high < 0.2
    assert pore_sections(image).axes[0].images[0].get_clim()[1] > 1.0


def test_pores_cover_the_gray_and_lithium_lets_it_through(image, labels):
    from operando.report.porous_sections import OPACITY

    colors = overlay_rgba(np.array([[0, 1, 2, 255]], dtype=np.uint8), CERAMIC_CELL, opacity=OPACITY)
    assert colors[0, :, 3].tolist() == [0.0, OPACITY["electrode"], OPACITY["pore"], 0.0]


def test_both_sections_through_the_spot_are_shown_in_every_step(image, labels, boundaries):
    figure = hot_spot_sections(image, labels, SPOT, scans=[0, 1], boundaries=boundaries)
    titles = [ax.get_title() for ax in figure.axes[:4]]
    assert titles == ["pristine\ny = 30 µm", "plate 1\ny = 30 µm", "pristine\nx = 36 µm", "plate 1\nx = 36 µm"]
    assert figure.get_suptitle() == "Hot spot 3, bottom electrode (simulated)"


def test_the_width_of_the_spot_is_marked_in_each_direction(image, labels, boundaries):
    figure = hot_spot_sections(image, labels, SPOT, scans=[1], boundaries=boundaries)
    bars = [line for ax in figure.axes for line in ax.lines if line.get_gid() == "spot width"]
    assert [line.get_xdata().tolist() for line in bars] == [[27.0, 45.0], [24.0, 36.0]]


def test_the_view_reaches_from_the_collector_into_the_electrolyte(image, labels, boundaries):
    low, high = (
        hot_spot_sections(image, labels, SPOT, scans=[1], boundaries=boundaries, beneath_um=20).axes[0].get_ylim()
    )
    assert low == pytest.approx(4.5)  # the first voxel above 7.5 um less a tenth of the lithium
    assert high == pytest.approx(49.5)
    low, high = (
        hot_spot_sections(image, labels, {**SPOT, "component": "high"}, scans=[1], boundaries=boundaries, beneath_um=20)
        .axes[0]
        .get_ylim()
    )
    assert low == pytest.approx(40.5)
    assert high == pytest.approx(82.5)


def test_the_interface_is_drawn_where_it_is(image, labels, boundaries):
    ax = hot_spot_sections(image, labels, SPOT, scans=[1], boundaries=boundaries).axes[0]
    assert any(np.allclose(line.get_ydata(), 28.5) for line in ax.lines if len(line.get_ydata()) > 2)


def test_lithium_and_electrolyte_are_stretched_each_by_itself(image, labels):
    figure = hot_spot_sections(image, labels, SPOT, scans=[1])
    shown = figure.axes[0].images[0].get_array()
    over = labels.isel(t=1, y=10).values
    lithium, ceramic, steel = (shown[over == CERAMIC_CELL[n]] for n in ("electrode", "electrolyte", "collector"))
    assert lithium.mean() < ceramic.mean() < 1.0
    assert lithium.std() > 5 * 0.01 / 1.3
    assert (steel == 1.0).all()


def test_given_limits_leave_the_gray_as_it_is(image, labels):
    shown = hot_spot_sections(image, labels, SPOT, scans=[1], limits=(0, 1.4)).axes[0].images[0]
    np.testing.assert_allclose(shown.get_array(), image.isel(t=1, y=10).values)
    assert shown.get_clim() == (0, 1.4)


def test_a_spot_at_the_border_is_drawn(image, labels, boundaries):
    spot = {**SPOT, "y_um": 0.0, "x_um": 69.0}
    figure = hot_spot_sections(image, labels, spot, scans=[0, 1], boundaries=boundaries)
    right = figure.axes[0].get_xlim()[1]
    assert all(line.get_xdata().max() <= right for line in figure.axes[0].lines if line.get_gid() == "spot width")
    assert rgb_array(figure, dpi=40).std() > 3


def test_incomplete_spots_are_refused(image, labels, boundaries):
    with pytest.raises(InputError, match=r"missing \['extent_y_um'"):
        hot_spot_sections(image, labels, {"y_um": 1.0, "x_um": 1.0}, scans=[0])
    with pytest.raises(InputError, match="needs the component low or high, got 'mid'"):
        hot_spot_sections(image, labels, {**SPOT, "component": "mid"}, scans=[0], boundaries=boundaries)
