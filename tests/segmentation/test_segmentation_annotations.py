import numpy as np
import pytest
from scipy import ndimage

from operando.core.errors import AxesError, InputError
from operando.core.phases import CELL
from operando.segmentation import draw_strokes, label_slices


@pytest.mark.parametrize(("axis", "section"), [("y", 40 * 48), ("x", 40 * 48), ("z", 48 * 48)])
def test_whole_slices_are_annotated_and_nothing_else(cell, axis, section):
    marks = label_slices(cell.labels, slices=3, scans=[1, 3], axis=axis)
    known = marks.values != 255
    assert known.sum() == 2 * 3 * section
    assert not known[[0, 2]].any()
    assert np.array_equal(marks.values[known], cell.labels.values[known])


def test_slices_are_spread_evenly(cell):
    marks = label_slices(cell.labels, slices=2, scans=[0])
    assert np.flatnonzero((marks.values[0] != 255).any(axis=(0, 2))).tolist() == [12, 36]


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_strokes_stay_in_their_phase_and_reach_every_phase(cell, axis):
    marks = draw_strokes(cell.labels, strokes_per_phase=3, axis=axis, seed=1)
    known = marks.values != 255
    assert np.array_equal(marks.values[known], cell.labels.values[known])
    assert set(np.unique(marks.values[known])) == set(CELL.ids)
    assert known.mean() < 0.1


def test_one_stroke_is_one_connected_curve_no_longer_than_asked():
    labels = label_of(np.zeros((200, 200), np.uint8))
    marks = draw_strokes(labels, strokes_per_phase=1, width=2, length=30, seed=4)
    known = marks.values != 255
    assert ndimage.label(known, structure=np.ones((3, 3)))[1] == 1
    assert 30 <= known.sum() <= 30 * 4
    rows, columns = np.nonzero(known)
    assert max(np.ptp(rows), np.ptp(columns)) <= 32


def test_strokes_are_reproducible_and_differ_by_seed(cell):
    first, second, other = (draw_strokes(cell.labels, seed=seed).values for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_unlabeled_truth_stays_unlabeled():
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 10:] = 255
    marks = draw_strokes(label_of(truth), strokes_per_phase=20)
    assert (marks.values[:, 10:] == 255).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scans": [9]}, "from 0 to 3"),
        ({"axis": "q"}, "no spatial axis 'q'"),
        ({"slices": [48]}, "from 0 to 47"),
        ({"slices": 49}, "from 1 to 48"),
    ],
)
def test_places_that_are_not_there_are_refused(cell, options, message):
    with pytest.raises((InputError, AxesError), match=message):
        label_slices(cell.labels, **options)


def test_a_stroke_needs_a_pen(cell):
    with pytest.raises(InputError, match="at least 1"):
        draw_strokes(cell.labels, width=0)


def label_of(values):
    from operando.core.axes import labeled_image

    return labeled_image(values)
