from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

from operando.core.errors import InputError
from operando.dendrites import FrameConformal


def zero():
    return DummyRegressor(strategy="constant", constant=0.0)


def frames(rng, count, rows=40, spread=1.0):
    """Rows of a frame share an error: y = 2 x + frame error + row error."""
    frame = np.repeat(np.arange(count), rows)
    x = rng.standard_normal((frame.size, 1))
    y = 2 * x[:, 0] + spread * rng.standard_normal(count)[frame] + 0.3 * rng.standard_normal(frame.size)
    return x, y, frame


def test_a_new_frame_is_covered_as_often_as_stated_where_rows_as_units_fail():
    rng = np.random.default_rng(0)
    by_frame, by_row = [], []
    for _ in range(40):
        x, y, frame = frames(rng, 12, rows=8)
        new_x, new_y, _ = frames(rng, 40, rows=3)
        for groups, found in ((frame, by_frame), (np.arange(frame.size), by_row)):
            low, high = FrameConformal(LinearRegression(), level=0.8).fit(x, y, groups=groups).predict_interval(new_x)
            found.append(np.mean((new_y >= low) & (new_y <= high)))
    assert 0.77 <= np.mean(by_frame) <= 0.88
    assert np.mean(by_row) < np.mean(by_frame) - 0.03


def test_the_level_that_few_frames_can_guarantee_is_known():
    rng = np.random.default_rng(1)
    x, y, frame = frames(rng, 15)
    model = FrameConformal(LinearRegression(), level=0.95, few_groups="infinite").fit(x, y, groups=frame)
    assert model.attainable_level_ == 15 / 16
    assert np.isinf(model.predict_interval(x)[1]).all()
    assert np.isfinite(model.predict_interval(x, 0.93)).all()
    x, y, frame = frames(rng, 19)
    enough = FrameConformal(LinearRegression(), level=0.95, few_groups="infinite").fit(x, y, groups=frame)
    assert np.isfinite(enough.predict_interval(x)).all()


def test_beyond_that_level_the_residuals_themselves_are_pooled():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    model = FrameConformal(zero(), folds=None, scale=False).fit(np.zeros((4, 1)), y, groups=[0, 1, 2, 3])
    low, high = model.predict_interval(np.zeros((1, 1)), 0.95)
    assert high[0] == pytest.approx(4.0)
    assert low[0] == pytest.approx(-4.0)


def test_a_frame_weighs_the_same_however_many_rows_it_has():
    y = np.concatenate([[1.0], np.full(99, 2.0), [3.0]])
    frame = np.concatenate([[0], np.ones(99), [2]])
    model = FrameConformal(zero(), folds=None, scale=False).fit(np.zeros((101, 1)), y, groups=frame)
    high = [model.predict_interval(np.zeros((1, 1)), level)[1][0] for level in (0.25, 0.5, 0.75)]
    assert high == pytest.approx([1.0, 2.0, 3.0])


def test_wider_levels_hold_narrower_ones_and_the_prediction():
    rng = np.random.default_rng(2)
    x, y, frame = frames(rng, 20)
    model = FrameConformal(LinearRegression()).fit(x, y, groups=frame)
    ends = [model.predict_interval(x, level) for level in (0.5, 0.8, 0.9, 0.95)]
    for (low, high), (lower, higher) in pairwise(ends):
        assert np.all(lower <= low)
        assert np.all(high <= higher)
    assert np.all(ends[0][0] <= model.predict(x))
    assert np.all(model.predict(x) <= ends[0][1])


def test_width_follows_the_size_of_the_errors():
    rng = np.random.default_rng(3)
    frame = np.repeat(np.arange(30), 40)
    x = rng.uniform(0, 1, (frame.size, 1))
    y = x[:, 0] + (0.02 + 0.3 * x[:, 0]) * rng.standard_normal(frame.size)
    even = FrameConformal(LinearRegression(), level=0.9, scale=False).fit(x, y, groups=frame)
    scaled = FrameConformal(LinearRegression(), level=0.9).fit(x, y, groups=frame)
    new = rng.uniform(0, 1, (4000, 1))
    truth = new[:, 0] + (0.02 + 0.3 * new[:, 0]) * rng.standard_normal(4000)
    slow, fast = new[:, 0] < 0.25, new[:, 0] > 0.75

    def covered(model, rows):
        low, high = model.predict_interval(new[rows])
        return np.mean((truth[rows] >= low) & (truth[rows] <= high))

    assert covered(even, slow) > 0.99
    assert covered(even, fast) < 0.85
    assert covered(scaled, slow) == pytest.approx(0.9, abs=0.06)
    assert covered(scaled, fast) == pytest.approx(0.9, abs=0.06)


def test_intervals_scale_with_the_unit_of_the_target():
    rng = np.random.default_rng(4)
    x, y, frame = frames(rng, 10)
    once = FrameConformal(LinearRegression()).fit(x, y, groups=frame).predict_interval(x)
    thousand = FrameConformal(LinearRegression()).fit(x, 1000 * y, groups=frame).predict_interval(x)
    assert np.allclose(np.array(thousand), 1000 * np.array(once))


def test_intervals_are_the_same_whatever_the_frames_are_called():
    rng = np.random.default_rng(5)
    x, y, frame = frames(rng, 9)
    first = FrameConformal(LinearRegression()).fit(x, y, groups=frame).predict_interval(x)
    second = FrameConformal(LinearRegression()).fit(x, y, groups=np.array(list("abcdefghi"))[frame]).predict_interval(x)
    assert np.array_equal(first, second)


def test_folds_that_were_trained_elsewhere_give_the_same_interval():
    rng = np.random.default_rng(6)
    x, y, frame = frames(rng, 11)
    direct = FrameConformal(LinearRegression()).fit(x, y, groups=frame)
    wrapped = FrameConformal(LinearRegression())
    fold = wrapped.folds_of(frame)
    assert all(len(np.unique(fold[frame == one])) == 1 for one in range(11))
    trained = [LinearRegression().fit(x[fold != k], y[fold != k]) for k in range(5)]
    wrapped.from_fitted(LinearRegression().fit(x, y), trained, x, y, groups=frame)
    assert np.array_equal(direct.predict_interval(x), wrapped.predict_interval(x))
    with pytest.raises(InputError, match="one estimator per fold, got 4 for 5"):
        wrapped.from_fitted(LinearRegression().fit(x, y), trained[:4], x, y, groups=frame)


def test_successive_frames_are_left_out_apart_whatever_their_names():
    fold = FrameConformal(zero()).folds_of(np.repeat(["z", "y", "x", "w", "v", "u"], 2))
    assert fold.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0]


def test_no_row_is_calibrated_with_a_model_that_saw_its_frame():
    class Memory(DummyRegressor):
        def fit(self, X, y):
            self.seen_ = set(np.asarray(X)[:, 0].tolist())
            return super().fit(X, y)

        def predict(self, X):
            return np.array([1000.0 if value in self.seen_ else 0.0 for value in np.asarray(X)[:, 0]])

    frame = np.repeat(np.arange(10), 4)
    model = FrameConformal(Memory()).fit(frame[:, None].astype(float), np.zeros(40), groups=frame)
    assert np.all(model.residuals_ == 0.0)


def test_tables_go_through_with_their_columns():
    rng = np.random.default_rng(7)
    x, y, frame = frames(rng, 6)
    table = pd.DataFrame({"speed": x[:, 0]}, index=np.arange(len(x))[::-1])
    of_table = FrameConformal(LinearRegression()).fit(table, y, groups=frame).predict_interval(table)
    assert np.allclose(of_table, FrameConformal(LinearRegression()).fit(x, y, groups=frame).predict_interval(x))


def test_it_can_be_cloned_with_all_options():
    model = FrameConformal(LinearRegression(), level=0.7, folds=3, scale=False, few_groups="infinite")
    assert clone(model).get_params()["few_groups"] == "infinite"


@pytest.mark.parametrize(
    ("options", "groups", "message"),
    [
        ({}, np.zeros(6), "two groups at least, got 1"),
        ({}, np.arange(5), "one frame per row"),
        ({"folds": 1}, np.arange(6), "folds must be 2 or more"),
        ({"few_groups": "none"}, np.arange(6), "must be 'pooled' or 'infinite', got 'none'"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(options, groups, message):
    with pytest.raises(InputError, match=message):
        FrameConformal(zero(), **options).fit(np.zeros((6, 1)), np.arange(6.0), groups=groups)


def test_a_level_in_percent_is_refused():
    model = FrameConformal(zero()).fit(np.zeros((6, 1)), np.arange(6.0), groups=np.arange(6))
    with pytest.raises(InputError, match="Divide a percentage by 100"):
        model.predict_interval(np.zeros((1, 1)), 95)
