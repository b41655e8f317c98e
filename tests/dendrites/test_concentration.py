"""Gray values to concentration: the straight line, what is filled, what is smoothed, what stays missing."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.dendrites import calibrate, concentration, find_interface

CALIBRATION = {"dark": 10.0, "gray_per_molar": 400.0}


def _image(*, gradient=0.0, gray=142.0, rows=64, columns=48, row=44, noise=0.0):
    y = np.arange(rows)[:, None] + np.zeros(columns)
    image = np.where(y < row, gray + gradient * (row - y), 12.0)
    image[row - 3 : row + 4] = 255.0
    return np.clip(image + noise * np.random.default_rng(3000).standard_normal(image.shape) * (image < 255), 0, 255)


def test_gray_values_become_mol_per_liter_by_the_straight_line():
    image = _image(gray=142.0)
    found = concentration(image, find_interface(image), calibration=CALIBRATION)
    np.testing.assert_allclose(found, 0.33, rtol=1e-6)
    assert found.attrs["units"] == "mol L-1"
    assert found.dims == ("y", "x")


def test_without_calibration_the_share_of_saturation_is_given():
    image = _image(gray=51.0)
    found = concentration(image, find_interface(image))
    np.testing.assert_allclose(found, 0.2, rtol=1e-6)
    assert found.attrs["units"] == "1"


def test_the_calibration_of_the_series_is_taken_where_none_is_passed():
    image = labeled_image(_image(gray=142.0), attrs={"calibration": CALIBRATION})
    found = concentration(image, find_interface(image))
    np.testing.assert_allclose(found, 0.33, rtol=1e-6)
    other = concentration(image, find_interface(image), calibration=[(42.0, 0.0), (242.0, 1.0)])
    np.testing.assert_allclose(other, 0.5, rtol=1e-6)


def test_a_dataset_gives_its_image_and_its_calibration():
    image = labeled_image(_image(gray=142.0))
    found = concentration(xr.Dataset({"image": image}, attrs={"calibration": CALIBRATION}), find_interface(image))
    np.testing.assert_allclose(found, 0.33, rtol=1e-6)
    assert found.attrs["units"] == "mol L-1"


def test_a_falling_y_axis_gives_the_same_concentration_at_the_same_y():
    image = labeled_image(_image(gradient=1.5, gray=40.0, noise=3.0))
    falling = image.isel(y=slice(None, None, -1))
    same = concentration(falling, find_interface(falling), calibration=CALIBRATION)
    xr.testing.assert_identical(same, concentration(image, find_interface(image), calibration=CALIBRATION))


def test_metal_and_line_hold_the_next_electrolyte_along_y():
    image = _image(gradient=2.0, gray=40.0)
    interface = find_interface(image)
    interface["position"][:] = 44.5
    found = concentration(image, interface, smoothing=(1, 1), margin=5)
    # Row 39 is the last one more than five pixels away.
    np.testing.assert_allclose(found.values[:40], image[:40] / 255, rtol=1e-6)
    np.testing.assert_allclose(found.values[40:], image[39, 0] / 255, rtol=1e-6)


def test_metal_at_the_low_end_is_the_mirror_image():
    image = _image(gradient=1.5, gray=40.0, noise=3.0)
    up = concentration(image, find_interface(image), calibration=CALIBRATION)
    down = concentration(image[::-1], find_interface(image[::-1]), calibration=CALIBRATION)
    np.testing.assert_allclose(down.values[::-1], up.values, rtol=1e-5)
    assert down.attrs["noise"] == pytest.approx(up.attrs["noise"])


@pytest.mark.parametrize("size", [(6, 6), (5, 5), (1, 4)])
def test_smoothing_moves_nothing(size):
    image = _image(gradient=2.0, gray=40.0)
    image += np.arange(48) * (image < 200)
    found = concentration(image, find_interface(image), smoothing=size)
    np.testing.assert_allclose(found.values[8:30, 8:40], image[8:30, 8:40] / 255, rtol=1e-5)


def test_smoothing_by_six_reduces_the_noise_as_stated():
    image = _image(gray=120.0, noise=8.0, rows=220, columns=200, row=200)
    found = concentration(image, find_interface(image), calibration=CALIBRATION)
    scatter = float(found.values[10:180, 10:-10].std())
    assert scatter == pytest.approx(8.0 / 400 / np.sqrt(42.8), rel=0.1)
    assert found.attrs["noise"] == pytest.approx(scatter, rel=0.1)


def test_saturated_spots_and_their_halo_are_missing_and_nothing_else():
    image = _image(gray=100.0)
    image[12:15, 20:23] = 255.0
    image[11, 20:23] = 180.0
    found = concentration(image, find_interface(image), smoothing=(3, 3))
    missing = np.argwhere(np.isnan(found.values))
    assert (missing.min(axis=0) >= [8, 16]).all()
    assert (missing.max(axis=0) <= [18, 26]).all()
    assert np.isnan(found.values[11:15, 20:23]).all()
    np.testing.assert_allclose(found.values[~np.isnan(found.values)], 100 / 255, rtol=1e-6)


def test_missing_gray_values_stay_missing_and_do_not_spread():
    image = _image(gray=100.0)
    image[5, 7] = np.nan
    found = concentration(image, find_interface(image))
    assert np.argwhere(np.isnan(found.values)).tolist() == [[5, 7]]


def test_the_margin_counts_the_line_of_neighboring_columns():
    # A step of the interface: beside the wall the line is next to the pixel, not below it.
    rows, columns = 64, 60
    height = np.where(np.arange(columns) < 30, 50, 20)
    y = np.arange(rows)[:, None]
    image = np.where(y < height, 100.0, 12.0)
    image[np.abs(y - height) < 3] = 255.0
    image[18:53, 28:33] = 255.0
    found = concentration(image, find_interface(image), smoothing=(1, 1), margin=6)
    np.testing.assert_allclose(found, 100 / 255, rtol=1e-6)


def test_a_lazy_series_stays_lazy_and_gives_the_same():
    import dask.array as da

    frames = np.stack([_image(gray=142.0, noise=3.0), _image(gray=90.0, noise=3.0, row=40)])
    series = labeled_image(frames, dims=("t", "y", "x"), voxel_size_um=0.8, t=[0, 300], time_units="s")
    lazy = series.copy(data=da.from_array(frames, chunks=(1, -1, -1)))
    interface = find_interface(series)
    eager = concentration(series, interface, calibration=CALIBRATION)
    later = concentration(lazy, interface, calibration=CALIBRATION)
    assert later.chunks is not None
    assert eager.chunks is None
    xr.testing.assert_identical(later.compute(), eager)
    assert eager.dtype == np.float32


def test_a_frame_without_interface_is_missing():
    frames = np.stack([_image(), np.full((64, 48), 120.0)])
    found = concentration(frames, find_interface(frames, missing="nan"))
    assert np.isnan(found.values[1]).all()
    assert np.isfinite(found.values[0]).all()


def test_negative_concentrations_are_not_hidden():
    image = _image(gray=6.0)
    found = concentration(image, find_interface(image, metal="high"), calibration=CALIBRATION)
    np.testing.assert_allclose(found, -0.01, rtol=1e-5)


def test_the_concentration_of_the_simulated_series_is_found():
    from operando.samples import srs_series

    truth = srs_series((128, 128), frames=4, seed=3001)
    interface = find_interface(truth["image"])
    found = concentration(truth["image"], interface)
    away = truth["y"].values[None, :, None] < truth["position"].values[:, None, :] - 12
    error = np.where(away, found.values - truth["concentration"].values, np.nan)
    assert abs(np.nanmean(error)) < 0.002
    assert np.nanstd(error) < 1.5 * found.attrs["noise"]


def test_a_calibration_fits_known_solutions_with_its_sigma():
    rng = np.random.default_rng(3000)
    molar = np.repeat([0.0, 0.1, 0.2, 0.33], 5)
    slopes, pulls = [], []
    for _ in range(200):
        found = calibrate(10 + 400 * molar + 2 * rng.standard_normal(molar.size), molar, sigma=2.0)
        slopes.append(found["gray_per_molar"])
        pulls.append((found["gray_per_molar"] - 400) / found["gray_per_molar_sigma"])
    assert np.mean(slopes) == pytest.approx(400, abs=1)
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_two_solutions_have_no_scatter_to_judge_by():
    found = calibrate([10.0, 142.0], [0.0, 0.33])
    assert found["gray_per_molar"] == pytest.approx(400)
    assert np.isnan(found["gray_per_molar_sigma"])


@pytest.mark.parametrize(
    ("gray", "molar", "sigma", "message"),
    [
        ([1, 2], [0.1, 0.1], None, "two different concentrations"),
        ([1, 2, 3], [0.1, 0.2], None, "one number per solution"),
        ([1, np.nan], [0.1, 0.2], None, "one number per solution"),
        ([1, 2], [0.1, 0.2], 0.0, "sigma must be positive"),
    ],
)
def test_a_calibration_that_cannot_be_fitted_is_refused(gray, molar, sigma, message):
    with pytest.raises(InputError, match=message):
        calibrate(gray, molar, sigma=sigma)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calibration": {"dark": 1.0}}, "has 'dark' and 'gray_per_molar', got"),
        ({"calibration": {"dark": 1.0, "gray_per_molar": 0.0}}, "must have a slope"),
        ({"calibration": [(1, 0.1), (2, 0.1)]}, "two points"),
        ({"smoothing": (0, 6)}, "two whole numbers"),
        ({"smoothing": (6,)}, "two whole numbers"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    image = _image()
    with pytest.raises(InputError, match=message):
        concentration(image, find_interface(image), **arguments)


def test_an_interface_of_other_frames_is_refused():
    image = _image()
    with pytest.raises(AxesError, match="must have the same x"):
        concentration(image, find_interface(image[:, :40]))
    with pytest.raises(InputError, match="must be the Dataset of operando.dendrites.find_interface"):
        concentration(image, find_interface(image)["position"])
