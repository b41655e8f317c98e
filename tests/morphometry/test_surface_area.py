"""Surface area by four estimators."""

from math import pi, sqrt

import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, PhaseError
from operando.core.phases import UNLABELED
from operando.morphometry import interface_area, surface_area

METHODS = ("faces", "marching cubes", "smoothed marching cubes", "crofton")


def ball(radius, edges=(1.0, 1.0, 1.0)):
    axes = [np.arange(-int(radius / edge) - 3, int(radius / edge) + 4) * edge for edge in edges]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 <= radius**2


@pytest.mark.parametrize(
    ("method", "error", "tolerance"),
    [
        ("faces", 0.50, 0.02),
        ("marching cubes", 0.087, 0.006),
        ("smoothed marching cubes", 0, 0.01),
        ("crofton", 0, 0.006),
    ],
)
@pytest.mark.parametrize("radius", [10, 20, 30])
def test_a_ball_has_the_error_that_the_estimator_is_said_to_have(method, error, tolerance, radius):
    found = surface_area(ball(radius), 1, method=method).item()
    assert found / (4 * pi * radius**2) - 1 == pytest.approx(error, abs=tolerance)


def test_a_ball_smoothed_by_a_whole_gaussian_of_0_7_voxel_is_overstated_by_0_6_percent():
    found = surface_area(ball(20), 1, method="smoothed marching cubes", smoothing_voxels=0.7, reach_voxels=3).item()
    assert found / (4 * pi * 20**2) - 1 == pytest.approx(0.006, abs=0.001)


@pytest.mark.parametrize("method", METHODS)
def test_a_ball_of_unequal_voxels_has_the_area_of_the_ball(method):
    edges = (2.0, 1.0, 1.25)
    image = labeled_image(ball(16, edges).astype(np.uint8), voxel_size_um=edges)
    equal = {"faces": 0.50, "marching cubes": 0.09}.get(method, 0)
    assert surface_area(image, 1, method=method).item() / (4 * pi * 16**2) - 1 == pytest.approx(equal, abs=0.04)


@pytest.mark.parametrize("method", ["faces", "marching cubes", "smoothed marching cubes"])
def test_a_plane_along_an_axis_is_exact_up_to_its_rim(method):
    labels = np.zeros((12, 21, 21), np.uint8)
    labels[:6] = 1
    # Marching cubes reach from voxel center to voxel center, faces from edge to edge.
    side = 21 if method == "faces" else 20
    assert surface_area(labels, 1, method=method).item() == pytest.approx(side**2)


def test_one_voxel_is_a_cube_by_faces_and_an_octahedron_by_marching_cubes():
    voxel = np.zeros((3, 3, 3), bool)
    voxel[1, 1, 1] = True
    assert surface_area(voxel, True, method="faces").item() == 6.0
    assert surface_area(voxel, True, method="marching cubes").item() == pytest.approx(sqrt(3))
    assert surface_area(voxel, True, method="smoothed marching cubes").item() == 0.0


def test_crofton_is_the_interface_area():
    labels = labeled_image(
        np.random.default_rng(0).integers(0, 3, (9, 10, 11)).astype(np.uint8), voxel_size_um=(1, 2, 1.5)
    )
    expected = interface_area(labels, {"a": 0, "b": 1, "c": 2})
    for name, number in {"a": 0, "b": 1, "c": 2}.items():
        found = surface_area(labels, number, method="crofton")
        assert found.item() == pytest.approx(expected.sel(component=name).item())
        assert found.attrs["units"] == "um2"


def test_marching_cubes_are_those_of_the_whole_volume_at_once():
    from skimage.measure import marching_cubes, mesh_surface_area

    rng = np.random.default_rng(1)
    mask = rng.random((14, 15, 16)) < 0.4
    vertices, faces, _, _ = marching_cubes(mask.astype(np.float32), 0.5, method="lewiner", spacing=(2.0, 1.0, 1.0))
    image = labeled_image(mask.astype(np.uint8), voxel_size_um=(2.0, 1.0, 1.0))
    assert surface_area(image, 1, method="marching-cubes").item() == pytest.approx(
        mesh_surface_area(vertices, faces), rel=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_slabs_and_chunks_change_nothing(method, monkeypatch):
    rng = np.random.default_rng(2)
    labels = labeled_image((rng.random((23, 12, 13)) < 0.5).astype(np.uint8), voxel_size_um=1.0)
    whole = surface_area(labels, 1, method=method, reach_voxels=2, specific=True).item()
    monkeypatch.setattr("operando.morphometry.interface.slab_planes", lambda scan, voxels: 2)
    assert surface_area(labels, 1, method=method, reach_voxels=2, specific=True).item() == pytest.approx(whole)
    lazy = labels.chunk({"z": 5, "y": 6, "x": 13})
    assert surface_area(lazy, 1, method=method, reach_voxels=2, specific=True).item() == pytest.approx(whole)


@pytest.mark.parametrize("method", METHODS)
def test_the_border_of_unlabeled_voxels_is_no_surface(method):
    labels = np.ones((16, 16, 16), np.uint8)
    labels[:, :, 8:] = UNLABELED
    image = labeled_image(labels, voxel_size_um=1.0)
    assert surface_area(image, 1, method=method).item() == 0.0
    labels[:4] = 0
    # What is left is a plane, seen from y = 0 to 16 and x = 0 to 8 (between centers: 15 x 7; smoothing may reach in).
    found = surface_area(labeled_image(labels, voxel_size_um=1.0), 1, method=method).item()
    assert 0.8 * 15 * 7 < found <= 16 * 8


def test_255_is_a_label_like_others_in_a_plain_array():
    image = np.zeros((5, 5, 5), np.uint8)
    image[2, 2, 2] = 255
    assert surface_area(image, 255, method="faces").item() == surface_area(image, 0, method="faces").item() == 6.0


@pytest.mark.parametrize("method", METHODS)
def test_area_scales_with_the_square_of_the_voxel_size(method):
    mask = ball(6).astype(np.uint8)
    small, large = (surface_area(labeled_image(mask, voxel_size_um=size), 1, method=method) for size in (1.0, 3.0))
    assert large.item() == pytest.approx(9 * small.item())
    pixels = surface_area(labeled_image(mask), 1, method=method)
    assert pixels.item() == pytest.approx(small.item())
    assert pixels.attrs["units"] == "px2"


def test_a_series_is_measured_scan_by_scan_and_specific_area_is_per_volume():
    scans = np.zeros((2, 6, 6, 6), np.uint8)
    scans[0, 2, 2, 2] = scans[1, 2:4, 2, 2] = 1
    series = labeled_image(scans, voxel_size_um=2.0, t=[0.0, 1.0], attrs={"phases": {"electrode": 0, "pore": 1}})
    found = surface_area(series, "pore", method="face counting", specific=True)
    assert found.dims == ("t",)
    assert found.attrs["units"] == "um-1"
    np.testing.assert_allclose(found.values, np.array([6, 10]) * 4 / (216 * 8))


def test_published_specific_surfaces_of_the_three_phase_electrode_are_reproduced(data_folder):
    tifffile = pytest.importorskip("tifffile")
    path = data_folder / "taufactor-reference" / "electrode.tiff"
    if not path.exists():
        pytest.skip(f"the published electrode is not here: {path}")
    electrode = tifffile.imread(path)
    for method, published in {
        "faces": (0.306837, 0.146105, 0.342226),
        "marching cubes": (0.222681, 0.104184, 0.253999),
    }.items():
        found = [surface_area(electrode, phase, method=method, specific=True).item() for phase in (0, 85, 170)]
        np.testing.assert_allclose(found, published, rtol=2e-5)


@pytest.mark.slow
def test_published_smoothed_surfaces_of_the_three_phase_electrode_are_reproduced(data_folder):
    tifffile = pytest.importorskip("tifffile")
    path = data_folder / "taufactor-reference" / "electrode.tiff"
    if not path.exists():
        pytest.skip(f"the published electrode is not here: {path}")
    electrode = tifffile.imread(path)
    found = [
        surface_area(electrode, phase, method="smoothed_marching_cubes", specific=True).item() for phase in (0, 85, 170)
    ]
    np.testing.assert_allclose(found, (0.146681, 0.092255, 0.148839), rtol=5e-5)


def test_what_cannot_be_measured_says_why():
    mask = ball(3)
    with pytest.raises(InputError, match=r"method must be one of .*Did you mean 'marching cubes'"):
        surface_area(mask, 1, method="marching cube")
    with pytest.raises(InputError, match="smoothing_voxels must be positive"):
        surface_area(mask, 1, method="smoothed marching cubes", smoothing_voxels=0)
    with pytest.raises(AxesError, match="3-D array of integers"):
        surface_area(mask[0], 1)
    with pytest.raises(AxesError, match="3-D array of integers"):
        surface_area(mask.astype(float), 1)
    with pytest.raises(PhaseError, match="Did you mean 'pore'"):
        surface_area(labeled_image(mask.astype(np.uint8)), "pores", phases={"pore": 1})
    with pytest.raises(InputError, match="labels are integers or bool"):
        surface_area(labeled_image(mask.astype(float)), 1)
