import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.report import image_and_charge, image_over_charge, ledger_chart, ledger_table, rgb_array, style

TERMS = {
    "plated": ([100.0, 40.0], [100.0, 60.0]),
    "stripped": ([90.0, 50.0], [90.0, 40.0]),
    "dead": ([0.0, 5.0], [0.0, 5.0]),
    "unaccounted": ([0.0, 60.0], [0.0, -60.0]),
    "faraday": ([100.0, 100.0], [100.0, 0.0]),
}


def _rows(quantity, index, unit="um3", scale=1e3, sigma=10.0):
    return [
        {"scan": scan, "t": 2.0 * scan, "component": name, "quantity": quantity,
         "value": values[index][scan - 1] * scale, "sigma": sigma * scale, "unit": unit}
        for name, values in TERMS.items()
        for scan in (1, 2)
    ]  # fmt: skip


@pytest.fixture
def terms():
    rows = _rows("balance", 0) + _rows("cumulative", 1)
    for name, unit in (("thickness", "um"), ("capacity", "mAh cm-2")):
        rows += _rows(f"balance {name}", 0, unit, 1e-2) + _rows(f"cumulative {name}", 1, unit, 1e-2)
    rows += [
        {"scan": 1, "t": 2.0, "component": "charge", "quantity": "image over charge", "value": 0.9, "sigma": 0.1,
         "unit": "1"},
        {"scan": 2, "t": 4.0, "component": "discharge", "quantity": "image over charge", "value": 1.2, "sigma": 9.0,
         "unit": "1"},
    ]  # fmt: skip
    return quantity_table(rows)


def _heights(ax):
    return [patch.get_height() for container in ax.containers[:1] for patch in container.patches]


def test_bars_have_the_heights_of_the_table_in_the_unit_of_the_title(terms):
    axes = ledger_chart(terms).axes
    assert axes[0].get_title(loc="left") == "Per interval [10³ µm³]"
    np.testing.assert_allclose(_heights(axes[0]), [100.0, 40.0])


def test_each_term_that_the_table_has_is_a_row_of_the_chart(terms):
    axes = ledger_chart(terms).axes
    assert [ax.get_ylabel() for ax in axes[::2]] == ["Plated", "Stripped", "Dead", "Unaccounted"]


def test_only_an_unaccounted_volume_whose_interval_leaves_out_zero_is_red(terms):
    axes = ledger_chart(terms).axes
    colors = [to_hex(patch.get_facecolor()).upper() for patch in axes[6].containers[0].patches]
    assert colors == [style.ACCENTS["unaccounted"], style.FLAG]
    assert style.FLAG not in [to_hex(p.get_facecolor()).upper() for p in axes[0].containers[0].patches]


def test_lines_since_the_first_scan_are_on_the_right(terms):
    axes = ledger_chart(terms).axes
    np.testing.assert_allclose(axes[3].lines[0].get_ydata(), [90.0, 40.0])


def test_without_cumulative_rows_there_are_bars_alone(terms):
    bars = terms[terms["quantity"] == "balance"]
    assert len(ledger_chart(bars).axes) == 4
    assert len(ledger_chart(terms, cumulative=None).axes) == 4


def test_the_truth_of_an_interval_stands_in_its_middle(terms):
    truth = terms.assign(value=terms["value"] * 2)
    circles = [line for line in ledger_chart(terms, truth=truth).axes[0].lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(circles[0].get_xdata(), [1.0, 3.0])
    np.testing.assert_allclose(circles[0].get_ydata(), [200.0, 80.0])


def test_a_column_of_truth_serves_as_well_as_a_table(terms):
    axes = ledger_chart(terms.assign(truth=terms["value"])).axes
    circles = [line for line in axes[1].lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(circles[0].get_ydata(), [100.0, 60.0])


def test_rows_in_several_units_need_one_to_be_named(terms):
    mixed = terms.replace({"quantity": {"balance thickness": "balance"}})
    with pytest.raises(InputError, match=r"one unit, got um3, um. Pass unit='um3'"):
        ledger_chart(mixed)
    assert ledger_chart(mixed, unit="um", cumulative=None).axes[0].get_title(loc="left") == "Per interval [µm]"


def test_terms_that_are_not_there_are_named(terms):
    with pytest.raises(InputError, match="rows of at least one of plating are needed.*Did you mean 'plated'"):
        ledger_chart(terms, components=["plating"])


def test_the_chart_can_be_drawn_over_the_hours_under_current(terms):
    axes = ledger_chart(terms.assign(applied_h=terms["scan"] / 2), time="applied_h", turn=0.5).axes
    assert axes[-1].get_xlabel() == "Time under current [h]"
    np.testing.assert_allclose(axes[1].lines[0].get_xdata(), [0.5, 1.0])


def test_the_table_spells_volume_thickness_and_capacity_of_each_term(terms):
    table = ledger_table(terms, components=["plated", "faraday"])
    assert list(table.columns) == ["scan", "time", "term", "volume", "thickness", "capacity"]
    assert table["term"].tolist() == ["plated", "faraday"] * 2
    assert table.loc[0].tolist() == [
        "1", "2.00 h", "plated", "(100 ± 20) × 10³ µm³", "1.00 ± 0.20 µm", "1.00 ± 0.20 mAh cm⁻²",
    ]  # fmt: skip


def test_the_table_of_some_scans_has_only_those(terms):
    assert set(ledger_table(terms, quantity="balance", scans=[2])["scan"]) == {"2"}


def test_image_and_charge_are_two_lines_and_the_image_has_a_band(terms):
    ax = image_and_charge(terms).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [100.0, 0.0])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [100.0, 60.0])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "by the charge (Faraday's law)",
        "plated, by the images",
    ]


def test_all_lithium_gets_a_panel_of_its_own(terms, ledger):
    both = pd.concat([terms, ledger[ledger["quantity"] == "volume"]])
    figure = image_and_charge(both, total=("volume", "electrode"))
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [1.9, 1.8, 1.85])


def test_image_and_charge_can_be_drawn_into_given_axes(terms):
    ax = style.new_figure(88, 60).add_subplot()
    assert image_and_charge(terms, ax=ax) is ax.figure
    assert len(ax.lines) == 3


def test_each_half_cycle_has_a_panel_with_a_line_at_one(terms):
    axes = image_over_charge(terms).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["Charge", "Discharge"]
    for ax in axes:
        (dashed,) = [line for line in ax.lines if line.get_linestyle() == "--"]
        np.testing.assert_allclose(dashed.get_ydata(), 1.0)


def test_an_interval_of_a_single_scan_is_an_error_bar(terms):
    (bar,) = image_over_charge(terms).axes[0].collections
    np.testing.assert_allclose(np.ptp(bar.get_segments()[0][:, 1]), 2 * 1.959964 * 0.1, rtol=1e-5)


def test_an_absurdly_wide_interval_does_not_flatten_the_ratio(terms):
    low, high = image_over_charge(terms).axes[0].get_ylim()
    assert -1.5 < low < 0
    assert 1.2 < high < 3.5


def test_an_asymmetric_interval_of_the_table_is_kept(terms):
    given = terms.assign(low=terms["value"] - 1e3, high=terms["value"] + 5e3)
    band = image_and_charge(given).axes[0].collections[1].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((59.0, 105.0))


def test_missing_half_cycles_are_named(terms):
    with pytest.raises(InputError, match=r"rows of up or down are needed, got \['charge', 'discharge'\]"):
        image_over_charge(terms, components=("up", "down"))


def test_simulated_ledgers_say_so(terms):
    terms.attrs["simulated"] = True
    for figure in (ledger_chart(terms), image_and_charge(terms), image_over_charge(terms)):
        assert figure.get_suptitle() == "simulated"


def test_unknown_values_leave_gaps_and_no_warnings(terms):
    holes = terms.assign(value=terms["value"].where(terms["scan"] != 1), sigma=np.nan)
    for figure in (ledger_chart(holes), image_and_charge(holes)):
        assert rgb_array(figure, dpi=40).std() > 3
