"""Eq. 3 of Ma 2021: known derivatives, the network's own scaling, what is refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.dendrites import BayesianNetwork, across_runs, sensitivity, sensitivity_runs, sensitivity_summary
from operando.dendrites.features import FEATURES, feature_names

RNG = np.random.default_rng(3000)
WEIGHTS = np.array([2.0, -1.0, 0.0])


def linear(values):
    return values @ WEIGHTS + 5.0


def smooth(values):
    return np.sin(values[:, 0]) + values[:, 0] * values[:, 1] ** 2


@pytest.fixture(scope="module")
def samples():
    return pd.DataFrame(RNG.uniform([0, -1, 100], [10, 1, 300], (60, 3)), columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def network(samples):
    y = np.sin(samples["a"] / 3) + samples["b"] ** 2 + 0.01 * RNG.normal(size=60)
    return BayesianNetwork(hidden=(6,), max_epochs=60).fit(samples, y)


def made_table(points=12, frames=4, experiments=("a", "b"), seed=0):
    """A table with the columns of growth_features, in which the next growth rate is 2 * concentration."""
    rng = np.random.default_rng(seed)
    rows = points * frames * len(experiments)
    table = pd.DataFrame(rng.normal(size=(rows, 14)), columns=feature_names())
    table["experiment"] = np.repeat(experiments, points * frames)
    table["frame"] = np.tile(np.repeat(np.arange(1, frames + 1), points), len(experiments))
    table["stage"] = np.where(table["frame"] > frames // 2, "full", "none")
    table["growth_rate_next"] = 2 * table["concentration"] + 0.1 * rng.normal(size=rows)
    return table


def test_a_linear_model_has_its_weights_times_half_the_range_everywhere():
    x = RNG.uniform(size=(20, 3))
    s = sensitivity(linear, x, limits=([0, 0, 0], [10, 4, 1]))
    np.testing.assert_allclose(s, np.tile([10.0, 2.0, 0.0], (20, 1)), atol=1e-9)


def test_the_sign_is_kept_where_asked():
    x = RNG.uniform(size=(5, 3))
    np.testing.assert_allclose(sensitivity(linear, x, limits=(-1, 1), signed=True)[0], WEIGHTS, atol=1e-9)


def test_the_difference_is_the_one_of_equation_3():
    x = RNG.uniform(-1, 1, (7, 2))
    s = sensitivity(smooth, x, limits=(-1, 1))
    plus, minus = x + [0.001, 0], x - [0.001, 0]
    np.testing.assert_allclose(s[:, 0], np.abs(smooth(plus) - smooth(minus)) / 0.002, rtol=1e-12)


def test_the_error_of_the_difference_falls_with_the_square_of_the_step():
    x = np.array([[0.7, 0.3]])
    truth = np.cos(0.7) + 0.09
    errors = [abs(sensitivity(smooth, x, limits=(-1, 1), step=h)[0, 0] - truth) for h in (0.1, 0.05)]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.01)


def test_the_exact_derivative_of_a_network_is_the_difference_to_a_millionth(network, samples):
    exact = sensitivity(network, samples, exact=True, signed=True)
    difference = sensitivity(network, samples, signed=True)
    scale = np.abs(exact).to_numpy().max()
    np.testing.assert_allclose(difference, exact, rtol=1e-6, atol=1e-6 * scale)


def test_a_network_is_scaled_by_its_own_limits_and_not_by_the_samples_given(network, samples):
    whole, part = sensitivity(network, samples), sensitivity(network, samples.iloc[:3])
    pd.testing.assert_frame_equal(part, whole.iloc[:3])
    by_hand = network.gradient(samples)[:, 0] * (network.x_max_[0] - network.x_min_[0]) / 2
    np.testing.assert_allclose(whole["a"], np.abs(by_hand), rtol=1e-5)


def test_inputs_of_a_network_that_does_not_scale_are_taken_as_they_are():
    x = RNG.uniform(-1, 1, (40, 2))
    model = BayesianNetwork(hidden=(4,), scale=False, max_epochs=30).fit(x, x @ [1.0, 0.5])
    np.testing.assert_allclose(sensitivity(model, x), np.abs(model.gradient(x)), rtol=1e-4, atol=1e-7)


def test_units_of_the_inputs_do_not_matter(samples):
    y = samples["a"] + samples["b"]
    nm = samples * [1000.0, 1.0, 1.0]
    first = BayesianNetwork(hidden=(3,), max_epochs=30).fit(samples, y)
    second = BayesianNetwork(hidden=(3,), max_epochs=30).fit(nm, y)
    np.testing.assert_allclose(sensitivity(first, samples), sensitivity(second, nm), rtol=1e-4, atol=1e-6)


def test_a_feature_that_was_constant_in_training_has_no_effect():
    x = np.column_stack([np.linspace(0, 1, 30), np.full(30, 7.0)])
    model = BayesianNetwork(hidden=(2,), max_epochs=20).fit(x, x[:, 0])
    assert (sensitivity(model, x)[:, 1] == 0).all()


def test_what_comes_back_is_labeled_as_what_was_given():
    values = RNG.uniform(size=(4, 3))
    frame = pd.DataFrame(values, columns=["a", "b", "c"], index=[9, 8, 7, 6])
    frame.attrs["units"] = {"growth_rate_next": "um min-1"}
    array = xr.DataArray(values, dims=("sample", "feature"), coords={"feature": ["a", "b", "c"]})
    plain = sensitivity(linear, values, limits=(0, 1))
    assert type(plain) is np.ndarray
    of_frame, of_array = sensitivity(linear, frame, limits=(0, 1)), sensitivity(linear, array, limits=(0, 1))
    assert list(of_frame.index) == [9, 8, 7, 6]
    assert of_frame.attrs["units"] == "um min-1"
    assert of_array.dims == array.dims
    np.testing.assert_array_equal(of_frame, plain)
    np.testing.assert_array_equal(of_array, plain)


def test_of_several_models_the_sensitivity_is_that_of_their_mean():
    x = pd.DataFrame(RNG.uniform(size=(6, 3)))

    def opposite(values):
        return values @ np.array([-2.0, -1.0, 4.0])

    s = sensitivity([linear, opposite], x, limits=(-1, 1))
    np.testing.assert_allclose(s, np.tile([0.0, 1.0, 2.0], (6, 1)), atol=1e-9)
    np.testing.assert_allclose(sensitivity([linear], x), sensitivity(linear, x))


def test_an_empty_list_of_models_is_refused():
    with pytest.raises(InputError, match="must not be empty"):
        sensitivity([], np.zeros((2, 2)))


def test_blocks_do_not_change_the_result(monkeypatch):
    x = RNG.uniform(size=(50, 3))
    whole = sensitivity(linear, x, limits=(0, 1))
    monkeypatch.setattr("operando.dendrites.local_sensitivity._BLOCK", 6)
    np.testing.assert_array_equal(sensitivity(linear, x, limits=(0, 1)), whole)


def test_any_fitted_regressor_will_do(samples):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(samples, linear(samples.to_numpy()))
    half = (samples.max() - samples.min()) / 2
    s = sensitivity(model, samples)
    np.testing.assert_allclose(s.iloc[0], np.abs(WEIGHTS) * half, atol=1e-6)
    np.testing.assert_allclose(sensitivity(model, samples.to_numpy()), s, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[["b", "a", "c"]], "another order"),
        (lambda x: x[["a", "b"]], r"missing \['c'\]"),
        (lambda x: x.assign(d=1.0), "other columns beside"),
        (lambda x: x.assign(a="text"), r"text in \['a'\]"),
        (lambda x: x.assign(b=np.nan), "got nan in row 0, b"),
        (lambda x: x.to_numpy()[:, :2], "fitted on 3 features, got 2"),
        (lambda x: x.to_numpy()[0], "one row per sample"),
    ],
)
def test_samples_that_do_not_fit_the_model_are_refused(network, samples, change, message):
    with pytest.raises(InputError, match=message):
        sensitivity(network, change(samples))


def test_an_unfitted_model_is_refused():
    with pytest.raises(InputError, match=r"BayesianNetwork that is not. Call model.fit"):
        sensitivity(BayesianNetwork(), np.zeros((2, 2)))


def test_something_that_is_no_model_is_refused():
    with pytest.raises(InputError, match="must have a predict method"):
        sensitivity(3.0, np.zeros((2, 2)))


def test_a_model_of_two_outputs_is_refused():
    with pytest.raises(InputError, match=r"one number per sample, got the shape \(24, 2\) for 24 samples"):
        sensitivity(lambda values: values[:, :2], RNG.uniform(size=(4, 3)))


def test_a_model_without_gradient_says_how_to_go_on():
    with pytest.raises(InputError, match="Use exact=False"):
        sensitivity(linear, RNG.uniform(size=(4, 3)), exact=True)


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan])
def test_a_step_must_be_positive(step):
    with pytest.raises(InputError, match="step must be a positive number"):
        sensitivity(linear, RNG.uniform(size=(4, 3)), step=step)


@pytest.mark.parametrize("limits", [(1, 0), (0, 0), ([0, 0], [1, 1]), (0, np.inf), 3])
def test_limits_must_be_in_order_and_one_per_feature(limits):
    with pytest.raises(InputError, match="limits must be"):
        sensitivity(linear, RNG.uniform(size=(4, 3)), limits=limits)


def test_a_constant_column_has_no_range_to_scale_by():
    with pytest.raises(InputError, match=r"constant in \['x1'\]"):
        sensitivity(linear, RNG.uniform(size=(4, 3)) * [1, 0, 1])


def test_the_summary_has_the_stages_in_the_order_of_depletion():
    s = pd.DataFrame({"a": [1.0, 2.0, 3.0, 6.0]})
    found = sensitivity_summary(s, ["full", "none", "partial", "full"])
    assert found["stage"].tolist() == ["all", "none", "partial", "full"]
    assert found["mean"].tolist() == [3.0, 2.0, 3.0, 3.5]
    assert found["n"].tolist() == [4, 1, 1, 2]
    assert found["std"].iloc[3] == pytest.approx(np.sqrt(12.5))


def test_the_summary_needs_one_stage_per_sample():
    with pytest.raises(InputError, match="one stage per sample"):
        sensitivity_summary(pd.DataFrame({"a": [1.0, 2.0]}), ["none"])


def test_runs_agree_on_the_one_feature_that_matters():
    table = made_table()
    runs = sensitivity_runs(table, runs=3, hidden=(1,), max_epochs=30, workers=1)
    assert len(runs) == 3 * 3 * 14
    assert set(runs["stage"]) == {"all", "none", "full"}
    best = across_runs(runs).query("stage == 'all'").set_index("feature")["mean"]
    half = (table["concentration"].max() - table["concentration"].min()) / 2
    assert best.idxmax() == "concentration"
    assert best["concentration"] == pytest.approx(2 * half, rel=0.1)
    assert best.drop("concentration").max() < 0.1 * best["concentration"]


def test_runs_differ_in_their_split_and_start_but_not_when_repeated():
    table = made_table()
    settings = {"hidden": (3,), "max_epochs": 10, "features": "concentration", "times": "current", "workers": 1}
    first = sensitivity_runs(table, runs=2, **settings)
    pd.testing.assert_frame_equal(first, sensitivity_runs(table, runs=2, **settings))
    one, two = (first.loc[first["run"] == run, "mean"].to_numpy() for run in (0, 1))
    assert not np.allclose(one, two, rtol=1e-6)


def test_runs_are_the_same_however_many_networks_are_held_at_a_time(monkeypatch):
    table, done = made_table(), []
    settings = {"runs": 3, "hidden": (2,), "max_epochs": 5, "features": "growth", "workers": 1}
    whole = sensitivity_runs(table, **settings)
    monkeypatch.setattr("operando.dendrites.local_sensitivity._TOGETHER", 2)
    parts = sensitivity_runs(table, **settings, progress=lambda *numbers: done.append(numbers))
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-6)
    assert done[-1] == (3, 3)


def test_runs_leave_out_rows_without_a_measured_growth_rate():
    table = made_table()
    table.loc[:11, "growth_rate_next"] = np.nan
    runs = sensitivity_runs(table, runs=1, hidden=(2,), max_epochs=5, workers=1)
    assert runs.query("stage == 'all'")["n"].unique().tolist() == [len(table) - 12]


def test_runs_need_the_columns_of_a_feature_table():
    with pytest.raises(InputError, match=r"lacks the columns \['slope'\]"):
        sensitivity_runs(made_table().drop(columns="slope"), runs=1)


def test_the_seven_features_of_table_1_come_at_two_times():
    assert len(FEATURES) * 2 == len(feature_names()) == 14
