import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.report import style
from operando.report.steps import (
    SHADES,
    electrodes_of,
    plating_side_of,
    step_axis,
    step_colors,
    step_handles,
    step_kind,
    step_names,
    step_text,
)

STEPS = ["pristine", "plate 1", "strip 1", "plate 2", "strip 2"]


def test_names_come_from_the_coordinate_step():
    scans = xr.DataArray(np.zeros(5), dims="t", coords={"step": ("t", STEPS)})
    assert step_names(scans) == STEPS
    assert step_names(scans.isel(t=[0, -1])) == ["pristine", "strip 2"]


def test_a_wrong_number_of_names_is_refused():
    with pytest.raises(InputError, match="one name per scan is needed, got 1 names"):
        step_names(xr.DataArray(np.zeros(2), dims="t"), ["pristine"], where="f")


def test_the_electrode_opposite_to_the_plating_side_does_the_opposite():
    assert step_kind("plate 1", electrode="low", plating_side="low") == "plate"
    assert step_kind("plate 1", electrode="high", plating_side="low") == "strip"
    assert step_kind("strip 1", electrode="low", plating_side="high") == "plate"


def test_without_a_plating_side_both_electrodes_are_named_alike():
    assert step_text("plate 1", electrode="high") == "plate 1"


def test_later_cycles_are_darker():
    colors = step_colors(STEPS)
    darkness = [sum(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in colors]
    assert darkness[3] < darkness[1]
    assert darkness[4] < darkness[2]
    assert len(set(colors)) == len(STEPS)


def test_shades_of_the_axis_follow_the_electrode():
    from matplotlib.colors import to_hex

    for electrode, kinds in (("low", ["plate", "strip"]), ("high", ["strip", "plate"])):
        ax = style.new_figure(88, 60).add_subplot()
        step_axis(ax, STEPS[:3], electrode=electrode, plating_side="low")
        assert [to_hex(patch.get_facecolor()) for patch in ax.patches] == [SHADES[kind].lower() for kind in kinds]
        assert [text.get_text() for text in ax.get_xticklabels()] == STEPS[:3]


def test_the_legend_of_shades_has_only_what_occurs():
    assert [handle.get_label() for handle in step_handles(["pristine", "strip 1"])] == ["stripping"]
    assert [h.get_label() for h in step_handles(STEPS, electrode="low")] == [
        "bottom electrode plates",
        "bottom electrode strips",
    ]


def test_electrodes_without_names_are_refused():
    with pytest.raises(InputError, match="must have a coordinate that names the electrodes"):
        electrodes_of(xr.DataArray([0.0], dims="component"), where="f")


def test_the_plating_side_is_taken_from_attrs_and_checked():
    assert plating_side_of(None, xr.DataArray(0, attrs={"plating_side": "high"})) == "high"
    with pytest.raises(InputError, match="must be low or high, got 'lower'"):
        plating_side_of(plating_side="lower")
