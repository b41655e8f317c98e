"""Rigid registration: known motions, what must not pull, units, lazy input, and the error on the simulated cell."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.registration import RigidTransform, register, register_series
from operando.samples import symmetric_cell


def blobs(shape=(48, 56, 64), seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5, mode="wrap")


def shift_of(reference, moving, **arguments):
    found = register(labeled_image(reference, voxel_size_um=1.0), labeled_image(moving, voxel_size_um=1.0), **arguments)
    return found.translation_um


def displacement_error(matrix, truth, shape, voxel=1.0):
    """Root mean square over the volume of the three-component error, in voxels."""
    axes = [np.linspace(0, (n - 1) * voxel, 9) for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    off = points @ (matrix - truth)[:3, :3].T + (matrix - truth)[:3, 3]
    return np.sqrt((off**2).sum(axis=1).mean()) / voxel


@pytest.mark.parametrize("shift", [(0, 0, 0), (3, -2, 5), (-7, 7, 1)])
def test_a_whole_voxel_shift_is_found_to_a_hundredth_of_a_voxel(shift):
    image = blobs()
    np.testing.assert_allclose(shift_of(image, np.roll(image, shift, (0, 1, 2))), shift, atol=0.01)


@pytest.mark.parametrize("shift", [(0.5, -0.25, 1.3), (2.4, 0.1, -3.5)])
def test_a_fraction_of_a_voxel_is_found_to_a_hundredth(shift):
    image = blobs(seed=1)
    moved = np.fft.ifftn(ndimage.fourier_shift(np.fft.fftn(image), shift)).real
    np.testing.assert_allclose(shift_of(image, moved), shift, atol=0.01)


@pytest.mark.parametrize("size", [1.0, (2.0, 0.7, 1.0)])
def test_a_rotation_is_found_on_any_grid(size):
    image = labeled_image(blobs((56, 56, 56), seed=2), voxel_size_um=size, origin_um=(100, 0, -50))
    center = [float(image[dim].mean()) for dim in "zyx"]
    truth = RigidTransform.from_rotation((1.0, -0.5, 2.0), translation=(0.6, 0.3, -0.8), center=center)
    found = register(image, truth.inverse().apply(image).fillna(0))
    voxel = float(np.mean(size))
    assert displacement_error(found.matrix, truth.matrix, image.shape, voxel) < 0.2
    np.testing.assert_allclose(found.rotation_deg, truth.rotation_deg, atol=0.05)
    np.testing.assert_allclose(found.center, center)


def test_registering_the_other_way_around_gives_the_inverse():
    image = blobs(seed=3)
    one, other = labeled_image(image), labeled_image(np.roll(image, (1, -2, 3), (0, 1, 2)))
    both = register(one, other) @ register(other, one)
    np.testing.assert_allclose(both.matrix, np.eye(4), atol=0.02)


def test_the_answer_is_in_the_unit_of_the_axes_and_follows_each_voxel_edge():
    image = blobs(seed=4)
    moved = np.roll(image, (1, 2, -3), (0, 1, 2))
    size = (2.0, 0.5, 1.0)
    found = register(labeled_image(image, voxel_size_um=size), labeled_image(moved, voxel_size_um=size))
    np.testing.assert_allclose(found.translation_um, [2.0, 1.0, -3.0], atol=0.03)
    pixels = register(labeled_image(image), labeled_image(moved))
    assert pixels.units == "px"
    np.testing.assert_allclose(pixels.displacement(pixels.center), [1, 2, -3], atol=0.03)


def test_a_gain_an_offset_and_missing_voxels_do_not_matter():
    image = blobs(seed=5)
    moved = np.roll(image, (2, 1, -1), (0, 1, 2)) * 1.02 + 0.02
    moved[:5, :5] = np.nan
    np.testing.assert_allclose(shift_of(image, moved), [2, 1, -1], atol=0.03)


def particles(seed, shape=(48, 64, 64)):
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    image[tuple(rng.integers(3, n - 3, 400) for n in shape)] = 1.0
    return ndimage.gaussian_filter(image, 1.2) * 2


def test_layers_and_rough_lithium_that_grow_do_not_pull_on_a_sample_that_stands_still():
    rng = np.random.default_rng(6)
    specks = particles(7)
    z = np.arange(48)[:, None, None]
    rough = 12 + ndimage.gaussian_filter(rng.standard_normal((64, 64)), 3) * 12
    layer = ndimage.gaussian_filter(1.0 * (z < rough + 5) * (z >= 12), 0.7)
    before = specks + 0.5 * (z > 40) + 0.01 * rng.standard_normal(specks.shape)
    after = specks - 0.2 * layer + 0.5 * (z > 37) + 0.01 * rng.standard_normal(specks.shape)
    found = register(labeled_image(before), labeled_image(after))
    assert displacement_error(found.matrix, np.eye(4), specks.shape) < 0.05


def test_rings_that_stay_while_the_sample_moves_do_not_pull_either():
    specks = particles(8)
    z, x = np.ogrid[:48, :64]
    rings = np.random.default_rng(9).standard_normal(120)[np.hypot(z - 20, x - 30).astype(int)][:, None, :] * 0.02
    noise = 0.01 * np.random.default_rng(10).standard_normal((2, *specks.shape))
    moved = np.roll(specks, (2, 2, 2), (0, 1, 2))
    np.testing.assert_allclose(shift_of(specks + rings + noise[0], moved + rings + noise[1]), [2, 2, 2], atol=0.05)


def test_noise_gives_a_sigma_that_matches_the_error():
    specks, rng = particles(11), np.random.default_rng(12)
    moved = np.roll(specks, (1, -1, 2), (0, 1, 2))
    pairs = [[image + 0.04 * rng.standard_normal(image.shape) for image in (specks, moved)] for _ in range(4)]
    found = [register(*(labeled_image(image, voxel_size_um=1.0) for image in pair)) for pair in pairs]
    ratio = np.array([(one.translation_um - [1, -1, 2]) / one.sigma[:3] for one in found])
    assert 0.4 < np.sqrt((ratio**2).mean()) < 2.0


def test_only_the_sub_volumes_are_read_and_a_lazy_image_gives_the_same():
    image = blobs((40, 96, 96), seed=13)
    fixed, moving = labeled_image(image), labeled_image(np.roll(image, 1, axis=1))
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    data = da.from_array(moving.values, chunks=(40, 16, 16)).map_blocks(note, dtype=float)
    read.clear()
    few = register(fixed, moving.copy(data=data), size=24, count=3)
    assert len(set(read)) < 36
    assert 1 <= len(few.subvolumes) <= 3
    np.testing.assert_array_equal(few.matrix, register(fixed, moving, size=24, count=3).matrix)


def test_a_single_plane_has_no_shift_across_itself_and_turns_only_about_its_normal():
    image = blobs((1, 96, 96), seed=14)
    moved = np.roll(image, (2, -1), (1, 2))
    found = register(labeled_image(image, voxel_size_um=1.0), labeled_image(moved, voxel_size_um=1.0))
    np.testing.assert_allclose(found.translation_um, [0, 2, -1], atol=0.02)
    np.testing.assert_allclose(found.rotation_deg, 0, atol=0.05)


@pytest.mark.parametrize(("voxels", "degrees"), [(0.2, 0.02), (3.0, 1.0)])
def test_the_motion_of_a_plating_cell_is_found_to_a_tenth_of_a_voxel_though_half_of_it_changed(voxels, degrees):
    cell = symmetric_cell((80, 96, 96), scans=2, seed=3400, motion_voxels=voxels, motion_degrees=degrees)
    found = register(cell.image[0], cell.image[1])
    assert displacement_error(found.matrix, cell.motion.values[1], (80, 96, 96), 1.33) < 0.1
    assert displacement_error(np.eye(4), cell.motion.values[1], (80, 96, 96), 1.33) > 0.1


def test_a_series_has_a_matrix_per_scan_with_the_reference_at_rest():
    image = blobs((40, 48, 48), seed=15)
    series = labeled_image(
        np.stack([np.roll(image, k, axis=2) for k in (0, 1, -2)]), voxel_size_um=1.5, t=[0.0, 0.5, 1.0]
    )
    motion = register_series(series, reference=1)
    assert motion.dims == ("t", "row", "column")
    assert motion.attrs["units"] == "um"
    np.testing.assert_array_equal(motion[1], np.eye(4))
    np.testing.assert_allclose(motion[:, 2, 3], [-1.5, 0, -4.5], atol=0.1)
    np.testing.assert_array_equal(motion.t, series.t)
    assert (motion.sigma[0, :3] < 0.1).all()
    assert (motion.sigma[1] == 0).all()
    assert (motion.sigma_rotation_deg[0, :3] < 0.1).all()
    np.testing.assert_array_equal(register_series(series[:2], reference=-1), motion[:2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a: register(a, a[:, :40]), InputError, "both images must have one shape"),
        (lambda a: register(a, a.rename(z="angle")), AxesError, "dims"),
        (lambda a: register(a.values, a), InputError, "DataArray"),
        (lambda a: register(a, a, max_shift=0), InputError, "max_shift must be at least 1"),
        (lambda a: register(a, a.assign_coords(z=a.z + 5)), InputError, "one grid"),
        (lambda a: register(a * 0, a * 0), InputError, "nothing that correlates"),
        (lambda a: register(a, a.copy(data=np.roll(a.values, 4, 2)), max_shift=4), InputError, "larger max_shift"),
        (lambda a: register_series(a.expand_dims("t"), reference=3), InputError, "got 3"),
        (lambda a: register_series(a), AxesError, "register_series"),
    ],
)
def test_what_cannot_be_registered_says_why(call, error, message):
    with pytest.raises(error, match=message):
        call(labeled_image(blobs((40, 48, 48), seed=16), voxel_size_um=1.0))


def test_axes_in_different_units_are_refused():
    image = labeled_image(blobs((32, 32, 32), seed=17), voxel_size_um=1.0)
    mixed = image.assign_coords(z=xr.DataArray(np.arange(32.0), dims="z", attrs={"units": "px"}))
    with pytest.raises(UnitsError, match="share a unit"):
        register(mixed, mixed)


def test_a_part_that_moves_on_its_own_is_outvoted():
    specks = particles(18, (96, 96, 96))
    other = specks.copy()
    other[:48, :48] = np.roll(specks, 1, axis=2)[:48, :48]
    noise = 0.01 * np.random.default_rng(19).standard_normal((2, *specks.shape))
    found = register(labeled_image(specks + noise[0]), labeled_image(other + noise[1]), size=48)
    # A quarter of the sub-volumes went one voxel along x; the mean over all of them would be a quarter of a voxel.
    assert displacement_error(found.matrix, np.eye(4), specks.shape) < 0.1


def test_a_series_of_one_scan_keeps_the_unit_of_its_axes():
    assert register_series(labeled_image(blobs((1, 32, 32, 32), seed=20))).attrs["units"] == "px"


def test_a_match_on_too_little_structure_is_refused_instead_of_being_ten_voxels_off():
    cell = symmetric_cell((40, 40, 40), scans=2, seed=3102, motion_voxels=1.5, motion_degrees=0.5)
    with pytest.raises(InputError, match=r"must be known to 1 voxel, got a standard error of .* voxels at the edge"):
        register(cell.image[0], cell.image[1])
