"""Boundaries of collector, lithium and ceramic."""

import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError, UnitsError
from operando.core.phases import CERAMIC_CELL, UNLABELED
from operando.morphometry import BOUNDARIES, electrode_boundaries, electrode_thickness

COLLECTOR, LITHIUM, PORE, CERAMIC, CERAMIC_PORE = 3, 1, 2, 0, 4


def column(*values):
    return labeled_image(np.array(values, np.uint8).reshape(-1, 1, 1), voxel_size_um=2.0)


def cell(ny=20, nx=24, seed=0):
    """Rough layers with the faces (in voxels) between them."""
    rng = np.random.default_rng(seed)
    faces = np.array([6, 20, 44, 58])[:, None, None] + rng.integers(-3, 4, (4, ny, nx))
    z = np.arange(64)[:, None, None]
    labels = np.array([COLLECTOR, LITHIUM, CERAMIC, LITHIUM, COLLECTOR], np.uint8)[(z >= faces[:, None]).sum(axis=0)]
    return labels, faces


def test_rough_boundaries_are_found_to_the_voxel_face():
    labels, faces = cell()
    found = electrode_boundaries(labeled_image(labels, voxel_size_um=1.5), CERAMIC_CELL)
    assert found.dims == ("component", "y", "x")
    assert found.dtype == np.float32
    assert found.attrs["units"] == "um"
    assert tuple(found.component.values) == BOUNDARIES
    np.testing.assert_allclose(found.values, 1.5 * (faces - 0.5))


def test_scattered_specks_of_all_phases_move_no_boundary_by_more_than_a_voxel():
    labels, faces = cell()
    rng = np.random.default_rng(1)
    wrong = rng.random(labels.shape) < 0.03
    labels[wrong] = rng.integers(0, 5, wrong.sum())
    found = electrode_boundaries(labeled_image(labels, voxel_size_um=1.0), CERAMIC_CELL)
    off = np.abs(found.values - (faces - 0.5))
    assert (off == 0).mean() > 0.9
    assert off.mean() < 0.1


def test_a_pore_at_the_interface_is_lithium_and_an_electrolyte_pore_is_ceramic():
    found = electrode_boundaries(column(COLLECTOR, LITHIUM, PORE, CERAMIC, CERAMIC), CERAMIC_CELL)
    other = electrode_boundaries(column(COLLECTOR, LITHIUM, CERAMIC_PORE, CERAMIC, CERAMIC), CERAMIC_CELL)
    assert found.sel(component="low interface").item() == 5.0
    assert other.sel(component="low interface").item() == 3.0


def test_a_layer_of_pores_thinner_than_the_lithium_behind_it_does_not_split_the_ceramic():
    values = [COLLECTOR] * 2 + [LITHIUM] * 5 + [CERAMIC] * 3 + [LITHIUM] * 2 + [CERAMIC] * 6 + [LITHIUM] * 5
    found = electrode_boundaries(column(*values), CERAMIC_CELL)
    assert found.sel(component="low interface").item() == 2 * 7 - 1
    assert found.sel(component="high interface").item() == 2 * 18 - 1


def test_lithium_that_is_stripped_to_the_collector_has_the_thickness_zero():
    found = electrode_boundaries(column(COLLECTOR, COLLECTOR, CERAMIC, CERAMIC, LITHIUM, COLLECTOR), CERAMIC_CELL)
    thickness = electrode_thickness(found)
    assert thickness.sel(component="low").item() == 0.0
    assert thickness.sel(component="high").item() == 2.0


def test_what_is_not_in_a_column_is_missing():
    found = electrode_boundaries(column(CERAMIC, CERAMIC, LITHIUM, COLLECTOR), CERAMIC_CELL)
    assert np.isnan(found.sel(component=["low collector", "low interface"])).all()
    assert found.sel(component=["high interface", "high collector"]).values.ravel().tolist() == [3.0, 5.0]
    assert np.isnan(electrode_boundaries(column(UNLABELED, UNLABELED), CERAMIC_CELL)).all()


def test_unlabeled_voxels_contradict_nothing():
    found = electrode_boundaries(column(COLLECTOR, UNLABELED, LITHIUM, CERAMIC, UNLABELED, LITHIUM), CERAMIC_CELL)
    assert found.sel(component="low interface").item() == 5.0
    assert found.sel(component="low collector").item() == 1.0


def test_a_series_keeps_its_time_and_lazy_labels_give_the_same():
    first, _ = cell(seed=2)
    second, _ = cell(seed=3)
    series = labeled_image(np.stack([first, second]), voxel_size_um=1.0, t=[0.0, 2.0]).assign_attrs(
        phases=CERAMIC_CELL.to_dict()
    )
    whole = electrode_boundaries(series)
    lazy = electrode_boundaries(series.chunk({"t": 1, "z": 10, "y": 7, "x": 9}))
    assert lazy.chunks is not None
    assert whole["t"].values.tolist() == [0.0, 2.0]
    np.testing.assert_array_equal(whole, lazy.compute())


def test_turning_the_cell_over_turns_the_boundaries_over():
    labels, _ = cell()
    upright = electrode_boundaries(labeled_image(labels, voxel_size_um=1.0), CERAMIC_CELL)
    turned = electrode_boundaries(labeled_image(labels[::-1].copy(), voxel_size_um=1.0), CERAMIC_CELL)
    np.testing.assert_allclose(63 - turned.values[::-1], upright.values)


def test_other_phases_can_make_up_the_layers():
    labels = column(1, 1, 5, 0, 0)
    phases = {"electrolyte": 0, "electrode": 1, "redeposited": 5}
    assert electrode_boundaries(labels, phases).sel(component="low interface").item() == 3.0
    found = electrode_boundaries(labels, phases, lithium=["electrode", "redeposited"])
    assert found.sel(component="low interface").item() == 5.0


def test_what_cannot_be_found_says_why():
    with pytest.raises(PhaseError, match="electrode_boundaries: a phase called 'electrode'"):
        electrode_boundaries(column(0, 1), {"electrolyte": 0, "metal": 1})
    with pytest.raises(PhaseError, match="Did you mean 'electrode'"):
        electrode_boundaries(column(0, 1), {"electrolyte": 0, "electrode": 1}, lithium=["elektrode"])
    with pytest.raises(UnitsError, match="voxel size"):
        electrode_boundaries(labeled_image(np.zeros((2, 2, 2), np.uint8)), CERAMIC_CELL)
    found = electrode_boundaries(column(3, 1, 0, 1, 3), CERAMIC_CELL)
    with pytest.raises(InputError, match="boundaries must have the components"):
        electrode_thickness(found.isel(component=[0, 1]))
    with pytest.raises(InputError, match="boundaries must be in um"):
        electrode_thickness(found.assign_attrs(units="px"))
