"""What is true of a simulated series: features, the ceiling of R, and what growth depends on."""

import numpy as np
import pandas as pd
import pytest

from operando import samples
from operando.core.errors import InputError
from operando.samples import srs_truth
from operando.samples.srs_law import LAW


@pytest.fixture(scope="module")
def experiments():
    return samples.srs_experiments(shape=(128, 96), seed=3020)


@pytest.fixture(scope="module")
def sensitivities(experiments) -> pd.DataFrame:
    return samples.srs_sensitivities(experiments)


@pytest.fixture(scope="module")
def table(experiments) -> pd.DataFrame:
    return samples.srs_features(experiments)


def _ceiling(experiments, **options) -> pd.DataFrame:
    return samples.srs_ceiling(experiments, **options).set_index(["knowledge", "scope"])


def test_features_have_a_row_per_inner_frame_and_column(experiments, table):
    assert len(table) == (14 + 3 + 3) * (96 - 2)
    assert not table.isna().any().any()
    assert set(table.columns) >= {*srs_truth.FEATURES, "curvature", "growth_rate_next", "expected", "visible"}


def test_growth_rate_is_the_difference_of_the_two_positions(table):
    moved = (table.interface_position - table.interface_position_previous) / 5.0
    np.testing.assert_allclose(table.growth_rate, moved, atol=1e-12)
    first = table[table.frame == 1]
    assert (first.growth_rate_previous == 0.0).all()


def test_growth_rate_next_is_that_of_the_interval_that_starts_at_the_frame(experiments, table):
    one = experiments["set 2"]
    rows = table[(table.experiment == "set 2") & (table.frame == 2)]
    np.testing.assert_array_equal(rows.growth_rate_next, one.growth_rate.values[2, 1:-1])
    np.testing.assert_array_equal(rows.expected, one.expected_growth_rate.values[2, 1:-1])
    np.testing.assert_array_equal(rows.concentration_previous, one.surface_concentration.values[1, 1:-1])


def test_ceiling_falls_as_more_is_hidden_and_is_one_where_nothing_is():
    found = []
    for hidden in (0.0, 0.5, 1.0, 2.0):
        best = _ceiling(samples.srs_series((160, 64), frames=10, seed=3021, hidden=hidden))
        found.append([best.r[("past", "overall")], best.r[("past", "within frame")]])
    assert found[0] == pytest.approx([1.0, 1.0])
    assert (np.diff(found, axis=0) < 0).all()
    assert (np.array(found) > 0).all()


def test_knowing_more_is_never_worse(experiments):
    best = _ceiling(experiments)
    assert best.r[("stage", "overall")] < best.r[("visible", "overall")] < best.r[("past", "overall")] < 1.0
    assert best.r[("visible", "within frame")] < best.r[("past", "within frame")]
    assert best.r[("past without concentration", "within frame")] < best.r[("past", "within frame")]
    assert best.r[("past without curvature", "within frame")] < best.r[("past", "within frame")]
    assert np.isnan(best.r[("stage", "within frame")])
    assert best.rmse[("past", "overall")] < best.rmse[("visible", "overall")]


def test_no_forecast_that_is_made_from_the_true_features_beats_the_ceiling(experiments, table):
    best = _ceiling(experiments).r[("past", "overall")]
    held_out = (table.frame % 2 == 0).to_numpy()
    names = ["concentration", "concentration_gradient", "interface_position", "growth_rate", "curvature"]
    x = np.column_stack([np.ones(len(table)), table[names], np.log(table.concentration)])
    weights = np.linalg.lstsq(x[~held_out], table.growth_rate_next[~held_out], rcond=None)[0]
    reached = np.corrcoef(x[held_out] @ weights, table.growth_rate_next[held_out])[0, 1]
    assert 0.5 < reached < best


def test_errors_of_measuring_lower_the_ceiling_as_drawing_them_does(experiments, table):
    sigma = 0.3
    best = _ceiling(experiments, position_sigma_um=sigma)
    rng = np.random.default_rng(0)
    now, after = rng.normal(scale=sigma, size=(2, len(table)))
    measured = table.growth_rate_next + (after - now) / 5.0
    drawn = np.corrcoef(table.expected, measured)[0, 1]
    knowing = np.corrcoef(table.expected - now / 5.0, measured)[0, 1]
    assert best.r_measured[("past", "overall")] == pytest.approx(drawn, abs=0.02)
    assert best.r_bound[("past", "overall")] == pytest.approx(knowing, abs=0.02)
    assert drawn < knowing < best.r[("past", "overall")]
    np.testing.assert_allclose(_ceiling(experiments).r_bound, best.r)


def test_derivative_by_growth_rate_is_the_persistence_of_the_hidden_field(sensitivities, table):
    found = sensitivities[sensitivities.stage == "all"].set_index("feature")
    half = 0.5 * (table.growth_rate.max() - table.growth_rate.min())
    expected = 0.6 * (table.expected / table.growth_rate) * half
    assert found.sensitivity["growth_rate"] == pytest.approx(expected.mean())
    assert found.signed["growth_rate"] == found.sensitivity["growth_rate"]


def test_derivatives_are_those_of_the_law_by_differences(experiments, table):
    law, part = LAW, table[(table.experiment == "set 1") & (table.frame == 6)]
    made = experiments["set 1"]
    mean = float(made.surface_concentration[6].mean())
    stage = int(made.stage[6])
    assert stage == 1

    def forecast(c: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        def log_visible(c: np.ndarray, kappa: np.ndarray) -> np.ndarray:
            width = law["concentration_width"]
            bounded = law["concentration_exponent"][stage] * width * np.tanh(np.log(c / mean) / width)
            return bounded + law["tip"] * np.tanh(law["tip_length_um"] * kappa)

        here = log_visible(part.concentration.to_numpy(), part.curvature.to_numpy())
        return part.expected.to_numpy() * np.exp(log_visible(c, kappa) - here)

    c, kappa, step = part.concentration.to_numpy(), part.curvature.to_numpy(), 1e-6
    by_c = (forecast(c + step, kappa) - forecast(c - step, kappa)) / (2.0 * step)
    by_kappa = (forecast(c, kappa + step) - forecast(c, kappa - step)) / (2.0 * step)
    limits = dict.fromkeys(srs_truth._ALL, (-1.0, 1.0))
    one = {"set 1": made.isel(t=slice(5, 8))}
    found = samples.srs_sensitivities(one, limits=limits)
    found = found[found.stage == "all"].set_index("feature")
    assert found.sensitivity["concentration"] == pytest.approx(np.abs(by_c).mean(), rel=1e-6)
    per_slope = by_kappa / (2.0 * (1.0 + part.slope.to_numpy() ** 2) ** 1.5)
    assert found.signed["slope_up"] == pytest.approx(per_slope.mean(), rel=1e-6)
    assert found.signed["slope_down"] == pytest.approx(-per_slope.mean(), rel=1e-6)


def test_what_the_law_does_not_hold_has_no_sensitivity_and_what_is_redundant_is_said(sensitivities):
    found = sensitivities[sensitivities.stage == "all"].set_index("feature")
    for name in ("concentration_gradient", "interface_position", "growth_rate_previous"):
        assert found.sensitivity[name] == 0.0
    # Position, position before and growth rate are linearly dependent: no data can tell their parts.
    for name in ("interface_position", "interface_position_previous", "growth_rate"):
        assert found.collinearity[name] == pytest.approx(1.0, abs=1e-6)
    assert found.collinearity["slope"] > 0.99
    assert found.collinearity["concentration_gradient"] < 0.99
    assert found.through_stage["concentration"] == pytest.approx(-0.3)


def test_sensitivity_to_concentration_rises_from_stage_to_stage(sensitivities):
    rising = sensitivities[sensitivities.feature == "concentration"].set_index("stage").sensitivity
    assert rising["none"] < rising["partial"] < rising["full"]


def test_wider_limits_make_larger_sensitivities(experiments, sensitivities, table):
    own = samples.srs_sensitivities(experiments, limits=table)
    pd.testing.assert_frame_equal(own, sensitivities)
    wider = {name: (2.0 * table[name].min(), 2.0 * table[name].max()) for name in srs_truth._ALL}
    double = samples.srs_sensitivities(experiments, limits=wider)
    np.testing.assert_allclose(double.sensitivity, 2.0 * own.sensitivity)


def test_one_series_is_taken_as_well_as_many():
    made = samples.srs_series((64, 64), frames=4, seed=3022)
    alone, named = samples.srs_ceiling(made), samples.srs_ceiling({"series": made})
    pd.testing.assert_frame_equal(alone, named)


def test_what_has_no_truth_is_refused(experiments, table):
    with pytest.raises(InputError, match="at least one series"):
        samples.srs_features({})
    with pytest.raises(InputError, match="'set 1' must be a Dataset with its truth"):
        samples.srs_features({"set 1": experiments["set 1"].drop_vars("height")})
    with pytest.raises(InputError, match="at least 3 frames"):
        samples.srs_ceiling(samples.srs_series((64, 64), frames=2))
    with pytest.raises(InputError, match="at least 0, got -1"):
        samples.srs_ceiling(experiments, position_sigma_um=-1)
    with pytest.raises(InputError, match="got none for 'slope_previous'"):
        samples.srs_sensitivities(experiments, limits=table.drop(columns="slope_previous"))
    with pytest.raises(InputError, match="must differ, got from 1 to 1"):
        samples.srs_sensitivities(experiments, limits=dict.fromkeys(srs_truth._ALL, (1, 1)))


def test_gradient_and_concentration_at_the_surface_are_those_of_the_field_at_that_moment():
    """Not those under the consumption of the interval to come."""
    made = samples.srs_series((160, 128), frames=12, seed=3023)
    y, found = made.y.values, []
    for number in range(1, 12):
        c = made.concentration.values[number]
        first = np.argmax(np.isnan(c), axis=0) - 1
        near = [c[first - k, np.arange(128)] for k in range(3)]
        off = made.position.values[number] - y[first]
        # The parabola through the three pixels next to the surface, at the surface.
        second = near[2] - 2.0 * near[1] + near[0]
        slope = near[1] - near[0] - second * (off + 0.5)
        found.append([slope, near[0] - off * slope - 0.5 * second * off**2])
    for name, values in zip(("concentration_gradient", "surface_concentration"), np.stack(found, axis=1), strict=True):
        true = made[name].values[1:]
        off = [one - one.mean(axis=1, keepdims=True) for one in (values, true)]
        assert np.corrcoef(off[0].ravel(), off[1].ravel())[0, 1] > 0.95, name
