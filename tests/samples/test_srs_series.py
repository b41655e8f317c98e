"""Simulated Raman series: what is said to be true follows from the stated law, and the picture shows it."""

import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import InputError
from operando.samples.srs_law import LAW, smooth_normal, stage_of

SMALL = (96, 64)


@pytest.fixture(scope="module")
def series() -> xr.Dataset:
    return samples.srs_series(SMALL, frames=9, seed=3000, interval_min=6.0)


def _law(made: xr.Dataset, log_factor: np.ndarray) -> np.ndarray:
    """The growth law, written a second time, from the arrays that are said to be true."""
    law, c, stage = made.attrs["law"], made.surface_concentration.values, made.stage.values
    relative = np.log(c / c.mean(axis=1, keepdims=True)) / law["concentration_width"]
    exponent = np.array(law["concentration_exponent"])[stage][:, None] * law["concentration_width"] * np.tanh(relative)
    tip = law["tip"] * np.tanh(law["tip_length_um"] * made.curvature.values)
    return np.array(law["velocity"])[stage][:, None] * np.exp(exponent + tip + log_factor)


def test_the_surface_moves_by_the_growth_rate_times_the_interval(series):
    moved = np.diff(series.height.values, axis=0) / series.attrs["interval_min"]
    np.testing.assert_allclose(moved, series.growth_rate.values[:-1], atol=1e-12)
    assert np.isnan(series.growth_rate.values[-1]).all()


def test_growth_is_the_stated_law_of_what_is_true_at_the_frame(series):
    effect = series.attrs["law"]["hidden"] * series.attrs["law"]["hidden_effect"]
    known = _law(series, effect * series.hidden.values - 0.5 * effect**2)
    np.testing.assert_allclose(series.growth_rate.values[:-1], known[:-1], rtol=1e-12)
    np.testing.assert_allclose(series.visible_growth_rate.values, _law(series, np.zeros(1)), rtol=1e-12)


def test_expected_growth_follows_from_the_growth_before_and_what_was_visible(series):
    law, visible = series.attrs["law"], series.visible_growth_rate.values
    effect, rho = law["hidden"] * law["hidden_effect"], law["persistence"]
    before = (series.growth_rate.values[:-2] / visible[:-2]) ** rho
    forecast = visible[1:-1] * before * np.exp(0.5 * rho * (1.0 - rho) * effect**2)
    np.testing.assert_allclose(series.expected_growth_rate.values[1:-1], forecast, rtol=1e-12)
    np.testing.assert_allclose(series.expected_growth_rate.values[0], visible[0], rtol=1e-12)


def test_without_a_hidden_field_growth_is_visible():
    made = samples.srs_series(SMALL, frames=5, hidden=0.0, seed=3001)
    np.testing.assert_allclose(made.growth_rate[:-1], made.visible_growth_rate[:-1], rtol=1e-12)
    np.testing.assert_allclose(made.growth_rate[:-1], made.expected_growth_rate[:-1], rtol=1e-12)


def test_the_hidden_factor_has_the_mean_one_and_the_expectation_is_right():
    law = {**LAW, "hidden": 1.0}
    rng = np.random.default_rng(0)
    effect, rho = law["hidden"] * law["hidden_effect"], law["persistence"]
    before = rng.standard_normal(200_000)
    now = rho * before + np.sqrt(1.0 - rho**2) * rng.standard_normal(before.size)
    factor = np.exp(effect * now - 0.5 * effect**2)
    expected = np.exp(effect * rho * before - 0.5 * (effect * rho) ** 2)
    assert factor.mean() == pytest.approx(1.0, abs=0.003)
    # What is left does not depend on what was known.
    assert np.corrcoef(factor - expected, expected)[0, 1] == pytest.approx(0.0, abs=0.01)
    assert (factor - expected).mean() == pytest.approx(0.0, abs=0.003)


def test_smooth_normal_fields_have_variance_one_and_the_stated_correlation():
    rng = np.random.default_rng(1)
    fields = np.array([smooth_normal(rng, 127, 4.0) for _ in range(3000)])
    assert fields.var() == pytest.approx(1.0, abs=0.02)
    lag = np.mean(fields[:, 40] * fields[:, 48])
    assert lag == pytest.approx(np.exp(-(8.0**2) / (4.0 * 4.0**2)), abs=0.05)


def test_the_three_stages_follow_one_another_in_the_experiments_of_the_paper():
    slow = samples.srs_series((128, 64), seed=3000)
    fast = samples.srs_series((128, 64), frames=5, current_density=1.3, seed=3000)
    for made in (slow, fast):
        assert set(made.stage.values.tolist()) == {0, 1, 2}
        assert (np.diff(made.stage.values) >= 0).all()
        mean = made.surface_concentration.mean("x").values
        np.testing.assert_array_equal(stage_of(mean, made.attrs["initial"], made.attrs["law"]), made.stage.values)


def test_mean_growth_of_each_stage_is_the_velocity_of_the_paper():
    found = {0: [], 1: [], 2: []}
    for seed in range(3000, 3003):
        made = samples.srs_series((128, 128), seed=seed)
        for stage, rate in zip(made.stage.values[:-1], made.growth_rate.values[:-1], strict=True):
            found[int(stage)].append(rate.mean())
    for stage, velocity in enumerate((0.04, 0.41, 0.64)):
        assert np.mean(found[stage]) == pytest.approx(velocity, rel=0.06)


def _error_of_midpoints(made: xr.Dataset) -> np.ndarray:
    """Middle of the saturated pixels of each column less the true position, positive towards the metal."""
    y = made.y.values[:, None]
    near = abs(y - made.position.values[:, None]) < 8.0
    saturated = (made.image.values >= 230) & near
    middle = (saturated * y).sum(axis=1) / saturated.sum(axis=1)
    return middle - made.position.values


def test_position_is_the_middle_of_the_line_where_its_sides_are_alike():
    made = samples.srs_series(SMALL, frames=3, seed=3000, breaks=0.0, dark=0.0, gray_per_molar=1e-6)
    error = _error_of_midpoints(made)
    assert abs(error.mean()) < 0.05
    assert error.std() < 0.4


def test_bright_electrolyte_pulls_the_middle_of_the_line_away_from_the_metal():
    # Line and electrolyte add up, so that more of the line is saturated on the side of the electrolyte.
    made = samples.srs_series(SMALL, frames=9, seed=3000, interval_min=6.0, breaks=0.0)
    error = _error_of_midpoints(made).mean(axis=1)
    assert -0.8 < error[0] < -0.3
    assert error[0] < error[4] < error[8] < 0.05


def test_height_is_counted_from_the_edge_at_the_metal(series):
    edge = series.y.values[-1] + 0.5 * series.y.attrs["spacing"]
    np.testing.assert_allclose(edge - series.position.values, series.height.values, atol=1e-12)
    low = samples.srs_series(SMALL, frames=2, seed=3000, metal="low", overhangs=0)
    np.testing.assert_allclose(low.position.values + 0.5, low.height.values, atol=1e-12)


def test_metal_at_low_y_is_the_same_picture_upside_down():
    high = samples.srs_series(SMALL, frames=3, seed=3002)
    low = samples.srs_series(SMALL, frames=3, seed=3002, metal="low")
    np.testing.assert_array_equal(high.image.values, low.image.values[:, ::-1])
    np.testing.assert_array_equal(high.growth_rate.values, low.growth_rate.values)


def test_gray_values_are_the_calibration_of_the_concentration():
    series = samples.srs_series(SMALL, frames=4, seed=3000, specks=0.0)
    calibration = series.attrs["calibration"]
    gray = calibration["dark"] + calibration["gray_per_molar"] * series.concentration
    far = series.concentration.notnull() & (series.y < series.position - 12.0)
    error = (series.image.astype(float) - gray).where(far)
    assert abs(float(error.mean())) < 0.1
    assert float(error.std()) < 8.0


def test_concentration_is_missing_in_the_metal_and_continuous_at_the_surface(series):
    missing = np.isnan(series.concentration.values)
    below = series.y.values[None, :, None] > series.position.values[:, None, :]
    np.testing.assert_array_equal(missing, below)
    # The last pixel before the surface is within a pixel of it.
    last = np.take_along_axis(series.concentration.values, (~missing).sum(axis=1, keepdims=True) - 1, axis=1)[:, 0]
    rise = last - series.surface_concentration.values
    assert (rise > -1e-12).all()
    assert (rise < 1.1 * series.concentration_gradient.values + 1e-12).all()


def test_concentration_gradient_is_the_rise_of_concentration_above_the_surface():
    made = samples.srs_series((128, 48), frames=9, seed=3003, roughness_um=0.0, hidden=0.0, uneven=0.0)
    c, y = made.concentration.values[-1, :, 20], made.y.values
    above = float(made.position[-1, 20]) - y
    near = (above > 0) & (above < 4)
    slope = np.polyfit(above[near], c[near], 1)[0]
    assert slope == pytest.approx(float(made.concentration_gradient[-1, 20]), rel=0.05)


def test_concentration_is_higher_where_lithium_protrudes():
    made = samples.srs_series((128, 128), frames=9, seed=3004, uneven=0.0)
    at_end = made.isel(t=-1)
    assert np.corrcoef(at_end.height.values, at_end.surface_concentration.values)[0, 1] > 0.8


def test_salt_is_neither_made_nor_lost(series):
    assert series.attrs["salt_balance"] == pytest.approx(1.0, abs=1e-12)


def test_the_same_seed_gives_the_same_series_and_another_another():
    first, again, other = (samples.srs_series((64, 64), frames=3, seed=seed) for seed in (3005, 3005, 3006))
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first.image.values, other.image.values)


def test_more_frames_do_not_change_those_before():
    short, long = (samples.srs_series((64, 48), frames=frames, seed=3007) for frames in (3, 5))
    np.testing.assert_array_equal(short.image.values, long.image.values[:3])


def test_overhangs_are_drawn_and_reported_but_do_not_grow_by_the_law():
    plain = samples.srs_series((128, 128), frames=9, seed=3008)
    made = samples.srs_series((128, 128), frames=9, seed=3008, overhangs=2)
    over = made.overhang.values
    assert over.any()
    assert not plain.overhang.values.any()
    np.testing.assert_array_equal(made.height.values, plain.height.values)
    assert (made.position.values[over] < plain.position.values[over] - 0.5).all()
    np.testing.assert_array_equal(made.position.values[~over], plain.position.values[~over])
    number = int(np.flatnonzero(over.any(axis=1))[-1])
    rows = np.rint(made.position.values[number][over[number]]).astype(int)
    seen = made.image.values[number, rows, np.flatnonzero(over[number])]
    assert (seen >= 230).mean() > 0.9


def test_broken_columns_are_as_many_as_asked_and_dim():
    made = samples.srs_series((64, 256), frames=4, seed=3009, breaks=0.1, specks=0.0)
    broken = made.broken.values
    assert 0.02 < broken.mean() < 0.25
    saturated = (made.image.values >= 230).any(axis=1)
    assert saturated[~broken].mean() > 0.98
    assert saturated[broken].mean() < 0.5
    assert not samples.srs_series((64, 64), frames=1, breaks=0.0).broken.values.any()
    assert samples.srs_series((64, 64), frames=1, breaks=1.0).broken.values.all()


def test_noise_and_light_can_be_turned_off_and_on():
    clean = samples.srs_series((64, 64), frames=1, noise=0.0, specks=0.0, seed=3010)
    assert np.unique(clean.image.values[0, :20]).size == 1
    uneven = samples.srs_series((64, 64), frames=1, noise=0.0, specks=0.0, illumination=0.2, seed=3010)
    assert np.unique(uneven.image.values[0, :20]).size > 3


def test_pixels_of_another_size_keep_velocities_and_lengths():
    made = samples.srs_series((128, 64), frames=6, pixel_size_um=0.5, seed=3011)
    assert made.y.attrs["units"] == "um"
    assert float(made.y[1] - made.y[0]) == 0.5
    moved = np.diff(made.height.values, axis=0) / 5.0
    np.testing.assert_allclose(moved, made.growth_rate.values[:-1], atol=1e-12)
    assert float(made.height[0].mean()) == pytest.approx(0.15 * 64.0, abs=2.0)


def test_experiments_are_those_of_the_paper():
    made = samples.srs_experiments(shape=(96, 48), seed=3012)
    assert [one.sizes["t"] for one in made.values()] == [16, 5, 5]
    assert [one.attrs["current_density"] for one in made.values()] == [0.6, 1.3, 1.3]
    np.testing.assert_array_equal(made["set 1"].image, samples.srs_series((96, 48), seed=3012).image)
    assert not np.array_equal(made["set 2"].image, made["set 3"].image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (16, 64)}, "at least 32 each"),
        ({"shape": (64, 64, 3)}, "two whole numbers"),
        ({"frames": 0}, "frames must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"hidden": -0.5}, "hidden must be a number at least 0"),
        ({"hidden": "much"}, "hidden must be a number at least 0, got 'much'"),
        ({"transference": 1.0}, "transference must be a number at least 0 and below 1"),
        ({"metal": "hihg"}, "Did you mean 'high'"),
        ({"law": {"tipp": 1.0}}, "Did you mean 'tip'"),
        ({"law": {"velocity": (0.1, 0.2)}}, "velocity of the law must be 3 numbers"),
        ({"law": {"tip": "much"}}, "tip of the law must be one number"),
        ({"law": {"persistence": 1.5}}, "persistence of the law must be in"),
        ({"overhangs": 1.5}, "overhangs must be a whole number"),
        ({"breaks": 1.5}, "breaks must be a number at least 0 and at most 1"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_the_value(options, message):
    with pytest.raises(InputError, match=message):
        samples.srs_series(**{"shape": (64, 64), "frames": 2, **options})


def test_lithium_that_leaves_the_picture_is_refused():
    with pytest.raises(InputError, match="must stay in the picture"):
        samples.srs_series((32, 32), frames=16, current_density=3.0, interval_min=10.0)
