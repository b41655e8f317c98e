"""Panels of an image with strokes and what was made of them."""

import numpy as np
import pytest
import xarray as xr

from operando import report
from operando.core.errors import AxesError
from operando.report import style

PHASES = {"matrix": 0, "grain": 1}


def plane(value, dtype=np.uint8, shape=(40, 60)):
    return xr.DataArray(np.full(shape, value, dtype), dims=("y", "x"))


def test_every_method_has_a_panel_with_its_title_and_every_phase_a_color():
    labels = {"forest": plane(0), "multi-Otsu": plane(1)}
    figure = report.label_panels(plane(0.5, float), plane(255), labels, PHASES, titles={"forest": "forest: 0.9"})
    assert [ax.get_title() for ax in figure.axes] == ["image and strokes", "forest: 0.9", "multi-Otsu"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(PHASES)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(style.DOUBLE_MM)


def test_four_panels_stand_two_by_two_and_a_crop_is_shown_alone():
    labels = {name: plane(0) for name in "abc"}
    figure = report.label_panels(plane(0.5, float), plane(255), labels, PHASES, crop=(slice(0, 10), slice(0, 20)))
    assert len(figure.axes) == 4
    assert figure.axes[1].get_subplotspec().get_gridspec().ncols == 2
    assert figure.axes[0].images[0].get_array().shape == (10, 20)


def test_thin_strokes_are_drawn_wide_enough_to_be_seen():
    marks = plane(255, shape=(1024, 1024))
    marks[500, 100:900] = 1
    figure = report.label_panels(plane(0.5, float, (1024, 1024)), marks, {}, PHASES)
    drawn = figure.axes[0].images[1].get_array()[..., 3] > 0
    assert drawn[:, 500].sum() == 4


def test_a_volume_is_refused():
    with pytest.raises(AxesError, match="label_panels"):
        report.label_panels(plane(0.0, float, (2, 3)).expand_dims("z"), plane(255), {}, PHASES)
