"""The rotation axis, found."""

import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import InputError
from operando.tomography import find_rotation_axis

METHODS = ("entropy", "correlation")


@pytest.mark.parametrize("method", METHODS)
def test_an_axis_off_the_middle_is_found_in_noise(noisy, method):
    axis = find_rotation_axis(noisy, method=method)
    assert axis.dims == ()
    assert axis.attrs["units"] == "px"
    assert abs(float(axis) - 49.8) < 0.05
    assert 0 < float(axis.sigma) < 0.05


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [48.0, 38.37])
def test_an_axis_many_pixels_off_is_found(method, axis):
    bodies = [(1.0, (0, 0, 0), (9, 0.5, 0.35), 20.0), (0.5, (0, 0.2, -0.3), (9, 0.1, 0.12), 0.0)]
    lines = samples.ellipsoids(
        (3, 96, 96), angles=np.arange(0, 180, 1.5), rotation_axis=axis, bodies=bodies, supersampling=2
    ).projections
    assert abs(float(find_rotation_axis(lines, method=method)) - axis) < 0.06


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_wider_than_the_field_of_view_does_not_matter(phantom, method):
    inside = phantom.projections.isel(detector_x=slice(16, 84))
    assert (
        abs(float(find_rotation_axis(inside, method=method)) - (49.8 - 16))
        < {"entropy": 0.3, "correlation": 0.05}[method]
    )


def test_the_last_projection_need_not_be_half_a_turn_after_the_first(phantom):
    without_last = phantom.projections.isel(angle=slice(None, -1))
    assert abs(float(find_rotation_axis(without_last, method="correlation")) - 49.8) < 0.05


def test_without_opposite_projections_the_entropy_is_taken(phantom):
    lines = phantom.projections
    assert find_rotation_axis(lines).attrs["method"] == "correlation"
    part = find_rotation_axis(lines.isel(angle=slice(0, 135)))
    assert part.attrs["method"] == "entropy"
    # A missing wedge draws the sharpest slice aside by a tenth of a pixel and more.
    assert abs(float(part) - 49.8) < 0.2


def test_a_full_turn_gives_many_pairs(phantom):
    full = samples.ellipsoids((3, 64, 64), angles=np.arange(0, 360, 3.0), rotation_axis=30.2, supersampling=2)
    for method in METHODS:
        assert abs(float(find_rotation_axis(full.projections, method=method)) - 30.2) < 0.05


def test_angles_in_radians_and_out_of_order_are_understood(phantom):
    lines = phantom.projections
    radians = lines.assign_coords(angle=("angle", np.deg2rad(lines.angle.values), {"units": "rad"}))
    shuffled = radians.isel(angle=np.random.default_rng(0).permutation(lines.sizes["angle"]))
    wanted = float(find_rotation_axis(lines, method="correlation"))
    assert float(find_rotation_axis(shuffled, method="correlation")) == pytest.approx(wanted, abs=1e-6)


def test_a_lazy_scan_gives_the_same(noisy):
    for method in METHODS:
        lazy = find_rotation_axis(noisy.chunk(angle=20), method=method)
        assert float(lazy) == pytest.approx(float(find_rotation_axis(noisy, method=method)), abs=1e-6)


def test_counts_with_flat_and_dark_are_understood(phantom):
    scan = samples.projections(phantom.projections, photons=20_000, dead_pixels=4, seed=2)
    for method in METHODS:
        axis = find_rotation_axis(scan.projections, flat=scan.flat, dark=scan.dark, method=method)
        assert abs(float(axis) - 49.8) < 0.05


def test_errors_say_what_to_do(phantom):
    lines = phantom.projections
    with pytest.raises(InputError, match="Did you mean 'entropy'"):
        find_rotation_axis(lines, method="entropie")
    with pytest.raises(InputError, match=r"half a turn apart.*37 projections over 45 degrees.*Use method='entropy'"):
        find_rotation_axis(lines.isel(angle=slice(0, 37)), method="correlation")
    with pytest.raises(InputError, match=r"gap above 45 degrees.*got 37 and a gap of 135"):
        find_rotation_axis(lines.isel(angle=slice(0, 37)))
    with pytest.raises(InputError, match="two increasing positions"):
        find_rotation_axis(lines, search=(50, 40))
    for method in METHODS:
        with pytest.raises(InputError, match=r"pass another range|Pass a wider range"):
            find_rotation_axis(lines, method=method, search=(20, 40))
        with pytest.raises(InputError):
            find_rotation_axis(xr.zeros_like(lines), method=method)
    with pytest.raises(InputError, match="need the coordinate 'angle'"):
        find_rotation_axis(lines.drop_vars("angle"))
