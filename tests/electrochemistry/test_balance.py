import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError, UnitsError
from operando.core.phases import CELL
from operando.core.quantities import COLUMNS
from operando.electrochemistry import apparent_porosity, balance, charge_between, charge_of_volume, lithium_volume
from operando.morphometry import inactive_lithium, lithium_by_side
from operando.samples import symmetric_cell

SIDES = ["plating side", "stripping side"]


def _volumes(plating, stripping):
    times = np.arange(len(plating)) / 2
    return xr.DataArray(
        np.stack([plating, stripping], axis=1).astype(float),
        dims=("t", "component"),
        coords={"t": times, "component": SIDES},
        attrs={"units": "um3"},
    )


def _charge(*volumes_um3):
    values = charge_of_volume(np.array([np.nan, *volumes_um3]))
    return xr.DataArray(values, dims="t", coords={"t": np.arange(len(values)) / 2}, attrs={"units": "mAh"})


def _values(table, quantity="balance", column="value"):
    return table[table["quantity"] == quantity].pivot_table(
        index="scan", columns="component", values=column, dropna=False
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_balance_on_ground_truth_closes_to_a_millionth_of_the_charge(seed):
    cell = symmetric_cell(shape=(56, 40, 40), scans=5, seed=seed)
    record = pd.DataFrame({"time_h": cell["current_t"].values, "current_ma": cell["current_ma"].values})
    charge = charge_between(record, cell["t"].values)
    inactive = inactive_lithium(cell.labels, CELL)
    table = balance(lithium_by_side(cell.labels, CELL), charge, inactive=inactive)
    values = _values(table)
    assert np.all(values["faraday"] > 0)
    np.testing.assert_array_less(values["unaccounted"].abs() / values["faraday"], 1e-6)
    np.testing.assert_array_less(values["imbalance"].abs() / values["faraday"], 1e-6)
    np.testing.assert_allclose(values["dead"], np.diff(cell["inactive_um3"]), atol=1e-6)


def test_signs_follow_the_receiving_side_in_charge_and_discharge():
    table = balance(_volumes([100, 160, 130], [200, 150, 175]), _charge(50.0, -25.0))
    assert list(table.columns) == list(COLUMNS)
    values = _values(table)
    # Charging: 60 arrive at the plating side, 50 leave the other. Discharging: 25 arrive there, 30 leave.
    assert values.loc[1, ["plated", "stripped", "faraday", "unaccounted", "imbalance"]].tolist() == pytest.approx(
        [60, 50, 50, -10, 10]
    )
    assert values.loc[2, ["plated", "stripped", "faraday", "unaccounted", "imbalance"]].tolist() == pytest.approx(
        [25, 30, 25, 0, -5]
    )
    assert table["t"].unique().tolist() == [0.5, 1.0]


def test_sigma_of_a_difference_follows_from_both_scans_and_their_correlation():
    volumes = _volumes([100, 160], [200, 150])
    sigma = xr.full_like(volumes, 3.0)
    for correlation, expected in [(0.0, np.sqrt(18)), (1.0, 0.0), (0.5, 3.0)]:
        table = balance(volumes, _charge(50.0), sigma=sigma, correlation=correlation)
        assert _values(table, column="sigma").loc[1, "plated"] == pytest.approx(expected)
    by_scan = xr.full_like(volumes, 0.5)
    by_scan[0] = np.nan
    table = balance(volumes, _charge(50.0), sigma=sigma, correlation=by_scan)
    assert _values(table, column="sigma").loc[1, "stripped"] == pytest.approx(3.0)
    assert _values(table, column="sigma").loc[1, "imbalance"] == pytest.approx(np.sqrt(18))


def test_uncertainty_of_the_charge_enters_what_is_unaccounted():
    volumes = _volumes([100, 160], [200, 150])
    charge = _charge(50.0)
    error = charge.copy(data=charge_of_volume(np.array([np.nan, 4.0])))
    table = balance(volumes, charge, sigma=xr.full_like(volumes, 3.0), correlation=0.5, charge_sigma=error)
    sigma = _values(table, column="sigma").loc[1]
    assert sigma["faraday"] == pytest.approx(4.0)
    assert sigma["unaccounted"] == pytest.approx(5.0)
    carried = balance(volumes, charge.assign_coords(sigma=("t", error.values)), sigma=xr.full_like(volumes, 3.0))
    assert _values(carried, column="sigma").loc[1, "faraday"] == pytest.approx(4.0)


def test_a_disagreement_is_flagged_and_never_removed():
    volumes = _volumes([100, 160], [200, 150])
    sure = balance(volumes, _charge(50.0), sigma=xr.full_like(volumes, 1.0)).query("quantity == 'z-score'")
    unsure = balance(volumes, _charge(50.0), sigma=xr.full_like(volumes, 100.0)).query("quantity == 'z-score'")
    unknown = balance(volumes, _charge(50.0)).query("quantity == 'z-score'")
    assert sure["value"].tolist() == pytest.approx([-10 / np.sqrt(2), 10 / 2])
    assert sure["method"].str.startswith("disagrees").all()
    assert unsure["method"].str.startswith("agrees").all()
    assert unknown["value"].isna().all()
    assert unknown["method"].str.startswith("sigma not known").all()


def test_apparent_porosity_explains_only_too_much_lithium():
    table = balance(_volumes([100, 180, 200], [200, 150, 120]), _charge(40.0, 40.0))
    porosity = _values(table, "apparent porosity")["plated"]
    assert porosity.loc[1] == pytest.approx(0.5)
    assert np.isnan(porosity.loc[2])


def test_apparent_porosity_takes_arrays_and_propagates_sigma():
    imaged = xr.DataArray([2.0, 1.0, 4.0], dims="t", attrs={"units": "um3"})
    porosity, sigma = apparent_porosity(imaged, np.array([1.0, 1.5, 1.0]), imaged_sigma=0.2, faraday_sigma=0.1)
    np.testing.assert_allclose(porosity, [0.5, np.nan, 0.75])
    np.testing.assert_allclose(sigma[0], 0.5 * np.hypot(0.1, 0.1))
    assert porosity.attrs["units"] == "1"


def test_huangs_plating_side_needs_a_porosity_of_more_than_half():
    # 107.7 to 140.1 um where 3 mAh/cm2 are 14.554 um.
    porosity, _ = apparent_porosity(140.1 - 107.7, lithium_volume(3.0) / 1e8)
    assert porosity == pytest.approx(0.55, abs=0.005)


def test_an_interval_without_charge_counts_as_charging():
    values = _values(balance(_volumes([100, 110], [200, 195]), _charge(0.0)))
    assert values.loc[1, ["plated", "stripped", "faraday", "unaccounted"]].tolist() == [10, 5, 0, -10]


def test_one_scan_has_no_interval():
    assert balance(_volumes([100], [200]), _charge()).empty


def test_arrays_that_do_not_belong_together_are_refused():
    volumes, charge = _volumes([1, 2], [2, 1]), _charge(1.0)
    with pytest.raises(AxesError, match="plating side, stripping side"):
        balance(volumes.assign_coords(component=["a", "b"]), charge)
    with pytest.raises(InputError, match="got 3 for 2 scans"):
        balance(volumes, _charge(1.0, 1.0))
    with pytest.raises(InputError, match="one clock"):
        balance(volumes, charge.assign_coords(t=[0.0, 0.75]))
    with pytest.raises(UnitsError, match="must be in um3, got 'mm3'"):
        balance(volumes.assign_attrs(units="mm3"), charge)
    with pytest.raises(InputError, match="level"):
        balance(volumes, charge, level=95)
    with pytest.raises(AxesError, match="inactive needs the dim t alone"):
        balance(volumes, charge, inactive=volumes)
