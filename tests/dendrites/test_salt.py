"""Salt from profiles of a signal: electrodes, displaced salt, stages, and diffusion fitted through the blur."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

from operando.core.errors import AxesError, InputError, UnitsError
from operando.dendrites import (
    concentration_gradient,
    depletion_stage,
    displaced_per_charge,
    electrode_surface,
    fit_salt_transport,
    fitted_diffusivity,
    salt_concentration,
    salt_displaced,
    surface_concentration,
)
from operando.electrochemistry import salt_diffusion

LOW, HIGH, STEP = 1000.0, 2000.0, 16.0
Y = STEP / 2 + STEP * np.arange(190)


def labeled(values, interval=600.0):
    t = ("t", interval * np.arange(len(values)), {"units": "s"})
    attrs = {"units": "1", "interval_s": interval}
    return xr.DataArray(values, dims=("t", "y"), coords={"t": t, "y": ("y", Y, {"units": "um"})}, attrs=attrs)


def edges(y, blur=60.0):
    return (erf((y - LOW) / (np.sqrt(2) * blur)) - erf((y - HIGH) / (np.sqrt(2) * blur))) / 2


def blurred(shares, y, blur=60.0):
    """What an imaging with that blur shows of shares (t, y) between the electrodes."""
    from scipy.ndimage import gaussian_filter1d

    fine = np.arange(1.0, Y[-1] + STEP, 2.0)
    inside = (fine >= LOW) & (fine <= HIGH)
    rows = [np.where(inside, np.interp(fine - LOW, y, share), 0.0) for share in shares]
    return np.stack([np.interp(Y, fine, gaussian_filter1d(row, blur / 2.0)) for row in rows])


@pytest.fixture(scope="module")
def cell():
    """A cell of known diffusivity and displacement per charge, with noise, background and a coil that is not even."""
    hours = np.arange(16) / 6
    slope, current = 200.0, 0.1
    found = salt_diffusion(
        3600 * hours,
        thickness_um=HIGH - LOW,
        concentration=1.5,
        diffusivity=lambda c: 2e-12 * np.exp(1.0 * (c / 1.5 - 1)),
        rate_um_s=slope * current / 3600,
    )
    coil = 1 + 0.1 * np.sin(Y / 400)
    signal = 3e5 * coil * blurred(found["concentration"].values / 1.5, found["y"].values)
    noise = 3e5 * 0.01 * np.random.default_rng(3000).normal(size=signal.shape)
    return {
        "salt": salt_concentration(labeled(signal + noise + 2e4 + 3.0 * Y), concentration=1.5, use_first=1),
        "hours": hours,
        "truth": found,
        "slope": slope,
        "current": current,
        "coil": coil,
    }


def test_a_signal_that_does_not_change_is_the_initial_concentration_everywhere():
    salt = salt_concentration(labeled(np.tile(5e4 * edges(Y) + 1e3, (4, 1))), concentration=1.2)
    inside = salt["concentration"].values[:, (Y > LOW) & (Y < HIGH)]
    np.testing.assert_allclose(inside, 1.2, rtol=1e-9)
    assert np.isnan(salt["concentration"].values[:, (Y < LOW) | (Y > HIGH)]).all()
    assert salt["concentration"].attrs["units"] == "mol L-1"


def test_electrodes_and_blur_are_those_of_the_edges():
    salt = salt_concentration(labeled(np.tile(5e4 * edges(Y, 80.0) + 3e3 + 2.0 * Y, (3, 1))), concentration=1.0)
    np.testing.assert_allclose(salt["position"], [LOW, HIGH], atol=0.5)
    np.testing.assert_allclose(salt["blur"], 80.0, rtol=0.02)


def test_concentration_does_not_depend_on_scale_background_or_coil(cell):
    shares = cell["truth"]["concentration"].values / 1.5
    plain = salt_concentration(labeled(blurred(shares, cell["truth"]["y"].values)), concentration=1.5, use_first=1)
    scaled = salt_concentration(
        labeled(7e3 * cell["coil"] * blurred(shares, cell["truth"]["y"].values) + 500.0 - 0.1 * Y),
        concentration=1.5,
        use_first=1,
    )
    both = np.isfinite(plain["concentration"].values) & np.isfinite(scaled["concentration"].values)
    np.testing.assert_allclose(plain["concentration"].values[both], scaled["concentration"].values[both], rtol=2e-3)


def test_noise_and_its_correlation_are_found():
    found = []
    for seed in range(3100, 3108):
        white = np.random.default_rng(seed).normal(size=(40, Y.size + 2))
        smooth = (white[:, :-2] + white[:, 1:-1] + white[:, 2:]) / np.sqrt(3)
        salt = salt_concentration(labeled(100 * edges(Y) + 2.0 * smooth), concentration=1.0)
        found.append((salt.attrs["noise"], salt.attrs["correlated_points"]))
    # A running mean over three points: correlations 2/3 and 1/3.
    np.testing.assert_allclose(np.mean(found, axis=0), [0.02, 3.0], rtol=0.05)


def test_displaced_salt_is_the_integral_whatever_the_blur(cell):
    shares = cell["truth"]["concentration"].values / 1.5
    expected = cell["slope"] * cell["current"] * cell["hours"]
    for blur in (20.0, 60.0, 90.0):
        signal = labeled(blurred(shares, cell["truth"]["y"].values, blur))
        found = salt_displaced(salt_concentration(signal, concentration=1.5, use_first=1))
        np.testing.assert_allclose(found["displaced"], expected, atol=0.02 * expected[-1])
        np.testing.assert_allclose(found["balance"], 0.0, atol=0.3)
        assert found.attrs["plated"] == "low"
        assert found.attrs["thickness_um"] == pytest.approx(1000.0, abs=1.0)


def test_a_drifting_gain_is_all_balance_and_no_displacement():
    gain = np.linspace(1.0, 0.9, 6)
    found = salt_displaced(salt_concentration(labeled(np.outer(gain, edges(Y))), concentration=1.0, use_first=1))
    np.testing.assert_allclose(found["balance"], 1000 * (gain - 1), atol=0.5)
    np.testing.assert_allclose(found["displaced"], 0.0, atol=0.5)


def test_a_mirrored_series_is_plated_at_the_other_end(cell):
    salt = salt_displaced(cell["salt"])
    values = cell["salt"]["signal"].values[:, ::-1] + 0.05
    mirrored = salt_displaced(salt_concentration(labeled(values), concentration=1.5, use_first=1))
    assert (salt.attrs["plated"], mirrored.attrs["plated"]) == ("low", "high")
    np.testing.assert_allclose(salt["displaced"], mirrored["displaced"], atol=1.0)


def test_sigma_of_the_displaced_salt_is_its_scatter():
    random = np.random.default_rng(3002)
    values = edges(Y) + 0.02 * random.normal(size=(60, Y.size))
    found = salt_displaced(salt_concentration(labeled(values), concentration=1.0, use_first=3))
    late = found["displaced"].values[3:]
    # The noise of the first profiles is common to all that follow.
    assert late.std() == pytest.approx(float(found["displaced_sigma"][-1]) / np.sqrt(4 / 3), rel=0.25)


def test_the_slope_against_charge_is_recovered_within_its_sigma(cell):
    charge = cell["current"] * cell["hours"]
    found = displaced_per_charge(salt_displaced(cell["salt"]), charge)
    assert abs(found["slope"] - cell["slope"]) < 3 * found["slope_sigma"]
    assert found["slope_sigma"] < 0.05 * cell["slope"]
    assert found["n"] == 16


def test_a_slope_needs_charge(cell):
    with pytest.raises(InputError, match="Match the clocks"):
        displaced_per_charge(salt_displaced(cell["salt"]), np.zeros(16))


def test_the_functions_for_images_read_gradient_and_stage_at_both_electrodes():
    y = np.linspace(0, HIGH - LOW, 400)
    shares = np.stack([np.ones(400), np.ones(400), np.ones(400), 0.1 + 1.8 * y / (HIGH - LOW)])
    salt = salt_concentration(labeled(blurred(shares, y, 8.0)), concentration=2.0, use_first=1)
    stages = {}
    for end, share in (("low", 0.1), ("high", 1.9)):
        surface = electrode_surface(salt, end)
        # Away from the blur the profile is straight.
        options = {"from_um": 40.0, "over_um": 300.0}
        c = surface_concentration(salt["concentration"], surface, **options)
        assert float(c[-1]) == pytest.approx(2 * share, abs=0.05)
        gradient = concentration_gradient(salt["concentration"], surface, **options)
        sign = 1 if end == "low" else -1
        assert float(gradient[-1]) == pytest.approx(sign * 2 * 1.8 / 1000, rel=0.03)
        stages[end] = depletion_stage(c, initial=2.0, none_above=0.8, full_below=0.2).values.tolist()
    assert stages == {"low": [0, 0, 0, 2], "high": [0, 0, 0, 0]}


def test_an_electrode_has_two_ends(cell):
    with pytest.raises(InputError, match="must be 'low' or 'high'"):
        electrode_surface(cell["salt"], "top")


def fitted(cell, **options):
    record = {"time_h": [0.0, 5.0], "current_ma": [cell["current"]] * 2}
    return fit_salt_transport(cell["salt"], t_h=cell["hours"], **record, **options)


def test_diffusivity_and_slope_come_back_through_blur_and_noise(cell):
    found = fitted(cell, diffusivity=1e-12, free="tilt")
    assert abs(float(found["slope"]) - 200.0) < 3 * float(found["slope_sigma"])
    assert abs(np.log(float(found["diffusivity_scale"]) / 2.0)) < 3 * float(
        found["diffusivity_scale_sigma"] / found["diffusivity_scale"]
    )
    assert abs(float(found["diffusivity_tilt"]) - 1.0) < 3 * float(found["diffusivity_tilt_sigma"])
    assert float(found["diffusivity_scale_sigma"]) < 0.5
    assert found.attrs["chi2"] == pytest.approx(1.0, abs=0.15)
    assert found.attrs["at_limit"] == 0
    truth = cell["truth"]["surface_low"].values / 1.5
    off = np.abs(found["plated_share"].values - truth)
    assert (off < 3.5 * found["plated_share_sigma"].values + 1e-3).all()
    # The blurred line through the profile misses what the fit finds.
    surface = electrode_surface(cell["salt"], "low")
    seen = surface_concentration(cell["salt"]["concentration"], surface, from_um=0.0, over_um=100.0).values / 1.5
    assert seen[-1] > truth[-1] + 3 * off[-1]


def test_a_wrong_diffusivity_shows_in_chi2(cell):
    right = fitted(cell, diffusivity=lambda c: 2e-12 * np.exp(c / 1.5 - 1), free="none")
    wrong = fitted(cell, diffusivity=2e-11, free="none")
    assert float(right["diffusivity_scale"]) == 1.0
    assert wrong.attrs["chi2"] > 1.2 * right.attrs["chi2"]


def test_a_mirrored_cell_is_fitted_alike(cell):
    mirrored = salt_concentration(
        labeled(cell["salt"]["signal"].values[:, ::-1] + 0.05), concentration=1.5, use_first=1
    )
    one = fitted(cell, diffusivity=2e-12, free="none")
    other = fitted({**cell, "salt": mirrored}, diffusivity=2e-12, free="none", plated="high")
    assert float(other["slope"]) == pytest.approx(float(one["slope"]), rel=0.01)
    modeled = other["modeled"].values
    assert np.nanmean(modeled[-1, Y < 1500]) > np.nanmean(modeled[-1, Y > 1500])


def test_the_fitted_diffusivity_can_be_used_again():
    fit = xr.Dataset({"diffusivity_scale": 2.0, "diffusivity_tilt": 1.0})
    found = fitted_diffusivity(fit, 1e-12, initial=1.5)
    np.testing.assert_allclose(found(np.array([1.5, 3.0])), [2e-12, 2e-12 * np.e], rtol=1e-5)


def test_clocks_that_do_not_meet_are_refused(cell):
    with pytest.raises(InputError, match="Put both on one clock"):
        fit_salt_transport(
            cell["salt"], t_h=cell["hours"], time_h=[100.0, 101.0], current_ma=[0.1, 0.1], diffusivity=1e-12
        )
    with pytest.raises(InputError, match=r"Did you mean 'scale'\?"):
        fitted(cell, diffusivity=1e-12, free="scal")


def test_profiles_without_electrolyte_background_or_number_are_refused():
    flat = labeled(np.random.default_rng(3003).normal(size=(4, Y.size)))
    with pytest.raises(InputError, match="must stand out of the background"):
        salt_concentration(flat, concentration=1.0)
    values = np.tile(edges(Y), (4, 1))
    values[0, 5] = np.nan
    with pytest.raises(InputError, match="must be finite"):
        salt_concentration(labeled(values), concentration=1.0)
    with pytest.raises(InputError, match="at least three profiles"):
        salt_concentration(labeled(np.tile(edges(Y), (2, 1))), concentration=1.0)
    with pytest.raises(InputError, match=r"Give it in mol L-1"):
        salt_concentration(labeled(np.tile(edges(Y), (4, 1))), concentration=0.0)
    with pytest.raises(AxesError):
        salt_concentration(labeled(np.tile(edges(Y), (4, 1))).rename(y="x"), concentration=1.0)


def test_displaced_salt_needs_a_length():
    signal = labeled(np.tile(edges(Y), (4, 1)))
    signal["y"].attrs["units"] = "px"
    with pytest.raises(UnitsError, match="voxel size is not known"):
        salt_displaced(salt_concentration(signal, concentration=1.0))


def test_charge_that_returns_through_zero_keeps_its_sign():
    values = np.array([-2.0, 0.0, 2.0, 4.0])
    displaced = xr.Dataset({"displaced": ("t", values), "displaced_sigma": ("t", np.ones(4))})
    found = displaced_per_charge(displaced, -0.05 * values)
    assert found["slope"] == pytest.approx(20.0)


def test_a_diffusivity_in_another_unit_is_refused_with_the_remedy(cell):
    with pytest.raises(InputError, match="Check the units"):
        fitted(cell, diffusivity=1e-20, free="none")
