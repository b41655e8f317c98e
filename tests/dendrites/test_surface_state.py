"""Concentration and gradient at the surface, on fields that are known."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.dendrites import concentration_gradient, surface_concentration, surface_state


def _field(values, step=1.0, **attrs):
    values = np.asarray(values, dtype=float)
    dims = {1: ("y",), 2: ("y", "x"), 3: ("t", "y", "x")}[values.ndim]
    coords = {"y": ("y", step * np.arange(values.shape[dims.index("y")]), {"units": "um"})}
    if "x" in dims:
        coords["x"] = ("x", step * np.arange(values.shape[-1]), {"units": "um"})
    return xr.DataArray(values, dims=dims, coords=coords, attrs={"units": "mol L-1", **attrs})


def _ramp(position, rows=80, surface=0.1, gradient=0.004, metal="high"):
    y = np.arange(rows, dtype=float)[:, None]
    distance = np.asarray(position) - y if metal == "high" else y - np.asarray(position)
    return surface + gradient * distance


@pytest.mark.parametrize("metal", ["high", "low"])
def test_a_ramp_is_found_exactly_from_either_side(metal):
    position = xr.DataArray([35.25, 40.0, 45.6], dims="x", attrs={"metal": metal})
    state = surface_state(_field(_ramp(position.values, metal=metal)), position, over_um=10)
    np.testing.assert_allclose(state["concentration"].values, 0.1)
    np.testing.assert_allclose(state["concentration_gradient"].values, 0.004)
    assert state["concentration"].attrs["units"] == "mol L-1"
    assert state["concentration_gradient"].attrs["units"] == "mol L-1 um-1"


def test_concentration_is_read_at_the_distance_asked_for():
    position = xr.DataArray([60.0, 61.5], dims="x", attrs={"metal": "high"})
    field = _field(_ramp(position.values))
    np.testing.assert_allclose(surface_concentration(field, position, at_um=10).values, 0.14)
    np.testing.assert_allclose(concentration_gradient(field, position, at_um=10).values, 0.004)


def test_profiles_without_x_work_as_images_do():
    y = np.arange(80.0)
    profiles = xr.DataArray(
        np.stack([0.3 + 0 * y, 0.3 - 0.002 * y]),
        dims=("t", "y"),
        coords={"y": ("y", y, {"units": "um"})},
        attrs={"units": "1"},
    )
    position = xr.DataArray([70.0, 70.0], dims="t")
    state = surface_state(profiles, position, metal="high")
    assert state["concentration"].dims == ("t",)
    np.testing.assert_allclose(state["concentration"].values, [0.3, 0.3 - 0.14])
    np.testing.assert_allclose(state["concentration_gradient"].values, [0, 0.002], atol=1e-12)
    assert state["concentration_gradient"].attrs["units"] == "um-1"


def test_what_lies_within_the_halo_of_a_neighboring_wall_is_not_used():
    # A wall at column 20: beside it, the bright halo reaches far up the low columns.
    position = np.where(np.arange(40) < 20, 70.0, 40.0)
    field = _ramp(position, surface=0.2, gradient=0.0)
    y, x = np.mgrid[:80, :40]
    wall = (abs(x - 19.5) <= 5) & (y > 35) & (y < 75)
    field = np.where(wall, 0.9, field)
    line = xr.DataArray(position, dims="x", attrs={"metal": "high"})
    state = surface_state(_field(field), line, from_um=8, over_um=20)
    np.testing.assert_allclose(state["concentration"].values, 0.2, atol=1e-9)


def test_missing_pixels_are_left_out_and_too_few_are_said_to_be_nan():
    field = _ramp([60.0, 60.0])
    field[30:40, 0] = np.nan
    field[:, 1] = np.nan
    state = surface_state(_field(field), xr.DataArray([60.0, 60.0], dims="x", attrs={"metal": "high"}))
    np.testing.assert_allclose(state["concentration"].values[0], 0.1)
    assert np.isnan(state["concentration"].values[1])
    assert np.isnan(state["concentration_sigma"].values[1])


def test_a_broken_interface_gives_nan_there_only():
    position = xr.DataArray([60.0, np.nan, 60.0], dims="x", attrs={"metal": "high"})
    state = surface_state(_field(_ramp([60.0, 60.0, 60.0])), position)
    assert np.isnan(state["concentration"].values).tolist() == [False, True, False]


def test_a_bend_that_all_columns_share_is_taken_out():
    y = np.arange(120.0)[:, None]
    distance = 100 - y + np.zeros(30)
    field = 0.3 - 0.28 * np.exp(-distance / 60)
    position = xr.DataArray(np.full(30, 100.0), dims="x", attrs={"metal": "high"})
    state = surface_state(_field(field), position, from_um=9, over_um=30)
    np.testing.assert_allclose(state["concentration"].values, 0.02, atol=0.002)
    np.testing.assert_allclose(state["concentration_gradient"].values, 0.28 / 60, rtol=0.06)
    column = surface_state(_field(field[:, 0]), xr.DataArray(100.0), metal="high", from_um=9, over_um=30)
    assert column["concentration"].item() > 0.03


@pytest.mark.parametrize("kernel", [1, 6])
def test_sigmas_cover_the_noise_of_smoothed_images(kernel):
    from scipy.ndimage import uniform_filter

    rng = np.random.default_rng(3000)
    position = xr.DataArray(np.full(120, 90.0), dims="x", attrs={"metal": "high"})
    pulls = {"concentration": [], "concentration_gradient": []}
    for _ in range(12):
        noisy = uniform_filter(_ramp(position.values, rows=100) + 0.02 * rng.standard_normal((100, 120)), kernel)
        state = surface_state(_field(noisy, smoothing=(kernel, kernel)), position, from_um=10, over_um=30)
        for name, truth in (("concentration", 0.1), ("concentration_gradient", 0.004)):
            pulls[name].append((state[name].values - truth) / state[f"{name}_sigma"].values)
    for values in pulls.values():
        # Unshared bends are looked for in the noise, too, which makes sigma somewhat too large where there are none.
        assert 0.65 < np.std(values) < 1.1


def test_columns_that_bend_each_in_its_own_way_have_larger_sigmas():
    rng = np.random.default_rng(3000)
    position = xr.DataArray(np.full(60, 90.0), dims="x", attrs={"metal": "high"})
    distance = 90 - np.arange(100.0)[:, None]
    ramp = _ramp(position.values, rows=100) + 0.003 * rng.standard_normal((100, 60))
    bends = 2e-5 * rng.standard_normal(60) * distance**2
    states = [
        surface_state(_field(field, smoothing=(1, 1)), position, from_um=10, over_um=30)
        for field in (ramp, ramp + bends)
    ]
    sigmas = [float(state["concentration_gradient_sigma"].mean()) for state in states]
    assert sigmas[1] > 2 * sigmas[0]
    pull = (states[1]["concentration_gradient"] - 0.004) / states[1]["concentration_gradient_sigma"]
    assert 0.7 < float(pull.std()) < 1.3


def test_one_frame_is_computed_at_a_time():
    da = pytest.importorskip("dask.array")
    computed = []

    def note(block, block_info=None):
        computed.append(block_info[0]["chunk-location"][0])
        return block

    position = xr.DataArray(np.full((3, 20), 60.0), dims=("t", "x"), attrs={"metal": "high"})
    frames = np.stack([_ramp(row) for row in position.values])
    lazy = _field(frames).copy(
        data=da.from_array(frames, chunks=(1, 80, 20)).map_blocks(note, dtype=float, meta=np.empty((0, 0, 0)))
    )
    state = surface_state(lazy, position)
    assert computed == [0, 1, 2]
    xr.testing.assert_identical(state, surface_state(_field(frames), position))


def test_fields_and_lines_that_do_not_belong_together_are_refused():
    field = _field(_ramp([60.0, 60.0]))
    with pytest.raises(AxesError, match="same t and x"):
        surface_state(field, xr.DataArray([60.0], dims="t"), metal="high")
    with pytest.raises(AxesError, match="got 2 and 3"):
        surface_state(field, xr.DataArray([60.0] * 3, dims="x"), metal="high")
    with pytest.raises(InputError, match="Pass over_um=2"):
        surface_state(field, xr.DataArray([60.0] * 2, dims="x"), metal="high", over_um=1)
    with pytest.raises(InputError, match="metal='high'"):
        surface_state(field, xr.DataArray([60.0] * 2, dims="x"))
