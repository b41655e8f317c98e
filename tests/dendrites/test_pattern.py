import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from operando.core.errors import InputError
from operando.dendrites import compare
from operando.dendrites.committee import Committee
from operando.dendrites.network import BayesianNetwork
from operando.dendrites.pattern import Pattern, relative_deviations


def electrode(seed=0, frames=12, points=40, share=0.6):
    """Frames that grow faster the less salt is left, each keeping a share of the pattern with which it grew before."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(frames), points)
    salt = np.linspace(1.0, 0.1, frames)[frame]
    before = rng.uniform(0.05, 1.0, frames)[frame]  # levels that have nothing to do with the next ones
    pattern = 0.3 * rng.standard_normal(frame.size)
    pattern -= pd.Series(pattern).groupby(frame).transform("mean").to_numpy()
    table = pd.DataFrame({"experiment": "a", "frame": frame, "concentration": salt})
    table["growth_rate"] = before * (1 + pattern)
    table["growth_rate_next"] = (1.1 - salt) * (1 + share * pattern)
    return table


def fitted(table, columns=("growth_rate",)):
    return Pattern(LinearRegression(), list(columns)).fit(table, table.growth_rate_next)


def test_a_share_of_the_pattern_times_the_level_is_told_exactly_whatever_the_frame_grew_before():
    model, other = fitted(electrode(0)), electrode(1)
    assert np.allclose(model.predict(other), other.growth_rate_next, rtol=0, atol=1e-12)
    assert np.allclose(model.estimator_.coef_, 0.6)


def test_deviations_in_um_per_min_cannot_tell_that_pattern():
    table, other = electrode(0), electrode(1)
    levels = other.groupby("frame").growth_rate_next.transform("mean")

    def deviations(rows):
        return (rows.growth_rate - rows.groupby("frame").growth_rate.transform("mean")).to_frame()

    plain = LinearRegression().fit(
        deviations(table), table.growth_rate_next - table.groupby("frame").growth_rate_next.transform("mean")
    )
    left = other.growth_rate_next - levels
    assert np.corrcoef(plain.predict(deviations(other)), left)[0, 1] < 0.95


def test_a_single_row_gets_the_level_of_its_concentration():
    table = electrode()
    row = table.iloc[[45]]
    level = table[table.frame == row.frame.item()].growth_rate_next.mean()
    assert fitted(table).predict(row).item() == pytest.approx(level)


def test_the_level_never_falls_as_the_salt_goes_and_is_constant_beyond_what_was_seen():
    table = electrode()
    table["growth_rate_next"] += np.random.default_rng(2).standard_normal(12)[table.frame] * 0.2
    salt = np.linspace(-1.0, 2.0, 31)
    rows = pd.DataFrame({"experiment": "a", "frame": np.arange(31), "concentration": salt, "growth_rate": 0.1})
    level = fitted(table).predict(rows)
    assert np.all(np.diff(level) <= 1e-12)
    assert level[0] == level[salt <= 0.1][-1]
    assert level[-1] == level[salt >= 1.0][0]
    assert level[0] > level[-1]


@pytest.mark.parametrize("factor", [1e-3, 60.0])
def test_the_unit_of_rates_and_salt_does_not_matter(factor):
    table = electrode()
    scaled = table.assign(
        growth_rate=factor * table.growth_rate,
        growth_rate_next=factor * table.growth_rate_next,
        concentration=factor * table.concentration,
    )
    assert np.allclose(fitted(scaled).predict(scaled), factor * fitted(table).predict(table))


def test_the_order_and_the_index_of_the_frames_do_not_matter():
    table = electrode()
    mixed = table.iloc[np.random.default_rng(0).permutation(len(table))]
    predicted = pd.Series(fitted(mixed).predict(mixed), index=mixed.index).sort_index()
    assert np.allclose(predicted, fitted(table).predict(table))


def test_a_mean_near_zero_does_not_blow_up_the_deviations():
    table = pd.DataFrame({"growth_rate": [1e-9, 0.1, -0.1]})
    assert np.abs(relative_deviations(table, ["growth_rate"], np.zeros(3, int))).max() < 2


def test_a_feature_that_is_constant_in_a_frame_has_no_deviation():
    table = pd.DataFrame({"growth_rate_previous": [0.0, 0.0, 2.0, 2.0]})
    assert not relative_deviations(table, ["growth_rate_previous"], np.array([0, 0, 1, 1])).any()


def test_a_frame_without_salt_is_refused_with_the_remedy():
    table = electrode()
    table.loc[table.frame == 3, "concentration"] = np.nan
    with pytest.raises(InputError, match=r"1 of 12 do not. Leave these frames out"):
        fitted(table)


def test_a_missing_concentration_is_named():
    with pytest.raises(InputError, match="missing concentration"):
        fitted(electrode().drop(columns="concentration"))


def test_a_committee_is_the_mean_of_networks_that_anyone_can_train():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (90, 2))
    y = np.tanh(2 * x[:, 0]) + 0.1 * rng.standard_normal(90)
    committee = Committee(BayesianNetwork((2,), max_epochs=20, random_state=5), members=3, every=3).fit(x, y)
    alone = [BayesianNetwork((2,), max_epochs=20, random_state=5 + m).fit(x[m::3], y[m::3]) for m in range(3)]
    assert np.allclose(committee.predict(x), np.mean([one.predict(x) for one in alone], axis=0))


def test_members_beyond_the_stride_start_over_and_few_rows_are_shared():
    x, y = np.arange(12.0)[:, None], np.arange(12.0)
    many = Committee(LinearRegression(), members=3, every=2).fit(x, y**2)
    assert many.estimators_[0].intercept_ == many.estimators_[2].intercept_ != many.estimators_[1].intercept_
    few = Committee(LinearRegression(), members=2, every=8).fit(x, y)
    assert np.allclose([one.coef_.item() for one in few.estimators_], 1.0)


def test_a_committee_of_networks_on_correlated_rows_is_nearer_to_the_truth_than_one_network_on_all_of_them():
    """Twenty equal rows of each sample: one network takes them for twenty, and follows their noise."""
    rng = np.random.default_rng(3)
    apart = []
    for _ in range(5):
        x = rng.uniform(-1, 1, (40, 3)).repeat(20, axis=0)
        y = x[:, 0] + 0.5 * rng.standard_normal(40).repeat(20)
        new = rng.uniform(-1, 1, (200, 3))
        network = BayesianNetwork((8,), max_epochs=60)
        models = (network, Committee(network, members=4, every=20))
        apart.append([np.mean((model.fit(x, y).predict(new) - new[:, 0]) ** 2) for model in models])
    assert np.mean(apart, axis=0)[1] < 0.5 * np.mean(apart, axis=0)[0]


@pytest.mark.parametrize("wrong", [{"members": 0}, {"every": 0}])
def test_a_committee_of_nobody_is_refused(wrong):
    with pytest.raises(InputError, match="must be at least 1"):
        Committee(LinearRegression(), **wrong).fit([[0.0], [1.0]], [0.0, 1.0])


def test_rows_without_salt_are_left_out_where_a_pattern_is_compared_and_only_there():
    table = electrode().assign(stage="full", slope=np.random.default_rng(4).standard_normal(480))
    table.loc[7, "concentration"] = np.nan
    dropped = {
        name: compare(table, models=[name], splits=["frame"], repeats=1, features="slope", times="current")[0].attrs[
            "dropped"
        ]
        for name in ("linear", "linear pattern")
    }
    assert dropped == {"linear": 0, "linear pattern": 1}
