import numpy as np
import pandas as pd
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.report import closure_chart, effect_sizes, spot_persistence, voltage_trace

STEPS = ["pristine", "plate 1", "strip 1"]


def _closure(pores=True):
    rows = []
    for scan, sign in ((1, 1), (2, -1)):
        for component, side in (("low", sign), ("high", -sign)):
            numbers = {"image current": 1.2 * side, "applied current": 1.0 * side, "current mismatch": 0.1 * side}
            if pores:
                numbers["image current without pores"] = 1.1 * side
            rows += [
                {
                    "scan": scan,
                    "component": component,
                    "quantity": name,
                    "value": value * 1e-3,
                    "sigma": 1e-4,
                    "unit": "mA",
                }
                for name, value in numbers.items()
            ]
    table = quantity_table(rows)
    table.attrs.update(plating_side="low", simulated=True)
    return table


def test_currents_are_shown_in_a_unit_that_fits_them():
    figure = closure_chart(_closure(), steps=STEPS)
    assert figure.axes[0].get_ylabel() == "Plating current\n[µA]"
    bars = [bar.get_height() for bar in figure.axes[1].patches if abs(bar.get_height()) > 0.5 and bar.get_width() < 0.5]
    np.testing.assert_allclose(sorted(bars), [-1.2, -1.1, 1.1, 1.2])


def test_too_much_lithium_is_above_zero_whether_plated_or_stripped():
    figure = closure_chart(_closure(), steps=STEPS)
    for ax in figure.axes[2:]:
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [10.0, 10.0])


def test_without_pores_there_is_one_bar_per_step():
    texts = [t.get_text() for t in closure_chart(_closure(False), steps=STEPS).legends[0].get_texts()]
    assert texts == ["applied current", "image current", "plating", "stripping"]


def test_closure_needs_its_rows_and_a_name_for_every_scan():
    with pytest.raises(InputError, match="rows of image current, applied current"):
        closure_chart(_closure()[lambda t: t["quantity"] != "applied current"])
    with pytest.raises(InputError, match="got 2 names for scan 2"):
        closure_chart(_closure(), steps=STEPS[:2])


def _record(sign=1.0):
    time = np.linspace(0, 4, 401)
    current = sign * np.where(time < 2, 0.01, -0.01)
    return pd.DataFrame({"time_h": time, "current_ma": current, "voltage_v": 10 * current})


def test_the_onset_is_marked_in_both_panels_at_its_time():
    figure = voltage_trace(_record(), onset_h=3.0, onset="drop at 26 uA cm-2")
    for ax in figure.axes:
        assert any(list(line.get_xdata()) == [3.0, 3.0] for line in ax.lines)
    assert figure.axes[1].texts[0].get_text() == "drop at 26 µA cm⁻²"


@pytest.mark.parametrize(("onset", "side"), [(1.0, "left"), (3.0, "right")])
def test_the_text_grows_from_the_mark_into_the_figure(onset, side):
    text = voltage_trace(_record(), onset_h=onset, onset="drop").axes[1].texts[0]
    assert text.get_ha() == side
    assert text.xy[0] == onset


def test_a_cell_that_did_not_fail_says_up_to_which_current():
    figure = voltage_trace(_record(), onset_h=np.nan, onset="no onset up to 0.3 mA cm-2")
    assert figure.axes[1].texts[0].get_text() == "no onset up to 0.3 mA cm⁻²"
    assert len(figure.axes[0].lines) == len(voltage_trace(_record()).axes[0].lines)


def test_steps_are_shaded_between_the_scans():
    figure = voltage_trace(_record(), scans_h=[0.0, 2.0, 4.0], steps=STEPS)
    assert [t.get_text() for t in figure.axes[0].texts] == ["plate 1", "strip 1"]
    assert len(figure.axes[0].patches) == 2
    with pytest.raises(InputError, match="got 3 names and 2 times"):
        voltage_trace(_record(), scans_h=[0.0, 2.0], steps=STEPS)


def test_records_without_voltage_are_refused():
    with pytest.raises(InputError, match=r"missing \['voltage_v'\]"):
        voltage_trace(_record().drop(columns="voltage_v"))
    with pytest.raises(InputError, match="got none that is finite"):
        voltage_trace(_record().assign(voltage_v=np.nan))


def _spots():
    table = pd.DataFrame(
        [
            ("low", 0, 1, "hot", 900.0),
            ("low", 1, 1, "hot", 900.0),
            ("low", 1, 2, "cold", 400.0),
            ("low", 2, 1, "cold", 400.0),
            ("high", 0, 1, "hot", 100.0),
        ],
        columns=["component", "scan", "id", "kind", "area_um2"],
    )
    tracks = pd.DataFrame(
        [
            ("low", 0, 1, 1, 1, "persists", 0.01, 1),
            ("low", 1, 2, 1, 1, "reverses", 0.4, 1),
            ("low", 1, 2, 2, 0, "ends", np.nan, 2),
            ("high", 0, 1, 1, 0, "ends", np.nan, 1),
        ],
        columns=["component", "scan_from", "scan_to", "id_from", "id_to", "relation", "p_value", "track"],
    )
    return tracks, table


def test_persisting_spots_are_joined_and_chance_is_told_by_the_line():
    tracks, table = _spots()
    figure = spot_persistence(tracks, table, steps=["plate 1", "strip 1", "plate 2"])
    top, bottom = figure.axes
    assert bottom.get_title(loc="left") == "Bottom electrode: 1 of 4 spots lies on one of the step before"
    assert top.get_title(loc="left") == "Top electrode: 0 of 1 spots lie on one of the step before"
    persists, reverses = bottom.lines
    assert persists.get_xdata().tolist() == pytest.approx([0, 1], abs=0.13)
    assert persists.get_linewidth() == 2.0
    assert reverses.get_linewidth() == 0.8
    assert reverses.get_linestyle() != "-"


def test_every_spot_is_drawn_once_with_a_size_by_its_area():
    tracks, table = _spots()
    _, bottom = spot_persistence(tracks, table).axes
    sizes = [collection.get_sizes() for collection in bottom.collections]
    assert [len(size) for size in sizes] == [2, 2]
    assert sizes[0][0] > sizes[1][0]


def test_persistence_without_spots_or_columns_is_refused():
    tracks, table = _spots()
    with pytest.raises(InputError, match="at least one spot is needed"):
        spot_persistence(tracks, table.iloc[:0])
    with pytest.raises(InputError, match=r"the tracks must have the columns .* missing \['track'\]"):
        spot_persistence(tracks.drop(columns="track"), table)


def _regression(p=0.004):
    numbers = {
        "tau": {"effect": -12.0, "effect low": -20.0, "effect high": -4.0, "p-value": p},
        "porosity": {"effect": 1.0, "effect low": -5.0, "effect high": 9.0, "p-value": 0.7},
        "all": {"p-value": 0.01},
    }
    return quantity_table(
        {"component": f"current~{name}", "quantity": quantity, "value": value, "unit": "%"}
        for name, values in numbers.items()
        for quantity, value in values.items()
    )


def test_effects_stand_with_their_intervals_and_p_values():
    ax = effect_sizes(_regression()).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["all together", "tau", "porosity"]
    assert [t.get_text() for t in ax.texts] == ["p = 0.010", "p = 0.004", "p = 0.700"]
    segments = [segment for bars in ax.collections for segment in bars.get_segments()]
    np.testing.assert_allclose([sorted(segment[:, 0]) for segment in segments], [[-20, -4], [-5, 9]])
    assert ax.get_xlabel() == "Effect of one standard deviation\n[% of the mean]"


def test_only_significant_effects_are_filled():
    ax = effect_sizes(_regression()).axes[0]
    fills = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"]
    assert fills == ["#0072B2", "white"]


def test_predictors_may_be_called_otherwise():
    ax = effect_sizes(_regression(), names={"tau": "tortuosity factor"}, title="plate 1").axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()][1:] == ["tortuosity factor", "porosity"]
    assert ax.get_title(loc="left") == "plate 1"


def test_steps_are_groups_below_each_other():
    ax = effect_sizes({"plate 1": _regression(), "strip 1": _regression(0.5)}).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()][::3] == ["plate 1", "strip 1"]


def test_tiles_without_a_finite_value_are_left_out_and_counted():
    j = labeled_image(np.arange(6.0).reshape(2, 3), dims=("y", "x"), voxel_size_um=36.0, units="mA cm-2")
    tau = j.copy(data=[[1.0, 1.1, np.inf], [1.3, np.nan, 1.5]])
    ax = effect_sizes(_regression(), response=j, predictor=tau).axes[1]
    assert ax.get_title(loc="right") == "4 tiles, 2 without a finite value left out"
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1.0, 1.1, 1.3, 1.5])
    with pytest.raises(InputError, match="the same tiles"):
        effect_sizes(_regression(), response=j, predictor=tau[:1])
    with pytest.raises(InputError, match="given together"):
        effect_sizes(_regression(), response=j)


def test_tables_without_effects_are_refused():
    with pytest.raises(InputError, match="rows of effect are needed"):
        effect_sizes(_regression()[lambda t: t["quantity"] == "p-value"])
