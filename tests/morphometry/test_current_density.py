"""Current density from thickness: Faraday's law in numbers, and its sum against the cycler."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.core.lithium import FARADAY_C_MOL, MOLAR_VOLUME_CM3_MOL
from operando.electrochemistry import lithium_volume
from operando.morphometry import current_closure, plating_current_density

PER_UM_H = 0.1 * FARADAY_C_MOL / MOLAR_VOLUME_CM3_MOL / 3600  # mA cm-2 for 1 um in 1 h


def series(values, *, t=(0.0, 1.0), units="h", component=("low", "high")):
    """Thickness (t, component) in um over 4 x 5 columns of 10 um."""
    values = np.asarray(values, dtype=float)
    full = np.broadcast_to(values[..., None, None], (*values.shape, 4, 5)).copy()
    return labeled_image(
        full, dims=("t", "component", "y", "x"), voxel_size_um=10.0, t=t, time_units=units, units="um",
        coords={"component": list(component)},
    )  # fmt: skip


def value(table, quantity, component="low", scan=1, column="value"):
    found = table[(table["quantity"] == quantity) & (table["component"] == component) & (table["scan"] == scan)]
    assert len(found) == 1
    return float(found[column].iloc[0])


def test_one_micrometer_of_dense_lithium_in_an_hour_is_0_2062_ma_cm2():
    found = plating_current_density(series([[5, 9], [6, 8]]))
    assert found.sel(component="low").values == pytest.approx(0.20620, abs=1e-5)
    assert found.sel(component="high").values == pytest.approx(-0.20620, abs=1e-5)
    assert found.attrs["units"] == "mA cm-2"
    assert found.dims == ("t", "component", "y", "x")


def test_it_is_the_inverse_of_the_volume_that_a_charge_moves():
    # The two use the molar volume and the capacity and density of lithium, which differ by 0.03 %.
    current = float(plating_current_density(series([[0, 0], [7, 7]], t=(0, 2)))[0, 0, 0, 0])
    thickness = lithium_volume(current * 2) / 1e8
    assert thickness == pytest.approx(7, rel=5e-4)


@pytest.mark.parametrize(("units", "factor"), [("s", 3600), ("min", 60), ("d", 1 / 24)])
def test_time_in_another_unit_gives_the_same_current(units, factor):
    found = plating_current_density(series([[5, 5], [6, 6]], t=(0, factor), units=units))
    assert found.values == pytest.approx(PER_UM_H)


def test_thickness_in_nanometers_is_converted():
    thickness = series([[5000, 5000], [6000, 6000]])
    thickness.attrs["units"] = "nm"
    assert plating_current_density(thickness, sigma_um=1.0).values == pytest.approx(PER_UM_H)
    found = plating_current_density(thickness, sigma_um=1.0)["sigma"]
    assert found.item() == pytest.approx(np.sqrt(2) * PER_UM_H)


def test_each_step_has_the_time_and_name_of_its_later_scan():
    thickness = series([[5, 5], [6, 4], [5, 5]], t=(0, 1, 3))
    thickness = thickness.assign_coords(step=("t", ["pristine", "plate 1", "strip 1"]))
    found = plating_current_density(thickness)
    assert found["t"].values.tolist() == [1, 3]
    assert found["step"].values.tolist() == ["plate 1", "strip 1"]
    assert found.sel(component="low")[1].values == pytest.approx(-PER_UM_H / 2)


def test_a_porosity_of_its_own_at_each_scan_is_taken_from_each_thickness():
    # 10 um with 10 % pores are 9 um of lithium; 12 um with 25 % too: pores opened, no lithium moved.
    porosity = xr.DataArray([0.1, 0.25], dims="t")
    found = plating_current_density(series([[10, 10], [12, 12]]), porosity=porosity)
    assert found.values == pytest.approx(0, abs=1e-12)


def test_a_porosity_by_electrode_is_matched_by_name():
    porosity = xr.DataArray([0.5, 0.0], dims="component", coords={"component": ["high", "low"]})
    found = plating_current_density(series([[5, 5], [6, 6]]), porosity=porosity)
    assert found.sel(component="low").values == pytest.approx(PER_UM_H)
    assert found.sel(component="high").values == pytest.approx(PER_UM_H / 2)


def test_the_errors_of_two_scans_add_in_quadrature():
    thickness = series([[5, 5], [6, 6]])
    assert plating_current_density(thickness, sigma_um=0.5)["sigma"].item() == pytest.approx(np.sqrt(0.5) * PER_UM_H)
    by_scan = xr.DataArray([[3.0, 0.0], [4.0, 1.0]], dims=("t", "component"))
    found = plating_current_density(thickness, sigma_um=by_scan, porosity=0.5)
    assert found["sigma"].values == pytest.approx(np.array([[5, 1]]) * PER_UM_H / 2)
    assert found["sigma"].attrs["units"] == "mA cm-2"


def test_a_column_without_a_thickness_has_no_current():
    thickness = series([[5, 5], [6, 6]])
    thickness[0, 0, 1, 2] = np.nan
    found = plating_current_density(thickness)
    assert np.isnan(found[0, 0, 1, 2])
    assert int(np.isnan(found).sum()) == 1


def test_a_lazy_thickness_gives_the_same_current_lazily():
    thickness = series([[5, 5], [6, 7]]).astype(np.float32)
    lazy = plating_current_density(thickness.chunk({"y": 2}))
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), plating_current_density(thickness))


def test_a_map_without_electrodes_or_without_columns_is_taken_too():
    thickness = series([[5, 5], [6, 7]])
    assert plating_current_density(thickness.sel(component="low", drop=True)).dims == ("t", "y", "x")
    assert plating_current_density(thickness.mean(("y", "x"))).shape == (1, 2)


def test_what_is_simulated_stays_so():
    thickness = series([[5, 5], [6, 7]])
    thickness.attrs |= {"simulated": True, "plating_side": "low"}
    found = plating_current_density(thickness)
    assert found.attrs["simulated"] is True
    assert found.attrs["plating_side"] == "low"


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        (
            {},
            {"porosity": 30},
            InputError,
            r"porosity must be a fraction in \[0, 1\), got 30. Divide a percentage by 100",
        ),
        ({}, {"porosity": -0.1}, InputError, "got -0.1"),
        ({}, {"porosity": np.zeros(3)}, InputError, "Name its axes"),
        ({}, {"porosity": xr.DataArray(np.zeros(3), dims="t")}, AxesError, "porosity must have dims and sizes"),
        ({}, {"molar_volume_cm3_mol": 0}, InputError, "molar_volume_cm3_mol must be a positive number, got 0"),
        ({}, {"sigma_um": -1.0}, InputError, "sigma_um must be a number of at least 0"),
        ({"units": "1"}, {}, UnitsError, r"assign_coords\(t=\('t', hours, \{'units': 'h'\}\)\)"),
        ({"t": (1.0, 1.0)}, {}, InputError, r"must increase from scan to scan, got the times \[1.0, 1.0\] h"),
    ],
)
def test_a_wrong_argument_is_named_with_the_remedy(change, options, error, text):
    with pytest.raises(error, match=text):
        plating_current_density(series([[5, 5], [6, 6]], **change), **options)


def test_a_percentage_in_the_error_reads_as_given():
    with pytest.raises(InputError) as caught:
        plating_current_density(series([[5, 5], [6, 6]]), porosity=30)
    expected = "plating_current_density: porosity must be a fraction in [0, 1), got 30. Divide a percentage by 100."
    assert str(caught.value) == expected


def test_a_single_scan_and_a_thickness_in_voxels_are_refused():
    with pytest.raises(AxesError, match="at least two scans are needed, got 1"):
        plating_current_density(series([[5, 5]], t=(0,)))
    thickness = series([[5, 5], [6, 6]])
    thickness.attrs["units"] = "px"
    with pytest.raises(UnitsError, match="must be a length in um, got the units 'px'"):
        plating_current_density(thickness)


def test_the_sum_of_the_map_closes_against_the_current_that_made_it():
    # 1 um over 40 x 50 um in an hour, 0.2062 mA cm-2 over 2e-5 cm2.
    current = plating_current_density(series([[5, 9], [6, 8]])).assign_attrs(plating_side="low")
    applied = PER_UM_H * 2e-5
    table = current_closure(current, applied)
    for side, sign in (("low", 1), ("high", -1)):
        assert value(table, "image current", side) == pytest.approx(sign * applied)
        assert value(table, "applied current", side) == pytest.approx(sign * applied)
        assert value(table, "current mismatch", side) == pytest.approx(0, abs=1e-12 * applied)
        assert value(table, "image over applied", side) == pytest.approx(1)
    assert value(table, "electrode imbalance", "cell") == pytest.approx(0, abs=1e-12 * applied)
    assert set(table.loc[table["quantity"] != "image over applied", "unit"]) == {"mA"}


def test_the_other_electrode_plates_where_it_is_the_plating_side():
    current = plating_current_density(series([[5, 9], [6, 8]]))
    table = current_closure(current, 1e-6, plating_side="high")
    assert value(table, "applied current", "high") == 1e-6
    assert value(table, "applied current", "low") == -1e-6


def test_only_the_share_of_the_electrode_in_view_is_compared():
    current = plating_current_density(series([[5, 9], [6, 8]]))
    table = current_closure(current, 1e-3, plating_side="low", area_cm2=2e-3)
    assert value(table, "applied current") == pytest.approx(1e-5)


def test_the_growth_of_pores_is_taken_from_the_image_current():
    # The electrode thickens by 1 um, but a quarter of that is pores: 0.25 um x 2000 um2.
    thickness = series([[5, 9], [6, 9]])
    current = plating_current_density(thickness)
    pores = xr.DataArray(
        [[100.0, 0.0], [600.0, 0.0]],
        dims=("t", "component"),
        coords={"component": ["low", "high"], "t": thickness["t"]},
    )
    table = current_closure(current, 0.75 * PER_UM_H * 2e-5, plating_side="low", pore_volume=pores)
    assert value(table, "pore current") == pytest.approx(0.25 * PER_UM_H * 2e-5)
    assert value(table, "current mismatch") == pytest.approx(0, abs=1e-18)
    assert value(table, "image current without pores") == pytest.approx(0.75 * value(table, "image current"))


def test_independent_errors_of_columns_average_out_and_shared_ones_do_not():
    current = plating_current_density(series([[5, 9], [6, 8]]), sigma_um=0.5)
    own = current["sigma"].item()
    alone = value(current_closure(current, 1e-6, plating_side="low"), "image current", column="sigma")
    assert alone == pytest.approx(own * 2e-5 / np.sqrt(20))
    # A Gaussian filter of 10 um makes 4 pi (10 um)^2 one column; 12.6 of 20.
    alike = current_closure(current, 1e-6, plating_side="low", error_length_um=10.0)
    assert value(alike, "image current", column="sigma") == pytest.approx(alone * np.sqrt(4 * np.pi))
    common = current_closure(current, 1e-6, plating_side="low", sigma_common=0.3)
    assert value(common, "image current", column="sigma") == pytest.approx(np.hypot(alone, 0.3 * 2e-5))


def test_without_any_known_error_there_is_no_sigma():
    table = current_closure(plating_current_density(series([[5, 9], [6, 8]])), 1e-6, plating_side="low")
    assert np.isnan(value(table, "image current", column="sigma"))


def test_the_stated_sigma_covers_the_error_of_the_sum():
    random = np.random.default_rng(3000)
    z = []
    for _ in range(60):
        thickness = series([[5, 9], [6, 8]]) + random.normal(scale=0.4, size=(2, 2, 4, 5))
        thickness.attrs["units"] = "um"
        current = plating_current_density(thickness, sigma_um=0.4)
        table = current_closure(current, PER_UM_H * 2e-5, plating_side="low")
        z += [value(table, "current mismatch", s) / value(table, "current mismatch", s, column="sigma")
              for s in ("low", "high")]  # fmt: skip
    assert np.std(z) == pytest.approx(1, abs=0.2)


def test_unknown_columns_count_with_the_mean_of_the_others_and_with_their_scatter():
    random = np.random.default_rng(3001)
    thickness = series([[5, 9], [6, 8]])
    thickness[1] += random.normal(size=(2, 4, 5))
    thickness[1, 0, :, :2] = np.nan
    table = current_closure(plating_current_density(thickness), 1e-6, plating_side="low")
    known = thickness[1, 0, :, 2:].values - 5
    assert value(table, "image current") == pytest.approx(known.mean() * PER_UM_H * 2e-5)
    assert value(table, "image current", column="n") == 12
    assert value(table, "image current", column="sigma") > 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"plating_side": "lower"}, InputError, "plating_side must be 'low' or 'high'"),
        ({"plating_side": None}, InputError, "Pass plating_side="),
        ({"area_cm2": 1e-9}, InputError, "area_cm2 must be at least the field of view, 2e-05 cm2, got 1e-09"),
        ({"applied_ma": [1, 2]}, AxesError, "one current per step, 1, got the shape"),
        ({"sigma_common": -1}, InputError, "sigma_common must be a number of at least 0"),
    ],
)
def test_a_closure_that_cannot_be_made_says_why(options, error, text):
    arguments = {"applied_ma": 1e-6, "plating_side": "low"} | options
    with pytest.raises(error, match=text):
        current_closure(plating_current_density(series([[5, 9], [6, 8]])), **arguments)


def test_pores_of_too_few_scans_are_refused():
    pores = xr.DataArray([1.0], dims="t", coords={"t": ("t", [0.0], {"units": "h"})})
    with pytest.raises(AxesError, match="pore_volume needs the scan before each step too, 2 scans, got 1"):
        current_closure(plating_current_density(series([[5, 9], [6, 8]])), 1e-6, plating_side="low", pore_volume=pores)
