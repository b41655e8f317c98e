import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.report import balance, component_volumes, coverage, rgb_array, style, thickness
from operando.report.lines import draw_current


def _texts(figure):
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_each_component_but_the_electrolyte_has_a_panel_in_its_color(ledger):
    figure = component_volumes(ledger)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["electrode", "deposited"]
    for ax, name in zip(figure.axes, titles, strict=True):
        assert to_hex(ax.lines[0].get_color()).upper() == CELL.color(name)


def test_the_volume_axis_says_its_unit_and_the_power_taken_out(ledger):
    figure = component_volumes(ledger)
    assert [ax.get_ylabel() for ax in figure.axes] == ["Volume [10⁶ µm³]", "Volume [10³ µm³]"]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [0.0, 200.0, 10.0])


def test_the_band_is_the_95_percent_interval(ledger):
    band = component_volumes(ledger).axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(1.9 * (1 + 1.959964 * 0.01))


def test_the_current_is_drawn_below_on_the_same_time_axis(ledger, current):
    figure = component_volumes(ledger, current=current)
    top, bottom = figure.axes[0], figure.axes[-2]
    assert bottom.get_ylabel() == "Current\n[µA]"
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [50, 50, -50, -50])
    assert top.get_xlim() == bottom.get_xlim()


@pytest.mark.parametrize(("ma", "unit"), [(250.0, "A"), (0.2, "mA"), (4e-4, "µA"), (3e-5, "nA")])
def test_the_unit_of_the_current_fits_its_size(ma, unit):
    ax = style.new_figure(85, 40).add_subplot()
    draw_current(ax, pd.DataFrame({"time_h": [0.0, 1.0], "current_ma": [ma, -ma]}))
    assert ax.get_ylabel() == f"Current\n[{unit}]"


def test_a_current_without_its_columns_is_refused(ledger):
    with pytest.raises(InputError, match=r"time_h and current_ma are needed, got \['t'\]"):
        component_volumes(ledger, current=pd.DataFrame({"t": [0.0]}))


def test_the_truth_is_drawn_as_open_circles(ledger):
    truth = ledger.assign(value=ledger["value"] * 1.05)
    line = component_volumes(ledger, truth=truth).axes[0].lines[1]
    assert line.get_markerfacecolor() == "none"
    np.testing.assert_allclose(line.get_ydata(), np.array([1.9, 1.8, 1.85]) * 1.05)


def test_rows_that_are_not_there_suggest_those_that_are(ledger):
    with pytest.raises(InputError, match="Did you mean 'volume'"):
        component_volumes(ledger, quantity="volumes")
    with pytest.raises(InputError, match="Did you mean 'deposited'"):
        component_volumes(ledger, components=["deposit"])


def test_the_electrode_does_not_share_the_axis_of_a_thin_deposit(ledger):
    figure = thickness(ledger)
    assert [ax.get_ylabel() for ax in figure.axes] == ["Effective thickness [µm]"] * 2
    assert [line.get_label() for ax in figure.axes for line in ax.lines] == ["electrode", "deposited"]


def test_sums_over_the_sides_have_a_panel_of_their_own(ledger):
    side = ledger[ledger["quantity"] == "effective thickness"].replace({"component": {"electrode": "plating side"}})
    figure = thickness(pd.concat([ledger, side[side["component"] == "plating side"]], ignore_index=True))
    assert [line.get_label() for line in figure.axes[-1].lines] == ["plating side"]


def test_coverage_is_in_percent_and_leaves_out_what_always_covers_everything(ledger):
    figure = coverage(ledger)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.lines] == ["deposited"]
    assert "100 %" in [t.get_text() for t in ax.get_yticklabels()]


def test_everything_can_be_drawn_into_given_axes(ledger):
    ax = style.new_figure(85, 60).add_subplot()
    assert thickness(ledger, ax=ax) is ax.figure
    assert len(ax.lines) == 2


def test_an_interval_that_leaves_out_zero_is_flagged(ledger):
    ax = balance(ledger).axes[1]
    drawn = {c.get_label(): c.lines[0].get_xdata().astype(float) for c in ax.containers}
    np.testing.assert_allclose(drawn["agrees within 95 %"], [1.0])
    np.testing.assert_allclose(drawn["disagrees beyond 95 %"], [3.0])


def test_a_balance_without_sigma_is_not_said_to_agree(ledger):
    unknown = ledger.assign(sigma=np.nan)
    labels = [c.get_label() for c in balance(unknown).axes[1].containers]
    assert labels == ["interval not known"]


def test_the_faraday_volume_spans_each_interval(ledger):
    lines = balance(ledger).axes[0].collections[0].get_segments()
    np.testing.assert_allclose([line[:, 1] for line in lines], 100.0)
    assert [line[:, 0].mean() for line in lines] == [1.0, 3.0]


def test_a_balance_without_its_faraday_rows_is_refused(ledger):
    with pytest.raises(InputError, match=r"missing \['faraday'\]"):
        balance(ledger[ledger["component"] != "faraday"])


def test_a_simulated_ledger_says_so(ledger):
    assert "simulated" not in _texts(balance(ledger))
    ledger.attrs["simulated"] = True
    assert "simulated" in _texts(balance(ledger))
    assert "simulated" not in _texts(balance(ledger, simulated=False))


def test_a_table_without_times_is_drawn_over_scan_numbers(ledger):
    figure = component_volumes(ledger.assign(t=np.nan))
    assert figure.axes[0].get_xlabel() == "Scan"
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [0, 1, 2])


def test_the_figures_can_be_rendered(ledger, current):
    for figure in (component_volumes(ledger, current=current), thickness(ledger), balance(ledger, current=current)):
        assert rgb_array(figure, dpi=50).std() > 5
