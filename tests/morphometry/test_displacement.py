import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.core.phases import CELL
from operando.core.quantities import COLUMNS
from operando.morphometry import electrode_displacement, electrode_edges, swelling
from operando.samples import symmetric_cell

PHASES = {"electrolyte": 0, "electrode": 1, "casing": 2}


def _series(*scans, step=2.0, shape=(6, 5)):
    """Scans of two slabs each, given by the planes (low back, low surface, high surface, high back)."""
    values = np.zeros((len(scans), 40, *shape), np.uint8)
    for scan, (back, low, high, end) in zip(values, scans, strict=True):
        scan[:back] = scan[end:] = 2
        scan[back:low] = scan[high:end] = 1
    return labeled_image(values, voxel_size_um=(step, 1.0, 1.0), t=np.arange(len(scans)) + 0.5)


def _value(table, scan, component, quantity="swelling"):
    row = table.query("scan == @scan and component == @component and quantity == @quantity")
    assert len(row) == 1
    return row["value"].item()


def test_surfaces_and_backs_move_by_the_planes_they_were_moved_by():
    series = _series((2, 10, 30, 38), (3, 11, 31, 40), (2, 8, 33, 37))
    surface = electrode_displacement(series, PHASES)
    assert surface.dims == ("t", "component", "y", "x")
    assert surface.attrs["units"] == "um"
    assert surface.mean(("y", "x")).values.tolist() == [[0, 0], [2, 2], [-4, 6]]
    back = electrode_displacement(series, PHASES, face="back")
    assert back.sel(component="low").mean(("y", "x")).values.tolist() == [0, 2, 0]
    # In the second scan the high electrode goes on beyond the field of view.
    assert back.sel(component="high").isnull().all(("y", "x")).values.tolist() == [False, True, False]
    assert float(back.sel(component="high")[2].mean()) == -2.0


def test_displacements_are_counted_from_the_reference():
    series = _series((2, 10, 30, 38), (3, 11, 31, 39), (2, 8, 33, 37))
    for reference in (2, -1, 2.5):
        moved = electrode_displacement(series, PHASES, reference=reference)
        assert moved.attrs["reference"] == 2
        assert moved.mean(("y", "x")).values.tolist() == [[4, -6], [6, -4], [0, 0]]


def test_a_step_in_the_surface_stays_where_it_is():
    series = _series((0, 10, 30, 40), (0, 10, 30, 40))
    values = series.values
    values[1, 30:33, :2] = 0
    moved = electrode_displacement(series.copy(data=values), PHASES).sel(component="high")[1]
    np.testing.assert_array_equal(moved, np.where(np.arange(6)[:, None] < 2, 6.0, 0.0) * np.ones(5))


def test_specks_and_holes_move_no_face():
    series = _series((2, 10, 30, 38), (2, 10, 30, 38))
    values = series.values.copy()
    values[1, [5, 34], 1, 1] = 0
    values[1, 20, 2, 2] = values[1, 0, 3, 3] = 1
    speckled = series.copy(data=values)
    for face in ("surface", "back"):
        assert not electrode_displacement(speckled, PHASES, face=face).any()


def test_swelling_is_the_growth_of_the_gap_and_of_the_cell():
    series = _series((2, 10, 30, 36), (1, 9, 33, 39))
    table = swelling(series, PHASES)
    assert tuple(table.columns) == COLUMNS
    assert set(table["unit"]) == {"um"}
    assert _value(table, 1, "gap") == 8.0
    assert _value(table, 1, "cell") == 8.0
    assert _value(table, 1, "low electrode", "surface displacement") == -2.0
    assert _value(table, 1, "high electrode", "back displacement") == 6.0
    assert set(table["n"]) == {30}
    assert table["t"].unique().tolist() == [0.5, 1.5]


def test_stripping_widens_the_gap_but_does_not_swell_the_cell():
    table = swelling(_series((2, 10, 30, 38), (2, 10, 33, 38)), PHASES)
    assert (_value(table, 1, "gap"), _value(table, 1, "cell")) == (6.0, 0.0)


def test_the_gap_of_the_synthetic_cell_grows_by_the_lithium_that_was_stripped():
    cell = symmetric_cell((64, 48, 48), scans=5, seed=3002)
    table = swelling(cell.labels, CELL)
    half = 2
    stripped = float(cell.stripped_um3[: half + 1].sum()) / (48 * 48 * 1.33**2)
    assert _value(table, half, "gap") == pytest.approx(stripped, rel=1e-6)
    assert _value(table, half, "low electrode", "surface displacement") == 0.0
    # Both foils reach the border of the field of view: how the cell swells cannot be seen.
    assert np.isnan(_value(table, half, "cell"))
    assert table.attrs["simulated"] is True


def test_a_random_shift_of_interfaces_adds_to_the_sigma_of_a_face_once_and_of_the_gap_twice():
    series = _series((2, 10, 30, 38), (2, 10, 33, 38))
    interface = xr.Dataset({"random": ("component", [0.3, 9.0])}, coords={"component": ["electrode", "casing"]})
    table = swelling(series, PHASES, interface=interface).set_index(["scan", "component", "quantity"])["sigma"]
    assert table[1, "high electrode", "surface displacement"] == pytest.approx(0.3 * np.sqrt(2))
    assert table[1, "gap", "swelling"] == pytest.approx(0.6 * np.sqrt(2))
    assert (table[0] == 0).all()
    with pytest.raises(InputError, match="interface must know 'electrode'"):
        swelling(series, PHASES, interface=interface.sel(component=["casing"]))


def test_sigma_of_a_displacement_covers_the_mean_of_a_larger_electrode():
    # Rough displacements correlated over 4 columns: windows of a large map scatter as their sigma says.
    from scipy.ndimage import gaussian_filter

    from operando.morphometry.displacement import _mean

    field = gaussian_filter(np.random.default_rng(3).normal(size=(512, 512)), 4)
    windows = [field[i : i + 64, j : j + 64] for i in range(0, 512, 64) for j in range(0, 512, 64)]
    found = np.array([_mean(window)[:2] for window in windows])
    ratio = (found[:, 0] - field.mean()) / found[:, 1]
    assert 0.8 < ratio.std() < 1.5
    assert found[:, 1].mean() > 3 * field.std() / 64


def test_edges_are_the_electrode_voxels_beside_anything_else():
    series = _series((2, 10, 30, 40))
    edges = electrode_edges(series, phases=PHASES)
    assert edges.dims == ("t", "z", "x")
    assert edges.attrs["units"] == "1"
    assert np.flatnonzero(edges[0, :, 0]).tolist() == [2, 9, 30]
    assert set(np.unique(edges)) == {0.0, 1.0}
    assert electrode_edges(series, phases=PHASES, along="x").dims == ("t", "z", "y")


def test_a_sloping_edge_is_spread_over_the_planes_it_crosses():
    values = np.zeros((20, 4, 3), np.uint8)
    for y in range(4):
        values[: 5 + y, y] = 1
    labels = labeled_image(values)
    edges = electrode_edges(labels, phases=PHASES)
    assert edges[:, 0].values[4:8].tolist() == [0.25] * 4
    assert float(edges.sum()) == 3.0


@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 2, "z": 11, "y": 4, "x": 2}])
def test_chunks_move_no_electrode(chunks):
    series = _series((2, 10, 30, 38), (3, 11, 31, 39), (2, 8, 33, 37))
    lazy = series.chunk(chunks)
    for face in ("surface", "back"):
        moved = electrode_displacement(lazy, PHASES, face=face)
        assert moved.chunks is not None
        xr.testing.assert_identical(moved.compute(), electrode_displacement(series, PHASES, face=face))
    xr.testing.assert_identical(electrode_edges(lazy, phases=PHASES).compute(), electrode_edges(series, phases=PHASES))


def test_what_has_no_displacement_is_named():
    series = _series((2, 10, 30, 38), (3, 11, 31, 39))
    with pytest.raises(InputError, match="'surface' or 'back', got 'outer'"):
        electrode_displacement(series, PHASES, face="outer")
    with pytest.raises(AxesError, match="a series of scans"):
        electrode_displacement(series.isel(t=0), PHASES)
    with pytest.raises(InputError, match="along must be 'y' or 'x'"):
        electrode_edges(series, phases=PHASES, along="z")
