"""Sand's time, the limiting current, diffusion between two electrodes, and what the voltage shows."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.core.lithium import FARADAY_C_MOL
from operando.electrochemistry import (
    concentration_overpotential,
    depletion_time,
    displaced_transference,
    displacement_rate,
    ether_oxygens_per_lithium,
    limiting_current,
    polymer_salt_concentration,
    polynomial_diffusivity,
    salt_diffusion,
    sand_time,
    transition_time,
)

D = 3.197e-10  # m2 s-1


def test_sand_time_of_the_phase_field_reference():
    assert sand_time(10.0, 1.0, D) == pytest.approx(233.75, abs=0.01)
    assert sand_time(10.0, 1.0, D, transference=0.4) == pytest.approx(649.3, abs=0.05)


def test_sand_time_is_quadratic_in_concentration_over_current():
    assert sand_time(2.0, 1.0, D) == pytest.approx(sand_time(1.0, 1.0, D) / 4)
    assert sand_time(1.0, 3.0, D) == pytest.approx(9 * sand_time(1.0, 1.0, D))


def test_sand_time_follows_an_unknown_transference_and_keeps_labels():
    shares = xr.DataArray([0.0, 0.5], dims="transference", coords={"transference": [0.0, 0.5]})
    time = sand_time(1.0, 1.0, D, transference=shares)
    assert isinstance(time, xr.DataArray)
    assert float(time[1] / time[0]) == pytest.approx(4.0)


def test_limiting_current_of_a_symmetric_cell():
    assert limiting_current(1.0, D, thickness_um=100, transference=0.4) == pytest.approx(102.82, abs=0.01)


def test_limiting_current_with_a_diffusivity_linear_in_the_salt_is_that_of_its_integral():
    # D = a c: the steady profile is a parabola on its side; salt balance gives c_m = 3/2 c0, and J ~ a c_m^2 / 2.
    a, c0 = 1e-10, 0.8
    found = limiting_current(c0, lambda c: a * np.maximum(c, 1e-9), thickness_um=200, transference=0.2)
    expected = 0.1 * FARADAY_C_MOL * 1e9 * a * (1.5 * c0) ** 2 / 2 / (0.8 * 200)
    assert found == pytest.approx(expected, rel=1e-5)


def test_depletion_time_in_a_thick_cell_is_sands():
    found = depletion_time(10.0, 1.0, D, thickness_um=5000, transference=0.4)
    assert found == pytest.approx(sand_time(10.0, 1.0, D, transference=0.4), rel=2e-3)


def test_depletion_time_converges_with_the_second_order_of_the_cells():
    exact = sand_time(10.0, 1.0, D)
    errors = [abs(depletion_time(10.0, 1.0, D, thickness_um=4000, cells=n) / exact - 1) for n in (40, 80)]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.3)


def test_no_depletion_below_the_limiting_current_and_late_depletion_just_above():
    limit = limiting_current(1.0, D, thickness_um=100)
    assert depletion_time(0.99 * limit, 1.0, D, thickness_um=100) == np.inf
    diffusion_s = (100e-6) ** 2 / D
    assert 0.1 * diffusion_s < depletion_time(1.02 * limit, 1.0, D, thickness_um=100) < 5 * diffusion_s


def test_a_diffusivity_that_falls_with_the_salt_depletes_sooner():
    constant = depletion_time(1.0, 1.0, 1e-11, thickness_um=3000)
    falling = depletion_time(1.0, 1.0, lambda c: 1e-11 * np.exp(2 * (c - 1)), thickness_um=3000)
    rising = depletion_time(1.0, 1.0, lambda c: 1e-11 / (0.3 + 0.7 * c), thickness_um=3000)
    assert falling < 0.6 * constant < constant < rising


def test_salt_is_conserved_and_what_one_electrode_loses_the_other_gains():
    found = salt_diffusion(
        [0.0, 10.0, 200.0], thickness_um=500, concentration=0.7, diffusivity=lambda c: 1e-10 * (1 + c), rate_um_s=0.02
    )
    faces = 250 * (1 - np.cos(np.pi * np.arange(121) / 120))
    salt = found["concentration"].values @ np.diff(faces)
    np.testing.assert_allclose(salt, 0.7 * 500, rtol=1e-9)
    low = (found["concentration"].values - 0.7) @ np.where(found["y"] < 250, np.diff(faces), 0.0)
    # Until the layers meet in the middle, w t c0.
    np.testing.assert_allclose(low[1], -0.02 * 10 * 0.7, rtol=1e-3)


def test_reversing_the_current_mirrors_the_cell():
    options = {"thickness_um": 300, "concentration": 1.0, "diffusivity": 1e-10}
    one = salt_diffusion([0.0, 100.0], rate_um_s=0.03, **options)
    other = salt_diffusion([0.0, 100.0], rate_um_s=lambda t: -0.03, **options)
    np.testing.assert_allclose(one["concentration"].values, other["concentration"].values[:, ::-1], atol=1e-7)
    assert float(one["surface_low"][1]) == pytest.approx(float(other["surface_high"][1]), abs=1e-7)


def test_times_after_depletion_are_missing():
    found = salt_diffusion([0.0, 100.0, 1e4], thickness_um=2000, concentration=1.0, diffusivity=1e-10, rate_um_s=0.3)
    assert found.attrs["depleted_s"] == pytest.approx(np.pi * 100 / (4 * 0.09), rel=5e-3)
    assert np.isnan(found["surface_low"].values).tolist() == [False, False, True]


def test_steady_state_of_a_small_current_is_a_straight_line():
    found = salt_diffusion([0.0, 1e5], thickness_um=100, concentration=1.0, diffusivity=1e-10, rate_um_s=0.5)
    slope = np.polyfit(found["y"], found["concentration"][1], 1)[0]
    assert slope == pytest.approx(0.5 / 100, rel=1e-6)


def test_displacement_and_transference_are_each_others_inverse():
    rate = displacement_rate(0.3, 1.7, transference=0.25)
    per_mah = rate * 3600 / 0.3 * 1.0 / 2.0  # of an electrode of 2 cm2, per mAh
    assert displaced_transference(per_mah, 1.7, area_cm2=2.0) == pytest.approx(0.25)


def test_a_cation_that_carries_everything_is_refused():
    with pytest.raises(InputError, match="moves no salt"):
        sand_time(1.0, 1.0, D, transference=1.0)


@pytest.mark.parametrize("name", ["current_density", "concentration", "diffusivity"])
def test_numbers_that_must_be_positive_are_named(name):
    options = {"current_density": 1.0, "concentration": 1.0, "diffusivity": D, name: -1.0}
    with pytest.raises(InputError, match=name):
        sand_time(**options)


def test_a_diffusivity_below_zero_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="Hold it constant outside"):
        limiting_current(1.0, lambda c: 1e-10 * (1 - c), thickness_um=100)
    with pytest.raises(InputError, match="Narrow the range"):
        polynomial_diffusivity([1e-12, -2e-12], valid=(1.0, 3.0))


def test_a_polynomial_is_constant_beyond_its_range():
    found = polynomial_diffusivity([1e-12, 0.0], valid=(1.0, 2.0), scale=2.0)
    np.testing.assert_allclose(found(np.array([0.5, 1.5, 5.0])), [2e-12, 3e-12, 4e-12])


def test_a_polynomial_in_ether_oxygens_turns_round_with_the_salt():
    found = polynomial_diffusivity([1e-13, 0.0], variable="EO:Li", valid=(5.0, 20.0))
    np.testing.assert_allclose(found(polymer_salt_concentration(np.array([8.0, 10.0]))), [8e-13, 1e-12])
    np.testing.assert_allclose(found(np.array([0.0, 5.0])), [2e-12, 5e-13])


def test_the_variable_of_a_polynomial_is_suggested():
    with pytest.raises(InputError, match=r"Did you mean 'EO:Li'\?"):
        polynomial_diffusivity([1e-12], variable="EO/Li", valid=(1.0, 2.0))


def test_ether_oxygens_and_molarity_are_each_others_inverse():
    ratio = np.array([4.0, 10.0, 30.0])
    np.testing.assert_allclose(ether_oxygens_per_lithium(polymer_salt_concentration(ratio)), ratio)
    # 1 mol of salt with 10 units: 393 + 141 cm3.
    assert polymer_salt_concentration(10.0) == pytest.approx(1000 / 534)


def record(current, voltage, step=0.01):
    return pd.DataFrame({"time_h": step * np.arange(len(current)), "current_ma": current, "voltage_v": voltage})


def test_the_transition_time_is_when_the_current_gives_way_at_the_voltage_limit():
    current = np.concatenate([np.full(100, 0.1), 0.1 * np.exp(-np.arange(50) / 20)])
    voltage = np.concatenate([np.linspace(0.1, 1.5, 100), np.full(50, 1.5)])
    found = transition_time(record(current, voltage)).set_index("quantity")
    # Row 100 still carries all of it, row 101 does not.
    assert found.loc["transition time", "value"] == pytest.approx(1.005)
    assert found.loc["transition time", "sigma"] == pytest.approx(0.01 / np.sqrt(12))


def test_a_current_that_was_switched_off_has_no_transition_time():
    current = np.concatenate([np.full(100, 0.1), np.zeros(20)])
    voltage = np.concatenate([np.linspace(0.1, 0.9, 50), np.full(50, 0.3), np.zeros(20)])
    table = transition_time(record(current, voltage))
    assert table.attrs["kind"] == "none"
    found = table.set_index("quantity")["value"]
    assert np.isnan(found["transition time"])
    assert found["time under constant current"] == pytest.approx(0.99)


def test_a_current_that_was_held_to_the_end_has_no_transition_time():
    table = transition_time(record(np.full(10, 0.1), np.linspace(0.1, 0.2, 10)))
    assert table.attrs["kind"] == "none"
    assert table.set_index("quantity").loc["voltage at the end", "value"] == pytest.approx(0.2)


def test_a_record_without_current_is_refused():
    with pytest.raises(InputError, match="must hold a current"):
        transition_time(record(np.zeros(5), np.ones(5)))


def test_the_overpotential_of_equal_concentrations_is_zero_and_of_none_is_missing():
    found = concentration_overpotential(np.array([1.0, 0.0, -1.0]), np.array([1.0, 1.0, 1.0]))
    assert found[0] == 0
    assert np.isnan(found[1:]).all()
    half, quarter = (concentration_overpotential(0.5, 1.0, transference=t) for t in (0.5, 0.75))
    assert half == pytest.approx(2 * quarter)
    assert half == pytest.approx(0.02569 * np.log(2), rel=1e-3)


def test_lists_are_taken_as_arrays():
    np.testing.assert_allclose(sand_time([1.0, 2.0], 1.0, D) / sand_time(1.0, 1.0, D), [1.0, 0.25])
    np.testing.assert_allclose(
        sand_time(1.0, 1.0, [D, 2 * D], transference=[0.0, 0.5]) / sand_time(1.0, 1.0, D), [1, 8]
    )
    np.testing.assert_allclose(concentration_overpotential([1.0, 0.5], [1.0, 0.5]), 0.0)
    assert isinstance(sand_time(1, 1, D), float)


def test_the_salt_follows_sands_solution_in_time_and_depth():
    from scipy.special import erfc

    rate, spread = 0.05, 100.0  # um s-1 and um2 s-1
    tau = np.pi * spread / (4 * rate**2)
    t = np.array([0.0, 0.1, 0.5, 0.9]) * tau
    found = salt_diffusion(t, thickness_um=30000, concentration=2.0, diffusivity=1e-10, rate_um_s=rate)
    np.testing.assert_allclose(found["surface_low"], 2 * (1 - np.sqrt(t / tau)), atol=0.004)
    length = np.sqrt(4 * spread * t[-1])
    y = found["y"].values[found["y"].values < 5 * length] / length
    ierfc = np.exp(-(y**2)) / np.sqrt(np.pi) - y * erfc(y)
    np.testing.assert_allclose(
        found["concentration"][-1, : y.size], 2 * (1 - rate * length / spread * ierfc), atol=0.004
    )


@pytest.mark.parametrize("current", [1.0, 100.0, 1e4])
def test_depletion_by_a_large_current_in_a_thick_polymer_is_sands(current):
    found = depletion_time(current, 1.0, 1e-12, thickness_um=1200)
    assert found == pytest.approx(sand_time(current, 1.0, 1e-12), rel=3e-3)


def test_a_surface_that_is_empty_within_half_a_cell_is_missing_from_the_beginning():
    found = salt_diffusion([0.0, 1.0], thickness_um=1000, concentration=1.0, diffusivity=1e-12, rate_um_s=1e3)
    assert found.attrs["depleted_s"] == 0.0
    assert np.isnan(found["surface_low"]).all()
    late = salt_diffusion([500.0], thickness_um=1000, concentration=1.0, diffusivity=1e-12, rate_um_s=1.0)
    assert late.attrs["depleted_s"] < 500
    assert np.isnan(late["concentration"]).all()


def test_a_diffusivity_may_return_one_number():
    constant = depletion_time(3.0, 1.0, 1e-11, thickness_um=500)
    assert depletion_time(3.0, 1.0, lambda c: 1e-11, thickness_um=500) == pytest.approx(constant)


@pytest.mark.parametrize(
    ("t", "rate", "match"), [([], 0.1, "0 times"), ([0.0, 1.0], np.nan, "rate_um_s must be finite")]
)
def test_no_times_and_a_rate_that_is_no_number_are_refused(t, rate, match):
    with pytest.raises(InputError, match=match):
        salt_diffusion(t, thickness_um=100, concentration=1.0, diffusivity=1e-10, rate_um_s=rate)


def test_a_polynomial_in_lithium_per_ether_oxygens_falls_with_the_salt():
    found = polynomial_diffusivity([1e-13, 0.0], variable="Li per 100 EO", valid=(5.0, 20.0))
    np.testing.assert_allclose(found(polymer_salt_concentration(np.array([8.0, 10.0, 50.0]))), [12.5e-13, 1e-12, 5e-13])
    assert found(0.0) == pytest.approx(5e-13)


def test_the_constant_current_begins_after_a_rest():
    current = np.concatenate([np.zeros(50), np.full(50, -0.2)])
    found = transition_time(record(current, np.linspace(0.1, 0.2, 100))).set_index("quantity")
    assert found.loc["constant current", "value"] == pytest.approx(0.2)
    assert found.loc["constant current", "t"] == pytest.approx(0.5)


def test_an_equation_that_cannot_be_integrated_ends_in_one_error_that_names_the_units():
    with pytest.raises(InputError, match="check the units of lengths"):
        salt_diffusion([0.0, 3600.0], thickness_um=0.8, concentration=1.0, diffusivity=1e-2, rate_um_s=1e-4)
