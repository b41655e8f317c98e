import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.report import component_volumes, quantity_lines, style, thickness
from operando.report.lines import time_values


def test_components_share_one_panel_and_one_power_of_ten(ledger):
    ax = quantity_lines(ledger, components=["electrode", "deposited"]).axes[0]
    assert ax.get_ylabel() == "Volume [10⁶ µm³]"
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.0, 0.2, 0.01])


def test_a_long_label_is_broken_so_that_it_stays_beside_its_panel(ledger):
    label = quantity_lines(ledger, label="effective thickness of both electrodes together").axes[0].get_ylabel()
    assert label == "Effective thickness of both\nelectrodes together\n[10⁶ µm³]"


def test_the_legend_uses_the_names_that_are_given(ledger):
    ax = quantity_lines(ledger, components=["deposited"], names={"deposited": "plated on charge"}).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["plated on charge"]


@pytest.mark.parametrize("draw", [component_volumes, quantity_lines, thickness])
def test_every_series_can_be_drawn_over_the_hours_under_current(ledger, draw):
    table = ledger.assign(applied_h=ledger["scan"] * 0.25)
    ax = draw(table, time="applied_h", turn=0.25).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.0, 0.25, 0.5])


def test_what_follows_the_turn_is_shaded_to_the_edge(ledger):
    ax = quantity_lines(ledger, components=["deposited"], turn=2.0).axes[0]
    (span,) = ax.patches
    assert span.get_x() == 2.0
    assert span.get_x() + span.get_width() == pytest.approx(ax.get_xlim()[1])


def test_a_time_column_that_is_not_there_is_asked_for(ledger):
    with pytest.raises(InputError, match="no column 'applied_h'.*table.assign"):
        quantity_lines(ledger, time="applied_h")


def test_the_current_has_another_time_axis_than_the_hours_under_current(ledger, current):
    with pytest.raises(InputError, match="drawn over t, got time='applied_h'"):
        component_volumes(ledger.assign(applied_h=0.0), current=current, time="applied_h")


def test_the_truth_is_placed_at_the_scan_it_belongs_to(ledger):
    truth = ledger[ledger["scan"] == 2].assign(t=99.0)
    ax = quantity_lines(ledger, components=["deposited"], truth=truth).axes[0]
    circles = ax.lines[1]
    np.testing.assert_allclose(circles.get_xdata()[np.isfinite(circles.get_ydata())], [4.0])


def test_a_table_whose_times_are_unknown_is_drawn_over_scans():
    table = pd.DataFrame({"scan": [0, 3], "t": [np.nan, 1.0]})
    np.testing.assert_array_equal(time_values(table), [0.0, 3.0])


def test_many_scans_get_smaller_marks(ledger):
    many = pd.concat([ledger.assign(scan=ledger["scan"] + 3 * k, t=ledger["t"] + 4 * k) for k in range(8)])
    few, crowded = (quantity_lines(t, components=["deposited"]).axes[0].lines[0] for t in (ledger, many))
    assert crowded.get_markersize() < few.get_markersize()


def test_given_axes_get_no_legend_of_intervals(ledger):
    ax = style.new_figure(88, 60).add_subplot()
    assert quantity_lines(ledger, components=["deposited"], ax=ax) is ax.figure
    assert ax.figure.legends == []
