"""Deformation beyond rigid motion: a known stretch, nothing where nothing is, units and messages."""

import numpy as np
import pytest
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.registration import RigidTransform, deformation, register

SHAPE = (64, 56, 60)


def blobs(seed, shape=SHAPE):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)


def stretched(values, share):
    """What stood at z is now at middle + (1 + share) (z - middle)."""
    z, y, x = np.meshgrid(*[np.arange(n, dtype=float) for n in values.shape], indexing="ij")
    middle = (values.shape[0] - 1) / 2
    return ndimage.map_coordinates(values, [middle + (z - middle) / (1 + share), y, x], order=3, mode="nearest")


def test_a_swelling_of_two_percent_along_z_is_found_to_a_tenth_of_a_voxel():
    values = blobs(0)
    fixed, moving = (labeled_image(v, voxel_size_um=2.0) for v in (values, stretched(values, 0.02)))
    found = deformation(fixed, moving, RigidTransform(np.eye(4)))
    expected = 0.02 * (found.z - float(fixed.z.mean()))
    assert found.attrs["units"] == "um"
    assert float(np.abs(found.sel(component="dz") - expected).max()) < 0.1 * 2.0
    assert float(np.abs(found.sel(component=["dy", "dx"])).max()) < 0.1 * 2.0


def test_a_rigid_motion_leaves_nothing():
    fixed = labeled_image(blobs(1), voxel_size_um=1.0)
    truth = RigidTransform.from_rotation((1, 0.5, -1), translation=(0.4, -1.2, 0.7), center=(31.5, 27.5, 29.5))
    moving = truth.inverse().apply(fixed).fillna(0)
    found = deformation(fixed, moving, register(fixed, moving))
    assert float(np.abs(found).max()) < 0.08


def test_nothing_is_said_where_there_is_no_structure():
    rng = np.random.default_rng(2)
    values = blobs(3)
    values[:, :, 22:] = 0
    fixed, moving = (labeled_image(values + 0.02 * rng.standard_normal(SHAPE), voxel_size_um=1.0) for _ in range(2))
    found = deformation(fixed, moving, RigidTransform(np.eye(4)), spacing=28, size=26)
    assert np.isnan(found.isel(x=-1)).all()
    assert np.isfinite(found.isel(x=0)).all()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(found.sigma))


def test_sigma_matches_the_error():
    rng = np.random.default_rng(4)
    values = blobs(5)
    fixed, moving = (labeled_image(values + 0.1 * rng.standard_normal(SHAPE), voxel_size_um=1.0) for _ in range(2))
    found = deformation(fixed, moving, RigidTransform(np.eye(4)))
    ratio = found / found.sigma
    assert 0.5 < float(np.sqrt((ratio**2).mean())) < 2.0


def test_the_grid_is_the_centers_of_the_sub_volumes():
    fixed = labeled_image(blobs(6), voxel_size_um=(1.0, 2.0, 1.0), origin_um=(10, 0, 0))
    found = deformation(fixed, fixed, RigidTransform(np.eye(4)), spacing=32, size=32)
    assert found.dims == ("component", "z", "y", "x")
    assert found.component.values.tolist() == ["dz", "dy", "dx"]
    np.testing.assert_allclose(found.z, [25.5, 57.5])
    np.testing.assert_allclose(found.y, [55.0])
    np.testing.assert_allclose(found, 0, atol=1e-3)


@pytest.mark.parametrize("arguments", [{"spacing": 1}, {"size": 8}, {"size": 100}])
def test_sizes_that_do_not_fit_are_refused(arguments):
    image = labeled_image(blobs(7, (32, 32, 32)), voxel_size_um=1.0)
    with pytest.raises(InputError, match="spacing must be at least 4"):
        deformation(image, image, RigidTransform(np.eye(4)), **arguments)
