import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.phases import CELL
from operando.morphometry import contact_sigma, inactive_lithium
from operando.samples import symmetric_cell

E = CELL["electrode"]
D = CELL["dendrite"]


def _cell(*, cube_at=5, stem=()):
    """Electrodes at both ends, a cube of dendrite above the plating one, and voxels (z, y, x) that join them."""
    values = np.zeros((14, 11, 11), np.uint8)
    values[:3], values[-2:] = E, E
    values[cube_at : cube_at + 3, 4:7, 4:7] = D
    for place in stem:
        values[place] = D
    return labeled_image(values, voxel_size_um=2.0, attrs={"plating_side": "low"})


def test_a_cube_on_the_electrode_hangs_on_no_single_contact():
    labels = _cell(cube_at=3)
    assert inactive_lithium(labels, CELL) == 0
    assert contact_sigma(labels, CELL) == 0


def test_a_cube_on_a_thin_stem_may_float():
    labels = _cell(stem=[(3, 5, 5), (4, 5, 5)])
    assert inactive_lithium(labels, CELL) == 0
    assert contact_sigma(labels, CELL) == 8 * (27 - 8)  # all but its corners, which go with the necks


def test_a_floating_cube_that_touches_by_a_corner_may_be_joined():
    labels = _cell(stem=[(3, 3, 3), (4, 3, 3)])
    # The stem reaches the cube's edge diagonally: all 27 voxels of the cube float for faces, none for corners.
    assert inactive_lithium(labels, CELL) == 8 * 27
    assert contact_sigma(labels, CELL) == 8 * 27


def test_a_cube_far_from_everything_is_inactive_for_sure():
    labels = _cell(cube_at=6)
    assert inactive_lithium(labels, CELL) == 8 * 27
    assert contact_sigma(labels, CELL) == 0


@pytest.mark.parametrize("chunks", [{"z": 5}, {"t": 1, "z": 9, "y": 13, "x": 20}])
def test_blocks_do_not_change_the_doubt_of_contacts(chunks):
    labels = symmetric_cell(shape=(40, 32, 32), scans=4, seed=2005).labels
    holes = np.random.default_rng(0).random(labels.shape) < 0.15
    rough = labels.copy(data=np.where(holes, CELL["electrolyte"], labels).astype(np.uint8))
    whole = contact_sigma(rough, CELL)
    assert whole.dims == ("t",)
    assert whole.attrs["units"] == "um3"
    assert float(whole.max()) > 0
    xr.testing.assert_allclose(contact_sigma(rough.chunk(chunks), CELL), whole)
