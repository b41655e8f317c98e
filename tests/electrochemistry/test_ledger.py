"""The ledger: per interval, cumulative, per half cycle, and in three units."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError, UnitsError
from operando.core.phases import CELL
from operando.electrochemistry import applied_hours, charge_between, half_cycles, ledger, lithium_volume, pulses
from operando.morphometry import inactive_lithium, lithium_by_side, roi_area, volumes
from operando.samples import symmetric_cell

NAMES = ["plating side", "stripping side", "inactive", "deposited", "redeposited"]


def made(values, names=NAMES):
    values = np.asarray(values, dtype=float)
    coords = {"t": np.arange(len(values), dtype=float), "component": names}
    return xr.DataArray(values, dims=("t", "component"), coords=coords, attrs={"units": "um3"})


def charged(um3):
    per_mah = lithium_volume(1.0)
    t = np.arange(len(um3), dtype=float)
    return xr.DataArray(np.array(um3) / per_mah, dims="t", coords={"t": t}, attrs={"units": "mAh"})


def value(table, scan, quantity, component, column="value"):
    found = table[(table["scan"] == scan) & (table["quantity"] == quantity) & (table["component"] == component)]
    assert len(found) == 1, (scan, quantity, component, len(found))
    return float(found[column].iloc[0])


@pytest.fixture
def cycle():
    """100 um3 go over in two intervals and 60 come back; 10 of the deposit lose contact."""
    volumes_ = made([[500, 500, 0, 0, 0], [550, 450, 0, 50, 0], [600, 400, 0, 100, 0], [540, 460, 10, 40, 55]])
    return volumes_, charged([np.nan, 50.0, 50.0, -60.0])


def test_intervals_follow_the_receiving_side_and_the_sum_follows_the_named_side(cycle):
    table = ledger(*cycle)
    assert value(table, 3, "balance", "plated") == pytest.approx(60)  # arrives on the stripping side
    assert value(table, 3, "cumulative", "plated") == pytest.approx(40)  # left on the plating side
    assert value(table, 3, "cumulative", "stripped") == pytest.approx(40)
    assert value(table, 3, "cumulative", "faraday") == pytest.approx(40)
    assert value(table, 3, "cumulative", "unaccounted") == pytest.approx(0, abs=1e-9)


def test_dead_and_redeposited_lithium_have_rows_of_both_kinds(cycle):
    table = ledger(*cycle)
    for quantity in ("balance", "cumulative"):
        assert value(table, 3, quantity, "dead") == 10
        assert value(table, 3, quantity, "redeposited") == 55


def test_one_micrometer_on_one_square_centimeter_is_its_capacity(cycle):
    table = ledger(*cycle, area_um2=10.0)
    assert value(table, 2, "cumulative thickness", "plated") == pytest.approx(10)
    # 10 um of lithium at 4.8514 um per mAh cm-2
    assert value(table, 2, "cumulative capacity", "plated") == pytest.approx(10 / 4.8514, rel=1e-4)
    units = table.groupby("quantity")["unit"].unique().map(list)
    assert units["balance thickness"] == ["um"]
    assert units["balance capacity"] == ["mAh cm-2"]
    assert units["cumulative"] == ["um3"]


def test_without_an_area_there_is_neither_thickness_nor_capacity(cycle):
    assert not set(ledger(*cycle)["unit"]) & {"um", "mAh cm-2"}


def test_image_over_charge_counts_from_the_last_reversal_of_the_current():
    volumes_ = made([[0, 100, 0, 0, 0], [40, 60, 0, 40, 0], [60, 40, 0, 60, 0], [50, 43, 0, 50, 3]])
    table = ledger(volumes_, charged([np.nan, 50.0, 50.0, -10.0]))
    assert value(table, 1, "image over charge", "charge") == pytest.approx(0.8)
    assert value(table, 2, "image over charge", "charge") == pytest.approx(0.6)
    assert value(table, 3, "image over charge", "discharge") == pytest.approx(0.3)


def test_porosity_closes_the_balance_of_what_was_deposited_only():
    # 30 um3 of the electrode's own growth are dense; of 90 deposited, 20 must be pores to fit a charge of 100
    volumes_ = made([[0, 500, 0, 0, 0], [120, 400, 0, 90, 0]])
    table = ledger(volumes_, charged([np.nan, 100.0]))
    assert value(table, 1, "apparent porosity", "charge") == pytest.approx(20 / 90)
    less = ledger(made([[0, 500, 0, 0, 0], [80, 400, 0, 80, 0]]), charged([np.nan, 100.0]))
    assert value(less, 1, "apparent porosity", "charge") == pytest.approx(-0.25)  # no porosity explains too little


def test_what_is_common_to_all_scans_cancels_in_every_change(cycle):
    volumes_, charge = cycle
    sigma = xr.full_like(volumes_, 5.0)
    common = xr.full_like(volumes_, 4.0)
    table = ledger(volumes_, charge, sigma=sigma, systematic=common)
    # 25 + 25 - 2 x 16 = 18, between neighbors and between the first scan and the last alike
    for quantity, scan in (("balance", 1), ("cumulative", 3)):
        assert value(table, scan, quantity, "plated", "sigma") == pytest.approx(np.sqrt(18))
    alone = ledger(volumes_, charge, sigma=sigma)
    assert value(alone, 3, "cumulative", "plated", "sigma") == pytest.approx(np.sqrt(50))


def test_errors_of_the_charge_add_up_as_one_wrong_gain(cycle):
    volumes_, charge = cycle
    error = charged([np.nan, 0.5, 0.5, 0.6]).values
    charge = charge.assign_coords(sigma=("t", error, {"units": "mAh"}))
    table = ledger(volumes_, charge, sigma=xr.zeros_like(volumes_))
    assert value(table, 2, "cumulative", "faraday", "sigma") == pytest.approx(1.0)
    assert value(table, 2, "cumulative", "unaccounted", "sigma") == pytest.approx(1.0)


def test_without_sigma_no_interval_is_claimed(cycle):
    table = ledger(*cycle)
    assert np.isnan(value(table, 2, "cumulative", "plated", "sigma"))
    assert np.isnan(value(table, 2, "image over charge", "charge", "sigma"))


@pytest.mark.parametrize("seed", [3, 8])
def test_the_ledger_of_a_simulated_cell_closes_to_a_millionth(seed):
    cell = symmetric_cell((40, 32, 32), scans=5, seed=seed)
    charge = charge_between(
        pd.DataFrame({"time_h": cell.current_t.values, "current_ma": cell.current_ma.values}), cell.t.values
    )
    dead = inactive_lithium(cell.labels, CELL).expand_dims(component=["inactive"], axis=-1)
    known = xr.concat([volumes(cell.labels, CELL), lithium_by_side(cell.labels, CELL), dead], dim="component")
    table = ledger(known.assign_attrs(units="um3"), charge, area_um2=roi_area(cell.labels))
    moved = float(lithium_volume(np.nanmax(np.abs(charge.values))))
    for scan in range(1, 5):
        assert abs(value(table, scan, "cumulative", "unaccounted")) < 1e-6 * moved
        assert abs(value(table, scan, "cumulative", "imbalance")) < 1e-6 * moved
    assert value(table, 2, "image over charge", "charge") == pytest.approx(1, abs=1e-6)
    assert value(table, 4, "image over charge", "discharge") == pytest.approx(1, abs=1e-6)
    assert value(table, 2, "apparent porosity", "charge") == pytest.approx(0, abs=1e-6)
    # 3 mAh cm-2 or what the small cell has room for: the capacity of the half cycle
    assert value(table, 2, "cumulative capacity", "plated") == pytest.approx(cell.attrs["capacity_mah_cm2"], rel=1e-3)


def test_half_cycles_are_runs_of_one_sign():
    assert half_cycles([np.nan, -1.0, 1.0, 1.0]) == [(0, 1, -1), (1, 3, 1)]
    assert half_cycles([np.nan, 0.0, 0.0]) == []
    assert half_cycles([np.nan]) == []


def test_an_area_that_is_none_is_refused(cycle):
    with pytest.raises(InputError, match="positive area in um2, got 0"):
        ledger(*cycle, area_um2=0.0)


def test_a_simulated_cycle_has_24_pulses_of_ten_minutes():
    cell = symmetric_cell((40, 32, 32), scans=5, seed=1)
    record = pd.DataFrame(
        {"time_h": cell.current_t.values, "current_ma": cell.current_ma.values, "voltage_v": cell.voltage_v.values}
    )
    found = pulses(record)
    assert len(found) == 24
    np.testing.assert_allclose(found["end_h"] - found["start_h"], 1 / 6)
    np.testing.assert_allclose(found["charge_mah"].iloc[:12].sum(), float(cell.charge_mah[1:3].sum()))
    assert (np.sign(found["peak_v"]) == [1] * 12 + [-1] * 12).all()
    np.testing.assert_allclose(applied_hours(record, cell.t.values), np.linspace(0, 4, 5), atol=1e-9)


def test_pulses_of_opposite_sign_without_rest_are_two():
    record = pd.DataFrame({"time_h": [0.0, 1.0, 1.0, 2.0], "current_ma": [1.0, 1.0, -1.0, -1.0]})
    found = pulses(record)
    assert found[["start_h", "end_h"]].to_numpy().tolist() == [[0.0, 1.0], [1.0, 2.0]]
    assert found["charge_mah"].tolist() == [1.0, -1.0]


def test_a_record_at_rest_has_no_pulses():
    record = pd.DataFrame({"time_h": [0.0, 1.0], "current_ma": [0.0, 0.0]})
    assert pulses(record).empty
    assert applied_hours(record, [0.5]).tolist() == [0.0]


def test_a_component_without_a_known_common_part_keeps_its_whole_sigma(cycle):
    volumes_, charge = cycle
    sigma = xr.full_like(volumes_, 5.0)
    common = xr.full_like(volumes_, 4.0).sel(component=["plating side"])
    table = ledger(volumes_, charge, sigma=sigma, systematic=common)
    assert value(table, 1, "balance", "plated", "sigma") == pytest.approx(np.sqrt(18))
    assert value(table, 1, "balance", "stripped", "sigma") == pytest.approx(np.sqrt(50))
    assert value(table, 1, "cumulative", "stripped", "sigma") == pytest.approx(np.sqrt(50))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"volumes": np.zeros((4, 5))}, InputError, "volumes must be a DataArray, got ndarray"),
        ({"charge_mah": [0.0, 1.0]}, InputError, "charge_mah must be a DataArray, got list"),
        ({"sigma": 5.0}, InputError, "sigma must be a DataArray, got float"),
        ({"sigma": slice(0, 2)}, AxesError, "sigma needs the dims .* and the scans of volumes"),
        ({"systematic": slice(0, 2)}, AxesError, "systematic needs the dims .* and the scans of volumes"),
        ({"area_um2": "1e8"}, InputError, "area_um2 must be a positive area in um2, got '1e8'"),
    ],
)
def test_what_does_not_belong_together_is_refused_in_a_sentence(cycle, change, error, sentence):
    volumes_, charge = cycle
    known = {"volumes": volumes_, "charge_mah": charge, "sigma": xr.full_like(volumes_, 5.0)}
    for name, value_ in change.items():
        known[name] = xr.full_like(volumes_, 5.0).isel(t=value_) if isinstance(value_, slice) else value_
    with pytest.raises(error, match=sentence):
        ledger(known.pop("volumes"), known.pop("charge_mah"), **known)


def test_a_sigma_in_another_unit_is_refused(cycle):
    volumes_, charge = cycle
    with pytest.raises(UnitsError, match="sigma must be in um3, got 'mm3'"):
        ledger(volumes_, charge, sigma=xr.full_like(volumes_, 5.0).assign_attrs(units="mm3"))
