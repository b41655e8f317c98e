import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.dendrites import MODELS, BayesianNetwork, correlation_by_stage, feature_names, rival

STAGES = ("none", "partial", "full")


@pytest.fixture(scope="module")
def smooth():
    """Rows of a table whose next growth rate is a smooth function of the features."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(-1, 1, (600, 14)), columns=feature_names())
    table["stage"] = np.repeat(STAGES, 200)
    table["experiment"], table["frame"] = "a", np.repeat(np.arange(12), 50)
    table["growth_rate_next"] = 0.4 + 0.2 * np.tanh(2 * table.concentration) + 0.1 * table.growth_rate
    return table


def test_persistence_is_the_current_growth_rate(smooth):
    model = rival("persistence").fit(smooth, np.zeros(600))
    assert np.array_equal(model.predict(smooth), smooth.growth_rate)


def test_the_stage_mean_is_that_of_the_training_rows(smooth):
    model = rival("stage mean").fit(smooth, smooth.growth_rate_next)
    means = smooth.groupby("stage").growth_rate_next.mean()
    assert np.allclose(model.predict(smooth), smooth.stage.map(means))


def test_a_stage_that_was_not_seen_gets_the_mean_of_all(smooth):
    first = smooth[smooth.stage != "full"]
    predicted = rival("stage mean").fit(first, first.growth_rate_next).predict(smooth[smooth.stage == "full"])
    assert np.allclose(predicted, first.growth_rate_next.mean())


def test_linear_regression_finds_a_plane_exactly(smooth):
    target = 1 + smooth[feature_names()].to_numpy() @ np.arange(14)
    assert np.allclose(rival("linear").fit(smooth, target).predict(smooth), target)


def test_the_nearest_neighbor_knows_its_training_rows_by_heart(smooth):
    noise = np.random.default_rng(1).standard_normal(600)
    assert np.array_equal(rival("nearest neighbor").fit(smooth, noise).predict(smooth), noise)


@pytest.mark.parametrize(
    "name", ["linear", "gradient boosting", "Gaussian process", "plain network", "Bayesian network"]
)
def test_what_learns_beats_the_mean_on_rows_it_has_not_seen(smooth, name):
    train, test = smooth.iloc[::2], smooth.iloc[1::2]
    model = rival(name, hidden=(6,), max_epochs=40).fit(train, train.growth_rate_next)
    assert np.corrcoef(model.predict(test), test.growth_rate_next)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["gradient boosting", "Gaussian process", "plain network", "Bayesian network"])
def test_the_same_seed_gives_the_same_model(smooth, name):
    few = smooth.iloc[::3]
    once, again = (
        rival(name, columns=["concentration", "growth_rate"], hidden=(4,), max_epochs=10, random_state=3)
        .fit(few, few.growth_rate_next)
        .predict(smooth)
        for _ in range(2)
    )
    assert np.array_equal(once, again)


def test_columns_that_were_not_chosen_do_not_matter(smooth):
    model = rival("linear", columns=["concentration"]).fit(smooth, smooth.growth_rate_next)
    assert np.array_equal(model.predict(smooth.assign(growth_rate=9.0)), model.predict(smooth))


def test_only_what_states_intervals_has_them():
    assert hasattr(rival("Bayesian network"), "predict_interval")
    assert not hasattr(rival("linear"), "predict_interval")


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'Gaussian process'"):
        rival("gaussian proces")


def test_every_model_can_be_made():
    assert [type(rival(name)).__name__ for name in MODELS] == ["OnColumns"] * 8 + ["WithinFrames"] * 2 + ["Pattern"] * 2


def test_a_missing_feature_is_named(smooth):
    with pytest.raises(InputError, match="missing slope_up"):
        rival("linear").fit(smooth.drop(columns="slope_up"), smooth.growth_rate_next)


def test_correlation_by_stage_is_that_of_the_rows_of_the_stage(smooth):
    found = correlation_by_stage(smooth, resamples=100).set_index("stage")
    assert found.index.tolist() == [*STAGES, "all"]
    for stage in STAGES:
        rows = smooth[smooth.stage == stage]
        expected = np.corrcoef(rows.concentration, rows.growth_rate_next)[0, 1]
        assert found.r[stage] == pytest.approx(expected)
        assert found.low[stage] < expected < found.high[stage]
        assert found.n[stage] == 200
        assert found.frames[stage] == 4


def test_a_stage_of_a_single_frame_has_no_interval(smooth):
    found = correlation_by_stage(smooth.iloc[:250], resamples=100).set_index("stage")
    assert found.frames["partial"] == 1
    assert np.isfinite(found.r["partial"])
    assert np.isnan([found.low["partial"], found.high["partial"], found.low_within["partial"]]).all()


def test_drift_of_the_frames_is_told_from_what_happens_within_them():
    x = np.tile([0.0, 1.0, 2.0], 4)
    frame = np.repeat(np.arange(4), 3)
    table = pd.DataFrame({"experiment": "a", "frame": frame, "stage": "full", "concentration": x - 5 * frame})
    table["growth_rate_next"] = 0.1 * x + frame
    found = correlation_by_stage(table, resamples=50).iloc[0]
    assert found.r < -0.9
    assert found.r_within == pytest.approx(1.0)


def test_rows_without_a_next_growth_rate_do_not_count(smooth):
    gone = smooth.copy()
    gone.loc[::2, "growth_rate_next"] = np.nan
    assert correlation_by_stage(gone, resamples=20).n.tolist() == [100, 100, 100, 300]


def shifted(rng, count):
    """Frames whose features are offset at random, and whose growth follows the deviations and the stage."""
    frame = np.repeat(np.arange(count), 30)
    deviation = rng.standard_normal(frame.size)
    deviation -= pd.Series(deviation).groupby(frame).transform("mean").to_numpy()
    table = pd.DataFrame(dict.fromkeys(feature_names(), 0.0), index=range(frame.size))
    table["concentration"] = deviation + 50 * rng.standard_normal(count)[frame]
    table["experiment"], table["frame"], table["stage"] = "a", frame, np.where(frame % 2, "none", "full")
    return table.assign(growth_rate_next=0.1 * deviation + np.where(frame % 2, 0.04, 0.64))


@pytest.mark.parametrize("name", ["linear within frames", "Bayesian network within frames"])
def test_deviations_from_the_frame_are_told_in_frames_of_any_offset(name):
    rng = np.random.default_rng(0)
    train, test = shifted(rng, 10), shifted(rng, 6)
    plain, within = (
        rival(chosen, columns=["concentration"], hidden=(4,), max_epochs=30).fit(train, train.growth_rate_next)
        for chosen in (name.removesuffix(" within frames"), name)
    )
    assert np.corrcoef(within.predict(test), test.growth_rate_next)[0, 1] > 0.98
    assert np.corrcoef(plain.predict(test), test.growth_rate_next)[0, 1] < 0.8


def test_a_single_row_gets_the_mean_of_its_stage():
    rng = np.random.default_rng(1)
    train = shifted(rng, 4)
    model = rival("linear within frames").fit(train, train.growth_rate_next)
    assert model.predict(train.iloc[:1]).item() == pytest.approx(0.64)
    assert model.predict(train.iloc[:1].assign(stage="partial")).item() == pytest.approx(0.34)


def test_the_shape_of_the_highest_evidence_is_kept():
    rng = np.random.default_rng(2)
    train = shifted(rng, 20)
    model = rival("Bayesian network within frames", columns=["concentration"], max_epochs=40)
    network = model.fit(train, train.growth_rate_next).estimator_.network_
    x = train.concentration - train.groupby("frame").concentration.transform("mean")
    y = train.growth_rate_next - train.groupby("frame").growth_rate_next.transform("mean")
    kept = train.groupby("frame").cumcount() % 8 == 0
    evidence = [
        BayesianNetwork(hidden=shape, max_epochs=40).fit(x[kept].to_frame(), y[kept]).log_evidence_
        for shape in ((2,), (4,), (8,))
    ]
    assert network.log_evidence_ == pytest.approx(max(evidence))
