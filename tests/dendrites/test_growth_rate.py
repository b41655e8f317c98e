"""Height, growth rate and growth beside the current, on interfaces written down by hand."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError, UnitsError
from operando.dendrites import dense_growth_rate, faraday_rows, growth_rate, height


def _interface(rows, *, metal="high", edge=99.5, units="um", t=None, time_units="s", sigma=0.1):
    rows = np.atleast_2d(np.asarray(rows, dtype=float))
    coords = {} if t is None else {"t": ("t", np.asarray(t, dtype=float), {"units": time_units} if time_units else {})}
    coords["x"] = ("x", np.arange(rows.shape[1], dtype=float), {"units": units})
    return xr.Dataset(
        {"position": (("t", "x"), rows, {"units": units}), "position_sigma": (("t", "x"), np.full(rows.shape, sigma))},
        coords=coords,
        attrs={"metal": metal, "edge": edge, "units": units},
    )


def test_height_is_counted_from_the_outer_edge_of_the_metal_side():
    assert height(_interface([[90.0]])).item() == 9.5
    assert height(_interface([[9.0]], metal="low", edge=-0.5)).item() == 9.5


def test_height_carries_sigma_units_and_what_it_was_counted_from():
    tall = height(_interface([[90.0, 80.0]], sigma=0.2))
    assert tall.attrs["units"] == "um"
    assert (tall.attrs["metal"], tall.attrs["edge"]) == ("high", 99.5)
    assert np.all(tall.coords["sigma"].values == 0.2)


def test_a_picture_turned_upside_down_has_the_same_heights():
    rows = np.array([[90.0, 85.5], [80.25, 70.0]])
    up, down = height(_interface(rows)), height(_interface(99 - rows, metal="low", edge=-0.5))
    np.testing.assert_allclose(up.values, down.values)


def test_growth_rate_is_positive_where_lithium_grows_and_negative_where_it_is_stripped():
    rate = growth_rate(height(_interface([[90.0, 90.0], [88.0, 91.0]], t=[0, 300])))
    np.testing.assert_allclose(rate.values[1], [0.4, -0.2])
    assert np.isnan(rate.values[0]).all()
    assert rate.attrs["units"] == "um min-1"


@pytest.mark.parametrize(("unit", "times"), [("s", [0, 300, 900]), ("min", [0, 5, 15]), ("h", [0, 1 / 12, 0.25])])
def test_uneven_intervals_use_the_true_time_in_any_unit(unit, times):
    rate = growth_rate(height(_interface([[90.0], [88.0], [84.0]], t=times, time_units=unit)))
    np.testing.assert_allclose(rate.values[1:, 0], [0.4, 0.4])


def test_a_time_without_units_is_in_seconds():
    rate = growth_rate(height(_interface([[90.0], [88.0]], t=[0, 300], time_units=None)))
    np.testing.assert_allclose(rate.values[1], 0.4)


def test_dates_are_understood_as_times():
    tall = height(_interface([[90.0], [88.0]]))
    dates = np.array(["2021-09-16T10:00", "2021-09-16T10:05"], dtype="datetime64[ns]")
    np.testing.assert_allclose(growth_rate(tall.assign_coords(t=dates)).values[1], 0.4)


def test_a_series_without_times_counts_frames_unless_told_the_interval():
    tall = height(_interface([[90.0], [88.0]], units="px"))
    assert growth_rate(tall).attrs["units"] == "px frame-1"
    assert growth_rate(tall).values[1, 0] == 2.0
    told = growth_rate(tall, interval_min=5)
    assert told.attrs["units"] == "px min-1"
    assert told.values[1, 0] == 0.4


def test_sigma_of_a_rate_adds_both_heights_in_quadrature():
    rate = growth_rate(height(_interface([[90.0], [88.0]], t=[0, 300], sigma=0.3)))
    np.testing.assert_allclose(rate.coords["sigma"].values[1, 0], 0.3 * np.sqrt(2) / 5)


def test_sigma_of_a_rate_covers_independent_errors_of_the_heights():
    rng = np.random.default_rng(3000)
    rows = 50 + 0.2 * rng.standard_normal((2, 4000))
    rate = growth_rate(height(_interface(rows, t=[0, 300], sigma=0.2)))
    pull = rate.values[1] / rate.coords["sigma"].values[1]
    assert abs(pull.std() - 1) < 0.05


def test_frames_out_of_order_and_duplicates_are_named():
    with pytest.raises(InputError, match=r"got 15 min for frame 1 and 10 min for frame 2. Sort"):
        growth_rate(height(_interface([[90.0], [88.0], [84.0]], t=[0, 900, 600])))
    with pytest.raises(InputError, match=r"5 min for frame 1 and 5 min for frame 2.*drop frames"):
        growth_rate(height(_interface([[90.0], [88.0], [84.0]], t=[0, 300, 300])))


def test_one_frame_has_no_rate():
    with pytest.raises(AxesError, match="at least two frames"):
        growth_rate(height(_interface([[90.0]])))


def test_unknown_sides_and_edges_are_asked_for():
    line = xr.DataArray([3.0], dims="x")
    with pytest.raises(InputError, match="metal='high'"):
        height(line)
    with pytest.raises(InputError, match="Did you mean 'high'"):
        height(line, metal="hihg")
    with pytest.raises(InputError, match="Pass edge="):
        height(line, metal="high")
    assert height(line, metal="high", edge=10).item() == 7.0


def test_the_edge_of_the_other_side_is_not_taken_for_this_one():
    with pytest.raises(InputError, match="Pass edge="):
        height(_interface([[90.0]]), metal="low")


def test_what_is_no_interface_is_refused():
    with pytest.raises(InputError, match="'position'"):
        height(xr.Dataset({"height": ("x", [1.0])}))
    with pytest.raises(InputError, match="got list"):
        height([1.0, 2.0])
    with pytest.raises(AxesError, match="Select along"):
        height(xr.DataArray(np.zeros((2, 2)), dims=("z", "x")), metal="high", edge=1)


def test_dense_growth_of_the_current_densities_of_the_paper():
    # 4.8514 um per mAh cm-2
    np.testing.assert_allclose(dense_growth_rate(0.6), 0.6 * 4.8514 / 60, rtol=1e-4)
    assert dense_growth_rate(-1.3) == -dense_growth_rate(1.3)
    with pytest.raises(InputError, match="finite"):
        dense_growth_rate(np.nan)


def _row(rows, quantity, scan=-1):
    return rows[(rows["quantity"] == quantity) & (rows["scan"] == scan)].iloc[0]


def test_growth_tenfold_the_charge_is_ninety_percent_porous():
    rise = 10 * dense_growth_rate(0.6) * 5
    rows = faraday_rows(height(_interface([[90.0] * 4, [90 - rise] * 4], t=[0, 300])), current_density_ma_cm2=0.6)
    np.testing.assert_allclose(_row(rows, "growth over dense")["value"], 10)
    np.testing.assert_allclose(_row(rows, "apparent porosity")["value"], 0.9)
    np.testing.assert_allclose(_row(rows, "mean growth rate")["sigma"], 0.1 * np.sqrt(2) / np.sqrt(4) / 5)


def test_growth_short_of_the_charge_is_shown_as_it_is():
    rise = 0.5 * dense_growth_rate(0.6) * 5
    rows = faraday_rows(height(_interface([[90.0], [90 - rise]], t=[0, 300])), current_density_ma_cm2=0.6)
    np.testing.assert_allclose(_row(rows, "growth over dense")["value"], 0.5)
    np.testing.assert_allclose(_row(rows, "apparent porosity")["value"], -1.0)


def test_lithium_that_does_not_grow_has_no_porosity():
    rows = faraday_rows(height(_interface([[90.0], [91.0]], t=[0, 300])), current_density_ma_cm2=0.6)
    assert np.isnan(_row(rows, "apparent porosity")["value"])


def test_the_whole_series_is_the_time_weighted_mean_of_its_intervals():
    rows = faraday_rows(height(_interface([[90.0], [88.0], [80.0]], t=[0, 300, 900])), current_density_ma_cm2=0.6)
    parts = [_row(rows, "mean growth rate", scan)["value"] for scan in (1, 2)]
    np.testing.assert_allclose(_row(rows, "mean growth rate")["value"], (parts[0] * 5 + parts[1] * 10) / 15)


def test_growth_in_pixels_or_frames_is_no_match_for_a_charge():
    with pytest.raises(UnitsError, match="calibrate"):
        faraday_rows(height(_interface([[9.0], [8.0]], units="px", t=[0, 1])), current_density_ma_cm2=1)
    with pytest.raises(UnitsError, match="interval_min"):
        faraday_rows(height(_interface([[9.0], [8.0]])), current_density_ma_cm2=1)
    with pytest.raises(InputError, match="negative"):
        faraday_rows(height(_interface([[9.0], [8.0]], t=[0, 1])), current_density_ma_cm2=1, current_sigma_ma_cm2=-1)


def test_times_that_are_no_numbers_are_refused():
    h = xr.DataArray([[10.0], [12.0]], dims=("t", "x"), coords={"t": ["first", "second"]})
    with pytest.raises(InputError, match="times must be numbers or dates, got <U6"):
        growth_rate(h)
    with pytest.raises(InputError, match="must be a positive number of minutes, got '5'"):
        growth_rate(h, interval_min="5")
