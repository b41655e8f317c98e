import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from operando.core import units
from operando.core.axes import (
    DIMS,
    axis_spacing,
    calibrate,
    check_dims,
    labeled_image,
    require_dims,
    spacing,
    voxel_volume,
)
from operando.core.errors import AxesError, InputError, UnitsError


def test_coordinates_are_voxel_centers_starting_at_the_origin():
    image = labeled_image(np.zeros((2, 3, 4)), voxel_size_um=(3.0, 2.0, 1.0), origin_um=(10.0, 0.0, 0.0))
    assert image.z.values.tolist() == [10.0, 13.0]
    assert image.y.values.tolist() == [0.0, 2.0, 4.0]
    assert image.x.attrs["units"] == "um"


def test_an_image_without_voxel_size_is_in_pixels_and_refuses_a_length_by_name():
    image = labeled_image(np.zeros((2, 3, 4)))
    assert axis_spacing(image, "x") == (1.0, "px")
    with pytest.raises(UnitsError, match=r"volumes: a length is needed along 'z'.*voxel_size_um"):
        spacing(image, where="volumes")
    assert spacing(image, unit="px") == {"z": 1.0, "y": 1.0, "x": 1.0}


@given(st.floats(1e-3, 1e3), st.integers(1, 5), st.integers(1, 5))
def test_voxel_size_survives_a_selection_down_to_one_voxel(size, ny, nx):
    image = labeled_image(np.zeros((4, ny, nx)), voxel_size_um=size)
    for part in (image, image.isel(z=slice(2, 3)), image.isel(y=slice(0, 1), x=slice(0, 1))):
        assert spacing(part) == pytest.approx({"z": size, "y": size, "x": size}, rel=1e-9)


def test_spacing_follows_a_strided_selection():
    image = labeled_image(np.zeros((8, 2, 2)), voxel_size_um=1.5).isel(z=slice(None, None, 2))
    assert spacing(image)["z"] == 3.0


def test_spacing_converts_units_of_length():
    image = labeled_image(np.zeros((2, 2)), voxel_size_um=1.0)
    for dim in ("y", "x"):
        image = image.assign_coords({dim: (dim, [0.0, 0.002], {"units": "mm"})})
    assert spacing(image) == pytest.approx({"y": 2.0, "x": 2.0})


def test_uneven_coordinates_are_refused_with_their_range():
    image = xr.DataArray(np.zeros(3), dims="x", coords={"x": ("x", [0.0, 1.0, 3.0], {"units": "um"})})
    with pytest.raises(UnitsError, match="evenly spaced.*from 1 to 2 um"):
        spacing(image)


def test_voxel_volume_is_the_product_of_the_edges():
    assert voxel_volume(labeled_image(np.zeros((2, 2, 2)), voxel_size_um=(3, 2, 0.5))) == 3.0


def test_calibrate_replaces_pixels_and_keeps_values():
    image = labeled_image(np.arange(8.0).reshape(2, 2, 2))
    calibrated = calibrate(image, voxel_size_um=1.33)
    assert spacing(calibrated)["y"] == pytest.approx(1.33)
    np.testing.assert_array_equal(calibrated.values, image.values)


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf, (1, 2)])
def test_a_voxel_size_must_be_positive_finite_and_of_the_right_length(size):
    with pytest.raises(UnitsError, match="positive number"):
        labeled_image(np.zeros((2, 2, 2)), voxel_size_um=size)


@pytest.mark.parametrize(
    ("dims", "fault"),
    [
        (("x", "y"), "in the order"),
        (("y", "y"), "once each"),
        (("z", "Y"), "got 'Y'"),
        (("channel", "energy"), "at most five"),
        (("t", "channel", "z", "y", "x", "x"), "once each"),
    ],
)
def test_wrong_dims_are_named(dims, fault):
    with pytest.raises(AxesError, match=fault):
        check_dims(dims)


@given(st.sets(st.sampled_from(["t", "z", "y", "x"]), min_size=1))
def test_any_subset_in_order_is_accepted(chosen):
    dims = [dim for dim in DIMS if dim in chosen]
    assert check_dims(dims) == tuple(dims)


def test_require_dims_says_what_is_missing_and_what_is_too_much():
    image = labeled_image(np.zeros((2, 2)), dims=("t", "x"))
    with pytest.raises(AxesError, match=r"volumes: dims \(\[t\], z, y, x\).*missing \['z', 'y'\]"):
        require_dims(image, ("z", "y", "x"), optional=("t",), where="volumes")
    with pytest.raises(InputError, match="labeled_image"):
        require_dims(np.zeros(3), ("x",), where="volumes")


def test_units_convert_both_ways_and_suggest_the_nearest():
    assert units.factor("nm", "um") * units.factor("um", "nm") == pytest.approx(1.0)
    assert units.factor("C", "mAh") == pytest.approx(1 / 3.6)
    assert units.canonical("μm") == units.canonical("microns") == "um"
    with pytest.raises(UnitsError, match="got 'parsec'"):
        units.factor("parsec", "um")
    with pytest.raises(UnitsError, match="length"):
        units.factor("s", "um")
