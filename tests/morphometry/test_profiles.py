"""Boundaries from gray profiles: known heights come back, whatever else is in the image."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter, laplace

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.morphometry import (
    boundaries_from_profiles,
    electrode_thickness,
    plating_current_density,
    thickness_sigma,
)

NAMES = ["low collector", "low interface", "high interface", "high collector"]
VOXEL = 2.0


def cell(
    *, at=(15.0, 35.0, 65.0, 85.0), levels=(2.0, 0.1, 1.0), size=40, planes=100, tilt=0.0, rough=0.0, blur=0.0,
    noise=0.0, fringes=0.0, shading=0.0, seed=3000,
):  # fmt: skip
    """A cell and its true boundaries in um; ``at`` and ``rough`` in voxels, voxel i spans i - 0.5 to i + 0.5."""
    random = np.random.default_rng(seed)
    collector, lithium, ceramic = levels
    x = np.arange(size) / size
    true = np.empty((4, size, size))
    for b, place in enumerate(at):
        field = gaussian_filter(random.normal(size=(size, size)), 4)
        true[b] = place + tilt * (x - 0.5) + rough * field / field.std()
    z = np.arange(planes)[:, None, None]
    gray = np.full((planes, size, size), float(collector))
    before = collector
    for b, level in enumerate((lithium, ceramic, lithium, collector)):
        gray += (level - before) * np.clip(z + 0.5 - true[b], 0, 1)
        before = level
    if blur:
        gray = gaussian_filter(gray, blur, mode="nearest")
    if fringes:
        gray -= fringes * laplace(gaussian_filter(gray, 1.2, mode="nearest"), mode="nearest")
    gray *= 1 + shading * np.sin(2 * np.pi * x)
    gray += noise * random.normal(size=gray.shape)
    return labeled_image(gray.astype(np.float32), voxel_size_um=VOXEL), true * VOXEL


def errors(image, true, **options):
    found = boundaries_from_profiles(image, **options)
    return found, found.values - true


def test_sharp_boundaries_between_voxels_are_found_to_a_hundredth():
    image, true = cell(at=(15.0, 35.25, 65.5, 84.75), blur=1.0)
    found, error = errors(image, true)
    assert np.abs(error).max() < 0.02 * VOXEL
    assert found.dims == ("component", "y", "x")
    assert found["component"].values.tolist() == NAMES
    assert found.attrs["units"] == "um"
    assert found.dtype == np.float32


@pytest.mark.parametrize("levels", [(2.0, 0.1, 1.0), (3.0, 1.0, 2.0), (1.0, 0.0, 1.0), (7.0, 0.3, 1.9)])
def test_exact_gray_values_are_told_apart(levels):
    image, true = cell(levels=levels)
    _, error = errors(image, true)
    assert np.abs(error).max() < 0.01 * VOXEL


def test_the_origin_of_z_is_that_of_the_image():
    image, true = cell(blur=1.0)
    moved = image.assign_coords(z=image["z"] + 100.0)
    moved["z"].attrs = image["z"].attrs
    error = boundaries_from_profiles(moved).values - true - 100
    assert np.abs(error).max() < 0.05 * VOXEL


@pytest.mark.parametrize(
    "kind",
    [
        {"tilt": 12.0},
        {"rough": 1.5},
        {"fringes": 1.0},
        {"shading": 0.2},
        {"levels": (1.0, 0.1, 1.0)},
        {"levels": (0.6, 0.1, 1.0)},
        {"levels": (10.0, 0.1, 1.0)},
        {"levels": (300.0, 20.0, 120.0), "noise": 5.0},
        {"at": (15.0, 22.0, 78.0, 85.0)},
    ],
    ids=lambda kind: " ".join(f"{key}={value}" for key, value in kind.items()),
)
def test_what_else_is_in_the_image_moves_no_boundary(kind):
    image, true = cell(**({"blur": 1.0, "noise": 0.05} | kind))
    _, error = errors(image, true)
    assert np.abs(np.median(error, axis=(1, 2))).max() < 0.05 * VOXEL
    assert 1.4826 * np.median(np.abs(error)) < 0.2 * VOXEL


def test_the_stated_sigma_is_the_scatter_of_a_column():
    image, true = cell(blur=1.0, noise=0.1, size=80)
    found, error = errors(image, true)
    assert error.std(axis=(1, 2)) / found["sigma"].values == pytest.approx(1, abs=0.12)


def test_smoothing_lowers_the_scatter_and_its_sigma_alike():
    image, true = cell(blur=1.0, noise=0.2, size=80)
    rough, _ = errors(image, true)
    found, error = errors(image, true, smooth_um=4.0)
    assert error.std(axis=(1, 2)) / found["sigma"].values == pytest.approx(1, abs=0.4)
    assert found["sigma"].values / rough["sigma"].values == pytest.approx(1 / np.sqrt(4 * np.pi * 4), rel=0.4)
    assert found.attrs["smooth_um"] == 4.0


def test_pores_within_lithium_and_ceramic_move_no_boundary():
    image, true = cell(blur=0.7, noise=0.03)
    values = image.values.copy()
    values[22:28, 10:20, 10:20] = 0.0  # in lithium, darker
    values[45:50, 10:20, 10:20] = 0.02  # in ceramic
    _, error = errors(image.copy(data=values), true)
    assert np.abs(error).max() < 0.5 * VOXEL


def test_a_single_bad_column_is_replaced_by_its_neighbors():
    image, true = cell(blur=0.7, noise=0.02)
    values = image.values.copy()
    values[35:39, 20, 20] = 0.1
    _, error = errors(image.copy(data=values), true)
    assert np.abs(error[1]).max() < 0.5 * VOXEL


def test_a_collector_outside_of_the_image_has_no_boundary():
    image, true = cell(at=(-10.0, 35.0, 65.0, 85.0), blur=0.7, noise=0.02)
    found, error = errors(image, true)
    assert np.isnan(found.sel(component="low collector")).all()
    assert np.isnan(found["sigma"].sel(component="low collector"))
    assert np.abs(error[1:]).max() < 0.5 * VOXEL


def test_missing_columns_stay_missing_and_do_no_harm():
    image, true = cell(blur=0.7, noise=0.02)
    values = image.values.copy()
    values[:, :8, :12] = np.nan
    found, error = errors(image.copy(data=values), true)
    assert np.isnan(found.values[:, :6, :10]).all()
    assert np.nanmax(np.abs(error[:, 9:, 13:])) < 0.5 * VOXEL


def test_given_levels_and_their_order_are_taken():
    image, true = cell(blur=0.7, noise=0.02)
    levels = {"lithium": 0.2, "ceramic": 0.8, "collector": 1.8}
    found, error = errors(image, true, levels=levels)
    assert np.abs(error).max() < 0.5 * VOXEL
    # The levels are a start: what is kept is what the image has.
    assert json.loads(found.attrs["levels"])[0] == pytest.approx([2, 0.1, 1, 0.1, 2], abs=0.05)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64", ">u2"])
def test_images_of_other_types_give_the_same_boundaries(dtype):
    image, _ = cell(levels=(200.0, 10.0, 100.0), blur=1.0, rough=1.0)
    image = image.round().clip(0, 255)
    reference = boundaries_from_profiles(image)
    found = boundaries_from_profiles(image.astype(dtype))
    assert np.abs(found.values - reference.values).max() < 1e-3


def test_a_lazy_image_is_read_slab_by_slab_with_the_same_result(monkeypatch):
    image, _ = cell(blur=1.0, noise=0.1, size=50)
    whole = boundaries_from_profiles(image, smooth_um=3.0)
    monkeypatch.setattr("operando.morphometry.profiles._VOXELS_AT_ONCE", 100 * 50 * 12)
    xr.testing.assert_allclose(boundaries_from_profiles(image.chunk({"z": 30, "y": 8}), smooth_um=3.0), whole)
    xr.testing.assert_allclose(boundaries_from_profiles(image.chunk({"z": 30, "y": 7}), smooth_um=3.0), whole)


def test_every_scan_of_a_series_is_found_as_if_alone():
    images = [cell(at=(15.0 - k, 35.0, 65.0, 85.0), blur=0.8, noise=0.02, seed=k)[0] for k in range(2)]
    series = xr.concat(images, dim=xr.DataArray([0.0, 2.0], dims="t", name="t", attrs={"units": "h"}))
    series = series.assign_coords(step=("t", ["pristine", "plate 1"])).assign_attrs(plating_side="low", simulated=True)
    found = boundaries_from_profiles(series)
    assert found.dims == ("t", "component", "y", "x")
    assert found["sigma"].dims == ("t", "component")
    assert found["step"].values.tolist() == ["pristine", "plate 1"]
    assert found.attrs["plating_side"] == "low"
    assert found.attrs["simulated"] is True
    for k, image in enumerate(images):
        assert np.array_equal(found.values[k], boundaries_from_profiles(image).values)


def test_thickness_and_current_follow_from_the_profiles():
    # 2 voxels of 2 um plated at the low electrode in 2 h: 2 um/h.
    images = [cell(at=(15.0 - 2 * k, 35.0, 65.0, 85.0), blur=0.8, noise=0.05, seed=k)[0] for k in range(2)]
    series = xr.concat(images, dim=xr.DataArray([0.0, 2.0], dims="t", name="t", attrs={"units": "h"}))
    boundaries = boundaries_from_profiles(series)
    thickness = electrode_thickness(boundaries)
    current = plating_current_density(thickness, sigma_um=thickness_sigma(boundaries))
    mean = current.mean(("t", "y", "x"))
    assert mean.sel(component="low").item() == pytest.approx(2 * 0.2062, rel=0.01)
    assert mean.sel(component="high").item() == pytest.approx(0, abs=0.005)
    assert current["sigma"].values / current.std(("y", "x")).values == pytest.approx(1, abs=0.25)


def test_an_image_without_layers_is_refused_with_what_to_check():
    one = labeled_image(np.ones((60, 16, 16), np.float32), voxel_size_um=1.0)
    with pytest.raises(InputError, match="the gray values must differ, got one value"):
        boundaries_from_profiles(one)
    in_other_units = {"lithium": 100.0, "ceramic": 1000.0, "collector": 2000.0}
    with pytest.raises(InputError, match="no layers of dark lithium beside a brighter ceramic were found"):
        boundaries_from_profiles(cell(noise=0.02)[0], levels=in_other_units)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": {"lithum": 0.1}}, "levels has no layer 'lithum'. Did you mean 'lithium'"),
        ({"levels": {"lithium": 0.1, "ceramic": 1.0}}, "that of lithium the smallest, got"),
        ({"levels": {"lithium": 1.0, "ceramic": 0.5, "collector": 2.0}}, "invert the image"),
        ({"smooth_um": -1.0}, "smooth_um must be a length of at least 0 um, got -1.0"),
        ({"window_um": 1.0}, "window_um must be at least two voxels, 4 um, got 1.0"),
    ],
)
def test_a_wrong_argument_is_named_with_the_remedy(options, text):
    with pytest.raises(InputError, match=text):
        boundaries_from_profiles(cell(size=8)[0], **options)


def test_an_image_that_is_no_calibrated_volume_is_refused():
    image, _ = cell(size=8)
    with pytest.raises(AxesError, match="missing"):
        boundaries_from_profiles(image.isel(x=0))
    with pytest.raises(UnitsError, match="voxel_size_um"):
        boundaries_from_profiles(labeled_image(image.values))
    with pytest.raises(InputError, match="at least 24 planes along z"):
        boundaries_from_profiles(image.isel(z=slice(10)))


def test_the_sigma_of_a_thickness_joins_its_two_boundaries():
    heights = xr.DataArray(
        np.zeros((2, 4, 1, 1)), dims=("t", "component", "y", "x"), attrs={"units": "um"},
        coords={"component": NAMES, "sigma": (("t", "component"), [[3.0, 4.0, 0.0, 1.0], [0.0, 2.0, 5.0, 12.0]])},
    )  # fmt: skip
    found = thickness_sigma(heights)
    assert found.values.tolist() == [[5.0, 1.0], [2.0, 13.0]]
    assert found["component"].values.tolist() == ["low", "high"]
    with pytest.raises(InputError, match="boundaries must carry the coordinate sigma"):
        thickness_sigma(heights.drop_vars("sigma"))
