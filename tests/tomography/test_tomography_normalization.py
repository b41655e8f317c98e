"""Counts to transmission to line integrals."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import AxesError, InputError
from operando.tomography import minus_log, normalize
from operando.tomography.normalization import fill_missing

DIMS = ("angle", "detector_y", "detector_x")


def frames(values, dim="flat_frame"):
    return xr.DataArray(np.asarray(values, float), dims=(dim, *DIMS[1:]))


def test_transmission_is_sample_less_dark_over_flat_less_dark():
    counts = xr.DataArray(np.full((2, 1, 2), 55.0), dims=DIMS)
    result = normalize(counts, flat=frames(np.full((3, 1, 2), 100.0)), dark=frames(np.full((2, 1, 2), 10.0)))
    np.testing.assert_allclose(result, 0.5)
    assert result.dtype == np.float32
    assert result.attrs["dead_pixels"] == 0


def test_without_dark_frames_the_dark_level_is_zero():
    counts = xr.DataArray(np.full((1, 1, 2), 50.0), dims=DIMS)
    np.testing.assert_allclose(normalize(counts, flat=frames(np.full((1, 1, 2), 100.0))), 0.5)


def test_the_flat_field_is_interpolated_between_before_and_after():
    counts = xr.DataArray(np.ones((4, 1, 1)), dims=DIMS)
    result = normalize(counts, flat=frames([[[1.0]]]), flat_after=frames([[[2.0]]]))
    # Projection i was taken between i and i + 1 of the four.
    np.testing.assert_allclose(1 / result.values.ravel(), [1.125, 1.375, 1.625, 1.875], rtol=1e-6)


def test_flats_that_say_when_they_were_taken_are_interpolated_too():
    flat = frames([[[1.0]], [[3.0]], [[2.0]], [[6.0]]]).assign_coords(taken_at=("flat_frame", [0, 0, 4, 4]))
    result = normalize(xr.DataArray(np.ones((4, 1, 1)), dims=DIMS), flat=flat)
    np.testing.assert_allclose(1 / result.values.ravel(), [2.25, 2.75, 3.25, 3.75], rtol=1e-6)
    assert result.attrs["flat_groups"] == 2


def test_flats_in_the_middle_of_a_scan_hold_on_both_sides_of_it():
    flat = frames([[[1.0]], [[2.0]], [[1.0]]]).assign_coords(taken_at=("flat_frame", [0, 2, 4]))
    result = normalize(xr.DataArray(np.ones((4, 1, 1)), dims=DIMS), flat=flat)
    np.testing.assert_allclose(1 / result.values.ravel(), [1.25, 1.75, 1.75, 1.25], rtol=1e-6)


def test_dead_pixels_are_missing_and_counted_and_nothing_is_clipped():
    counts = xr.DataArray(np.array([[[-1.0, 7.0, 12.0, 4.0]]]), dims=DIMS)
    result = normalize(counts, flat=frames([[[10.0, 0.0, 10.0, -3.0]]]))
    np.testing.assert_allclose(result.values.ravel(), [-0.1, np.nan, 1.2, np.nan], rtol=1e-6)
    assert result.attrs["dead_pixels"] == 2


def test_a_pixel_that_shows_the_dark_level_and_its_noise_is_dead():
    scan = samples.projections(
        samples.ellipsoids((8, 32, 32), angles=[0.0, 90.0], supersampling=1).projections, dead_pixels=7, seed=3
    )
    result = normalize(scan.projections, flat=scan.flat, dark=scan.dark)
    assert result.attrs["dead_pixels"] == 7
    assert int(result.isnull().sum()) == 14


def test_a_lazy_scan_stays_lazy_and_gives_the_same():
    scan = samples.projections(samples.ellipsoids((4, 16, 16), supersampling=1).projections, dead_pixels=3)
    lazy = normalize(scan.projections.chunk(angle=40, detector_x=9), flat=scan.flat.chunk(), dark=scan.dark)
    assert isinstance(lazy.data, da.Array)
    whole = normalize(scan.projections, flat=scan.flat, dark=scan.dark)
    np.testing.assert_array_equal(lazy.values, whole.values)
    lines = minus_log(lazy)
    assert isinstance(lines.data, da.Array)
    assert "not counted" in lines.attrs["nonpositive"]
    np.testing.assert_array_equal(lines.values, minus_log(whole).values)


def test_line_integrals_of_a_simulated_scan_come_back():
    truth = samples.ellipsoids((4, 32, 32), supersampling=2).projections
    scan = samples.projections(truth, photons=20_000, rings=0.0, drift=0.2, flat_variation=0.2)
    lines = minus_log(normalize(scan.projections, flat=scan.flat, dark=scan.dark))
    wrong = (lines - truth) / np.sqrt(np.exp(truth) / 20_000)
    assert abs(float(wrong.mean())) < 0.1
    # A fifth more than the noise of the photons: readout, and a beam that is darker here and there.
    assert 0.95 < float(wrong.std()) < 1.25


def test_what_has_no_logarithm_is_missing_and_counted():
    result = minus_log(xr.DataArray([[1.0, np.exp(-1.5)], [0.0, -0.2]], dims=DIMS[1:]))
    np.testing.assert_allclose(result, [[0.0, 1.5], [np.nan, np.nan]], rtol=1e-6)
    assert result.attrs["nonpositive"] == 2


def test_missing_line_integrals_are_filled_along_the_row():
    lines = np.array([[[0.0, np.nan, 2.0, np.inf]]])
    assert fill_missing(lines) == 2
    np.testing.assert_allclose(lines, [[[0.0, 1.0, 2.0, 2.0]]])


def test_a_row_that_shows_nothing_is_filled_from_the_angles_around():
    lines = np.array([[[1.0, 1.0]], [[np.nan, np.nan]], [[np.nan, np.nan]], [[4.0, 7.0]]])
    assert fill_missing(lines) == 4
    np.testing.assert_allclose(lines[:, 0], [[1, 1], [2, 3], [3, 5], [4, 7]])


def test_a_row_that_never_shows_anything_stays_missing():
    lines = np.full((3, 2, 2), np.nan)
    lines[:, 1] = 1.0
    fill_missing(lines)
    assert np.isnan(lines[:, 0]).all()
    assert np.isfinite(lines[:, 1]).all()


def test_errors_say_what_to_do():
    counts = xr.DataArray(np.ones((2, 3, 4)), dims=DIMS)
    with pytest.raises(InputError, match=r"a flat field is needed.*Pass flat=.*open_projections"):
        normalize(counts)
    with pytest.raises(InputError, match=r"frames of \(3, 4\) pixels.*Crop or bin"):
        normalize(counts, flat=frames(np.ones((2, 3, 5))))
    with pytest.raises(AxesError, match=r"at most one more, got \('z', 'y', 'x'\)"):
        normalize(counts, flat=xr.DataArray(np.ones((2, 3, 4)), dims=("z", "y", "x")))
    with pytest.raises(InputError, match="Are flat and dark swapped"):
        normalize(counts, flat=frames(np.ones((1, 3, 4))), dark=frames(np.full((1, 3, 4), 5.0)))
    with pytest.raises(AxesError, match="dims"):
        normalize(counts.rename(angle="t"), flat=frames(np.ones((1, 3, 4))))
    with pytest.raises(InputError, match="Give what normalize returned"):
        minus_log(np.ones(3))
