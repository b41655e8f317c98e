import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError, UnitsError
from operando.core.phases import CELL
from operando.morphometry import SIDE_SCHEME, lithium_by_side, side_labels, volumes
from operando.samples import symmetric_cell


def _column(*labels, voxel_size_um=1.0):
    return labeled_image(np.array(labels, np.uint8).reshape(-1, 1, 1), voxel_size_um=voxel_size_um)


def test_electrodes_are_split_in_the_middle_and_deposits_by_definition():
    # A dendrite that has grown past the middle still belongs to the plating side.
    column = _column(1, 1, 2, 3, 3, 3, 3, 0, 4, 5, 1)
    assert lithium_by_side(column, CELL, plating_side="low").values.tolist() == [7.0, 2.0]
    # Without definitions the position decides: the gap from 2 to 10 has its middle at 6.
    assert lithium_by_side(column, CELL, plating_side="low", side_of={}).values.tolist() == [6.0, 3.0]


def test_mirroring_the_cell_and_its_plating_side_changes_nothing():
    column = _column(1, 1, 1, 2, 2, 0, 0, 4, 5, 1, 1)
    mirrored = column.copy(data=column.values[::-1])
    xr.testing.assert_identical(
        lithium_by_side(column, CELL, plating_side="low"), lithium_by_side(mirrored, CELL, plating_side="high")
    )


def test_both_sides_together_hold_all_lithium():
    cell = symmetric_cell(shape=(48, 32, 32), scans=3, seed=5)
    total = volumes(cell.labels, CELL).sel(component=list(CELL.names_by_role("lithium"))).sum("component")
    np.testing.assert_allclose(lithium_by_side(cell.labels, CELL).sum("component"), total)


def test_the_plating_side_is_taken_from_the_labels_or_asked_for():
    column = _column(1, 1, 2, 0, 0, 1)
    with pytest.raises(InputError, match="plating_side='low' or 'high'"):
        lithium_by_side(column, CELL)
    with pytest.raises(InputError, match="Did you mean 'low'"):
        lithium_by_side(column, CELL, plating_side="lower")
    assert lithium_by_side(column.assign_attrs(plating_side="low"), CELL).values.tolist() == [3.0, 1.0]


def test_lithium_must_be_known_as_such():
    column = _column(1, 1, 0, 1)
    with pytest.raises(PhaseError, match="role 'lithium'"):
        lithium_by_side(column, {"gap": 0, "metal": 1}, plating_side="low")
    sides = lithium_by_side(
        column, {"gap": 0, "metal": 1}, plating_side="low", lithium=["metal"], electrode="metal", side_of={}
    )
    assert sides.values.tolist() == [2.0, 1.0]
    with pytest.raises(PhaseError, match="Did you mean 'dendrite'"):
        lithium_by_side(column, CELL, plating_side="low", side_of={"dendrit": "plating"})
    with pytest.raises(InputError, match="must be one of"):
        lithium_by_side(column, CELL, plating_side="low", side_of={"dendrite": "left"})
    with pytest.raises(UnitsError, match="calibrate"):
        lithium_by_side(_column(1, 0, 1, voxel_size_um=None), CELL, plating_side="low")


def test_side_labels_are_lazy_and_the_same_from_chunks():
    cell = symmetric_cell(shape=(40, 32, 32), scans=2, seed=6)
    whole = side_labels(cell.labels, CELL)
    lazy = side_labels(cell.labels.chunk({"t": 1, "z": 11, "y": 20}), CELL)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, whole)
    assert set(np.unique(whole)) == set(SIDE_SCHEME.ids)
