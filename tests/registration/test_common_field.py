import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.registration import apply_motion, common_field


def motion(*shifts, units="um", turn_z=0.0):
    matrices = np.stack([np.eye(4) for _ in shifts])
    for matrix, shift in zip(matrices, shifts, strict=True):
        matrix[:3, 3] = shift
    c, s = np.cos(turn_z), np.sin(turn_z)
    matrices[-1, 1:3, 1:3] = [[c, -s], [s, c]]
    return xr.DataArray(matrices, dims=("t", "row", "column"), attrs={"units": units})


@pytest.fixture
def series():
    return labeled_image(np.random.default_rng(0).random((3, 12, 14, 16), dtype=np.float32), voxel_size_um=2.0)


def test_unmoved_scans_share_everything(series):
    assert common_field(series, motion((0, 0, 0), (0, 0, 0), (0, 0, 0))) == {
        "z": slice(0, 12),
        "y": slice(0, 14),
        "x": slice(0, 16),
    }


def test_shifts_to_both_sides_cut_both_ends_by_whole_voxels(series):
    field = common_field(series, motion((0, 0, 0), (2.0, 0, -3.0), (-4.0, 0, 0.5)))
    assert field == {"z": slice(2, 11), "y": slice(0, 14), "x": slice(2, 15)}


@pytest.mark.parametrize("turn", [0.0, 0.05])
def test_inside_the_common_field_no_registered_voxel_is_missing(series, turn):
    moved = motion((0, 0, 0), (2.5, -1.0, 0.3), (-1.5, 0.7, 2.0), turn_z=turn)
    field = common_field(series, moved)
    registered = apply_motion(series, moved, order=1)
    assert not np.isnan(registered.isel(field).values).any()
    assert np.isnan(registered.values).any()


def test_scans_that_share_nothing_are_refused(series):
    with pytest.raises(InputError, match="share nothing"):
        common_field(series, motion((0, 0, 0), (20.0, 0, 0), (-20.0, 0, 0)))
