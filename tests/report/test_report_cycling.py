import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.report import correlation_series, voltage_envelope


@pytest.fixture
def record():
    time = np.linspace(0, 4, 41)
    return pd.DataFrame(
        {"time_h": time, "current_ma": np.where(time < 2, 1e-3, -1e-3), "voltage_v": np.where(time < 2, 0.05, -0.04)}
    )


@pytest.fixture
def pulses():
    return pd.DataFrame({"start_h": [0.0, 1.0, 2.0], "end_h": [0.5, 1.5, 2.5], "peak_v": [0.06, 0.05, -0.04]})


def test_peaks_stand_in_the_middle_of_their_pulse(record, pulses):
    ax = voltage_envelope(record, pulses).axes[0]
    drawn = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(drawn["peaks, charge"].get_xdata(), [0.25, 1.25])
    np.testing.assert_allclose(drawn["peaks, charge"].get_ydata(), [60.0, 50.0])
    np.testing.assert_allclose(drawn["peaks, discharge"].get_ydata(), [-40.0])


def test_the_unit_of_the_voltage_fits_its_size(record):
    assert voltage_envelope(record).axes[0].get_ylabel() == "Voltage\n[mV]"
    assert voltage_envelope(record.assign(voltage_v=3.7)).axes[0].get_ylabel() == "Voltage\n[V]"


def test_scans_are_marked_below_the_current(record):
    below = voltage_envelope(record, scans_h=[0.0, 4.0]).axes[1]
    np.testing.assert_allclose(below.lines[-1].get_xdata(), [0.0, 4.0])


def test_a_record_without_voltage_is_refused(record, pulses):
    with pytest.raises(InputError, match="must hold a voltage, got none that is finite"):
        voltage_envelope(record.assign(voltage_v=np.nan))
    with pytest.raises(InputError, match=r"missing \['peak_v'\]"):
        voltage_envelope(record, pulses.drop(columns="peak_v"))


@pytest.fixture
def correlations():
    rows = [
        {"scan": scan, "t": 2.0 * scan, "component": pair, "quantity": quantity, "value": value, "sigma": sigma,
         "unit": "1"}
        for pair in ("pit~deposited", "pit~dendrite")
        for scan in range(3)
        for quantity, value, sigma in (("pearson", 0.1 * scan, 0.05), ("pearson null limit", 0.2, np.nan))
    ]  # fmt: skip
    return quantity_table(rows)


def test_each_pair_has_a_panel_and_chance_is_symmetric(correlations):
    axes = correlation_series(correlations).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["pit and deposited", "pit and dendrite"]
    edges = [line.get_ydata() for line in axes[0].lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(edges, [[-0.2] * 3, [0.2] * 3])


def test_all_pairs_share_an_axis_that_is_symmetric(correlations):
    limits = {ax.get_ylim() for ax in correlation_series(correlations).axes}
    assert limits == {(-0.5, 0.5)}
    strong = correlations.assign(value=correlations["value"] * 4)
    assert {ax.get_ylim() for ax in correlation_series(strong).axes} == {(-1.0, 1.0)}


def test_the_bounds_of_chance_may_be_columns(correlations):
    table = correlations[correlations["quantity"] == "pearson"].assign(null_low=-0.3, null_high=0.1)
    (ax,) = correlation_series(table, pairs={"pit~dendrite": "Pits and dendrites"}).axes
    edges = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert edges == [-0.3, 0.1]
    assert ax.get_title(loc="left") == "Pits and dendrites"


def test_scans_without_a_coefficient_leave_a_gap(correlations):
    holes = correlations.assign(value=correlations["value"].where(correlations["scan"] > 0))
    line = correlation_series(holes).axes[0].lines[2]
    assert np.isnan(line.get_ydata()[0])
