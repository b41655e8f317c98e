import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError
from operando.core.phases import CELL
from operando.morphometry import electrode_surfaces, interface_area

TWO = {"electrolyte": 0, "electrode": 1}


def _ball(radius, voxel_size_um=(1.0, 1.0, 1.0)):
    half = [int(np.ceil(radius / edge)) + 3 for edge in voxel_size_um]
    grid = np.meshgrid(
        *(edge * (np.arange(2 * h + 1) - h + 0.2) for h, edge in zip(half, voxel_size_um, strict=True)), indexing="ij"
    )
    inside = sum(axis**2 for axis in grid) < radius**2
    return labeled_image(inside.astype(np.uint8), voxel_size_um=voxel_size_um)


@pytest.mark.parametrize(("radius", "tolerance"), [(5, 0.03), (10, 0.01), (20, 0.005)])
def test_surface_of_a_ball_is_four_pi_r_squared(radius, tolerance):
    area = interface_area(_ball(radius), TWO).sel(component="electrode").item()
    assert area == pytest.approx(4 * np.pi * radius**2, rel=tolerance)


def test_surface_of_a_ball_does_not_depend_on_unequal_voxel_edges():
    area = interface_area(_ball(20, (2.0, 1.0, 1.25)), TWO).sel(component="electrode").item()
    assert area == pytest.approx(4 * np.pi * 400, rel=0.02)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_along_an_axis_is_understated_by_seven_percent(axis):
    values = np.zeros((120, 120, 120), np.uint8)
    values[(slice(None),) * axis + (slice(0, 60),)] = 1
    area = interface_area(labeled_image(values, voxel_size_um=1.0), TWO).sel(component="electrode").item()
    assert area / 120**2 == pytest.approx(0.927, abs=0.012)


def test_both_sides_of_a_surface_have_the_same_area():
    values = np.random.default_rng(0).integers(0, 2, (9, 9, 9)).astype(np.uint8)
    area = interface_area(labeled_image(values, voxel_size_um=1.0), TWO)
    assert area[0] == area[1]


def test_the_border_of_the_image_and_of_unlabeled_voxels_is_no_surface():
    full = labeled_image(np.ones((5, 5, 5), np.uint8), voxel_size_um=1.0)
    assert interface_area(full, TWO).values.tolist() == [0.0, 0.0]
    half = full.copy(data=np.where(np.arange(5)[:, None, None] < 3, full.values, 255).astype(np.uint8))
    assert interface_area(half, TWO).values.tolist() == [0.0, 0.0]


def test_slabs_and_chunks_do_not_change_an_area(monkeypatch):
    values = np.random.default_rng(1).integers(0, 6, (2, 13, 11, 8)).astype(np.uint8)
    labels = labeled_image(values, voxel_size_um=1.3)
    whole = interface_area(labels, CELL)
    for voxels in (1, 200):
        monkeypatch.setattr(
            "operando.morphometry.interface.slabs.__kwdefaults__", {"overlap": 0, "slab_voxels": voxels}
        )
        xr.testing.assert_allclose(interface_area(labels.chunk({"z": 4, "x": 3}), CELL), whole)


def _cell(low, high, depth=40, voxel_size_um=1.0):
    z = np.arange(depth)[:, None, None]
    values = ((z < low) | (z >= depth - high)).astype(np.uint8)
    return labeled_image(values, voxel_size_um=voxel_size_um)


def test_surfaces_of_flat_electrodes_are_where_they_were_put():
    labels = _cell(np.full((3, 4), 10), np.full((3, 4), 7), voxel_size_um=2.0)
    surfaces = electrode_surfaces(labels, TWO)
    assert surfaces.dims == ("component", "y", "x")
    # Centers are at 0, 2, ...: the face above ten voxels is at 19 um, that below the last seven at 65 um.
    assert np.all(surfaces.sel(component="low") == 19.0)
    assert np.all(surfaces.sel(component="high") == 65.0)


def test_surfaces_of_rough_electrodes_survive_specks_and_holes():
    rng = np.random.default_rng(0)
    low, high = rng.integers(8, 13, (20, 20)), rng.integers(5, 9, (20, 20))
    labels = _cell(low, high, depth=60)
    noisy = labels.copy(data=np.where(rng.random(labels.shape) < 0.03, 1 - labels.values, labels.values))
    surfaces = electrode_surfaces(noisy, TWO)
    assert np.mean(surfaces.sel(component="low").values != low - 0.5) < 0.1
    assert np.mean(surfaces.sel(component="high").values != 59.5 - high) < 0.1


def test_a_column_without_electrode_has_no_surface():
    labels = _cell(np.where(np.arange(16).reshape(4, 4) == 5, 0, 10), np.full((4, 4), 7))
    low = electrode_surfaces(labels, TWO).sel(component="low").values
    assert np.isnan(low[1, 1])
    assert np.isfinite(low).sum() == 15


@pytest.mark.parametrize(("low", "high", "there"), [(9, 0, "low"), (0, 9, "high")])
def test_a_cell_with_one_electrode_has_one_surface(low, high, there):
    surfaces = electrode_surfaces(_cell(np.full((3, 3), low), np.full((3, 3), high)), TWO)
    other = {"low": "high", "high": "low"}[there]
    assert np.isfinite(surfaces.sel(component=there)).all()
    assert np.isnan(surfaces.sel(component=other)).all()


def test_surfaces_are_the_same_from_chunks():
    rng = np.random.default_rng(0)
    labels = _cell(rng.integers(8, 13, (9, 9)), rng.integers(5, 9, (9, 9)))
    xr.testing.assert_identical(
        electrode_surfaces(labels.chunk({"z": 7, "y": 4, "x": 5}), TWO).compute(), electrode_surfaces(labels, TWO)
    )


def test_surfaces_need_an_electrode():
    empty = labeled_image(np.zeros((5, 2, 2), np.uint8), voxel_size_um=1.0)
    with pytest.raises(InputError, match="no electrode voxel"):
        electrode_surfaces(empty, TWO)
    with pytest.raises(PhaseError, match="Did you mean 'electrode'"):
        electrode_surfaces(empty, TWO, electrode="elektrode")
