import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, PhaseError, UnitsError
from operando.core.phases import CELL
from operando.morphometry import contact_area, coverage, flatten, unfilled_area, unfilled_pits, void_depth
from operando.samples import symmetric_cell

PHASES = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3, "pit": 4, "redeposited": 5}


def _columns(*columns, voxel_size_um=(2.0, 1.0, 1.0), **attrs):
    """One scan whose columns along z are given as strings."""
    values = np.array([[int(digit) for digit in column] for column in columns], np.uint8)
    return labeled_image(values.T[:, None, :], voxel_size_um=voxel_size_um, attrs=attrs)


def _series(*scans, voxel_size_um=(2.0, 1.0, 1.0), **attrs):
    parts = [_columns(*columns, voxel_size_um=voxel_size_um) for columns in scans]
    values = np.stack([part.values for part in parts])
    return labeled_image(values, voxel_size_um=voxel_size_um, t=1.0 + np.arange(len(scans)), attrs=attrs)


@pytest.fixture(scope="module")
def cell():
    return symmetric_cell((64, 48, 48), scans=9, seed=3001)


@pytest.mark.parametrize(
    ("column", "voids"),
    [
        ("1100054411", 2),  # bridged
        ("1100555511", 0),  # in contact
        ("1100004411", 0),  # an open pit, nothing redeposited
        ("1100545411", 2),  # one void enclosed in lithium, one at the electrode
        ("1100554511", 1),  # enclosed, the electrode in contact
        ("1144000011", 0),  # a void at the other electrode
        ("1100051411", 1),  # a speck of electrode is not the surface
        ("1105400011", 1),  # electrolyte behind the void does not end it
    ],
)
def test_void_depth_is_the_void_that_redeposited_lithium_closed_over(column, voids):
    labels = _columns(column, plating_side="low")
    assert void_depth(labels, PHASES).item() == 2.0 * voids


def test_turning_the_cell_over_with_its_plating_side_changes_no_void():
    columns = ("1100054411", "1100555511", "1100545411")
    upright = void_depth(_columns(*columns, plating_side="low"), PHASES)
    turned = void_depth(_columns(*(column[::-1] for column in columns)), PHASES, plating_side="high")
    assert upright.values.tolist() == turned.values.tolist() == [[4.0, 0.0, 4.0]]


def test_without_a_side_voids_are_looked_for_at_the_nearer_electrode():
    labels = _columns("1145000011", "1100005411", "1145005411", "1144000511")
    assert void_depth(labels, PHASES).values.tolist() == [[2.0, 2.0, 4.0, 0.0]]
    assert void_depth(labels, PHASES, plating_side="high").values.tolist() == [[2.0, 0.0, 2.0, 4.0]]


def test_columns_without_the_electrode_are_not_known():
    labels = _columns("1100054411", "1100054444", "0000054411", plating_side="low")
    depth = void_depth(labels, PHASES)
    assert np.isnan(depth.values[0, 1])
    assert depth.values[0, [0, 2]].tolist() == [4.0, 4.0]
    assert contact_area(labels, PHASES).values.tolist() == [0.0, 1.0, 0.0]


def test_other_phases_may_be_taken_for_void():
    labels = _columns("1100050411", plating_side="low")
    assert void_depth(labels, PHASES).item() == 2.0
    assert void_depth(labels, PHASES, void=("pit", "electrolyte")).item() == 4.0
    assert void_depth(labels, PHASES, void="electrolyte").item() == 2.0


def test_contact_void_and_bare_add_up_to_the_area_of_the_electrode():
    labels = _columns("1100054411", "1100555511", "1100004411", "1100000511", "1100005411", plating_side="low")
    shares = contact_area(labels, PHASES)
    assert shares["component"].values.tolist() == ["contact", "void", "bare"]
    assert shares.values == pytest.approx([0.4, 0.4, 0.2])
    deep = contact_area(labels, PHASES, deeper_than_um=2.0)
    assert deep.values == pytest.approx([0.6, 0.2, 0.2])


def test_voids_of_the_synthetic_cell_are_its_pits_under_lithium(cell):
    depth = void_depth(cell.labels, CELL)
    assert depth.dims == ("t", "y", "x")
    assert depth.attrs["simulated"] is True
    assert not depth.isel(t=slice(0, 5)).any()
    # In the end every pit that is left lies under lithium: the simulation bridges no other way.
    np.testing.assert_allclose(depth[-1], flatten(cell.labels, "pit")[-1], rtol=1e-6)
    area = contact_area(cell.labels, CELL)
    np.testing.assert_allclose(area.sum("component"), 1.0)
    assert float(area.sel(component="void")[-1]) == pytest.approx(
        float(coverage(cell.labels, CELL).sel(component="pit")[-1])
    )


@pytest.mark.parametrize("measure", [void_depth, contact_area, unfilled_pits, unfilled_area])
@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 2, "z": 20, "y": 17, "x": 31}])
def test_chunks_change_no_void(measure, chunks, cell):
    labels = cell.labels.isel(t=slice(3, 7), y=slice(0, 34), x=slice(0, 40))
    found = measure(labels.chunk(chunks), CELL)
    xr.testing.assert_identical(found.compute(), measure(labels, CELL))


def test_unfilled_pits_are_the_pits_at_half_cycle_less_what_came_back():
    series = _series(("1100000011", "1100000011"), ("1100044411", "1100000411"), ("1100054411", "1100555511"))
    depth = unfilled_pits(series, PHASES)
    assert depth["scan"].values.tolist() == [1, 2]
    assert depth["t"].values.tolist() == [2.0, 3.0]
    assert depth.values[:, 0].tolist() == [[6.0, 2.0], [4.0, 0.0]]
    assert depth.attrs["half_cycle"] == 1


def test_lithium_that_closes_over_a_void_fills_it_by_difference_only():
    series = _series(("1100004411",), ("1100554411",))
    assert unfilled_pits(series, PHASES).values.ravel().tolist() == [4.0, 0.0]
    assert unfilled_pits(series, PHASES, by="label").values.ravel().tolist() == [4.0, 4.0]
    area = unfilled_area(series, PHASES)
    assert area.sel(component="unfilled pits").values.tolist() == [1.0, 0.0]
    assert area.sel(component="unfilled pits by label").values.tolist() == [1.0, 1.0]


def test_half_cycle_is_the_scan_with_most_pits_or_the_one_named(cell):
    found = unfilled_pits(cell.labels, CELL)
    assert found.attrs["half_cycle"] == 4
    named = unfilled_pits(cell.labels, CELL, half_cycle=4)
    timed = unfilled_pits(cell.labels, CELL, half_cycle=float(cell.t[4]) + 0.01)
    xr.testing.assert_identical(found, named)
    xr.testing.assert_identical(found, timed)
    assert unfilled_pits(cell.labels, CELL, half_cycle=-3).sizes["t"] == 3


def test_pits_of_the_synthetic_cell_fill_and_what_is_bridged_stays_by_label(cell):
    area = unfilled_area(cell.labels, CELL)
    assert area.isel(t=slice(0, 4)).isnull().all()
    since = area.isel(t=slice(4, None))
    assert (since.sel(component="unfilled pits").diff("t") < 0).all()
    assert (since.sel(component="unfilled pits by label") >= since.sel(component="unfilled pits")).all()
    np.testing.assert_allclose(
        since.sel(component="pits at half cycle"), float(coverage(cell.labels, CELL).sel(component="pit")[4])
    )
    depth = unfilled_pits(cell.labels, CELL)
    np.testing.assert_allclose((depth > 0).mean(("y", "x")), since.sel(component="unfilled pits"))


def test_what_voids_cannot_be_made_of_is_named():
    series = _series(("1100044411",), ("1100054411",))
    with pytest.raises(AxesError, match="a series of scans"):
        unfilled_pits(series.isel(t=0), PHASES)
    with pytest.raises(InputError, match="from -2 to 1, got 7"):
        unfilled_pits(series, PHASES, half_cycle=7)
    with pytest.raises(InputError, match=r"1 and 2, got 7\.0"):
        unfilled_pits(series, PHASES, half_cycle=7.0)
    with pytest.raises(InputError, match="'difference' or 'label', got 'labels'"):
        unfilled_pits(series, PHASES, by="labels")
    with pytest.raises(PhaseError, match="role 'void'"):
        void_depth(series, {"electrode": 1, "electrolyte": 0, "gap": 4, "redeposited": 5})
    with pytest.raises(PhaseError, match="no phase 'redeposit'"):
        void_depth(series, PHASES, redeposited="redeposit")
    with pytest.raises(InputError, match="scan 0: two electrodes"):
        void_depth(series.where(series != 1, 0).astype(np.uint8), PHASES)
    with pytest.raises(InputError, match="deeper_than_um must not be negative"):
        contact_area(series, PHASES, deeper_than_um=-1)
    with pytest.raises(UnitsError, match="void_depth: a length is needed"):
        void_depth(labeled_image(series.values), PHASES)
