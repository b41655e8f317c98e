import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.morphometry import (
    coverage,
    error_adjusted_volumes,
    inactive_lithium,
    interface_area,
    interface_error,
    lithium_by_side,
    segmentation_sigma,
    volumes,
)
from operando.samples import symmetric_cell

TWO = {"electrolyte": 0, "layer": 1}


def _slab(top, shape=(24, 64, 64), voxel_size_um=1.0):
    z = np.arange(shape[0])[:, None, None]
    return labeled_image(np.broadcast_to(z < top, shape).astype(np.uint8), voxel_size_um=voxel_size_um)


def _slices(truth, every=16):
    """Whole cross-sections annotated, the rest 255."""
    values = np.full(truth.shape, 255, np.uint8)
    values[..., every // 2 :: every, :] = truth.values[..., every // 2 :: every, :]
    values[..., :, every // 2 :: every] = truth.values[..., :, every // 2 :: every]
    return truth.copy(data=values)


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
@pytest.mark.parametrize("edge", [1.0, 1.5])
def test_a_shifted_plane_is_measured_from_a_few_slices(shift, edge):
    truth, wrong = _slab(10, voxel_size_um=edge), _slab(10 + shift, voxel_size_um=edge)
    error = interface_error(wrong, _slices(truth), TWO)
    # Crofton understates a plane along an axis by 7 %, here and in the area the shift is multiplied with later.
    assert error["shift"].sel(component="layer").item() == pytest.approx(shift * edge / 0.927, rel=0.01)
    assert error["shift"].attrs["units"] == "um"
    excess = error["shift"] * interface_area(wrong, TWO)
    expected = volumes(wrong, TWO) - volumes(truth, TWO)
    np.testing.assert_allclose(excess, expected, rtol=0.05)


def test_a_perfect_prediction_leaves_the_prior_diluted_by_evidence():
    truth = _slab(10)
    error = interface_error(truth, _slices(truth), TWO).sel(component="layer")
    assert error["shift"] == 0
    assert error["tiles"] > 10
    # One scan beside a prior that counts as two.
    assert error["systematic"] == pytest.approx(0.25 * np.sqrt(2 / 3))
    assert error["flips"] == pytest.approx(0.4)


def test_annotations_away_from_surfaces_are_no_evidence():
    truth, wrong = _slab(10), _slab(12)
    values = np.full(truth.shape, 255, np.uint8)
    values[2:6, ::5], values[18:22, ::5] = 1, 0
    error = interface_error(wrong, truth.copy(data=values), TWO).sel(component="layer")
    assert np.isnan(error["shift"])
    assert error["systematic"] == pytest.approx(0.25)
    assert error["random"] == pytest.approx(0.1)


def test_scatter_between_scans_is_told_from_a_common_shift():
    truth = xr.concat([_slab(10)] * 4, dim="t")
    common = interface_error(xr.concat([_slab(11)] * 4, dim="t"), _slices(truth), TWO).sel(component="layer")
    mixed = interface_error(xr.concat([_slab(9), _slab(11)] * 2, dim="t"), _slices(truth), TWO).sel(component="layer")
    assert common["systematic"] == pytest.approx(np.sqrt((4 * 1.079**2 + 2 * 0.25**2) / 6), rel=0.01)
    assert common["random"] < 0.1
    assert abs(mixed["shift"]) < 0.1
    assert mixed["random"] > 0.7


def test_slabs_do_not_change_the_measured_shift(monkeypatch):
    rng = np.random.default_rng(0)
    truth = labeled_image((gaussian_filter(rng.normal(size=(20, 40, 40)), 2) > 0).astype(np.uint8), voxel_size_um=1.0)
    wrong = truth.copy(data=(gaussian_filter(truth.values.astype(float), 1) > 0.4).astype(np.uint8))
    whole = interface_error(wrong, _slices(truth), TWO)
    monkeypatch.setattr("operando.morphometry.interface.slabs.__kwdefaults__", {"overlap": 0, "slab_voxels": 5000})
    xr.testing.assert_allclose(interface_error(wrong.chunk({"z": 6}), _slices(truth).chunk({"y": 9}), TWO), whole)


def test_shapes_and_missing_annotations_are_refused():
    with pytest.raises(InputError, match="one shape"):
        interface_error(_slab(5), _slab(5, (20, 64, 64)), TWO)
    with pytest.raises(InputError, match="at least one voxel must be annotated"):
        interface_error(_slab(5), _slab(5).copy(data=np.full((24, 64, 64), 255, np.uint8)), TWO)


def test_sigma_of_a_volume_is_its_surface_times_the_shift():
    labels = _slab(10)
    sigma = segmentation_sigma(labels, TWO)
    area = interface_area(labels, TWO)
    np.testing.assert_allclose(sigma["systematic"], 0.25 * area)
    np.testing.assert_allclose(sigma["random"], 0.1 * area)
    np.testing.assert_allclose(sigma["volume"], np.hypot(0.25, 0.1) * area)
    np.testing.assert_allclose(sigma["thickness"], sigma["volume"] / 64**2)
    assert [sigma[name].attrs["units"] for name in ("volume", "thickness", "coverage")] == ["um3", "um", "1"]


def test_sigma_in_um_grows_with_the_cube_of_the_voxel_size():
    one, two = (segmentation_sigma(_slab(10, voxel_size_um=edge), TWO)["volume"] for edge in (1.0, 2.0))
    np.testing.assert_allclose(two, 8 * one)


def test_a_common_shift_correlates_scans_and_random_scatter_does_not():
    labels = xr.concat([_slab(10), _slab(11)], dim="t")
    sigma = segmentation_sigma(labels, TWO)
    expected = 0.25**2 / (0.25**2 + 0.1**2)
    np.testing.assert_allclose(sigma["correlation"][1], expected)
    assert np.isnan(sigma["correlation"][0]).all()


def test_coverage_is_uncertain_only_where_a_small_shift_matters():
    values = np.zeros((10, 32, 32), np.uint8)
    values[2:6, 8:24, :] = 1  # 16 of 32 rows, four voxels thick: two borders, two rows each
    labels = labeled_image(values, voxel_size_um=1.0)
    sigma = segmentation_sigma(labels, TWO)["coverage"]
    assert sigma.sel(component="layer").item() == pytest.approx(0.4 * 4 / 32)
    assert coverage(labels, TWO).sel(component="layer") == 0.5


def test_the_uncertainty_of_a_coverage_does_not_depend_on_blocks():
    labels = np.zeros((4, 12, 12), dtype=np.uint8)
    labels[:2, :6] = 1  # the border of what is covered is also one between blocks
    labels = labeled_image(labels, voxel_size_um=1.0)
    phases = {"electrolyte": 0, "layer": 1}
    whole, lazy = (segmentation_sigma(one, phases)["coverage"] for one in (labels, labels.chunk({"y": 6, "x": 4})))
    assert float(whole.sel(component="layer")) > 0
    np.testing.assert_array_equal(lazy, whole)


def test_coverage_errors_are_measured_from_whole_columns():
    truth = np.zeros((10, 32, 32), np.uint8)
    truth[2:6, 8:24, :] = 1
    wrong = truth.copy()
    wrong[:, 23, :] = 0  # one of the four marginal rows of the truth is lost
    labels, annotation = (labeled_image(a, voxel_size_um=1.0) for a in (wrong, truth))
    error = interface_error(labels, annotation, TWO).sel(component="layer")
    # One row lost of four marginal ones, in one scan beside a prior of two.
    assert error["flips"] == pytest.approx(np.sqrt((0.25**2 + 2 * 0.4**2) / 3), rel=0.05)


def test_adjusted_volumes_invert_a_known_confusion():
    rng = np.random.default_rng(0)
    truth = rng.choice(3, p=[0.7, 0.2, 0.1], size=200_000)
    flipped = rng.random(truth.size) < 0.1
    prediction = np.where(flipped, (truth + 1) % 3, truth)
    counted = xr.DataArray(
        np.bincount(prediction, minlength=3).astype(float), dims="component", coords={"component": list("abc")}
    )
    sample = rng.choice(truth.size, 5000, replace=False)
    confusion = np.zeros((3, 4))
    np.add.at(confusion, (truth[sample], prediction[sample]), 1)
    adjusted = error_adjusted_volumes(counted, confusion, design_effect=1)
    real = np.bincount(truth, minlength=3)
    assert np.all(np.abs(counted - real) > 4 * adjusted["sigma"])
    assert np.all(np.abs(adjusted["volume"] - real) < 3 * adjusted["sigma"])
    assert adjusted["volume"].sum() == pytest.approx(truth.size)


def test_a_class_never_annotated_keeps_its_volume_with_large_uncertainty():
    volume = xr.DataArray([[90.0, 10.0]], dims=("t", "component"), coords={"component": ["a", "b"]})
    adjusted = error_adjusted_volumes(volume, np.array([[50, 0], [0, 0]]))
    assert adjusted["volume"].values.tolist() == [[90.0, 10.0]]
    assert adjusted["sigma"].values.tolist() == [[0.0, 5.0]]
    with pytest.raises(InputError, match="one row and column of counts"):
        error_adjusted_volumes(volume, np.ones((3, 3)))
    with pytest.raises(InputError, match="design_effect must be at least 1, got 0"):
        error_adjusted_volumes(volume, np.ones((2, 2)), design_effect=0)


def _imperfect(labels, rng, *, bias):
    """A made-up segmenter: class biases shift interfaces, correlated noise scatters them and mixes neighbors."""
    result = np.empty(labels.shape, np.uint8)
    for scan, values in enumerate(labels.values):
        scores = []
        for number in CELL.ids:
            noise = gaussian_filter(rng.normal(size=values.shape), 1)
            score = np.log(gaussian_filter((values == number).astype(float), 0.8) + 1e-3)
            scores.append(score + 0.25 * noise / noise.std() + bias[number])
        result[scan] = np.argmax(scores, axis=0)
    return labels.copy(data=result)


@pytest.mark.slow
def test_intervals_hold_the_truth_for_most_rows_and_stay_narrow():
    inside, width = [], []
    for seed in range(2001, 2004):
        rng = np.random.default_rng(seed)
        cell = symmetric_cell(shape=(64, 64, 64), scans=5, seed=seed)
        truth = cell.labels
        labels = _imperfect(truth, rng, bias=0.25 * rng.normal(size=6))
        held_out = [1, 3]
        error = interface_error(labels.isel(t=held_out), _slices(truth.isel(t=held_out)), CELL)
        sigma = segmentation_sigma(labels, CELL, interface=error)
        pairs = [
            (volumes(labels, CELL), volumes(truth, CELL), sigma["volume"]),
            (coverage(labels, CELL), coverage(truth, CELL), sigma["coverage"]),
            (lithium_by_side(labels, CELL), lithium_by_side(truth, CELL), sigma["volume"]),
        ]
        for value, real, one_sigma in pairs:
            off, half = np.abs(value - real), 1.96 * one_sigma.sel(component=value.component)
            counted = ((off > 0) | (half > 0)).values
            inside.extend((off <= half).values[counted])
            width.extend((half / value).values[counted & (value > 0).values])
        dead, real = inactive_lithium(labels, CELL), inactive_lithium(truth, CELL)
        inside.extend((np.abs(dead - real) <= 1.96 * sigma["volume"].sel(component="inactive")).values)
    assert np.mean(inside) >= 0.9
    assert np.median(width) < 0.2
