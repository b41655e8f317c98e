"""Slopes and curvature of lines whose derivatives are known."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.dendrites import curvature, slopes


def _height(values, step=1.0, sigma=None, units="um"):
    values = np.asarray(values, dtype=float)
    dims = ("t", "x")[2 - values.ndim :]
    coords = {"x": ("x", step * np.arange(values.shape[-1]), {"units": units})}
    if sigma is not None:
        coords["sigma"] = (dims, np.full(values.shape, sigma))
    return xr.DataArray(values, dims=dims, coords=coords, attrs={"units": units})


def test_slopes_are_central_differences_at_the_column_and_its_neighbors():
    tall = _height(np.arange(9.0) ** 2)
    found = slopes(tall)
    assert found["slope"].values[4] == 8.0
    assert found["slope_up"].values[4] == 6.0
    assert found["slope_down"].values[4] == 10.0


def test_slopes_are_in_length_per_length_whatever_the_pixel_size():
    fine, coarse = slopes(_height(0.3 * np.arange(9))), slopes(_height(0.3 * 2.5 * np.arange(9), step=2.5))
    np.testing.assert_allclose(fine["slope"].values[1:-1], 0.3)
    np.testing.assert_allclose(coarse["slope"].values[1:-1], 0.3)


def test_a_slope_without_both_neighbors_is_missing():
    found = slopes(_height(np.zeros(6)))
    assert np.isnan(found["slope"].values[[0, -1]]).all()
    assert np.isnan(found["slope_up"].values[[0, 1]]).all()
    assert np.isfinite(found["slope_up"].values[-1])


def test_mirroring_the_picture_swaps_up_and_down_and_their_signs():
    values = np.random.default_rng(3000).standard_normal(20).cumsum()
    found, mirrored = slopes(_height(values)), slopes(_height(values[::-1]))
    np.testing.assert_allclose(mirrored["slope_up"].values[::-1], -found["slope_down"].values)


def test_sigma_of_a_slope_covers_independent_errors():
    rng = np.random.default_rng(3000)
    found = slopes(_height(0.1 * rng.standard_normal((50, 200)), step=0.5, sigma=0.1))
    pull = found["slope_up"].values / found["slope_up_sigma"].values
    assert abs(np.nanstd(pull) - 1) < 0.05


@pytest.mark.parametrize("radius", [30.0, 80.0])
def test_a_circle_has_one_over_its_radius_positive_as_a_tip_and_negative_as_a_valley(radius):
    x = np.arange(-20.0, 21.0)
    arc = np.sqrt(radius**2 - x**2)
    tip = curvature(_height(arc), window_um=9)
    np.testing.assert_allclose(tip.values[4:-4], 1 / radius, rtol=0.05)
    np.testing.assert_allclose(curvature(_height(-arc), window_um=9).values, -tip.values)


def test_a_straight_wall_is_not_curved_however_steep():
    np.testing.assert_allclose(curvature(_height(3.0 * np.arange(30))).values, 0, atol=1e-12)


def test_curvature_scales_inversely_with_the_pixel_size():
    line = 5 * np.cos(0.1 * np.arange(60))
    fine = curvature(_height(line), window_um=7)
    coarse = curvature(_height(2 * line, step=2), window_um=14)
    np.testing.assert_allclose(coarse.values, fine.values / 2)


def test_sigma_of_the_curvature_is_that_of_the_parabola():
    flat = curvature(_height(np.zeros(40), sigma=0.2), window_um=15)
    n = 15
    np.testing.assert_allclose(flat.coords["sigma"].values[20], 0.2 * np.sqrt(720 / (n**5 - 5 * n**3 + 4 * n)))
    noisy = curvature(_height(0.2 * np.random.default_rng(3000).standard_normal((60, 100)), sigma=0.2), window_um=15)
    assert abs((noisy.values / noisy.coords["sigma"].values)[:, 8:-8].std() - 1) < 0.06


def test_windows_that_do_not_fit_say_which_would():
    with pytest.raises(InputError, match="window_um from 5 to 12"):
        curvature(_height(np.zeros(12)), window_um=3)
    with pytest.raises(InputError, match="got 40 um"):
        curvature(_height(np.zeros(12)), window_um=40)
    with pytest.raises(AxesError, match="three columns"):
        slopes(_height(np.zeros(2)))


def test_a_frame_with_a_missing_height_has_no_curvature_and_leaves_the_others_alone():
    x = np.arange(41.0)
    values = np.stack([50.0 - 0.01 * (x - 20.0) ** 2] * 2)
    h = xr.DataArray(values, dims=("t", "x"), coords={"x": ("x", x, {"units": "um"})})
    alone = curvature(h.isel(t=0))
    h[1, 7] = np.nan
    bent = curvature(h)
    np.testing.assert_array_equal(bent[0], alone)
    assert bent[1].isnull().all()
