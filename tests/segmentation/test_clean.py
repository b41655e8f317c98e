import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError
from operando.core.phases import CELL
from operando.morphometry import inactive_lithium
from operando.samples import symmetric_cell
from operando.segmentation.clean import clean

ELECTROLYTE, ELECTRODE, DEPOSITED, DENDRITE, PIT, REDEPOSITED = (CELL[name] for name in CELL)


def _empty_cell(shape=(40, 20, 20)):
    values = np.zeros(shape, np.uint8)
    values[:8] = values[-8:] = ELECTRODE
    return labeled_image(values, voxel_size_um=1.0, attrs={"plating_side": "low"})


def _changed(labels, place, value):
    values = labels.values.copy()
    values[place] = value
    return labels.copy(data=values)


def _noisy(truth, seed=0, rate=0.01):
    rng = np.random.default_rng(seed)
    wrong = rng.random(truth.shape) < rate
    values = truth.values.copy()
    values[wrong] = rng.integers(0, 6, wrong.sum())
    return truth.copy(data=values)


@pytest.fixture(scope="module")
def cell():
    return symmetric_cell(shape=(56, 48, 48), scans=4, seed=8)


def test_ground_truth_stays_as_it_is(cell):
    cleaned, report = clean(cell.labels, CELL)
    assert report.attrs["fraction"] < 1e-4
    assert float((cleaned != cell.labels).mean()) == pytest.approx(report.attrs["fraction"])


def test_noise_is_removed_and_no_phase_gets_worse(cell):
    noisy = _noisy(cell.labels)
    cleaned, _ = clean(noisy, CELL)
    assert float((cleaned == cell.labels).mean()) > 0.9985 > float((noisy == cell.labels).mean())
    for number in CELL.ids:
        overlap = []
        for labels in (noisy, cleaned):
            both = ((labels == number) & (cell.labels == number)).sum()
            overlap.append(float(both / ((labels == number) | (cell.labels == number)).sum()))
        assert overlap[1] >= overlap[0]


def test_deposits_are_renamed_by_the_electrode_they_are_near():
    labels = _changed(_empty_cell(), slice(30, 32), DEPOSITED)
    labels = _changed(labels, slice(8, 11), REDEPOSITED)
    cleaned, report = clean(labels, CELL)
    assert (cleaned[30:32] == REDEPOSITED).all()
    assert (cleaned[8:11] == DEPOSITED).all()
    rows = report.set_index("rule")
    assert rows.loc["deposited near the stripping electrode", ["from", "to", "n"]].tolist() == [
        "deposited",
        "redeposited",
        800,
    ]
    assert rows.loc["redeposited near the plating electrode", "n"] == 1200


def test_the_middle_is_found_and_not_half_of_the_field_of_view():
    # Electrodes of 4 and 20 voxels: their middle is at 12, that of the image at 20.
    values = np.zeros((40, 10, 10), np.uint8)
    values[:4] = values[-20:] = ELECTRODE
    values[14] = DEPOSITED
    cleaned, _ = clean(labeled_image(values, attrs={"plating_side": "low"}), CELL)
    assert (cleaned[14] == REDEPOSITED).all()


def test_pits_on_the_plating_side_become_what_is_there():
    labels = _changed(_empty_cell(), (slice(6, 10), slice(None), slice(None)), PIT)
    labels = _changed(labels, (slice(31, 33), slice(None), slice(None)), PIT)
    cleaned, report = clean(labels, CELL, speck_voxels=0)
    # The electrode's surface is now at 6: what the pit covers is electrolyte.
    assert (cleaned[6:10] == ELECTROLYTE).all()
    assert (cleaned[31:33] == PIT).all()
    assert report["n"].sum() == 4 * 400


def test_a_mirrored_cell_is_cleaned_to_the_mirror_image(cell):
    noisy = _noisy(cell.labels)
    mirrored = noisy.copy(data=noisy.values[:, ::-1])
    one, _ = clean(noisy, CELL, plating_side="low")
    other, _ = clean(mirrored, CELL, plating_side="high")
    assert np.mean(one.values != other.values[:, ::-1]) < 1e-4


def test_dead_lithium_above_the_speck_size_is_never_removed():
    labels = _empty_cell()
    labels = _changed(labels, (slice(18, 21), slice(4, 8), slice(4, 7)), DENDRITE)  # 36 voxels
    labels = _changed(labels, (slice(18, 20), slice(14, 16), slice(14, 16)), DENDRITE)  # 8 voxels
    cleaned, report = clean(labels, CELL, speck_voxels=30)
    assert inactive_lithium(cleaned, CELL) == 36
    assert report[["rule", "from", "to", "n"]].values.tolist() == [["speck", "dendrite", "electrolyte", 8]]
    assert clean(labels, CELL, speck_voxels=0)[1].empty


def test_a_small_piece_of_another_lithium_phase_on_lithium_is_no_speck():
    labels = _changed(_empty_cell(), (8, slice(4, 8), slice(4, 8)), DEPOSITED)
    labels = _changed(labels, (9, 5, 5), DENDRITE)
    assert clean(labels, CELL)[1].empty


def test_holes_are_filled_and_open_pockets_are_not():
    labels = _changed(_empty_cell(), (slice(3, 5), slice(4, 6), slice(4, 6)), ELECTROLYTE)
    labels = _changed(labels, (slice(6, 8), slice(10, 12), slice(10, 12)), ELECTROLYTE)
    cleaned, report = clean(labels, CELL)
    assert report[["rule", "from", "to", "n"]].values.tolist() == [["hole", "electrolyte", "electrode", 8]]
    assert (cleaned[6:8, 10:12, 10:12] == ELECTROLYTE).all()


def test_unlabeled_voxels_stay_and_keep_holes_open():
    labels = _changed(_empty_cell(), (3, 4, 4), 255)
    labels = _changed(labels, (3, 4, 5), ELECTROLYTE)
    cleaned, report = clean(labels, CELL)
    assert cleaned[3, 4, 4] == 255
    assert report.empty


@pytest.mark.parametrize("block", [(56, 48, 48), (20, 17, 30), (7, 48, 5)])
def test_blocks_and_chunks_do_not_change_the_result(cell, block):
    noisy = _noisy(cell.labels.isel(t=slice(2, 4)), rate=0.03)
    whole, report = clean(noisy, CELL, speck_voxels=6)
    for given in (noisy, noisy.chunk({"t": 1, "z": 13, "y": 21})):
        cleaned, counts = clean(given, CELL, speck_voxels=6, block=block)
        assert (cleaned.chunks is None) == (given.chunks is None)
        np.testing.assert_array_equal(cleaned, whole)
        assert counts.equals(report)


def test_every_changed_voxel_is_counted_by_scan(cell):
    noisy = _noisy(cell.labels)
    cleaned, report = clean(noisy, CELL)
    assert list(report) == ["scan", "rule", "from", "to", "n"]
    differing = (cleaned != noisy).sum(("z", "y", "x")).values
    counted = report.groupby("scan")["n"].sum().to_numpy()
    np.testing.assert_array_equal(counted, differing)


def test_cleaning_twice_changes_hardly_anything(cell):
    once, _ = clean(_noisy(cell.labels), CELL)
    _, report = clean(once, CELL)
    assert report.attrs["fraction"] < 2e-4


def test_a_single_volume_keeps_dims_coordinates_and_attrs():
    labels = _empty_cell()
    cleaned, report = clean(labels, CELL)
    assert cleaned.dims == labels.dims
    assert cleaned.attrs["plating_side"] == "low"
    xr.testing.assert_equal(cleaned["z"], labels["z"])
    assert report.empty


def test_rules_about_absent_phases_do_not_apply():
    values = np.zeros((20, 6, 6), np.uint8)
    values[:5] = values[-5:] = 1
    values[10, 3, 3] = 1
    _, report = clean(labeled_image(values), {"electrolyte": 0, "electrode": 1}, plating_side="low")
    assert report["rule"].tolist() == ["speck"]


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="plating_side='low' or 'high'"):
        clean(_empty_cell().drop_attrs(), CELL)
    with pytest.raises(InputError, match="whole number >= 0, got -1"):
        clean(_empty_cell(), CELL, speck_voxels=-1)
    with pytest.raises(PhaseError, match=r"got also \[9\]"):
        clean(_changed(_empty_cell(), (1, 1, 1), 9), CELL)
    with pytest.raises(InputError, match="no electrode voxel"):
        clean(labeled_image(np.zeros((9, 4, 4), np.uint8)), CELL, plating_side="low")
