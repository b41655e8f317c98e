import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.report import agreement_chart, reliability_diagram, rgb_array, training_history, volume_bias

SCORES = {"electrode": 0.97, "dendrite": float("nan"), "macro": 0.9, "total": 0.95}


def _dataset(scores):
    names = [name for name in scores if name not in ("macro", "total")]
    return xr.Dataset(
        {"iou": ("component", [scores[n] for n in names]), "macro": scores["macro"], "total": scores["total"]},
        coords={"component": names},
    )


def _annotations(figure):
    return [t.get_text() for t in figure.axes[0].texts]


@pytest.mark.parametrize("make", [dict, _dataset])
def test_scores_of_both_methods_stand_beside_the_chart(make):
    figure = agreement_chart(make(SCORES), make({**SCORES, "electrode": 0.5}))
    texts = _annotations(figure)
    assert texts[:4] == ["0.970", "0.500", "absent", "absent"]
    assert texts[-2:] == ["network", "Otsu"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(SCORES)


def test_a_dataset_without_iou_is_refused():
    with pytest.raises(InputError, match="must hold the variable 'iou'"):
        agreement_chart(xr.Dataset({"accuracy": 0.9}))


def test_empty_bins_are_left_out_of_the_reliability_diagram():
    bins = pd.DataFrame({"confidence": [0.5, 0.7, 0.9], "accuracy": [0.4, 0.0, 0.8], "n": [10, 0, 30]})
    figure = reliability_diagram(bins, error=0.0875)
    line = figure.axes[0].lines[1]
    np.testing.assert_array_equal(line.get_xdata(), [0.5, 0.9])
    assert line.get_label() == "segmentation (error 0.087)"
    assert [patch.get_height() for patch in figure.axes[1].patches] == [0.25, 0.75]


def test_missing_columns_of_a_reliability_diagram_are_named():
    with pytest.raises(InputError, match=r"missing \['n'\]"):
        reliability_diagram(pd.DataFrame({"confidence": [0.5], "accuracy": [0.5]}))


def test_losses_and_scores_have_a_panel_each():
    history = [{"step": s, "loss": 1 / s, "macro_iou": 1 - 1 / s} for s in (1, 2, 3)]
    figure = training_history(history, chosen=3)
    assert [ax.get_ylabel() for ax in figure.axes] == ["Loss", "Score"]
    assert figure.axes[1].lines[0].get_label() == "macro IoU"
    assert rgb_array(figure, dpi=50).std() > 5


def test_a_stage_goes_on_where_the_one_before_it_ended():
    history = [{"step": s, "loss": 1.0, "stage": stage} for stage in ("first", "second") for s in (10, 20)]
    lines = training_history(history).axes[0].lines
    assert [line.get_xdata().tolist() for line in lines] == [[10, 20], [30, 40]]
    assert [line.get_label() for line in lines] == ["loss, first", "loss, second"]


def test_a_history_of_nothing_known_is_refused():
    with pytest.raises(InputError, match=r"got \['step', 'speed'\]"):
        training_history({"step": [1], "speed": [2]})


@pytest.fixture
def ratios():
    return pd.DataFrame({"component": ["pit", "pit", "dendrite", "electrolyte"], "value": [0.98, 1.01, 1.04, 1.0]})


def test_every_ratio_is_a_mark_in_the_row_of_its_component(ratios):
    ax = volume_bias(ratios).axes[0]
    marks = [np.asarray(line.get_xdata()).tolist() for line in ax.lines if line.get_marker() == "o"]
    assert marks == [[0.98, 1.01], [1.04]]


def test_ratios_before_calibration_are_open(ratios):
    ax = volume_bias(ratios, before=ratios.assign(value=1.1)).axes[0]
    before = [line for line in ax.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    assert [np.asarray(line.get_xdata()).tolist() for line in before] == [[1.1, 1.1], [1.1]]


def test_the_axis_of_ratios_is_symmetric_around_one(ratios):
    low, high = volume_bias(ratios, before=ratios.assign(value=1.2)).axes[0].get_xlim()
    assert 1 - low == pytest.approx(high - 1)
    assert high > 1.2


def test_ratios_that_nobody_knows_are_refused(ratios):
    with pytest.raises(InputError, match="at least one ratio must be known"):
        volume_bias(ratios.assign(value=np.nan))
    with pytest.raises(InputError, match=r"missing \['value'\]"):
        volume_bias(ratios.drop(columns="value"))
