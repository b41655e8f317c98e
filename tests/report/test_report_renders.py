import numpy as np
import pytest

from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.report import cycle_states, render_panel, render_scans

SMALL = {"size": (120, 90), "back_end": "numpy", "largest": 16}


@pytest.fixture(scope="module")
def pictures(labels):
    return dict(render_scans(labels, CELL, scans=[0, 2], **SMALL))


def test_there_is_one_picture_per_scan_of_the_size_asked_for(pictures):
    assert list(pictures) == [0, 2]
    assert {picture.shape for picture in pictures.values()} == {(90, 120, 3)}


def test_without_a_choice_every_scan_is_rendered(labels):
    assert [scan for scan, _ in render_scans(labels, CELL, **SMALL)] == [0, 1, 2]


def test_a_picture_of_a_simulated_cell_says_so_unless_its_figure_does(labels):
    simulated = labels.assign_attrs(simulated=True)
    (marked,) = [p for _, p in render_scans(simulated, CELL, scans=[0], **SMALL)]
    (plain,) = [p for _, p in render_scans(simulated, CELL, scans=[0], mark=False, **SMALL)]
    changed = (marked != plain).any(axis=2)
    assert changed[-15:, -40:].any()
    assert not changed[:-15].any()


def test_a_panel_has_the_time_and_state_of_each_scan(labels, pictures):
    figure = render_panel(pictures, labels, CELL, states=["pristine", "full cycle"])
    assert [ax.get_title() for ax in figure.axes] == ["pristine\n0.00 h", "full cycle\n4.00 h"]


def test_many_pictures_go_over_several_rows(labels, pictures):
    figure = render_panel(dict.fromkeys(range(3), pictures[0]), labels, CELL, columns=2)
    assert [bool(ax.images) for ax in figure.axes] == [True, True, True, False]


def test_no_picture_or_too_few_states_are_refused(labels, pictures):
    with pytest.raises(InputError, match="at least one picture is needed"):
        render_panel({}, labels, CELL)
    with pytest.raises(InputError, match=r"got 2 pictures and the states \['pristine'\]"):
        render_panel(pictures, labels, CELL, states=["pristine"])


def _tips(figure):
    return [(t.xy[1] - t.xyann[1]) > 0 for ax in figure.axes for t in ax.texts if getattr(t, "arrow_patch", None)]


@pytest.mark.parametrize(("side", "up"), [("low", [False, True]), ("high", [True, False])])
def test_ions_go_to_the_plating_side_on_charge_and_back_on_discharge(image, labels, side, up):
    figure = cycle_states(image, labels, CELL, scans=[1, 2], plating_side=side)
    assert _tips(figure) == up


def test_sections_stand_above_the_renders_of_the_same_scans(image, labels, pictures):
    figure = cycle_states(image, labels, CELL, scans=[0, 2], pictures=pictures, plating_side="low")
    assert [ax.get_title() for ax in figure.axes[:2]] == ["Half cycle (0.00 h)", "Full cycle (4.00 h)"]
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), pictures[2])


def test_a_cell_whose_plating_side_nobody_knows_is_refused(image, labels):
    with pytest.raises(InputError, match="plating_side must be low or high, got ''"):
        cycle_states(image, labels, CELL, scans=[1, 2])


def test_scans_states_and_pictures_must_belong_together(image, labels, pictures):
    with pytest.raises(InputError, match=r"without a picture \[1\]"):
        cycle_states(image, labels, CELL, scans=[0, 1], pictures=pictures, plating_side="low")
    with pytest.raises(InputError, match=r"states \['half cycle', 'full cycle'\]"):
        cycle_states(image, labels, CELL, scans=[1], plating_side="low")
