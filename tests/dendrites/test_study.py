import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.dendrites import BayesianNetwork, ablation, feature_names, leak, split_rows, within_frame_correlation


@pytest.fixture(scope="module")
def table():
    """Growth that follows from the concentration, and a little from what it was before."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(-1, 1, (240, 14)), columns=feature_names())
    table["experiment"] = np.repeat(["a", "b"], 120)
    table["frame"] = np.tile(np.repeat(np.arange(1, 7), 20), 2)
    table["growth_rate_next"] = np.tanh(2 * table.concentration) + 0.3 * table.growth_rate_previous
    return table


@pytest.fixture(scope="module")
def study(table):
    return ablation(table, networks=["2", "[2, 2]"], repeats=2, max_epochs=12)


def test_every_combination_is_there_once(study):
    keys = ["split", "features", "times", "network", "repeat"]
    assert len(study) == 3 * 4 * 3 * 2 * 2
    assert not study.duplicated(keys).any()
    assert list(study.columns) == [
        *keys, "r_train", "r_test", "r_within", "rmse", "n_train", "n_test", "gamma", "log_evidence", "epochs",
    ]  # fmt: skip


def test_features_that_matter_are_found_at_the_time_they_matter(study):
    r = (
        study[study.split == "frame"].groupby(["features", "times"]).r_test.mean().fillna(0.0)
    )  # a network that tells one value has found nothing
    assert r["concentration", "current"] > 0.8
    assert r["concentration", "previous"] < 0.3
    assert r["slopes", "both"] < 0.3
    assert r["all", "both"] > r["concentration", "current"]


def test_a_row_is_the_network_that_anyone_can_train(table, study):
    row = study.query(
        "split == 'frame' and features == 'growth' and times == 'both' and network == '2' and repeat == 1"
    )
    names = feature_names("growth", "both")
    train, test = split_rows(table, "frame", repeat=1)
    x, y = table[names].to_numpy(), table.growth_rate_next.to_numpy()
    alone = BayesianNetwork(hidden=(2,), max_epochs=12, random_state=1).fit(x[train], y[train])
    predicted = alone.predict(x[test])
    assert row.r_test.item() == pytest.approx(np.corrcoef(y[test], predicted)[0, 1], abs=1e-6)
    frame = table.experiment.str.cat(table.frame.astype(str))[test]
    assert row.r_within.item() == pytest.approx(within_frame_correlation(y[test], predicted, frame), abs=1e-6)
    assert row.gamma.item() == pytest.approx(alone.gamma_, rel=1e-5)
    assert row.epochs.item() == alone.n_iter_
    assert (row.n_train.item(), row.n_test.item()) == (len(train), len(test))


def test_the_leak_of_every_combination_can_be_read(study):
    found = leak(study)
    assert len(found) == 4 * 3 * 2
    assert {"features", "times", "network", "random", "frame", "experiment", "leak"} <= set(found.columns)


def test_networks_may_be_named_in_any_way_and_be_wide(table):
    found = ablation(
        table, feature_sets=["slopes"], times=["current"], networks=[3, (2, 3), "[2,3,2]"], splits="frame", repeats=1,
        max_epochs=2,
    )  # fmt: skip
    assert found.network.tolist() == ["3", "[2, 3]", "[2, 3, 2]"]


def test_progress_counts_trainings_to_the_end(table):
    told = []
    arguments = {"feature_sets": ["slopes"], "networks": ["2"], "splits": ["random"], "repeats": 2, "max_epochs": 1}
    ablation(table, **arguments, progress=lambda *now: told.append(now))
    assert told == [(2, 6), (4, 6), (6, 6)]


def test_rows_are_the_same_for_all_combinations(table):
    gone = table.copy()
    gone.loc[:9, "slope"] = np.nan
    found = ablation(
        gone, networks=["2"], feature_sets=["slopes", "growth"], splits=["random"], repeats=1, max_epochs=1
    )
    assert set(found.n_train + found.n_test) == {230}
    assert found.attrs["dropped"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"networks": ["wide"]}, "got 'wide'"),
        ({"networks": [0]}, "got 0"),
        ({"networks": []}, "networks"),
        ({"feature_sets": ["slopez"]}, "slopes"),
        ({"times": ["now"]}, "current"),
        ({"splits": ["rows"]}, "how must be one of"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_any_training(table, arguments, message):
    with pytest.raises(InputError, match=message):
        ablation(table, **arguments)
