import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.core.quantities import quantity_table
from operando.report import deformation_map, motion_series


@pytest.fixture
def motion():
    return quantity_table(
        {"scan": scan, "t": 2.0 * scan, "component": axis, "quantity": quantity, "value": scan * k, "sigma": 0.1,
         "unit": unit}
        for quantity, unit in (("translation", "um"), ("rotation", "mdeg"))
        for k, axis in enumerate("zyx")
        for scan in range(3)
    )  # fmt: skip


@pytest.fixture
def deformation() -> xr.DataArray:
    field = np.zeros((3, 4, 5, 6))
    field[0] = np.arange(4)[:, None, None]
    field[2, :, :, 3] = 0.5
    field[:, 1, 2, 1] = np.nan
    return labeled_image(
        field,
        dims=("component", "z", "y", "x"),
        voxel_size_um=10.0,
        coords={"component": ["dz", "dy", "dx"]},
        units="um",
    )


def test_translation_and_rotation_have_a_panel_each(motion):
    axes = motion_series(motion).axes
    assert [ax.get_ylabel() for ax in axes] == ["Translation [µm]", "Rotation [mdeg]"]
    np.testing.assert_allclose(axes[0].lines[2].get_ydata(), [0.0, 2.0, 4.0])


def test_without_rotations_there_is_one_panel(motion):
    assert len(motion_series(motion[motion["quantity"] == "translation"]).axes) == 1


def test_the_true_motion_is_a_column(motion):
    ax = motion_series(motion.assign(truth=motion["value"] + 1)).axes[0]
    circles = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(circles[0].get_ydata(), [1.0, 1.0, 1.0])


def test_a_table_without_motion_is_refused(motion):
    with pytest.raises(InputError, match="'translation' or 'rotation' are needed"):
        motion_series(motion.assign(quantity="volume"))


def test_color_is_the_chosen_component_on_a_symmetric_scale(deformation):
    image = deformation_map(deformation).axes[0].images[0]
    assert image.get_clim() == (-3.0, 3.0)
    np.testing.assert_array_equal(image.get_array()[:, 0], [0, 1, 2, 3])


def test_arrows_are_magnified_by_a_round_factor_that_is_stated(deformation):
    figure = deformation_map(deformation)
    assert figure.get_supxlabel() == "Arrows: displacement along x and z, 2 times as long"
    quiver = figure.axes[0].collections[0]
    assert quiver.V.max() == pytest.approx(6.0)


def test_places_without_static_structure_stay_gray(deformation):
    image = deformation_map(deformation, position=20.0).axes[0].images[0]
    assert bool(np.ma.getmaskarray(np.ma.masked_invalid(image.get_array()))[1, 1])


def test_a_series_shows_several_scans_on_one_scale(deformation):
    series = xr.concat([deformation * k for k in range(4)], dim="t").assign_coords(
        t=("t", np.arange(4.0), {"units": "h"})
    )
    axes = deformation_map(series, scans=[1, 3]).axes
    assert [ax.get_title() for ax in axes[:2]] == ["1.00 h", "3.00 h"]
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim() == (-9.0, 9.0)


def test_a_scan_in_which_nothing_static_is_seen_is_gray_without_a_warning(deformation):
    series = xr.concat([deformation, deformation * np.nan], dim="t").assign_coords(
        t=("t", np.arange(2.0), {"units": "h"})
    )
    axes = deformation_map(series, scans=[0, 1]).axes
    assert axes[0].images[0].get_clim() == (-3.0, 3.0)
    assert np.isnan(np.ma.filled(axes[1].images[0].get_array().astype(float), np.nan)).all()


def test_no_deformation_at_all_can_be_drawn(deformation):
    assert deformation_map(deformation * 0).axes[0].images[0].get_clim() == (-1.0, 1.0)


def test_other_components_are_refused(deformation):
    with pytest.raises(AxesError, match=r"dz, dy, dx are needed, got \['a', 'b', 'c'\]"):
        deformation_map(deformation.assign_coords(component=["a", "b", "c"]))
    with pytest.raises(InputError, match="normal must be one of z, y, x"):
        deformation_map(deformation, normal="t")
