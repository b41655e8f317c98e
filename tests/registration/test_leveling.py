"""Leveling: a known tilt of flat electrodes, and of the simulated cell against itself."""

import dask.array as da
import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.registration import RigidTransform, level
from operando.samples import symmetric_cell


def tilted_cell(slope_y, slope_x, size=1.0, shape=(72, 56, 64), noise=0.01):
    """Electrode, polymer, electrode with planes z = a + slope_y y + slope_x x in physical units."""
    edges = np.broadcast_to(size, 3).astype(float)
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * e for n, e in zip(shape, edges, strict=True)], indexing="ij")
    height = (z - slope_y * y - slope_x * x) / edges[0]
    gray = 1.0 - 0.01 * (np.tanh(height - 12) - np.tanh(height + 14) + 2)
    noisy = gray + noise * np.random.default_rng(0).standard_normal(shape)
    return labeled_image(noisy, voxel_size_um=size)


@pytest.mark.parametrize("size", [1.0, (2.0, 1.0, 1.5)])
@pytest.mark.parametrize("degrees", [(0, 0), (3, -5), (-10, 2), (0.3, 0.1)])
def test_the_tilt_of_flat_electrodes_is_found_to_a_tenth_of_a_degree(degrees, size):
    slopes = np.tan(np.deg2rad(degrees))
    found = level(tilted_cell(*slopes, size=size))
    expected = np.array([1.0, -slopes[0], -slopes[1]])
    normal = found.matrix[:3, 0]
    assert np.rad2deg(np.arccos(min(1.0, normal @ expected / np.linalg.norm(expected)))) < 0.1
    assert abs(found.rotation_deg[0]) < 1e-9


def test_the_leveled_image_is_level():
    image = tilted_cell(0.1, -0.05)
    leveled = level(image).apply(image).fillna(float(image.mean()))
    assert np.abs(level(leveled).rotation_deg).max() < 0.1


def test_turning_a_cell_turns_what_is_found_by_as_much():
    cell = symmetric_cell((72, 72, 72), scans=1, seed=3401, motion_voxels=0, motion_degrees=0)
    image = cell.image[0]
    turn = RigidTransform.from_rotation((0, -4, 7), center=[float(image[dim].mean()) for dim in "zyx"])
    tilted = turn.inverse().apply(image, order=1)
    before, after = level(image), level(tilted)
    normals = (turn @ before).matrix[:3, 0], after.matrix[:3, 0]
    assert np.rad2deg(np.arccos(min(1.0, normals[0] @ normals[1]))) < 0.3


def test_a_lazy_image_gives_the_same():
    image = tilted_cell(0.02, 0.03)
    lazy = image.copy(data=da.from_array(image.values, chunks=24))
    np.testing.assert_array_equal(level(lazy).matrix, level(image).matrix)


def test_sigma_is_of_the_size_of_the_error():
    found = level(tilted_cell(0.05, 0.02, noise=0.03))
    error = np.abs(found.rotation_deg - np.rad2deg([0, np.arctan(0.02), -np.arctan(0.05)]))
    assert np.isnan(found.sigma[:4]).all()
    assert (np.array(found.sigma[4:]) > 0).all()
    assert (np.array(found.sigma[4:]) < 0.2).all()
    assert error.max() < 0.2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (labeled_image(np.random.default_rng(1).standard_normal((40, 40, 40))), "no tilt stands out"),
        (labeled_image(np.zeros((40, 4, 40))), "at least 8 voxels"),
        (tilted_cell(np.tan(np.deg2rad(14)), 0), "below max_tilt_deg"),
    ],
)
def test_what_cannot_be_leveled_says_why(image, message):
    with pytest.raises(InputError, match=message):
        level(image)


def test_the_largest_tilt_must_make_sense():
    with pytest.raises(InputError, match="max_tilt_deg"):
        level(tilted_cell(0, 0), max_tilt_deg=80)
