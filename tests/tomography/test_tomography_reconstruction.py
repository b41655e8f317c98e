"""Volumes from projections, against phantoms whose volume and projections are known."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.axes import spacing
from operando.core.errors import AxesError, InputError, MissingDependency, UnitsError
from operando.tomography import minus_log, normalize, reconstruct

AXIS = 49.8
METHODS = ("fbp", "gridrec", "sirt", "cgls")


def error(volume, truth):
    """Root mean square error inside of the field of view, as a share of the largest value."""
    n = truth.sizes["x"]
    at = np.arange(n) - 0.5 * (n - 1)
    inside = np.hypot(at[:, None], at) < 0.5 * n - 2
    return float(np.sqrt(np.mean((volume.values - truth.values)[:, inside] ** 2)) / truth.values.max())


@pytest.mark.parametrize("method", METHODS)
def test_the_phantom_comes_back(phantom, method):
    volume = reconstruct(phantom.projections, rotation_axis=AXIS, method=method)
    assert volume.dims == ("z", "y", "x")
    assert volume.dtype == np.float32
    assert volume.attrs["units"] == "um-1"
    assert error(volume, phantom.volume) < 0.035
    middle = np.s_[:, 40:56, 40:56]
    assert volume.values[middle].mean() == pytest.approx(phantom.volume.values[middle].mean(), rel=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_at_least_as_accurate_as_algotom(phantom, noisy, method):
    algotom = pytest.importorskip("algotom.rec.reconstruction")
    angles = np.deg2rad(noisy.angle.values)
    step = spacing(phantom.volume)["x"]
    for lines in (noisy,) if method in ("sirt", "cgls") else (phantom.projections, noisy):
        theirs = []
        for make, options in ((algotom.fbp_reconstruction, {"gpu": False}), (algotom.dfi_reconstruction, {})):
            stack = [
                make(lines.values[:, z], AXIS, angles=angles, apply_log=False, ncore=1, **options) for z in range(2, 4)
            ]
            theirs.append(error(xr.DataArray(np.stack(stack) / step), phantom.volume[2:4]))
        ours = reconstruct(lines.isel(detector_y=slice(2, 4)), rotation_axis=AXIS, method=method)
        assert error(ours, phantom.volume[2:4]) < min(theirs)


def test_fbp_and_gridrec_are_the_same_filter_and_differ_only_by_interpolation(phantom):
    both = [reconstruct(phantom.projections, rotation_axis=AXIS, method=m, filter="hann") for m in ("fbp", "gridrec")]
    wrong = both[0].values - both[1].values
    assert np.sqrt(np.mean(wrong**2)) < 0.003 * both[0].values.max()


def test_without_a_rotation_axis_it_is_found(noisy, phantom):
    volume = reconstruct(noisy)
    assert abs(volume.attrs["rotation_axis"] - AXIS) < 0.05
    assert 0 < volume.attrs["rotation_axis_sigma"] < 0.05
    known = reconstruct(noisy, rotation_axis=AXIS)
    assert error(volume, phantom.volume) < 1.02 * error(known, phantom.volume)


def test_the_sample_turns_from_x_towards_y_and_z_is_the_detector_row():
    """A ball at large x, small y, in the upper rows."""
    bodies = [(1.0, (0.6, -0.5, 0.3), (0.3, 0.1, 0.1), 0.0)]
    ball = samples.ellipsoids((11, 41, 41), angles=np.arange(0, 180, 3.0), bodies=bodies, supersampling=2)
    first, quarter = ball.projections.sel(angle=0.0), ball.projections.sel(angle=90.0)
    assert abs(int(first.sum("detector_y").values.argmax()) - (20 + 0.3 * 20.5)) < 1
    # A quarter turn brings it from small y to large x.
    assert abs(int(quarter.sum("detector_y").values.argmax()) - (20 + 0.5 * 20.5)) < 1
    volume = reconstruct(ball.projections, rotation_axis=20.0)
    z, y, x = np.unravel_index(int(volume.values.argmax()), volume.shape)
    assert abs(z - (5 + 0.6 * 5.5)) < 2
    assert abs(y - (20 - 0.5 * 20.5)) < 2
    assert abs(x - (20 + 0.3 * 20.5)) < 2


def test_values_scale_with_the_pixel_and_coordinates_are_those_of_the_detector(phantom):
    lines = phantom.projections.isel(detector_y=slice(3, 6))
    volume = reconstruct(lines, rotation_axis=AXIS)
    assert spacing(volume) == pytest.approx({"z": 1.33, "y": 1.33, "x": 1.33})
    np.testing.assert_allclose(volume.z, lines.detector_y)
    bare = reconstruct(lines.drop_vars(("detector_y", "detector_x")), rotation_axis=AXIS)
    assert bare.attrs["units"] == "px-1"
    assert bare.x.attrs["units"] == "px"
    np.testing.assert_allclose(bare.values, 1.33 * volume.values, rtol=1e-4, atol=1e-7)


def test_a_full_turn_and_uneven_steps_weigh_each_direction_once():
    disc = [(1.0, (0, 0, 0), (9, 0.6, 0.6), 0.0)]
    uneven = np.sort(np.concatenate([np.arange(0, 180, 3.0), np.arange(0, 60, 1.0) + 0.4]))
    for angles in (np.arange(0, 180, 2.0), np.linspace(0, 180, 91), np.arange(0, 360, 2.0), uneven, uneven[::-1]):
        made = samples.ellipsoids((1, 48, 48), angles=angles, bodies=disc, supersampling=2)
        volume = reconstruct(made.projections, rotation_axis=23.5, filter="hann")
        inner = volume.values[0, 16:32, 16:32]
        assert inner.mean() == pytest.approx(float(made.volume.max()), rel=0.005)


def test_a_lazy_scan_is_read_block_by_block_and_gives_the_same(noisy):
    read = []

    def watch(block, block_info=None):
        read.append(block_info[0]["array-location"][1])
        return block

    lazy = noisy.chunk(detector_y=2)
    lazy = lazy.copy(data=lazy.data.map_blocks(watch, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)))
    volume = reconstruct(lazy, rotation_axis=AXIS, filter="hann", rows=2)
    assert isinstance(volume.data, da.Array)
    assert volume.chunks[0] == (2, 2, 2)
    assert read == []
    part = volume[2:4].compute(scheduler="synchronous")
    assert set(read) == {(2, 4)}
    whole = reconstruct(noisy, rotation_axis=AXIS, filter="hann", rows=6)
    np.testing.assert_allclose(part.values, whole.values[2:4], atol=2e-7)
    np.testing.assert_allclose(volume.values, whole.values, atol=2e-7)


@pytest.mark.parametrize("method", METHODS)
def test_the_size_of_a_block_does_not_change_the_result(noisy, method):
    few = {"iterations": 2} if method in ("sirt", "cgls") else {}
    one = reconstruct(noisy, rotation_axis=AXIS, method=method, rows=1, **few)
    all_at_once = reconstruct(noisy, rotation_axis=AXIS, method=method, rows=6, **few)
    np.testing.assert_allclose(one.values, all_at_once.values, atol=1e-6 * float(abs(one).max()) + 1e-7)


def test_counts_with_flat_and_dark_give_what_line_integrals_give(phantom):
    scan = samples.projections(phantom.projections, photons=15_000, dead_pixels=5, seed=4)
    direct = reconstruct(scan.projections, flat=scan.flat, dark=scan.dark, rotation_axis=AXIS)
    lines = minus_log(normalize(scan.projections, flat=scan.flat, dark=scan.dark))
    np.testing.assert_allclose(reconstruct(lines, rotation_axis=AXIS).values, direct.values, atol=1e-6)
    assert direct.attrs["filled"] == 5 * 145
    assert error(direct, phantom.volume) < 0.06


def test_a_detector_row_without_any_value_is_missing(phantom):
    lines = phantom.projections.copy(deep=True)
    lines[:, 2] = np.nan
    volume = reconstruct(lines, rotation_axis=AXIS)
    assert volume.isnull().all(("y", "x")).values.tolist() == [False, False, True, False, False, False]


def test_a_sample_wider_than_the_field_of_view_gets_no_bright_rim():
    disc = [(1.0, (0, 0, 0), (9, 0.9, 0.9), 0.0)]
    wide = samples.ellipsoids((1, 128, 128), angles=np.arange(0, 180, 1.0), bodies=disc, supersampling=2)
    inside = wide.projections.isel(detector_x=slice(24, 104))
    volume = reconstruct(inside, rotation_axis=39.5, filter="hann").values[0]
    at = np.arange(80) - 39.5
    ring = np.hypot(at[:, None], at)
    level = float(wide.volume.max())
    np.testing.assert_allclose(volume[ring < 38], level, rtol=0.1)
    assert volume[ring < 38].mean() == pytest.approx(level, rel=0.02)


def test_sirt_keeps_what_is_not_negative_and_more_passes_come_closer(phantom):
    lines = phantom.projections.isel(detector_y=slice(2, 4))
    errors = []
    for passes in (2, 8):
        volume = reconstruct(lines, rotation_axis=AXIS, method="sirt", iterations=passes)
        assert float(volume.min()) >= 0
        errors.append(error(volume, phantom.volume[2:4]))
    assert errors[1] < errors[0]
    free = reconstruct(lines, rotation_axis=AXIS, method="sirt", iterations=2, nonnegative=False)
    assert float(free.min()) < 0


def test_the_projector_and_its_transpose_match():
    from operando.tomography.kernels import project, project_transposed

    rng = np.random.default_rng(0)
    angles = np.deg2rad([0.0, 10.0, 44.0, 45.0, 90.0, 133.0, 180.0, 271.0])
    image = rng.random((20, 20, 3), dtype=np.float32)
    data = rng.random((angles.size, 20, 3), dtype=np.float32)
    seen, back = np.empty_like(data), np.empty_like(image)
    project(image, angles, 8.7, seen)
    project_transposed(data, angles, 8.7, back)
    assert np.vdot(seen, data) == pytest.approx(np.vdot(image, back), rel=1e-5)


def test_a_projection_along_the_grid_is_the_sum_of_its_columns():
    from operando.tomography.kernels import project

    image = np.random.default_rng(0).random((9, 9, 1), dtype=np.float32)
    seen = np.empty((2, 9, 1), np.float32)
    project(image, np.deg2rad([0.0, 90.0]), 4.0, seen)
    np.testing.assert_allclose(seen[0, :, 0], image[..., 0].sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(seen[1, :, 0], image[..., 0].sum(axis=1)[::-1], rtol=1e-5)


def test_the_noise_filter_passes_what_is_clean_and_stops_what_is_noise(phantom):
    from operando.tomography.filtering import wiener_gain

    clean = phantom.projections.values
    noise = 0.1 * clean.max() * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    assert wiener_gain(clean)[:40].min() > 0.95
    mixed = wiener_gain(clean + noise)
    assert mixed[0] > 0.99
    assert mixed[-60:].mean() < 0.2
    # Of noise alone hardly anything is taken for signal.
    assert wiener_gain(noise).mean() < 0.1


@pytest.mark.slow
def test_the_cuda_back_end_back_projects_as_the_cpu_does(monkeypatch):
    """On the simulator of numba, in a process of its own, because numba reads the switch when it is imported."""
    import subprocess
    import sys

    program = """
import warnings; warnings.simplefilter("ignore")
import numpy as np
from operando import samples
from operando.tomography import reconstruct
lines = samples.ellipsoids((2, 12, 12), angles=np.arange(0, 180, 30.0), supersampling=1).projections
one, other = (reconstruct(lines, rotation_axis=5.7, filter="hann", backend=b).values for b in ("cpu", "cuda"))
print(float(np.sqrt(np.mean((one - other) ** 2)) / one.max()))
"""
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # Linear interpolation at full instead of half pixels.
    assert float(done.stdout.split()[-1]) < 0.06


def test_errors_say_what_to_do(phantom):
    lines = phantom.projections
    with pytest.raises(AxesError, match="dims"):
        reconstruct(phantom.volume)
    with pytest.raises(InputError, match="labeled_image"):
        reconstruct(lines.values)
    with pytest.raises(InputError, match="Did you mean 'gridrec'"):
        reconstruct(lines, method="gridrek")
    with pytest.raises(InputError, match="Did you mean 'hann'"):
        reconstruct(lines, filter="han")
    with pytest.raises(InputError, match="Did you mean 'cuda'"):
        reconstruct(lines, backend="cude")
    with pytest.raises(InputError, match="Known: 'dead'"):
        reconstruct(lines, rings="x")
    with pytest.raises(InputError, match=r"0 to 95 px, got 120.*not an offset"):
        reconstruct(lines, rotation_axis=120.0)
    with pytest.raises(InputError, match="at least 1, got 0"):
        reconstruct(lines, rotation_axis=AXIS, method="sirt", iterations=0)
    with pytest.raises(UnitsError, match="'deg' or 'rad', got 'um'"):
        reconstruct(lines.assign_coords(angle=("angle", lines.angle.values, {"units": "um"})))
    with pytest.raises(MissingDependency, match="pip install astra-toolbox"):
        reconstruct(lines, rotation_axis=AXIS, backend="astra", filter="hann")
    with pytest.raises(InputError, match=r"'astra' has the filters.*got 'wiener'"):
        reconstruct(lines, rotation_axis=AXIS, backend="astra")
    with pytest.raises(InputError, match="'fbp' only"):
        reconstruct(lines, rotation_axis=AXIS, backend="cuda", method="gridrec")
