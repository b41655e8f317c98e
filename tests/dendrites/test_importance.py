"""Permutation importance on linear models, where the loss is known, and on frames that were held out."""

import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.dendrites import conditional_permutation, feature_names, held_out_importance, shapley_importance

COUNT, PER_FRAME = 4000, 100
FRAMES = np.arange(COUNT) // PER_FRAME


def value(table, feature, index="r2"):
    return table.query("feature == @feature and index == @index")["value"].item()


@pytest.fixture(scope="module")
def correlated():
    """Two standard normal columns of correlation 0.8 and one beside them; y = a + b."""
    rng = np.random.default_rng(3000)
    a = rng.normal(size=COUNT)
    x = pd.DataFrame({"a": a, "b": 0.8 * a + 0.6 * rng.normal(size=COUNT), "c": rng.normal(size=COUNT)})
    return x, (x["a"] + x["b"]).to_numpy()


def add(values):
    return values[:, 0] + values[:, 1]


def test_the_conditional_loss_is_twice_the_variance_that_the_others_do_not_tell(correlated):
    x, y = correlated
    table = conditional_permutation(add, x, y, frames=FRAMES)
    # Given b, the variance of a is 1 - 0.8^2 = 0.36, and Var(y) = 2 + 2 * 0.8 = 3.6.
    assert value(table, "a") == pytest.approx(2 * 0.36 / 3.6, rel=0.06)
    assert value(table, "b") == pytest.approx(2 * 0.36 / 3.6, rel=0.06)
    assert abs(value(table, "c")) < 1e-12


def test_the_plain_loss_is_twice_the_whole_variance_and_that_of_scikit_learn(correlated):
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LinearRegression

    x, y = correlated
    table = conditional_permutation(add, x, y, frames=FRAMES, conditional=False)
    assert value(table, "a") == pytest.approx(2 / 3.6, rel=0.06)
    peer = permutation_importance(LinearRegression().fit(x, y), x, y, scoring="r2", n_repeats=20, random_state=0)
    ours = [value(table, name) for name in x]
    np.testing.assert_allclose(ours, peer.importances_mean, atol=0.02)


def test_a_group_loses_what_its_columns_tell_together(correlated):
    x, y = correlated
    table = conditional_permutation(add, x, y, frames=FRAMES, groups={"both": ["a", "b"], "c": ["c"]})
    assert value(table, "both") == pytest.approx(2.0, rel=0.03)


def test_a_feature_that_others_determine_loses_nothing_alone():
    """As the growth rate, which is the difference of two positions over the interval."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(500, 2)), columns=["position", "position_previous"])
    x["growth_rate"] = (x["position"] - x["position_previous"]) / 5
    frames = np.arange(500) // 50
    y = x["growth_rate"].to_numpy()
    alone = conditional_permutation(lambda v: v[:, 2], x, y, frames=frames)
    assert abs(value(alone, "growth_rate")) < 1e-9
    group = {"growth": ["position", "growth_rate"]}
    assert value(conditional_permutation(lambda v: v[:, 2], x, y, frames=frames, groups=group), "growth") > 0.5


def test_frames_as_strata_keep_what_differs_between_frames():
    rng = np.random.default_rng(0)
    level = np.repeat(rng.normal(size=20), 50)
    x = pd.DataFrame({"level": level, "detail": rng.normal(size=1000)})
    frames = np.arange(1000) // 50
    y = 3 * level + x["detail"].to_numpy()

    def model(v):
        return 3 * v[:, 0] + v[:, 1]

    free = conditional_permutation(model, x, y, frames=frames)
    kept = conditional_permutation(model, x, y, frames=frames, strata=frames)
    assert value(free, "level") > 1.5
    assert value(kept, "level") == pytest.approx(0.0, abs=1e-12)
    assert value(kept, "detail", "r2_within") == pytest.approx(2.0, rel=0.1)


def test_the_increase_in_rmse_has_the_unit_of_the_growth_rate(correlated):
    x, y = correlated
    first = conditional_permutation(add, x, y, frames=FRAMES, repeats=3)
    second = conditional_permutation(lambda v: 10 * add(v), x, 10 * y, frames=FRAMES, repeats=3)
    assert value(second, "a", "rmse") == pytest.approx(10 * value(first, "a", "rmse"))
    assert value(first, "a", "rmse") == pytest.approx(np.sqrt(2 * 0.36), rel=0.05)
    assert value(second, "a", "r2") == pytest.approx(value(first, "a", "r2"))


def test_a_bootstrap_over_frames_is_wider_than_one_over_rows_where_frames_differ():
    rng = np.random.default_rng(0)
    strength = np.repeat(rng.uniform(0, 2, 20), 50)
    x = pd.DataFrame({"a": rng.normal(size=1000), "strength": strength})
    y = strength * x["a"].to_numpy()

    def model(v):
        return v[:, 0] * v[:, 1]

    widths = []
    for frames in (np.arange(1000) // 50, np.arange(1000)):
        row = conditional_permutation(model, x, y, frames=frames).query("feature == 'a' and index == 'rmse'").iloc[0]
        assert row["low"] <= row["value"] <= row["high"]
        widths.append(row["high"] - row["low"])
    assert widths[0] > 1.5 * widths[1]


def test_a_single_frame_gives_no_interval():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    table = conditional_permutation(add, x, add(x), frames=np.zeros(50))
    assert table["low"].isna().all()
    assert table["value"].notna().all()


def test_another_regressor_sees_what_a_line_does_not():
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, 1000)
    x = pd.DataFrame({"a": a, "square": a**2})
    y = x["square"].to_numpy()
    from sklearn.neighbors import KNeighborsRegressor

    frames = np.arange(1000) // 100
    line = conditional_permutation(lambda v: v[:, 1], x, y, frames=frames)
    near = conditional_permutation(lambda v: v[:, 1], x, y, frames=frames, regressor=KNeighborsRegressor(5))
    assert value(line, "square") > 1.5
    assert value(near, "square") < 0.01


def test_a_regressor_that_learns_by_heart_does_not_hide_what_a_feature_tells(correlated):
    from sklearn.neighbors import KNeighborsRegressor

    x, y = correlated
    for frames in (FRAMES[:1000], np.zeros(1000)):
        table = conditional_permutation(
            add, x[:1000], y[:1000], frames=frames, repeats=3, regressor=KNeighborsRegressor(1)
        )
        # A line would say 0.2; the nearest neighbor is noisier, but not blind.
        assert 0.2 < value(table, "a") < 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(3)}, "one finite value per sample"),
        ({"y": np.full(10, np.nan)}, "10 not finite"),
        ({"frames": np.zeros(3)}, "frames needs one label per sample"),
        ({"strata": np.zeros(3)}, "strata needs one label per sample"),
        ({"groups": {"g": ["z"]}}, "must have columns of x"),
        ({"repeats": 0}, "at least one repeat"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    x = np.random.default_rng(0).normal(size=(10, 2))
    given = {"y": x[:, 0], "frames": np.arange(10) // 5} | change
    with pytest.raises(InputError, match=message):
        conditional_permutation(add, x, given.pop("y"), **given)


def made_table(frames=8, points=20):
    """Growth that follows the current concentration, with a column for each feature and frames that differ."""
    rng = np.random.default_rng(0)
    rows = 2 * frames * points
    table = pd.DataFrame(rng.normal(size=(rows, 14)), columns=feature_names())
    table["experiment"] = np.repeat(["a", "b"], frames * points)
    table["frame"] = np.tile(np.repeat(np.arange(1, frames + 1), points), 2)
    table["stage"] = "full"
    table["growth_rate_next"] = table["concentration"] + 0.1 * rng.normal(size=rows)
    return table


@pytest.mark.parametrize("split", ["frame", "experiment"])
def test_held_out_frames_name_the_feature_that_drives_growth(split):
    table = made_table()
    found = held_out_importance(table, split=split, hidden=(1,), max_epochs=40, repeats=3, workers=1)
    assert found.attrs["r2"] > 0.9
    for method in ("conditional permutation", "conditional permutation within frames", "permutation"):
        rows = found[(found["method"] == method) & (found["index"] == "r2")].set_index("feature")["value"]
        assert rows.idxmax() == "concentration"
        assert rows.drop("concentration").abs().max() < 0.05
    grouped = found.query("method == 'grouped conditional permutation' and index == 'rmse'").set_index("feature")
    assert grouped["value"].idxmax() == "concentration current"
    assert grouped.loc["concentration current", "low"] > 0


def test_rows_held_out_at_random_are_not_held_out():
    with pytest.raises(InputError, match="neighbors in the training part"):
        held_out_importance(made_table(), split="random")


def test_shapley_shares_add_up_to_the_skill_and_go_to_the_group_that_earns_it():
    table = made_table(frames=4)
    names = {"concentration": ["concentration"], "slope": ["slope"], "growth": ["growth_rate"]}
    found = shapley_importance(table, groups=names, hidden=(2,), max_epochs=20, resamples=50, workers=1)
    r2 = found.query("index == 'r2'").set_index("feature")["value"]
    assert r2["concentration"] > 0.9
    assert r2.drop("concentration").abs().max() < 0.03
    # The mean of the training frames, from which the shares start, explains nothing: its R2 is a little below zero.
    assert r2.sum() == pytest.approx(found.attrs["r2"], abs=0.02)
    assert (found["low"] <= found["high"]).all()


def test_shapley_refuses_more_groups_than_it_can_combine():
    groups = {name: [name] for name in feature_names()}
    with pytest.raises(InputError, match="at most 8 groups, got 14"):
        shapley_importance(made_table(), groups=groups)


@pytest.mark.slow
def test_within_frames_the_salt_and_the_growth_before_are_what_simulated_growth_needs():
    from operando.dendrites import growth_features
    from operando.samples import srs_experiments

    table = growth_features(srs_experiments(seed=3003), points=100)
    found = held_out_importance(table, restarts=3, repeats=3, resamples=200, workers=1)
    rows = found.query("method == 'grouped conditional permutation within frames' and index == 'r2_within'")
    loss = rows.set_index("feature")
    assert set(loss["value"].nlargest(2).index) == {"concentration current", "growth current"}
    assert (loss.loc[["concentration current", "growth current"], "low"] > 0.05).all()
    # The law knows neither of them.
    assert loss.loc["growth previous", "low"] < 0.01
    assert loss.loc["slopes current", "value"] < 0.1
