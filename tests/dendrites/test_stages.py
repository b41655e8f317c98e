"""Stages of depletion on concentrations written down by hand."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.dendrites import STAGES, depletion_stage, stage_of_point, stage_velocities


def _salt(values, sigma=None):
    values = np.asarray(values, dtype=float)
    dims = ("t", "x")[: values.ndim]
    coords = {} if sigma is None else {"sigma": (dims, np.full(values.shape, sigma))}
    return xr.DataArray(values, dims=dims, coords=coords)


def test_salt_that_runs_out_passes_all_three_stages():
    stage = depletion_stage(_salt([0.33, 0.2, 0.15, 0.05, 0.03, 0.0]))
    assert [STAGES[i] for i in stage.values] == ["none", "none", "partial", "partial", "full", "full"]
    np.testing.assert_allclose(stage.coords["share"].values[2], 0.15 / 0.33)


def test_stages_do_not_depend_on_the_unit_of_the_concentration():
    values = np.array([0.33, 0.2, 0.15, 0.05, 0.03, 0.0])
    np.testing.assert_array_equal(depletion_stage(_salt(values)).values, depletion_stage(_salt(400 * values)).values)


def test_a_few_wild_columns_do_not_move_the_stage():
    rows = np.full((3, 50), 0.02)
    rows[0] = 0.33
    rows[:, :5] = 5.0
    assert depletion_stage(_salt(rows)).values.tolist() == [0, 2, 2]


def test_the_initial_concentration_may_be_given_where_the_first_frame_is_late():
    values = [0.12, 0.03]
    assert depletion_stage(_salt(values)).values.tolist() == [0, 1]
    assert depletion_stage(_salt(values), initial=0.33).values.tolist() == [1, 2]


def test_depletion_is_not_claimed_within_the_noise():
    values = [0.33, 0.15, 0.05]
    assert depletion_stage(_salt(values, sigma=0.001)).values.tolist() == [0, 1, 1]
    assert depletion_stage(_salt(values, sigma=0.03)).values.tolist() == [0, 0, 2]


def test_columns_average_their_noise_unless_smoothing_ties_them():
    rows = np.full((2, 100), 0.33)
    rows[1] = 0.15
    free, tied = _salt(rows, sigma=0.05), _salt(rows, sigma=0.05).assign_attrs(smoothing=(25, 25))
    spread = [depletion_stage(salt).coords["sigma"].values[1] for salt in (free, tied)]
    np.testing.assert_allclose(spread[0], 0.05 / 10 / 0.33)
    np.testing.assert_allclose(spread[1], 5 * spread[0])


def test_flicker_at_a_bound_is_held_by_hysteresis_or_monotony():
    values = [0.33, 0.16, 0.17, 0.16, 0.3]
    assert depletion_stage(_salt(values)).values.tolist() == [0, 1, 0, 1, 0]
    assert depletion_stage(_salt(values), hysteresis=0.1).values.tolist() == [0, 1, 1, 1, 0]
    assert depletion_stage(_salt(values), monotone=True).values.tolist() == [0, 1, 1, 1, 1]


def test_a_frame_without_salt_values_has_no_stage():
    assert depletion_stage(_salt([0.33, np.nan, 0.01])).values.tolist() == [0, -1, 2]


def test_points_have_stages_of_their_own():
    found = stage_of_point(_salt([[0.33, 0.33, 0.33], [0.3, 0.1, np.nan]]))
    assert found.values.tolist() == [[0, 0, 0], [0, 1, -1]]
    assert stage_of_point(_salt([[0.1]]), initial=0.33).values.tolist() == [[1]]


def test_bounds_and_starts_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="full_below=0.9"):
        depletion_stage(_salt([1.0]), full_below=0.9)
    with pytest.raises(InputError, match="Pass initial="):
        depletion_stage(_salt([0.0, 0.1]))
    with pytest.raises(AxesError, match=r"\(t, \[x\]\)"):
        depletion_stage(xr.DataArray([1.0], dims="y"))


def _table():
    rows = []
    for stage, rates in {"none": [0.03, 0.05], "partial": [0.4, 0.5], "full": [0.7]}.items():
        for frame, rate in enumerate(rates):
            rows += [(stage, f"{stage}", frame, rate - 0.01), (stage, f"{stage}", frame, rate + 0.01)]
    return pd.DataFrame(rows, columns=["stage", "experiment", "frame", "growth_rate_next"])


def test_velocities_of_the_stages_weigh_frames_alike_with_a_sigma_over_frames():
    rows = stage_velocities(_table()).set_index("component")
    np.testing.assert_allclose(rows["value"][["none", "partial", "full"]], [0.04, 0.45, 0.7])
    np.testing.assert_allclose(rows["sigma"][["none", "partial"]], [0.01, 0.05])
    assert np.isnan(rows["sigma"]["full"])
    assert rows["n"].tolist() == [2, 2, 1]


def test_points_of_a_frame_are_not_taken_for_independent():
    doubled = pd.concat([_table(), _table()])
    pd.testing.assert_frame_equal(stage_velocities(doubled), stage_velocities(_table()))


def test_a_forecast_without_a_target_does_not_count():
    table = _table()
    extra = table.assign(frame=9, growth_rate_next=np.nan)
    pd.testing.assert_frame_equal(stage_velocities(pd.concat([table, extra])), stage_velocities(table))


def test_a_table_without_stages_is_refused():
    with pytest.raises(InputError, match="lacks the columns"):
        stage_velocities(pd.DataFrame({"frame": [1]}))


def test_without_salt_at_first_the_stage_is_an_error_or_unknown():
    for first in (0.0, np.nan):
        salt = _salt([first, 0.2, 0.08])
        with pytest.raises(InputError, match="initial concentration must be positive"):
            depletion_stage(salt)
        assert depletion_stage(salt, missing="unknown").values.tolist() == [-1, -1, -1]
        assert depletion_stage(salt, missing="unknown", initial=0.2).values.tolist()[1:] == [0, 1]
    with pytest.raises(InputError, match="Did you mean 'unknown'"):
        depletion_stage(_salt([0.3, 0.2]), missing="unknwon")
