"""Figures of salt between two electrodes."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.report import (
    png_bytes,
    rgb_array,
    salt_at_electrodes,
    salt_balance,
    salt_changes,
    salt_gradients,
    salt_map,
    sand_times,
)

HOURS = np.linspace(2.5, 9.0, 20)


@pytest.fixture
def salt():
    y = 10.0 * np.arange(30)
    depth = np.linspace(0.0, 0.4, 20)[:, None] * np.exp(-(((y - 50) / 40) ** 2))
    values = np.where((y > 45) & (y < 250), 2.0 * (1 - depth), np.nan)
    coords = {"y": ("y", y, {"units": "um"}), "end": ["low", "high"]}
    return xr.Dataset(
        {
            "concentration": (("t", "y"), values, {"units": "mol L-1"}),
            "signal": (("t", "y"), np.nan_to_num(values / 2)),
            "position": ("end", [45.0, 250.0]),
        },
        coords=coords,
    )


@pytest.fixture
def measured():
    t = np.arange(20)
    pair = (("t", "electrode"), np.stack([1.5 - 0.05 * t, 1.5 + 0.02 * t], axis=1), {"units": "mol L-1"})
    gradient = (("t", "electrode"), np.stack([1e-4 * t, -1e-4 * t], axis=1))
    sigma = (("t", "electrode"), np.full((20, 2), 0.03))
    one = ("t", 2.0 * t)
    return xr.Dataset(
        {
            "concentration": pair,
            "concentration_sigma": sigma,
            "concentration_gradient": gradient,
            "concentration_gradient_sigma": (("t", "electrode"), np.full((20, 2), 1e-4)),
            "displaced": one,
            "displaced_sigma": ("t", np.ones(20)),
            "balance": ("t", np.zeros(20)),
            "balance_sigma": ("t", np.ones(20)),
        },
        coords={"electrode": ["plated", "dissolving"], "t_h": ("t", HOURS), "charge": ("t", 0.01 * t)},
        attrs={"initial": 1.5, "thickness_um": 1000.0, "simulated": 0},
    )


@pytest.fixture
def fit():
    share = ("t", np.linspace(1.0, 0.1, 20))
    spread = ("t", np.full(20, 0.05))
    data = {f"{name}_share": share for name in ("plated", "dissolving")}
    data |= {f"{name}_share_sigma": spread for name in ("plated", "dissolving")}
    return xr.Dataset({**data, "modeled": (("t", "y"), np.ones((20, 30)))}, attrs={"at_limit": 0})


@pytest.fixture
def record():
    return pd.DataFrame({"time_h": HOURS, "current_ma": 0.1, "voltage_v": np.linspace(0.1, 1.5, 20)})


def drawn(figure) -> bool:
    pixels = rgb_array(figure, dpi=60)
    return bool((pixels < 200).any(axis=2).mean() > 0.01)


def test_the_map_shows_the_electrolyte_only_and_its_middle_color_is_the_initial_salt(salt):
    figure = salt_map(salt["concentration"], HOURS, initial=2.0, plated="low", mark_h=4.0)
    left, right = figure.axes[:2]
    mesh = left.collections[0]
    low, high = mesh.get_clim()
    assert (low + high) / 2 == pytest.approx(2.0)
    assert left.get_ylabel() == "Position across the electrolyte [µm]"
    assert left.get_ylim()[1] < 215
    assert right.get_ylabel() == "Salt [mol L⁻¹]"
    assert [text.get_text() for text in left.texts][:2] == ["plated electrode", "dissolving electrode"]
    assert drawn(figure)


def test_changes_are_zero_at_first_and_drawn_from_the_surface_of_the_electrode(salt, fit):
    figure = salt_changes(salt, HOURS, {"supplied D(c)": fit}, mark_h=5.0)
    late = figure.axes[1].lines
    measured = next(line for line in late if line.get_label() == "measured")
    assert measured.get_xdata()[0] == -45.0
    # 100 (1 - 0.4 * 0.95) at the deepest point, and nothing far from it.
    assert -40 < measured.get_ydata().min() < -25
    assert abs(measured.get_ydata()[20]) < 0.1
    assert drawn(figure)


def test_shares_at_both_electrodes_have_bounds_models_and_points(measured, fit):
    figure = salt_at_electrodes(measured, {"supplied D(c)": fit}, bounds=(0.8, 0.2), mark_h=4.0)
    plated, dissolving = figure.axes
    assert [text.get_text() for text in plated.texts][:2] == ["partial below", "full below"]
    labels = plated.get_legend_handles_labels()[1]
    assert labels == ["surface, supplied D(c)", "profile, blurred"]
    assert dissolving.get_title() == "dissolving electrode"
    points = plated.containers[0].lines[0]
    assert points.get_ydata()[0] == pytest.approx(1.0)
    assert len(plated.collections) == 2  # error bars and the interval of the model
    assert drawn(figure)


def test_a_model_at_its_limit_is_drawn_without_an_interval(measured, fit):
    figure = salt_at_electrodes(measured, {"fitted D(c)": fit.assign_attrs(at_limit=1)})
    assert len(figure.axes[0].collections) == 1


def test_gradients_stand_above_voltage_and_current(measured, record):
    figure = salt_gradients(measured, record, mark_h=4.0)
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes] == ["Salt gradient", "Voltage", "Current"]
    points = figure.axes[0].containers[0].lines[0]
    assert points.get_ydata()[10] == pytest.approx(1.0)  # mmol per L and um
    assert drawn(figure)
    with pytest.raises(InputError, match="lacks the columns"):
        salt_gradients(measured, record.drop(columns="voltage_v"))


def test_the_balance_shows_slope_and_percent(measured):
    figure = salt_balance(measured, {"slope": 200.0, "slope_sigma": 5.0, "offset": 0.0})
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "200.0 ± 9.8 µm mAh⁻¹"
    assert figure.axes[1].get_ylabel() == "Change of all salt [%]"
    assert drawn(figure)


def test_times_that_are_not_reached_or_bounds_are_said_in_words():
    rows = pd.DataFrame(
        {
            "component": ["voltage", "profiles", "Sand", "Sand, D(c)", "Sand, fitted D(c)"],
            "quantity": "time to depletion",
            "value": [1.4, np.nan, 15.0, np.inf, 1.3],
            "sigma": [0.01, np.nan, 1.0, np.nan, np.nan],
            "unit": "h",
            "method": ["", "", "", "", "fit; at its limit, an upper bound"],
        }
    )
    figure = sand_times(rows)
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "1.400 ± 0.020 h",
        "not reached",
        "15.0 ± 2.0 h",
        "never",
        "≤ 1.30 h",
    ]
    assert drawn(figure)
    with pytest.raises(InputError, match="at least one finite time"):
        sand_times(rows.iloc[[1]])


def test_simulated_data_are_labeled(salt, measured, record):
    plain = png_bytes(salt_gradients(measured, record), dpi=40)
    assert salt_gradients(measured.assign_attrs(simulated=1), record).get_suptitle() == "simulated"
    assert salt_gradients(measured, record).get_suptitle() == ""
    assert plain[:4] == b"\x89PNG"
    assert salt_map(salt["concentration"].assign_attrs(simulated=True), HOURS).get_suptitle() == "simulated"


def test_times_must_match_the_profiles(salt):
    with pytest.raises(InputError, match="one time per profile"):
        salt_map(salt["concentration"], HOURS[:-1])
