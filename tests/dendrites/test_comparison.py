import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.dendrites import advantage, compare, feature_names, leak

FAST = ("persistence", "stage mean", "linear", "nearest neighbor")


def smooth(rng, points, length):
    """A periodic standard normal field, smooth over so many points."""
    spectrum = np.fft.rfft(rng.standard_normal(points)) * np.exp(
        -0.5 * (np.arange(points // 2 + 1) * length / points) ** 2
    )
    field = np.fft.irfft(spectrum, points)
    return field / field.std()


def fields(frames=12, points=60, experiments=("a", "b"), seed=0, share=0.3):
    """Growth of which ``share`` follows from one feature; the rest is a smooth field that nobody can know."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in experiments:
        for frame in range(frames):
            part = pd.DataFrame({column: smooth(rng, points, 24) for column in feature_names()})
            part["hidden"] = smooth(rng, points, 24)
            part["experiment"], part["frame"] = name, frame + 1
            parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["stage"] = np.where(table.frame <= frames // 2, "none", "full")
    table["growth_rate_next"] = np.sqrt(share) * table.concentration + np.sqrt(1 - share) * table.hidden
    return table


@pytest.fixture(scope="module")
def table():
    return fields()


@pytest.fixture(scope="module")
def compared(table):
    return compare(table, models=FAST, repeats=3)


def test_there_is_one_row_of_scores_per_model_split_and_repeat(compared):
    scores, predictions = compared
    assert len(scores) == 4 * 3 * 3
    assert list(scores.columns)[:10] == [
        "split", "model", "repeat", "r_train", "r_test", "r_within", "rmse", "coverage", "n_train", "n_test",
    ]  # fmt: skip
    assert list(predictions.columns)[:9] == [
        "split", "model", "repeat", "sample", "measured", "predicted", "low", "high", "part",
    ]  # fmt: skip
    assert len(predictions) == 4 * 3 * 3 * 1440
    assert set(predictions.part) == {"train", "test"}


def test_a_random_split_reports_more_than_the_best_forecaster_can_know(table, compared):
    scores, _ = compared
    ceiling = np.corrcoef(table.concentration, table.growth_rate_next)[0, 1]
    found = leak(scores).set_index("model")
    assert found.random["nearest neighbor"] > 0.85 > 0.6 > ceiling
    assert found.frame["nearest neighbor"] < ceiling / 2
    assert found.leak["nearest neighbor"] > 0.5
    assert found.frame["nearest neighbor"] < found.frame["linear"] < ceiling + 0.05
    assert abs(found.leak["linear"]) < 0.1


def test_scores_follow_from_the_predictions(compared):
    scores, predictions = compared
    for row in scores.itertuples():
        mine = (predictions.model == row.model) & (predictions.split == row.split) & (predictions.repeat == row.repeat)
        tested = predictions[mine & (predictions.part == "test")]
        assert len(tested) == row.n_test
        error = tested.measured - tested.predicted
        assert row.rmse == pytest.approx(np.sqrt((error**2).mean()))
        assert row.coverage == pytest.approx(
            ((tested.low <= tested.measured) & (tested.measured <= tested.high)).mean()
        )


def test_a_mean_by_stage_has_no_correlation_within_frames_and_persistence_no_skill(compared):
    scores, _ = compared
    assert scores[scores.model == "stage mean"].r_within.isna().all()
    assert np.allclose(scores[scores.model == "persistence"].skill, 0.0)


def test_samples_are_rows_of_the_table(table, compared):
    _, predictions = compared
    some = predictions.sample(200, random_state=0)
    rows = table.loc[some["sample"]]
    assert np.array_equal(rows.growth_rate_next, some.measured)
    assert np.array_equal(rows.frame, some.frame)
    assert np.array_equal(rows.experiment, some.experiment)


def test_a_new_frame_is_covered_about_as_often_as_stated(compared):
    scores, _ = compared
    mean = scores[scores.split == "frame"].groupby("model").coverage.mean()
    assert mean["linear"] == pytest.approx(0.95, abs=0.03)


def test_the_same_seed_gives_the_same_tables(table):
    few = table[table.frame <= 4]
    once, again = (compare(few, models=["linear", "gradient boosting"], splits=["frame"], repeats=1) for _ in range(2))
    pd.testing.assert_frame_equal(once[0], again[0])
    pd.testing.assert_frame_equal(once[1], again[1])
    other = compare(few, models=["linear"], splits=["random"], repeats=1, seed=1)[0]
    assert other.r_test[0] != compare(few, models=["linear"], splits=["random"], repeats=1)[0].r_test[0]


def test_networks_are_compared_with_their_own_intervals_and_with_those_by_frame(table):
    few = table[table.frame <= 6].iloc[::4]
    names = ["Bayesian network", "Bayesian network, conformal"]
    _, predictions = compare(few, models=names, splits=["frame"], repeats=1, hidden=(3,), max_epochs=15)
    own, conformal = (predictions[predictions.model == name].reset_index(drop=True) for name in names)
    assert np.array_equal(own.predicted, conformal.predicted)
    assert not np.allclose(own.high, conformal.high)
    assert (own.low < own.predicted).all()
    assert (own.predicted < own.high).all()


def test_the_advantage_over_simple_models_is_decided_where_there_is_one(compared):
    _, predictions = compared
    found = advantage(predictions, scores=["r_within"], resamples=300).set_index(["split", "model", "over"]).verdict
    assert found["frame", "linear", "persistence"] == "better"
    assert found["frame", "nearest neighbor", "linear"] == "worse"


def test_one_experiment_is_compared_by_the_splits_it_allows(table):
    alone = table[(table.experiment == "a") & (table.frame <= 4)]
    assert set(compare(alone, models=["linear"], repeats=1)[0].split) == {"random", "frame"}
    with pytest.raises(InputError, match="two experiments at least"):
        compare(alone, models=["linear"], splits=["experiment"])


def test_rows_that_cannot_be_used_are_left_out_and_counted(table):
    gone = table[table.frame <= 4].copy()
    gone.loc[gone.index[:7], "growth_rate_next"] = np.nan
    gone.loc[gone.index[10], "slope"] = np.inf
    scores, _ = compare(gone, models=["linear"], splits=["random"], repeats=1)
    assert scores.attrs["dropped"] == 8
    assert scores.n_train[0] + scores.n_test[0] == len(gone) - 8


def test_progress_is_told_to_the_end(table):
    told = []
    few = table[table.frame <= 4]
    compare(few, models=["persistence", "linear"], splits=["frame"], repeats=2, progress=lambda *now: told.append(now))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["lineer"]}, "Did you mean 'linear'"),
        ({"models": ["linear", "linear"]}, "named once"),
        ({"models": []}, "named once"),
        ({"level": 95}, "Divide a percentage by 100"),
        ({"splits": ["frames"]}, "Did you mean 'frame'"),
        ({"splits": ["frame", "frame"]}, "each once"),
        ({"repeats": 0}, "one repeat and one split at least"),
        ({"features": "slopez"}, "slopes"),
    ],
)
def test_what_cannot_be_compared_is_refused(table, arguments, message):
    with pytest.raises(InputError, match=message):
        compare(table, **arguments)


def test_a_table_without_its_target_is_refused(table):
    with pytest.raises(InputError, match="missing growth_rate_next"):
        compare(table.drop(columns="growth_rate_next"))
    with pytest.raises(InputError, match="none of 1440 has"):
        compare(table.assign(growth_rate_next=np.nan))
