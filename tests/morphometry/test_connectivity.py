import cc3d
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CELL, PhaseScheme
from operando.morphometry import inactive_lithium, inactive_mask
from operando.morphometry.components import joined_sets
from operando.morphometry.connectivity import COLLECTORS
from operando.samples import symmetric_cell

LITHIUM = PhaseScheme({"polymer": 0, "metal": 1}, roles={"metal": "lithium"})


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


def _pieces(labels, connectivity, collectors):
    """Lithium in contact with the collectors, and without contact at an open face, by labeling everything at once."""
    values = labels.values > 0
    found = cc3d.connected_components(values, connectivity=connectivity)
    planes = {face: np.take(found, 0 if face[1] == "0" else -1, axis="zyx".index(face[0])) for face in COLLECTORS}
    contact = np.isin(found, np.concatenate([planes[face].ravel() for face in collectors]))
    at_border = np.isin(found, np.concatenate([planes[f].ravel() for f in COLLECTORS if f not in collectors]))
    return values & ~contact & ~at_border, values & ~contact & at_border


@pytest.mark.parametrize(
    ("collectors", "connectivity", "slab_voxels"),
    [(("z0", "z1"), 6, 1), (("z0", "z1"), 26, 3000), (("z0",), 18, 3000), (("y1", "x0"), 6, 3000), ("z1", 6, 10**7)],
)
def test_contact_with_collectors_is_what_the_whole_volume_shows(collectors, connectivity, slab_voxels):
    labels = _sponge()
    labels.attrs = {}
    dead, unknown = _pieces(labels, connectivity, (collectors,) if collectors == "z1" else collectors)
    assert dead.sum() > 5
    assert unknown.sum() > 5
    options = {"collectors": collectors, "connectivity": connectivity, "slab_voxels": slab_voxels}
    for given in (labels, labels.chunk({"z": 7, "y": 11})):
        found = inactive_lithium(given, CELL, **options)
        assert found.item() == dead.sum()
        assert found["unknown"].item() == unknown.sum()
        np.testing.assert_array_equal(inactive_mask(given, CELL, **options), dead)
        counted = inactive_lithium(given, CELL, border="inactive", **options)
        assert counted.item() == dead.sum() + unknown.sum()
        assert counted["unknown"].item() == unknown.sum()
    np.testing.assert_array_equal(inactive_mask(labels, CELL, border="inactive", **options), dead | unknown)


def test_attributes_state_how_contact_was_judged():
    attrs = inactive_lithium(_sponge(), CELL, collectors=("z0", "z1"), connectivity=26).attrs
    assert (attrs["collectors"], attrs["connectivity"], attrs["border"]) == ("z0 z1", 26, "unknown")
    assert "not counted" in attrs["unknown"]
    attrs = inactive_lithium(_sponge(), CELL).attrs
    assert (attrs["collectors"], attrs["connectivity"], attrs["border"]) == ("electrodes", 6, "inactive")


def _floating(y):
    """A cell of electrodes at both ends of z and one floating voxel of dendrite."""
    values = np.zeros((12, 5, 5), np.uint8)
    values[:3] = values[-3:] = 1
    values[6, y, 2] = 3
    return labeled_image(values, voxel_size_um=2.0)


def test_a_piece_inside_is_inactive_and_one_at_a_lateral_face_unknown():
    inside, outside = (inactive_lithium(_floating(y), CELL, collectors=("z0", "z1")) for y in (2, 0))
    assert (inside.item(), inside["unknown"].item()) == (8.0, 0.0)
    assert (outside.item(), outside["unknown"].item()) == (0.0, 8.0)
    # The ledger counts it: there, contact is the labeled electrode.
    ledger = inactive_lithium(_floating(0), CELL, plating_side="low")
    assert (ledger.item(), ledger["unknown"].item()) == (8.0, 8.0)
    kept = inactive_lithium(_floating(0), CELL, plating_side="low", border="unknown")
    assert (kept.item(), kept["unknown"].item()) == (0.0, 8.0)


def test_a_lateral_collector_makes_contact():
    labels = _floating(0)
    found = inactive_lithium(labels, CELL, collectors=("z0", "z1", "y0"))
    assert (found.item(), found["unknown"].item()) == (0.0, 0.0)


def test_an_electrode_that_reaches_no_collector_leaves_the_field_of_view():
    # Only the foil at low z is in contact; the one at high z goes on through three open faces.
    found = inactive_lithium(_floating(2), CELL, collectors=("z0",))
    assert (found.item(), found["unknown"].item()) == (8.0, 3 * 25 * 8.0)
    counted = inactive_lithium(_floating(2), CELL, collectors="z0", border="inactive")
    assert counted.item() == 8.0 + 3 * 25 * 8.0


def test_lithium_needs_no_electrode_where_there_are_collectors():
    values = np.zeros((8, 5, 5), np.uint8)
    values[:4, 2, 2] = values[6, 2, 2] = 1
    found = inactive_lithium(labeled_image(values, voxel_size_um=1.0), LITHIUM, collectors=("z0", "z1"))
    assert (found.item(), found["unknown"].item()) == (1.0, 0.0)
    with pytest.raises(InputError, match="side that is plated"):
        inactive_lithium(labeled_image(values, voxel_size_um=1.0), LITHIUM)


def test_both_sides_count_where_nobody_says_which_is_plated():
    values = np.zeros((20, 5, 5), np.uint8)
    values[:3] = values[-3:] = 1
    values[6, 2, 2] = 3
    values[13:15, 2, 2] = 5
    labels = labeled_image(values, voxel_size_um=1.0)
    ends = ("z0", "z1")
    assert inactive_lithium(labels, CELL, collectors=ends).item() == 3
    assert inactive_lithium(labels, CELL, collectors=ends, plating_side="low").item() == 1
    assert inactive_lithium(labels, CELL, collectors=ends, plating_side="low", side="stripping").item() == 2
    assert inactive_lithium(labels, CELL, collectors=ends, plating_side="low", side=None).item() == 3
    assert inactive_lithium(labels.assign_attrs(plating_side="low"), CELL, collectors=ends).item() == 1


def test_a_single_section_has_no_lateral_faces():
    values = np.zeros((12, 1, 5), np.uint8)
    values[:3] = values[-3:] = 1
    values[6, 0, 2], values[5, 0, 0] = 3, 3
    found = inactive_lithium(labeled_image(values, voxel_size_um=1.0), CELL, collectors=("z0", "z1"))
    assert (found.item(), found["unknown"].item()) == (1.0, 1.0)


def test_the_end_without_an_electrode_is_open():
    values = np.zeros((12, 5, 5), np.uint8)
    values[:3] = 1
    values[6, 2, 2], values[-1, 2, 2] = 3, 3
    found = inactive_lithium(labeled_image(values, voxel_size_um=1.0), CELL, plating_side="low")
    assert (found.item(), found["unknown"].item()) == (2.0, 1.0)


def test_contact_with_the_foils_of_the_synthetic_cell_is_its_truth():
    cell = symmetric_cell(shape=(64, 48, 48), scans=5, seed=3)
    found = inactive_lithium(cell.labels, cell.labels.attrs["phases"], collectors=("z0", "z1"), border="inactive")
    np.testing.assert_allclose(found, cell["inactive_um3"])
    known = inactive_lithium(cell.labels, CELL, collectors=("z0", "z1"))
    np.testing.assert_allclose(known + known["unknown"], cell["inactive_um3"])
    assert known["unknown"].dims == ("t",)
    assert known.attrs["simulated"] is True


def test_unknown_collectors_and_borders_are_refused():
    with pytest.raises(InputError, match="a collector must be one of z0, z1, y0, y1, x0, x1"):
        inactive_lithium(_sponge(), CELL, collectors=("z", "z1"))
    with pytest.raises(InputError, match="at least one collector"):
        inactive_lithium(_sponge(), CELL, collectors=())
    with pytest.raises(InputError, match="border must be 'unknown' or 'inactive', got 'open'"):
        inactive_lithium(_sponge(), CELL, border="open")
