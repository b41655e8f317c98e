"""Resampling: known motions, labels, edges, blocks and laziness."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import InputError, UnitsError
from operando.core.phases import CELL
from operando.registration import apply_motion
from operando.samples import symmetric_cell


def still(scans=1):
    return xr.DataArray(np.tile(np.eye(4), (scans, 1, 1)), dims=("t", "row", "column"), attrs={"units": "um"})


def smooth(shape=(2, 20, 24, 28), seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, 2, 2, 2))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_whole_voxel_is_a_shift_of_the_array_with_nothing_where_nothing_was_seen(order):
    series = labeled_image(smooth(), voxel_size_um=2.0)
    motion = still(2)
    motion[1, 1, 3] = 6.0
    out = apply_motion(series, motion, order=order)
    np.testing.assert_array_equal(out[0], series[0])
    np.testing.assert_allclose(out.values[1, :, :-3], series.values[1, :, 3:], atol=1e-9)
    assert np.isnan(out.values[1, :, -3:]).all()


def test_gray_values_on_a_plane_are_interpolated_exactly():
    z, y, x = np.meshgrid(*[np.arange(n, dtype=float) for n in (12, 14, 16)], indexing="ij")
    series = labeled_image((2 * z - y + 3 * x)[None], voxel_size_um=1.0)
    motion = still()
    motion[0, :3, 3] = [0.25, -0.5, 0.75]
    out = apply_motion(series, motion, order=1).values[0]
    expected = 2 * (z + 0.25) - (y - 0.5) + 3 * (x + 0.75)
    np.testing.assert_allclose(out[:-1, 1:, :-1], expected[:-1, 1:, :-1], atol=1e-9)


def test_unequal_voxel_edges_and_an_origin_are_respected():
    size, origin = (2.0, 1.0, 0.5), (100.0, -20.0, 5.0)
    series = labeled_image(smooth((1, 16, 18, 20), seed=1), voxel_size_um=size, origin_um=origin)
    angle = np.pi / 2
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    center = np.array([0.0, -12.0, 9.0])
    turned[:3, 3] = center - turned[:3, :3] @ center
    motion = still()
    motion[0] = turned
    out = apply_motion(series, motion, order=1)
    for y, x in ((-12.0, 9.0), (-13.0, 9.5), (-11.0, 10.0)):
        y_at, x_at = turned[1:3, 1:3] @ [y, x] + turned[1:3, 3]
        expected = series[0].interp(z=104.0, y=y_at, x=x_at)
        assert float(out[0].sel(z=104.0, y=y, x=x)) == pytest.approx(float(expected), abs=1e-6)


def test_the_motion_of_a_sample_brings_every_scan_back_to_the_frame_of_its_labels():
    off = dict.fromkeys(("noise", "rings", "shading", "drift", "texture", "fringes"), 0)
    arguments = {"scans": 3, "seed": 1410, "blur": 1.2, **off}
    moved = symmetric_cell((40, 40, 40), motion_voxels=3, motion_degrees=1, **arguments)
    unmoved = symmetric_cell((40, 40, 40), motion_voxels=0, motion_degrees=0, **arguments)
    back = apply_motion(moved.image, moved.motion)
    inner = {dim: slice(6, -6) for dim in "zyx"}
    before = np.abs(moved.image - unmoved.image).isel(t=2, **inner).max()
    after = np.abs(back - unmoved.image).isel(t=slice(1, None), **inner).max()
    assert float(before) > 0.01
    assert float(after) < 0.002


def test_labels_take_the_nearest_voxel_and_255_where_nothing_was_seen():
    values = np.random.default_rng(2).integers(0, 6, (1, 8, 9, 10), dtype=np.uint8)
    labels = labeled_image(values, voxel_size_um=1.0, attrs={"phases": CELL.to_dict()})
    motion = still()
    motion[0, :3, 3] = [0.4, -0.4, 2.4]
    out = apply_motion(labels, motion)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out.values[0, :, :, :-2], values[0, :, :, 2:])
    assert (out.values[0, :, :, -2:] == 255).all()
    with pytest.raises(InputError, match="order 0"):
        apply_motion(labels, motion, order=1)


@pytest.mark.parametrize("block", [(7, 40, 11), (64, 64, 64)])
def test_blocks_and_lazy_input_give_the_same_as_the_whole(block):
    series = labeled_image(smooth((2, 40, 44, 48), seed=3).astype(np.float32), voxel_size_um=1.0)
    motion = still(2)
    motion[1, :3, :3] = [[1, -0.02, 0.01], [0.02, 1, 0.03], [-0.01, -0.03, 1]]
    motion[1, :3, 3] = [1.3, -0.7, 2.2]
    whole = apply_motion(series, motion).values
    lazy = series.copy(data=da.from_array(series.values, chunks=(1, 9, 20, 48)))
    blocked = apply_motion(lazy, motion, block=block)
    assert isinstance(blocked.data, da.Array)
    assert blocked.dtype == np.float32
    np.testing.assert_allclose(blocked.values, whole, atol=1e-6)


def test_nothing_is_computed_until_asked_and_one_plane_reads_little():
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    data = da.zeros((3, 80, 8, 8), chunks=(1, 8, 8, 8)).map_blocks(note, dtype=float)
    read.clear()
    motion = still(3)
    motion[:, 0, 3] = 0.5
    out = apply_motion(labeled_image(data, voxel_size_um=1.0), motion, block=(8, 8, 8))
    assert read == []
    out[1, 40].values  # noqa: B018
    assert {place[0] for place in read} == {1}
    assert len(read) <= 7


def test_a_scan_that_saw_nothing_of_the_reference_is_all_missing():
    motion = still()
    motion[0, 0, 3] = 1000.0
    out = apply_motion(labeled_image(smooth((1, 8, 8, 8)), voxel_size_um=1.0), motion)
    assert np.isnan(out.values).all()


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (np.eye(4), "motion must be a DataArray"),
        (still(3), "one matrix per scan, got 3 for 1"),
        (still().rename(row="z"), "motion must be a DataArray"),
    ],
)
def test_a_motion_that_does_not_fit_is_refused(motion, message):
    with pytest.raises(InputError, match=message):
        apply_motion(labeled_image(smooth((1, 8, 8, 8)), voxel_size_um=1.0), motion)


def test_a_motion_in_um_needs_calibrated_axes():
    motion = still()
    motion[0, 0, 3] = 1.0
    with pytest.raises(UnitsError, match="apply_motion"):
        apply_motion(labeled_image(smooth((1, 8, 8, 8))), motion)
    pixels = motion.assign_attrs(units="px")
    assert apply_motion(labeled_image(smooth((1, 8, 8, 8))), pixels).shape == (1, 8, 8, 8)
