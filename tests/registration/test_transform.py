"""Rigid transforms: algebra, units, JSON, and what they do to images and labels."""

import json

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import InputError, UnitsError
from operando.core.phases import CELL
from operando.registration import RigidTransform


def anything(seed=0, units="um"):
    rng = np.random.default_rng(seed)
    return RigidTransform.from_rotation(
        rng.normal(0, 20, 3), translation=rng.normal(0, 5, 3), center=rng.normal(0, 50, 3), units=units
    )


def test_a_transform_and_its_inverse_undo_each_other():
    one = anything()
    np.testing.assert_allclose((one @ one.inverse()).matrix, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(one.inverse().inverse().center, one.center)


def test_composition_applies_the_right_one_first_and_is_associative():
    a, b, c = (anything(seed) for seed in range(3))
    point = np.array([1.0, -2.0, 3.0])
    one_by_one = point + b.displacement(point)
    one_by_one = one_by_one + a.displacement(one_by_one)
    np.testing.assert_allclose(point + (a @ b).displacement(point), one_by_one)
    np.testing.assert_allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, atol=1e-12)


def test_rotation_and_translation_read_back_what_was_put_in():
    turn, shift = (1.0, -2.0, 0.5), (0.3, 4.0, -7.0)
    made = RigidTransform.from_rotation(turn, translation=shift, center=(10, 20, 30))
    np.testing.assert_allclose(made.rotation_deg, turn)
    np.testing.assert_allclose(made.translation_um, shift)


def test_a_translation_in_um_needs_a_voxel_size():
    with pytest.raises(UnitsError, match="calibrate"):
        _ = anything(units="px").translation_um
    with pytest.raises(UnitsError, match="one unit"):
        _ = anything(units="px") @ anything()


def test_json_keeps_everything():
    made = RigidTransform(
        anything().matrix, "px", (1, 2, 3), (0.1, 0.2, 0.3, np.nan, 0.5, 0.6), [((0, 4), (1, 5), (2, 6))]
    )
    back = RigidTransform.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(back.matrix, made.matrix)
    assert (back.units, back.center, back.subvolumes) == (made.units, made.center, made.subvolumes)
    np.testing.assert_array_equal(back.sigma, made.sigma)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), "4 x 4"),
        (np.diag([1.1, 1, 1, 1]), "rotation"),
        (np.diag([-1.0, 1, 1, 1]), "mirrors"),
        (np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]), "last row"),
    ],
)
def test_a_matrix_that_is_not_rigid_is_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        RigidTransform(matrix)


def test_the_matrix_cannot_be_changed_behind_its_back():
    with pytest.raises(ValueError, match="read-only"):
        anything().matrix[0, 0] = 2


def test_applying_shows_the_moving_image_in_the_frame_of_the_reference_lazily():
    z, y, x = np.meshgrid(*[np.arange(n, dtype=float) for n in (20, 22, 24)], indexing="ij")
    moving = labeled_image(da.from_array(2 * z - y + 3 * x, chunks=8), voxel_size_um=2.0, origin_um=(5, 6, 7))
    made = RigidTransform.from_rotation((0, 0, 3), translation=(1, -2, 3), center=(24, 27, 30))
    out = made.apply(moving, order=1)
    assert isinstance(out.data, da.Array)
    assert out.dims == ("z", "y", "x")
    place = np.array([25.0, 26.0, 31.0])
    there = (place + made.displacement(place) - [5, 6, 7]) / 2
    assert float(out.sel(z=25, y=26, x=31)) == pytest.approx(2 * there[0] - there[1] + 3 * there[2])
    assert np.isnan(out.values).any()


def test_labels_are_never_mixed_and_unseen_ones_are_255():
    values = np.random.default_rng(0).integers(0, 6, (8, 9, 10), dtype=np.uint8)
    labels = labeled_image(values, voxel_size_um=1.0, attrs={"phases": CELL.to_dict()})
    out = RigidTransform.from_rotation((0, 0, 0), translation=(0.4, 0, 2.4)).apply(labels)
    np.testing.assert_array_equal(out.values[:, :, :-2], values[:, :, 2:])
    assert (out.values[:, :, -2:] == 255).all()


def test_there_and_back_again_is_the_same_smooth_image():
    values = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((40, 40, 40)), 3)
    image = labeled_image(values, voxel_size_um=1.0)
    made = RigidTransform.from_rotation((2, -1, 3), translation=(0.3, 0.7, -1.2), center=(19.5, 19.5, 19.5))
    back = made.inverse().apply(made.apply(image).fillna(0))
    inner = (slice(8, -8),) * 3
    np.testing.assert_allclose(back.values[inner], values[inner], atol=2e-3 * np.abs(values).max())
