import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.dendrites import advantage, correlation, leak, score, score_intervals, within_frame_correlation


def rows(measured, predicted, frame, *, model="m", split="frame", repeat=0):
    return pd.DataFrame(
        {
            "split": split,
            "model": model,
            "repeat": repeat,
            "experiment": "a",
            "frame": frame,
            "measured": np.asarray(measured, float),
            "predicted": np.asarray(predicted, float),
            "part": "test",
        }
    )


@pytest.fixture
def many():
    """Thirty frames of forty rows: frame means differ, and half of what varies within is told."""
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(30), 40)
    known, unknown = rng.standard_normal((2, frame.size))
    return frame, 3 * frame + known + unknown, 3 * frame + known


def test_correlation_is_that_of_numpy(many):
    _, measured, predicted = many
    assert correlation(measured, predicted) == pytest.approx(np.corrcoef(measured, predicted)[0, 1], abs=1e-12)


def test_correlation_within_frames_is_that_of_the_deviations(many):
    frame, measured, predicted = many

    def deviation(values):
        return values - pd.Series(values).groupby(frame).transform("mean").to_numpy()

    expected = np.corrcoef(deviation(measured), deviation(predicted))[0, 1]
    assert within_frame_correlation(measured, predicted, frame) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(1 / np.sqrt(2), abs=0.03)
    assert correlation(measured, predicted) > 0.99


def test_the_mean_of_a_frame_changes_nothing_within_frames(many):
    frame, measured, predicted = many
    shifted = predicted + np.random.default_rng(1).standard_normal(30)[frame] * 100
    assert within_frame_correlation(measured, shifted, frame) == pytest.approx(
        within_frame_correlation(measured, predicted, frame), abs=1e-9
    )


def test_a_constant_forecast_has_no_correlation(many):
    frame, measured, _ = many
    assert np.isnan(correlation(measured, np.full(measured.size, 0.1)))
    of_frame = (frame / 7).astype(float)
    assert np.isnan(within_frame_correlation(measured, of_frame, frame))
    assert np.isfinite(correlation(measured, of_frame))


def test_frames_may_have_any_names():
    assert within_frame_correlation([0, 1, 5, 6], [0, 1, 0, 1], ["x", "x", "y", "y"]) == pytest.approx(1.0)


def test_coverage_counts_the_ends():
    found = score([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0], [0, 0, 1, 1], low=[1, 0, 0, 0], high=[1, 2, 2.9, 9])
    assert found["coverage"] == 0.75
    assert found["width"] == pytest.approx((0 + 2 + 2.9 + 9) / 4)
    assert found["rmse"] == 0.5


def test_scores_of_one_repeat_are_those_of_the_rows(many):
    frame, measured, predicted = many
    table = score_intervals(rows(measured, predicted, frame), resamples=50).set_index("score")
    direct = score(measured, predicted, frame)
    for name in ("r", "r_within", "rmse"):
        assert table.value[name] == pytest.approx(direct[name], rel=1e-9)


def test_intervals_over_frames_hold_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(3), 0
    frame = np.repeat(np.arange(40), 30)
    for _ in range(100):
        # Rows of a frame err alike: forty independent pieces of evidence, not 1,200.
        slope = rng.normal(1.0, 0.5, 40)[frame]
        x = rng.standard_normal(frame.size)
        found = score_intervals(rows(slope * x, x, frame), scores=["r_within"], level=0.9, resamples=300)
        held += float(found.low[0]) <= 1 / np.sqrt(1.25) <= float(found.high[0])
    assert 80 <= held <= 98


def test_rows_repeated_within_a_frame_do_not_narrow_the_interval(many):
    frame, measured, predicted = many
    few = score_intervals(rows(measured, predicted, frame), scores=["r_within"], resamples=400)
    twice = score_intervals(
        rows(np.tile(measured, 5), np.tile(predicted, 5), np.tile(frame, 5)), scores=["r_within"], resamples=400
    )
    assert twice.low[0] == pytest.approx(few.low[0])
    assert twice.high[0] == pytest.approx(few.high[0])


def test_each_repeat_has_its_own_frame_means():
    frame = [1, 1, 2, 2]
    both = pd.concat([rows([0, 1, 0, 1], [0, 1, 0, 1], frame), rows([0, 1, 0, 1], [5, 6, 9, 10], frame, repeat=1)])
    assert score_intervals(both, scores=["r_within"]).value[0] == pytest.approx(1.0)


def test_a_better_model_is_called_better_and_an_equal_one_undecided(many):
    frame, measured, predicted = many
    rng = np.random.default_rng(5)
    worse = predicted + rng.standard_normal(frame.size)
    table = pd.concat(
        [
            rows(measured, predicted, frame, model="good"),
            rows(measured, worse, frame, model="linear"),
            rows(measured, predicted, frame, model="copy"),
        ]
    )
    found = advantage(table, over=["linear", "good"], resamples=300).set_index(["model", "over", "score"]).verdict
    assert found["good", "linear", "r_within"] == found["good", "linear", "rmse"] == "better"
    assert found["linear", "good", "r_within"] == found["linear", "good", "rmse"] == "worse"
    assert found["copy", "good", "r_within"] == "undecided"
    assert ("good", "good", "rmse") not in found.index


def test_what_explains_nothing_within_frames_counts_as_zero(many):
    frame, measured, predicted = many
    table = pd.concat(
        [rows(measured, predicted, frame, model="good"), rows(measured, frame * 3.0, frame, model="stage mean")]
    )
    found = advantage(table, over=["stage mean"], scores=["r_within"])
    assert found.difference[0] == pytest.approx(within_frame_correlation(measured, predicted, frame))
    assert found.low[0] > 0.6


def test_training_rows_do_not_count(many):
    frame, measured, predicted = many
    trained = rows(measured, -predicted, frame).assign(part="train")
    both = pd.concat([rows(measured, predicted, frame), trained])
    assert score_intervals(both, scores=["r"]).value[0] > 0.99
    with pytest.raises(InputError, match="must hold test rows"):
        score_intervals(trained)


def test_the_leak_is_the_random_score_minus_that_by_frame():
    scores = pd.DataFrame(
        [(s, m, k, r, r / 2) for m, a, b in (("x", 0.9, 0.3), ("y", 0.8, 0.8)) for k in (0, 1) for s, r in
         (("random", a), ("frame", b))],
        columns=["split", "model", "repeat", "r_test", "r_within"],
    )  # fmt: skip
    found = leak(scores)
    assert found.model.tolist() == ["x", "y"]
    assert found.leak.tolist() == pytest.approx([0.6, 0.0])
    assert found.leak_within.tolist() == pytest.approx([0.3, 0.0])


def test_a_leak_without_the_honest_split_is_refused():
    scores = pd.DataFrame({"split": ["random"], "model": "x", "repeat": 0, "r_test": 0.9, "r_within": 0.5})
    with pytest.raises(InputError, match="frame is missing"):
        leak(scores)


def test_models_without_any_correlation_keep_their_row_of_the_leak():
    scores = pd.DataFrame(
        {"split": ["random", "frame"], "model": "stage mean", "repeat": 0, "r_test": [0.9, 0.8], "r_within": np.nan}
    )
    assert leak(scores).leak.tolist() == pytest.approx([0.1])
    assert leak(scores).leak_within.isna().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation([1.0, 2.0], [1.0]), "one length, got 2 and 1"),
        (lambda: correlation([1.0, np.nan], [1.0, 2.0]), "must be finite"),
        (lambda: within_frame_correlation([1.0, 2.0], [1.0, 2.0], [0]), "one value per row, got 1 for 2"),
        (lambda: score_intervals(rows([0, 1], [0, 1], [1, 1]), scores=["r2"]), "got 'r2'"),
        (lambda: score_intervals(rows([0, 1], [0, 1], [1, 1]), level=95), "Divide a percentage by 100"),
        (lambda: advantage(rows([0, 1], [0, 1], [1, 1]), over=["linaer"]), "'linaer' must be among the compared"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
