"""The drift of a stack is found although contrast changes with energy, and taken out."""

import importlib

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.core.axes import calibrate
from operando.core.errors import AxesError, InputError
from operando.samples import stxm_particle
from operando.spectral import align, apply_shifts
from operando.spectral.align_resample import filled, moved, spline


def _scene(shape: tuple[int, int], seed: int) -> np.ndarray:
    image = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0)
    return np.asarray(image / image.std())


def _stack(
    shifts: np.ndarray, *, contrast: np.ndarray | None = None, noise: float = 0.02, size: int = 64
) -> xr.DataArray:
    """Two scenes mixed with changing shares, each image moved by its shift."""
    first, second = spline(_scene((size + 32, size + 32), 1)), spline(_scene((size + 32, size + 32), 2))
    shares = np.linspace(0, 0.3, len(shifts)) if contrast is None else contrast
    rng = np.random.default_rng(3)
    images = [
        (moved(first, -shift) + share * moved(second, -shift))[16:-16, 16:-16]
        + noise * rng.standard_normal((size, size))
        for shift, share in zip(shifts, shares, strict=True)
    ]
    return xr.DataArray(np.array(images), dims=("energy", "y", "x"), coords={"energy": 700.0 + np.arange(len(shifts))})


def _walk(count: int, seed: int = 0) -> np.ndarray:
    shifts = np.cumsum(np.random.default_rng(seed).normal(0, 0.4, (count, 2)), axis=0)
    shifts[count // 2 :] += [3.0, -2.0]
    return np.asarray(shifts - shifts.mean(axis=0))


def _errors(found: xr.Dataset, truth: np.ndarray) -> np.ndarray:
    return np.stack([found.shift_y, found.shift_x], axis=1) - truth


def test_shifts_say_where_a_point_of_the_reference_is_seen() -> None:
    shifts = np.array([[0.0, 0.0], [2.0, -3.0]]) - [1.0, -1.5]
    found = align(_stack(shifts, contrast=np.zeros(2)))
    np.testing.assert_allclose(found.shift_y, [-1.0, 1.0], atol=0.02)
    np.testing.assert_allclose(found.shift_x, [1.5, -1.5], atol=0.02)


def test_drift_with_a_jump_is_found_to_a_twentieth_of_a_pixel() -> None:
    truth = _walk(24)
    found = align(_stack(truth))
    errors = _errors(found, truth)
    assert np.sqrt(np.mean(errors**2)) < 0.05
    assert float(np.abs(found.shift_y.mean())) < 1e-9
    assert found.aligned.dims == ("energy", "y", "x")
    assert set(found.data_vars) == {"aligned", "shift_y", "shift_x", "shift_sigma"}


def test_contrast_that_turns_over_does_not_matter() -> None:
    truth = _walk(20)
    stack = _stack(truth, contrast=np.full(20, 0.3))
    turned = stack * xr.DataArray(np.where(np.arange(20) > 9, -1.0, 1.0), dims="energy")
    errors = _errors(align(turned), truth)
    assert np.sqrt(np.mean(errors**2)) < 0.05


@pytest.mark.parametrize("kind", ["core-shell", "wavefront", "mosaic"])
@pytest.mark.parametrize("what", ["counts", "transmission", "density"])
def test_simulated_particles_are_aligned_from_counts_transmission_and_density(kind: str, what: str) -> None:
    made = stxm_particle(seed=3100, kind=kind, drift_px=3.0)
    transmission = made.counts / made.i0
    stack = {"counts": made.counts, "transmission": transmission, "density": -np.log(np.maximum(transmission, 1e-4))}
    found = align(stack[what])
    for name in ("shift_y", "shift_x"):
        errors = (found[name] - (made[name] - made[name].mean())) / 0.03
        assert found[name].attrs["units"] == "um"
        assert float(np.sqrt((errors**2).mean())) < 0.05
        assert float(np.abs(errors).max()) < 0.2


def test_errors_are_as_large_as_stated() -> None:
    pulls = []
    for seed in range(3110, 3114):
        made = stxm_particle((64, 64), seed=seed, kind="mosaic", drift_px=2.0, i0_counts=1000.0)
        found = align(made.counts)
        pulls += [(found[k] - (made[k] - made[k].mean())) / found.shift_sigma for k in ("shift_y", "shift_x")]
    spread = float(np.sqrt(np.mean(np.square(pulls))))
    assert 0.4 < spread < 1.6


def test_less_light_means_larger_errors() -> None:
    sigmas = [
        float(align(stxm_particle((64, 64), seed=3120, i0_counts=dose).counts).shift_sigma.mean())
        for dose in (1e4, 100.0)
    ]
    assert sigmas[1] > 2 * sigmas[0]


def test_an_image_without_contrast_has_a_large_error_and_spoils_no_other() -> None:
    truth = _walk(16)
    stack = _stack(truth)
    stack[5] = np.random.default_rng(7).standard_normal(stack.shape[1:]) * 0.02
    found = align(stack)
    others = np.delete(np.arange(16), 5)
    assert float(found.shift_sigma[5]) > 5 * float(found.shift_sigma[others].max())
    errors = _errors(found, truth)[others]
    errors -= errors.mean(axis=0)
    assert np.sqrt(np.mean(errors**2)) < 0.05


def test_a_stack_without_structure_is_refused() -> None:
    noise = np.random.default_rng(0).poisson(1000.0, (12, 48, 48)).astype(float)
    with pytest.raises(InputError, match="0 of 12 do.*choose a field with particles"):
        align(xr.DataArray(noise, dims=("energy", "y", "x")))
    with pytest.raises(InputError, match="0 of 12 do"):
        align(xr.DataArray(np.ones((12, 48, 48)), dims=("energy", "y", "x")))


def test_missing_pixels_lines_and_images_are_left_out() -> None:
    truth = _walk(20)
    stack = _stack(truth)
    stack = stack.where(np.random.default_rng(5).random(stack.shape) > 0.01)
    stack[4, 30] = np.nan
    stack[7, 10:25, 5:20] = np.nan
    stack[12] = np.nan
    found = align(stack)
    assert np.isnan(found.shift_y[12])
    assert np.isnan(found.shift_sigma[12])
    assert np.isnan(found.aligned[12]).all()
    there = np.delete(np.arange(20), 12)
    errors = _errors(found, truth)[there]
    errors -= errors.mean(axis=0)
    assert np.sqrt(np.mean(errors**2)) < 0.05


def test_the_reference_stays_where_it_is() -> None:
    truth = _walk(12)
    stack = _stack(truth)
    free, held = align(stack), align(stack, reference_energy=704.2)
    assert float(held.shift_y[4]) == 0.0
    assert float(held.shift_sigma[4]) == 0.0
    np.testing.assert_allclose(held.shift_x - held.shift_x.mean(), free.shift_x, atol=1e-9)
    with pytest.raises(InputError, match="700 to 711 eV, got 650"):
        align(stack, reference_energy=650.0)


def test_shifts_are_in_the_unit_of_the_axes() -> None:
    stack = _stack(_walk(8))
    pixels = align(stack)
    lengths = align(calibrate(stack, voxel_size_um=(0.5, 0.1)))
    assert pixels.shift_y.attrs["units"] == "px"
    assert lengths.shift_y.attrs["units"] == "um"
    np.testing.assert_allclose(lengths.shift_y, 0.5 * pixels.shift_y)
    np.testing.assert_allclose(lengths.shift_x, 0.1 * pixels.shift_x)


def test_the_order_of_axes_and_lazy_stacks_change_nothing() -> None:
    stack = _stack(_walk(10))
    found = align(stack)
    for other in (stack.transpose("y", "x", "energy"), stack.chunk({"energy": 3, "y": 20}), stack.values):
        again = align(other)
        np.testing.assert_array_equal(again.shift_y, found.shift_y)
        np.testing.assert_array_equal(again.aligned, found.aligned)


def test_images_larger_than_what_is_worked_on_are_averaged_down(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = 2 * _walk(8)
    stack = _stack(truth, size=130)
    monkeypatch.setattr(importlib.import_module("operando.spectral.align"), "_LARGEST", 65)
    found = align(stack)
    assert found.aligned.shape == stack.shape
    errors = _errors(found, truth)
    assert np.sqrt(np.mean(errors**2)) < 0.1


def test_applied_shifts_bring_the_scene_back() -> None:
    truth = np.array([[0.3, -0.7], [2.25, 1.5], [-1.0, 3.0]])
    stack = _stack(truth, contrast=np.zeros(3), noise=0.0)
    back = apply_shifts(stack, truth[:, 0], truth[:, 1])
    assert isinstance(back.data, da.Array)
    inner = back[:, 6:-6, 6:-6].values
    scene = _scene((96, 96), 1)[16:-16, 16:-16][6:-6, 6:-6]
    np.testing.assert_allclose(inner, np.broadcast_to(scene, inner.shape), atol=0.02)


def test_whole_pixels_move_exactly_and_what_is_beyond_the_edge_is_missing() -> None:
    values = np.arange(2 * 4 * 5, dtype=float).reshape(2, 4, 5)
    stack = xr.DataArray(values, dims=("energy", "y", "x"))
    for order in (0, 1, 3):
        back = apply_shifts(stack, [1.0, 0.0], [0.0, -2.0], order=order).values
        np.testing.assert_allclose(back[0, :3], values[0, 1:], atol=1e-12)
        assert np.isnan(back[0, 3]).all()
        np.testing.assert_allclose(back[1, :, 2:], values[1, :, :3], atol=1e-12)
        assert np.isnan(back[1, :, :2]).all()


def test_missing_pixels_stay_missing_where_they_move_and_nowhere_else() -> None:
    image = _scene((20, 20), 1)
    holed = image.copy()
    holed[8, 9] = np.nan
    stack = xr.DataArray(np.array([image, holed]), dims=("energy", "y", "x"))
    back = apply_shifts(stack, [0.5, 0.5], [0.0, 0.0]).values
    assert np.argwhere(np.isnan(back[1, :19])).tolist() == [[7, 9], [8, 9]]
    np.testing.assert_allclose(back[1, :5, :19], back[0, :5, :19], atol=1e-2)


def test_complex_and_integer_stacks_are_moved() -> None:
    stack = _stack(np.zeros((2, 2)))
    both = stack + 1j * stack[::-1].values
    back = apply_shifts(both.astype("complex64"), [0.5, 0.0], [0.0, 0.25])
    assert back.dtype == np.complex64
    np.testing.assert_allclose(
        back.values.real[:, :60, :60], apply_shifts(stack, [0.5, 0], [0, 0.25])[:, :60, :60], atol=1e-4
    )
    assert apply_shifts((100 * stack).astype("uint16"), [0, 0], [0, 0]).dtype == np.float32
    magnitude = align(_stack(_walk(8)).astype(complex))
    assert np.isfinite(magnitude.shift_y).all()


def test_shifts_with_a_unit_of_their_own_are_converted() -> None:
    stack = calibrate(_stack(np.zeros((2, 2))), voxel_size_um=0.5)
    by_axes = apply_shifts(stack, [0.5, 1.0], [0.0, 0.0])
    in_pixels = apply_shifts(stack, xr.DataArray([1.0, 2.0], dims="energy", attrs={"units": "px"}), [0.0, 0.0])
    in_nm = apply_shifts(stack, xr.DataArray([500.0, 1000.0], dims="energy", attrs={"units": "nm"}), [0.0, 0.0])
    np.testing.assert_array_equal(by_axes, in_pixels)
    np.testing.assert_allclose(by_axes, in_nm, equal_nan=True)


def test_what_cannot_be_aligned_is_refused() -> None:
    stack = _stack(np.zeros((3, 2)))
    with pytest.raises(AxesError, match=r"dims \(energy, y, x\) are needed"):
        align(stack.expand_dims("z"))
    with pytest.raises(InputError, match="got 1 of 3"):
        align(stack.where(xr.DataArray([True, False, False], dims="energy")))
    with pytest.raises(InputError, match="16 pixels or more"):
        align(stack[:, :10])
    with pytest.raises(InputError, match="maximum_shift must be positive"):
        align(stack, maximum_shift=-1)
    with pytest.raises(InputError, match="one value per energy, 3, got the shape"):
        apply_shifts(stack, [0.0], [0.0])
    with pytest.raises(InputError, match="order must be 3"):
        apply_shifts(stack, [0.0] * 3, [0.0] * 3, order=2)


def test_gaps_are_filled_with_what_is_near() -> None:
    image = np.full((12, 12), 3.0)
    image[2:10, 2:10] = np.nan
    values, gaps = filled(image)
    assert gaps is not None
    assert gaps.sum() == 64
    np.testing.assert_allclose(values, 3.0)
