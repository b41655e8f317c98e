"""Sobol and Morris against functions whose indices are known, and the impossible corners of their box."""

import builtins
from itertools import chain

import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError, MissingDependency
from operando.dendrites import feature_groups, feature_names, grouped_sobol, morris, outside_share, sobol

pytest.importorskip("SALib")


def ishigami(x):
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def values_of(table, index):
    return table.loc[table["index"] == index, "value"].to_numpy()


BOX = np.array([[-np.pi] * 3, [np.pi] * 3])


def test_sobol_finds_the_indices_of_the_ishigami_function():
    table = sobol(ishigami, BOX, samples=4096)
    np.testing.assert_allclose(values_of(table, "first"), [0.314, 0.442, 0.0], atol=0.01)
    np.testing.assert_allclose(values_of(table, "total"), [0.558, 0.442, 0.244], atol=0.01)


def test_the_intervals_of_sobol_hold_the_truth_and_widen_with_the_level():
    narrow, wide = (sobol(ishigami, BOX, samples=1024, level=level) for level in (0.5, 0.99))
    truth = np.array([0.314, 0.442, 0.0, 0.558, 0.442, 0.244])
    assert ((wide["low"] <= truth) & (truth <= wide["high"])).all()
    assert (wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])).all()


def test_sobol_does_not_depend_on_the_units_of_the_inputs():
    first = sobol(ishigami, BOX, samples=64)
    second = sobol(lambda x: ishigami(x / 1000), 1000 * BOX, samples=64)
    np.testing.assert_allclose(second["value"], first["value"], rtol=1e-9, atol=1e-9)


def test_sobol_is_the_same_for_the_same_seed_and_another_for_another():
    one, two, three = (sobol(ishigami, BOX, samples=64, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert not np.allclose(one["value"], three["value"])


def test_a_constant_model_depends_on_nothing_that_could_be_shared():
    assert sobol(lambda x: np.ones(len(x)), BOX, samples=16)["value"].isna().all()


def test_sobol_wants_a_power_of_two():
    with pytest.raises(InputError, match=r"power of two, got 1000. Take 1024"):
        sobol(ishigami, BOX, samples=1000)


def test_without_salib_the_extra_is_named(monkeypatch):
    import sys

    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "SALib", raising=False)

    def refuse(name, *args, **kwargs):
        if name.startswith("SALib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", lambda name: refuse(name))
    with pytest.raises(MissingDependency, match=r"operando\[sensitivity\]"):
        sobol(ishigami, BOX, samples=16)


def test_morris_finds_the_slopes_of_a_line_in_scaled_inputs():
    box = np.array([[0.0, 0.0, -5.0], [10.0, 4.0, 5.0]])
    table = morris(lambda x: x @ np.array([1.0, -2.0, 0.0]), box, trajectories=5)
    np.testing.assert_allclose(values_of(table, "mu_star"), [5, 4, 0], atol=1e-9)
    np.testing.assert_allclose(values_of(table, "mu"), [5, -4, 0], atol=1e-9)
    np.testing.assert_allclose(values_of(table, "sigma"), 0, atol=1e-9)


def test_morris_finds_no_mean_effect_where_a_parabola_falls_and_rises():
    table = morris(lambda x: x[:, 0] ** 2, np.array([[-1.0, 0.0], [1.0, 1.0]]), trajectories=500)
    assert abs(values_of(table, "mu")[0]) < 0.05
    assert values_of(table, "mu_star")[0] > 0.3
    assert values_of(table, "sigma")[0] > 0.3
    assert values_of(table, "mu_star")[1] == 0


@pytest.mark.parametrize("wrong", [{"levels": 3}, {"levels": 0}, {"trajectories": 1}])
def test_morris_refuses_odd_levels_and_single_walks(wrong):
    with pytest.raises(InputError, match="levels must be even and trajectories at least 2"):
        morris(ishigami, BOX, **wrong)


def test_groups_of_one_are_the_indices_of_their_columns_over_the_data():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.uniform(-np.pi, np.pi, (5000, 3)), columns=list("abc"))
    table = grouped_sobol(ishigami, x, groups={"A": ["a"], "B": ["b"], "C": ["c"]}, samples=2048)
    np.testing.assert_allclose(values_of(table, "first"), [0.314, 0.442, 0.0], atol=0.02)
    np.testing.assert_allclose(values_of(table, "total"), [0.558, 0.442, 0.244], atol=0.02)


def test_a_group_keeps_what_belongs_together():
    """With b = a the difference a - b is always zero, in the data and within the group; over the box it is not."""
    rng = np.random.default_rng(0)
    a = rng.uniform(size=500)
    x = pd.DataFrame({"a": a, "b": a, "c": rng.uniform(size=500)})

    def model(v):
        return 10 * (v[:, 0] - v[:, 1]) + v[:, 2]

    grouped = grouped_sobol(model, x, groups={"ab": ["a", "b"], "c": ["c"]}, samples=256).query("index == 'total'")
    assert grouped["value"].tolist() == pytest.approx([0.0, 1.0], abs=0.01)
    box = sobol(model, x, samples=256).query("index == 'total'")
    assert box["value"].iloc[0] > 0.3


def test_the_share_of_impossible_points_is_small_in_groups_and_large_in_the_box():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1000, 1))
    x = pd.DataFrame(a + 0.01 * rng.normal(size=(1000, 8)), columns=[f"f{i}" for i in range(8)])
    box = sobol(lambda v: v.sum(axis=1), x, samples=128)
    grouped = grouped_sobol(lambda v: v.sum(axis=1), x, groups={"all": list(x.columns)}, samples=128)
    assert box.attrs["outside_share"] > 0.95
    assert grouped.attrs["outside_share"] == 0.0


def test_points_of_the_same_distribution_are_outside_as_rarely_as_the_quantile_says():
    rng = np.random.default_rng(0)
    data, fresh = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3))
    assert outside_share(data, fresh, quantile=0.9) == pytest.approx(0.1, abs=0.03)


def test_with_frames_the_next_pixel_is_no_measure_of_distance():
    along = np.linspace(0, 1, 500)
    data = np.concatenate([np.column_stack([along, np.full(500, offset)]) for offset in (0.0, 0.2, 0.4)])
    frames = np.repeat([0, 1, 2], 500)
    between = np.column_stack([along, np.full(500, 0.1)])
    assert outside_share(data, between) == 1.0
    assert outside_share(data, between, frames=frames) == 0.0


def test_one_frame_has_no_other_frame_to_be_compared_with():
    assert np.isnan(outside_share(np.eye(3), np.eye(3), frames=[0, 0, 0]))


def test_the_14_features_form_three_groups_at_two_times():
    names = feature_names()
    by_time, joined = feature_groups(names), feature_groups(names, by_time=False)
    assert {group: len(members) for group, members in by_time.items()} == {
        "slopes previous": 3,
        "concentration previous": 2,
        "growth previous": 2,
        "slopes current": 3,
        "concentration current": 2,
        "growth current": 2,
    }
    assert list(joined) == ["slopes", "concentration", "growth"]
    assert sorted(chain(*by_time.values())) == sorted(chain(*joined.values())) == sorted(names)


def test_an_unknown_column_has_no_group_but_a_suggestion():
    with pytest.raises(InputError, match="Did you mean 'growth_rate'"):
        feature_groups(["growth_rat"])


def test_groups_must_cover_each_column_once():
    x = pd.DataFrame(np.eye(3), columns=list("abc"))
    with pytest.raises(InputError, match=r"in exactly one group, not so for \['a', 'c'\]"):
        grouped_sobol(ishigami, x, groups={"one": ["a", "b"], "two": ["a"]})
    with pytest.raises(InputError, match="must have columns of x"):
        grouped_sobol(ishigami, x, groups={"one": ["a", "b", "z"]})
