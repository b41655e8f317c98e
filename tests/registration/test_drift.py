"""Translation from sub-volumes: known shifts, units, lazy input, and the error on the simulated cell."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.registration import estimate_drift, estimate_translation
from operando.samples import symmetric_cell


def blobs(shape=(48, 56, 64), seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5, mode="wrap")


@pytest.mark.parametrize("shift", [(0, 0, 0), (3, -2, 5), (-7, 7, 1)])
def test_a_whole_voxel_shift_is_found_to_a_hundredth_of_a_voxel(shift):
    image = blobs()
    found = estimate_translation(
        labeled_image(image, voxel_size_um=1.0),
        labeled_image(np.roll(image, shift, (0, 1, 2)), voxel_size_um=1.0),
    )
    np.testing.assert_allclose(found, shift, atol=0.01)


@pytest.mark.parametrize("shift", [(0.5, -0.25, 1.3), (2.4, 0.1, -3.5)])
def test_a_fraction_of_a_voxel_is_found_to_a_few_hundredths(shift):
    image = blobs(seed=1)
    spectrum = ndimage.fourier_shift(np.fft.fftn(image), shift)
    moved = np.fft.ifftn(spectrum).real
    found = estimate_translation(labeled_image(image, voxel_size_um=1.0), labeled_image(moved, voxel_size_um=1.0))
    np.testing.assert_allclose(found, shift, atol=0.05)


def test_the_answer_is_in_the_unit_of_the_axes_and_follows_each_voxel_edge():
    image = blobs(seed=2)
    moved = np.roll(image, (1, 2, -3), (0, 1, 2))
    size = (2.0, 0.5, 1.0)
    found = estimate_translation(labeled_image(image, voxel_size_um=size), labeled_image(moved, voxel_size_um=size))
    assert found.attrs["units"] == "um"
    np.testing.assert_allclose(found, [2.0, 1.0, -3.0], atol=0.03)
    assert list(found.axis.values) == ["z", "y", "x"]
    pixels = estimate_translation(labeled_image(image), labeled_image(moved))
    assert pixels.attrs["units"] == "px"
    np.testing.assert_allclose(pixels, [1, 2, -3], atol=0.03)


def test_a_gain_an_offset_and_missing_voxels_do_not_matter():
    image = blobs(seed=3)
    moved = np.roll(image, (2, 1, -1), (0, 1, 2)) * 3 + 7
    moved[:5, :5] = np.nan
    found = estimate_translation(labeled_image(image), labeled_image(moved))
    np.testing.assert_allclose(found, [2, 1, -1], atol=0.05)


def test_flat_layers_that_move_do_not_pull_on_a_sample_that_stands_still():
    rng = np.random.default_rng(4)
    specks = blobs(seed=5) * 0.1
    z = np.arange(48)[:, None, None]
    before = specks + 0.5 * (z > 20) + 0.005 * rng.standard_normal(specks.shape)
    after = specks + 0.5 * (z > 25) + 0.005 * rng.standard_normal(specks.shape)
    found = estimate_translation(labeled_image(before), labeled_image(after))
    assert np.abs(found).max() < 0.05


def test_rings_that_stay_while_the_sample_moves_do_not_pull_either():
    specks = blobs(seed=6)
    z, x = np.ogrid[:48, :64]
    rings = np.random.default_rng(7).standard_normal(120)[np.hypot(z - 20, x - 30).astype(int)][:, None, :] * 0.3
    moved = np.roll(specks, (2, 2, 2), (0, 1, 2))
    found = estimate_translation(labeled_image(specks + rings), labeled_image(moved + rings))
    np.testing.assert_allclose(found, [2, 2, 2], atol=0.1)


def test_drift_is_a_matrix_per_scan_with_the_reference_at_rest():
    image = blobs(seed=8)
    series = labeled_image(
        np.stack([np.roll(image, k, axis=2) for k in (0, 1, -2)]), voxel_size_um=1.5, t=[0.0, 0.5, 1.0]
    )
    motion = estimate_drift(series, reference=1)
    assert motion.dims == ("t", "row", "column")
    assert motion.attrs["units"] == "um"
    np.testing.assert_array_equal(motion[1], np.eye(4))
    np.testing.assert_allclose(motion[:, 2, 3], [-1.5, 0, -4.5], atol=0.03)
    np.testing.assert_array_equal(motion[:, :3, :3], np.broadcast_to(np.eye(3), (3, 3, 3)))
    np.testing.assert_array_equal(motion.t, series.t)
    assert (motion.sigma[0, :3] < 0.1).all()
    np.testing.assert_array_equal(estimate_drift(series, reference=-2), motion)


def test_a_lazy_series_gives_the_same_and_only_the_sub_volumes_are_read():
    image = blobs((40, 96, 96), seed=9)
    series = labeled_image(np.stack([image, np.roll(image, 1, axis=1)]))
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    lazy = series.copy(data=da.from_array(series.values, chunks=(1, 40, 16, 16)).map_blocks(note, dtype=float))
    read.clear()
    few = estimate_drift(lazy, size=24, count=2)
    assert len(set(read)) < 2 * 36 / 2
    np.testing.assert_array_equal(few, estimate_drift(series, size=24, count=2))


def test_a_single_plane_has_no_shift_across_itself():
    image = blobs((1, 64, 64), seed=10)
    found = estimate_translation(labeled_image(image), labeled_image(np.roll(image, (2, -1), (1, 2))))
    np.testing.assert_allclose(found, [0, 2, -1], atol=0.05)


def test_drift_of_a_plating_cell_is_found_to_a_fifth_of_a_voxel():
    cell = symmetric_cell((64, 96, 96), scans=5, seed=1400, motion_voxels=3, motion_degrees=0)
    error = (estimate_drift(cell.image).values - cell.motion.values)[:, :3, 3] / 1.33
    assert np.sqrt((error**2).mean()) < 0.15
    assert np.abs(cell.motion.values[:, :3, 3] / 1.33).max() > 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a: estimate_translation(a, a[:, :40]), InputError, "both images must have one shape"),
        (lambda a: estimate_translation(a, a.rename(z="angle")), AxesError, "dims"),
        (lambda a: estimate_translation(a.values, a), InputError, "DataArray"),
        (lambda a: estimate_translation(a, a, max_shift=0), InputError, "max_shift must be at least 1"),
        (lambda a: estimate_translation(a * 0, a * 0), InputError, "nothing that correlates"),
        (
            lambda a: estimate_translation(a, a.copy(data=np.roll(a.values, 4, 2)), max_shift=4),
            InputError,
            "larger max_shift",
        ),
        (lambda a: estimate_drift(a.expand_dims("t"), reference=3), InputError, "got 3"),
        (lambda a: estimate_drift(a), AxesError, "estimate_drift"),
    ],
)
def test_what_cannot_be_aligned_says_why(call, error, message):
    with pytest.raises(error, match=message):
        call(labeled_image(blobs(seed=11), voxel_size_um=1.0))


def test_axes_in_different_units_are_refused():
    image = labeled_image(blobs(seed=12), voxel_size_um=1.0)
    mixed = image.assign_coords(z=xr.DataArray(np.arange(48.0), dims="z", attrs={"units": "px"}))
    with pytest.raises(UnitsError, match="share a unit"):
        estimate_translation(mixed, mixed)
