"""Critical current from the voltage: drops, shorts and noise are found, and nothing else is."""

import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.electrochemistry import critical_current, voltage_steps

AREA = 0.5


def trace(currents, *, rows=200, rest=0, ohm=1000.0, noise=0.003, shape=None, seed=3000):
    """Constant-current steps of so many rows, a row a minute; ``shape(step, row)`` multiplies the polarization."""
    random = np.random.default_rng(seed)
    time, current, voltage = [], [], []
    for k, value in enumerate(currents):
        t = np.arange(rows)
        factor = np.ones(rows) if shape is None else np.asarray(shape(k, t), dtype=float)
        u = abs(value) * ohm * 1e-3 * (factor + noise * random.normal(size=rows))
        current += [value] * rows + [0.0] * rest
        voltage += [*np.sign(value) * u, *np.zeros(rest)]
    time = np.arange(len(current)) / 60
    return pd.DataFrame({"time_h": time, "current_ma": current, "voltage_v": voltage})


def values(record, **options):
    table = critical_current(record, area_cm2=AREA, **options)
    return table.set_index("quantity")["value"], table.attrs["kind"], table


def drop_in(step, row, share):
    return lambda k, t: np.where((k > step) | ((k == step) & (t >= row)), 1 - share, 1.0)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_drop_is_found_at_its_row_and_current(share):
    found, kind, table = values(trace([0.1, -0.2, 0.4, -0.8], shape=drop_in(2, 120, share)))
    assert kind == "drop"
    assert found["critical current density"] == pytest.approx(0.4 / AREA)
    assert found["current density survived"] == pytest.approx(0.2 / AREA)
    assert found["onset time"] == pytest.approx((2 * 200 + 120) / 60, abs=2 / 60)
    row = table.set_index("quantity").loc["critical current density"]
    assert row["n"] == 3
    assert row["unit"] == "mA cm-2"
    assert row["sigma"] == pytest.approx(0.2 / AREA / np.sqrt(12))
    assert "drop in step 3 of 4, 2 h after it began" in row["method"]


def test_noise_is_found_by_its_scatter():
    random = np.random.default_rng(1)

    def noisy(k, t):
        return 1 + np.where((k == 2) & (t >= 90), 0.05, 0.0) * random.normal(size=t.size)

    found, kind, _ = values(trace([0.1, -0.2, 0.4], shape=noisy))
    assert kind == "noise"
    assert found["critical current density"] == pytest.approx(0.4 / AREA)
    assert found["onset time"] == pytest.approx((2 * 200 + 90) / 60, abs=12 / 60)


def test_noise_from_the_first_row_of_a_step_is_found_by_the_steps_before():
    random = np.random.default_rng(1)

    def noisy(k, t):
        return 1 + (0.05 if k == 2 else 0.0) * random.normal(size=t.size)

    found, kind, _ = values(trace([0.1, -0.2, 0.3], shape=noisy))
    assert kind == "noise"
    assert found["critical current density"] == pytest.approx(0.3 / AREA)


def test_a_step_that_is_low_from_the_start_is_a_short():
    found, kind, _ = values(trace([0.1, -0.2, 0.4], shape=drop_in(2, 0, 0.7)))
    assert kind == "short"
    assert found["onset time"] == pytest.approx(400 / 60)


def test_a_sound_cell_has_no_critical_current_but_a_bound():
    found, kind, table = values(trace([0.1, -0.2, 0.4, -0.3]))
    assert kind == "none"
    assert np.isnan(found["critical current density"])
    assert np.isnan(found["onset time"])
    assert found["current density survived"] == pytest.approx(0.4 / AREA)
    assert "no drop and no noise in 4 steps" in table["method"].iloc[0]


@pytest.mark.parametrize(
    "shape",
    [
        lambda k, t: 1 + 0.6 * t / t.size,
        lambda k, t: 1 - 0.3 * t / t.size,
        lambda k, t: 1 + 0.5 * np.exp(-t / 15),
        lambda k, t: 1 - 0.7 * np.exp(-t / 10),
        lambda k, t: 1 - 0.7 * np.exp(-t / 60),
        lambda k, t: 1 + 0.5 * np.exp(-t / 80),
        lambda k, t: 1 + 0.05 * np.sin(2 * np.pi * t / 200),
    ],
    ids=["rise", "slow fall", "fast decay", "fast rise", "slow rise", "slow decay", "slow wave"],
)
def test_drift_and_relaxation_after_a_switch_are_no_failure(shape):
    for rest in (0, 30):
        assert values(trace([0.1, -0.2, 0.4, -0.4], shape=shape, rest=rest))[1] == "none"


def test_single_spikes_are_no_failure():
    record = trace([0.1, -0.2, 0.4])
    record.loc[[100, 330, 480], "voltage_v"] = 0.0
    record.loc[[150, 520], "voltage_v"] *= 3
    assert values(record)[1] == "none"


def test_the_digits_of_the_instrument_are_no_noise():
    record = trace([0.1, -0.2, 0.4], noise=0.0002)
    record["voltage_v"] = (record["voltage_v"] / 0.005).round() * 0.005
    assert values(record)[1] == "none"


def test_a_hundred_sound_cells_raise_at_most_a_few_alarms():
    alarms = 0
    for seed in range(3000, 3100):
        random = np.random.default_rng(seed)
        walks = random.normal(size=(4, 150)).cumsum(axis=1) * 3e-4
        ends = random.uniform(-0.3, 0.3, size=(4, 2))
        tau = 10 ** random.uniform(0.5, 2, size=4)

        def shape(k, t, walks=walks, ends=ends, tau=tau):
            return 1 + ends[k, 0] * t / t.size + ends[k, 1] * np.exp(-t / tau[k]) + walks[k]

        record = trace([0.1, -0.13, 0.17, -0.2], rows=150, shape=shape, noise=0.004, seed=seed)
        alarms += values(record)[1] != "none"
    assert alarms <= 3


def test_only_the_first_onset_counts():
    found, _, _ = values(trace([0.1, 0.2, 0.4, 0.1], shape=lambda k, t: np.where((k == 1) & (t > 100), 0.3, 1.0)))
    assert found["critical current density"] == pytest.approx(0.2 / AREA)
    assert found["current density survived"] == pytest.approx(0.1 / AREA)


def test_a_drop_in_the_first_step_leaves_no_bound():
    found, kind, table = values(trace([0.1, 0.2], shape=drop_in(0, 100, 0.5)))
    assert kind == "drop"
    assert np.isnan(found["current density survived"])
    assert table["sigma"].iloc[0] == pytest.approx(0.1 / AREA / np.sqrt(12))


def test_a_rise_of_the_current_without_rest_begins_a_step():
    steps = voltage_steps(trace([0.1, 0.2, 0.4, -0.4], noise=0.0))
    assert steps["current_ma"].tolist() == [0.1, 0.2, 0.4, -0.4]
    assert steps["resistance_ohm"].tolist() == pytest.approx([1000] * 4)
    assert steps["start_h"].tolist() == pytest.approx([0, 200 / 60, 400 / 60, 600 / 60])
    assert steps["judged"].all()


def test_steps_too_short_to_judge_say_so():
    assert voltage_steps(trace([0.1, 0.2], rows=20))["judged"].tolist() == [False, False]


def test_rests_and_rows_without_a_voltage_are_left_out():
    record = trace([0.1, -0.2], rest=50)
    record.loc[10:15, "voltage_v"] = np.nan
    assert voltage_steps(record)["current_ma"].tolist() == [0.1, -0.2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"area_cm2": 0.0}, "area_cm2 must be a positive number, got 0.0"),
        ({"drop": 20}, "drop must be a share between 0 and 1, got 20"),
        ({"noise": 0.5}, "noise must be a factor above 1, got 0.5"),
        ({"window": 2}, "window must be a whole number of at least 5 rows, got 2"),
    ],
)
def test_a_wrong_argument_is_named_with_the_remedy(options, text):
    with pytest.raises(InputError, match=text):
        critical_current(trace([0.1]), **({"area_cm2": AREA} | options))


def test_a_record_without_voltage_or_current_is_refused():
    with pytest.raises(InputError, match=r"it lacks \['voltage_v'\]"):
        critical_current(trace([0.1]).drop(columns="voltage_v"), area_cm2=AREA)
    with pytest.raises(InputError, match="at least one step with current is needed"):
        critical_current(trace([0.0]), area_cm2=AREA)
