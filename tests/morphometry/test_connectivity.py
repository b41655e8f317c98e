import cc3d
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.morphometry import inactive_lithium, inactive_mask
from operando.morphometry.components import joined_sets
from operando.samples import symmetric_cell


def _sponge(shape=(40, 30, 34), seed=0):
    """A random sponge of dendrite between two electrodes."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1)
    values = np.where(field > 0.1, 3, 0).astype(np.uint8)
    values[:4] = values[-4:] = 1
    return labeled_image(values, voxel_size_um=1.0, attrs={"plating_side": "low"})


def _dead(labels, connectivity):
    """The same by labeling the whole volume at once."""
    found = cc3d.connected_components(labels.values > 0, connectivity=connectivity)
    joined = np.unique([found[:4], found[-4:]])
    return (labels.values > 0) & ~np.isin(found, joined)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("slab_voxels", [1, 3000, 10**7])
def test_slab_by_slab_finds_what_the_whole_volume_shows(connectivity, slab_voxels):
    labels = _sponge()
    dead = _dead(labels, connectivity)
    assert dead.sum() > 20
    options = {"connectivity": connectivity, "slab_voxels": slab_voxels}
    for given in (labels, labels.chunk({"z": 7, "y": 11})):
        assert inactive_lithium(given, CELL, **options).item() == dead.sum()
        mask = inactive_mask(given, CELL, **options)
        assert (mask.chunks is None) == (given.chunks is None)
        np.testing.assert_array_equal(mask, dead)


def test_truth_of_the_synthetic_cell_is_found():
    cell = symmetric_cell(shape=(64, 48, 48), scans=5, seed=3)
    found = inactive_lithium(cell.labels, CELL)
    assert found.max() > 0
    np.testing.assert_allclose(found, cell["inactive_um3"])
    assert found.dims == ("t",)
    assert found.attrs["units"] == "um3"
    np.testing.assert_allclose(inactive_mask(cell.labels, CELL).sum(("z", "y", "x")) * 1.33**3, found)


def test_lithium_that_winds_through_many_slabs_stays_connected():
    # A comb whose teeth are joined only at its far end: sets must merge across slabs late.
    values = np.zeros((30, 3, 21), np.uint8)
    values[:2] = values[-2:] = 1
    values[3:25, 1, ::2] = 3
    values[24, 1, :] = 3
    floating = labeled_image(values, voxel_size_um=1.0)
    size = int((values == 3).sum())
    assert inactive_lithium(floating, CELL, plating_side="low", slab_voxels=1).item() == size
    values[2, 1, 0] = 3
    rooted = labeled_image(values, voxel_size_um=1.0)
    assert inactive_lithium(rooted, CELL, plating_side="low", slab_voxels=1).item() == 0


def test_a_speck_labeled_electrode_is_no_electrode():
    values = np.zeros((20, 4, 4), np.uint8)
    values[:3] = values[-3:] = 1
    values[8:10, 1, 1] = 3
    values[10, 1, 1] = 1
    labels = labeled_image(values, voxel_size_um=1.0)
    assert inactive_lithium(labels, CELL, plating_side="low", side=None).item() == 3
    # The speck lies past the middle, on the stripping side; the dendrite is of the plating side by definition.
    assert inactive_lithium(labels, CELL, plating_side="low").item() == 2
    assert inactive_lithium(labels, CELL, plating_side="low", side="stripping").item() == 1


def test_diagonal_contact_counts_for_26_neighbors_only():
    values = np.zeros((12, 4, 4), np.uint8)
    values[:3] = values[-3:] = 1
    values[3, 1, 1] = 2
    values[4, 2, 2] = 3
    labels = labeled_image(values, voxel_size_um=2.0)
    amounts = [inactive_lithium(labels, CELL, plating_side="low", connectivity=n).item() for n in (6, 18, 26)]
    assert amounts == [8.0, 8.0, 0.0]


def test_components_are_joined_with_64_bit_numbers():
    joined = joined_sets(6, np.array([[5, 4], [4, 3], [1, 0]]))
    assert joined.dtype == np.int64
    assert joined.tolist() == [0, 0, 2, 3, 3, 3]
    chain = np.stack([np.arange(1, 5000), np.arange(4999)], axis=1)
    shuffled = np.random.default_rng(0).permutation(chain)
    assert not joined_sets(5000, shuffled).any()


def test_unknown_connectivity_and_side_are_refused():
    with pytest.raises(InputError, match="6, 18 or 26 neighbors, got 4"):
        inactive_lithium(_sponge(), CELL, connectivity=4)
    with pytest.raises(InputError, match="'plating', 'stripping' or None"):
        inactive_lithium(_sponge(), CELL, side="left")
