"""Phantoms and simulated scans."""

import numpy as np
import pytest
import xarray as xr

from operando import labeled_image, samples
from operando.core.errors import AxesError, InputError


def test_a_ball_has_the_volume_and_the_shadow_of_a_ball():
    ball = samples.ellipsoids((33, 33, 33), angles=[0.0, 37.0], voxel_size_um=2.0, attenuation_um=0.01,
                              bodies=[(1.0, (0, 0, 0), (10 / 16.5,) * 3, 0.0)])  # fmt: skip
    radius = 20.0
    volume = float(ball.volume.sum()) * 2.0**3 / 0.01
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.005)
    # Every projection holds the whole of it.
    for angle in (0.0, 37.0):
        assert float(ball.projections.sel(angle=angle).sum()) * 2.0**2 / 0.01 == pytest.approx(volume, rel=0.005)
    exact = samples.ellipsoids((33, 33, 33), angles=[20.0], voxel_size_um=2.0, attenuation_um=0.01,
                               bodies=[(1.0, (0, 0, 0), (10 / 16.5,) * 3, 0.0)], supersampling=1)  # fmt: skip
    at = 2.0 * (np.arange(33) - 16)
    chords = 2 * np.sqrt(np.clip(radius**2 - at[:, None] ** 2 - at**2, 0, None))
    np.testing.assert_allclose(exact.projections[0], 0.01 * chords, atol=1e-6)


def test_projections_of_the_voxels_are_those_of_the_ellipsoids():
    made = samples.ellipsoids((4, 64, 64), angles=[0.0, 33.0, 90.0, 145.0], rotation_axis=33.4)
    scan = samples.projections(made.volume, angles=[0.0, 33.0, 90.0, 145.0], rotation_axis=33.4)
    wrong = scan.line_integrals.values - made.projections.values
    assert np.sqrt(np.mean(wrong**2)) < 0.01 * float(made.projections.max())
    assert float(scan.rotation_axis) == 33.4
    np.testing.assert_allclose(scan.detector_x, made.detector_x)


def test_the_shadow_of_one_voxel_is_a_trapezoid_with_its_area():
    voxel = np.zeros((1, 9, 9))
    voxel[0, 4, 4] = 1.0
    image = labeled_image(voxel, voxel_size_um=3.0, units="um-1")
    lines = samples.projections(image, angles=[0.0, 45.0, 70.0]).line_integrals
    np.testing.assert_allclose(lines.sum("detector_x"), 3.0, rtol=1e-6)
    np.testing.assert_allclose(lines[0, 0], 3.0 * (np.arange(9) == 4), atol=1e-6)
    # At 45 degrees the shadow is a triangle of height sqrt(2) and half base 1 / sqrt(2).
    beyond = (np.sqrt(0.5) - 0.5) ** 2
    np.testing.assert_allclose(lines[1, 0, 3:6], 3.0 * np.array([beyond, 1 - 2 * beyond, beyond]), rtol=1e-5)


def test_a_scan_counts_what_comes_through():
    block = labeled_image(np.full((2, 24, 24), 0.01), voxel_size_um=1.0, units="um-1")
    scan = samples.projections(block, angles=np.zeros(60), rings=0.0, drift=0.0, flat_variation=0.0, seed=5)
    assert scan.projections.dtype == np.uint16
    assert float(scan.dark.mean()) == pytest.approx(100.0, abs=0.5)
    assert float(scan.flat.mean()) == pytest.approx(20_100.0, rel=0.002)
    through = float(scan.projections.mean()) - 100
    assert through == pytest.approx(20_000 * np.exp(-0.24), rel=0.002)
    assert float(scan.projections.std()) == pytest.approx(np.sqrt(through), rel=0.05)


def test_flats_are_taken_before_and_after_and_the_beam_gets_weaker():
    block = labeled_image(np.zeros((2, 8, 8)), voxel_size_um=1.0, units="um-1")
    scan = samples.projections(block, angles=np.arange(10.0), flats=5, drift=0.5)
    assert scan.taken_at.values.tolist() == [0, 0, 0, 10, 10]
    means = scan.flat.mean(("detector_y", "detector_x")) - 100
    assert float(means[4] / means[0]) == pytest.approx(0.5, rel=0.02)


def test_the_seed_decides():
    lines = samples.ellipsoids((2, 16, 16), angles=[0.0, 90.0], supersampling=1).projections
    one, same, other = (samples.projections(lines, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, same)
    assert not one.projections.equals(other.projections)
    np.testing.assert_array_equal(one.line_integrals, lines)


def test_errors_say_what_to_do():
    volume = labeled_image(np.zeros((2, 8, 8)), voxel_size_um=1.0, units="um-1")
    with pytest.raises(InputError, match="y and x alike"):
        samples.ellipsoids((4, 8, 9))
    with pytest.raises(InputError, match="three positive numbers"):
        samples.ellipsoids((8, 9))
    with pytest.raises(InputError, match="must fit in 16 bits"):
        samples.projections(volume, photons=50_000)
    with pytest.raises(InputError, match=r"not negative and drift below 1, got \{'rings': -1\}"):
        samples.projections(volume, rings=-1)
    with pytest.raises(InputError, match="per unit of the axes, um-1, got 'mm-1'"):
        samples.projections(volume.assign_attrs(units="mm-1"))
    with pytest.raises(InputError, match="must be square"):
        samples.projections(labeled_image(np.zeros((2, 8, 8)), voxel_size_um=(1, 1, 2)))
    with pytest.raises(AxesError, match="dims"):
        samples.projections(volume[0])
    lines = samples.ellipsoids((2, 16, 16), angles=[0.0], supersampling=1).projections
    with pytest.raises(InputError, match="Leave them out"):
        samples.projections(lines, angles=[0.0])
