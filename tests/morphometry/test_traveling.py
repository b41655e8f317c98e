import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.morphometry import traveling_colocalization, traveling_lithium, volumes
from operando.samples import symmetric_cell


@pytest.fixture(scope="module")
def cell():
    return symmetric_cell((64, 48, 48), scans=5, seed=3003)


@pytest.mark.parametrize(("along", "rest"), [("y", ("z", "x")), ("x", ("z", "y")), ("z", ("y", "x"))])
def test_what_left_and_what_arrived_are_the_differences_of_the_volumes(along, rest, cell):
    moved = traveling_lithium(cell.labels, CELL, along=along)
    assert moved.dims == ("component", *rest)
    assert (moved.attrs["first"], moved.attrs["last"]) == (2, 4)
    volume = volumes(cell.labels, CELL)
    change = volume[4] - volume[2]
    total = moved.sum(rest) * 1.33**2
    assert float(total.sel(component="leaving")) == pytest.approx(
        float(change.sel(component=["deposited", "dendrite"]).sum()), rel=1e-5
    )
    assert float(total.sel(component="arriving")) == pytest.approx(float(change.sel(component="redeposited")), rel=1e-5)
    assert float(total.sel(component="leaving")) < 0 < float(total.sel(component="arriving"))


def test_scans_are_named_by_number_or_time(cell):
    named = traveling_lithium(cell.labels, CELL, 2, 3)
    timed = traveling_lithium(cell.labels, CELL, float(cell.t[2]), float(cell.t[3]))
    xr.testing.assert_identical(named, timed)
    assert named.attrs["last"] == 3
    with pytest.raises(InputError, match="got scan 3 as first and 1 as last"):
        traveling_lithium(cell.labels, CELL, 3, 1)


@pytest.mark.parametrize("along", ["y", "z"])
def test_chunks_do_not_change_what_traveled(along, cell):
    lazy = traveling_lithium(cell.labels.chunk({"t": 1, "z": 20, "y": 17, "x": 31}), CELL, along=along)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), traveling_lithium(cell.labels, CELL, along=along))


def _across(arrives_at):
    """Patches of deposit vanish, and come back as redeposited lithium in the columns ``arrives_at``."""
    random = np.random.default_rng(5)
    patches = (random.random((16, 16)) < 0.3).repeat(4, axis=0).repeat(4, axis=1)
    values = np.zeros((2, 12, 64, 64), np.uint8)
    values[:, :2] = values[:, -2:] = CELL["electrode"]
    values[0, 2, patches] = CELL["deposited"]
    values[0, 9] = CELL["pit"]
    values[1, 9][arrives_at(patches)] = CELL["redeposited"]
    return labeled_image(values, voxel_size_um=1.0, t=[0.0, 1.0])


def test_lithium_that_travels_straight_across_is_colocalized():
    table = traveling_colocalization(_across(lambda patches: patches), CELL).set_index("quantity")
    assert table.loc["pearson", "value"] == pytest.approx(1.0)
    assert table.loc["spatial p-value", "value"] == pytest.approx(0.001)
    assert set(table["component"]) == {"leaving~arriving"}
    assert (table.loc["pearson", "scan"], table.loc["pearson", "t"]) == (1, 1.0)


def test_lithium_that_arrives_elsewhere_is_not():
    table = traveling_colocalization(_across(lambda patches: np.roll(patches, (24, 20), (0, 1))), CELL)
    table = table.set_index("quantity")["value"]
    assert abs(table["pearson"]) < table["pearson null limit"]
    assert table["spatial p-value"] > 0.05


def test_sides_of_the_synthetic_cell_are_independent(cell):
    table = traveling_colocalization(cell.labels, CELL, seed=1).set_index("quantity")["value"]
    assert abs(table["pearson"]) < 0.4
    assert table["spatial p-value"] > 0.01
