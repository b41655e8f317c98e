import numpy as np
import pytest

from operando.core.errors import AxesError, InputError
from operando.core.phases import CELL
from operando.segmentation import agreement


def test_truth_agrees_with_itself(cell):
    scores = agreement(cell.labels, cell.labels, CELL)
    assert scores.iou.values.tolist() == [1] * 6
    assert float(scores.macro) == float(scores.total) == float(scores.accuracy) == 1
    assert scores.component.values.tolist() == list(CELL.names)
    assert scores.voxels.sum() == cell.labels.size


def test_one_shifted_slab_has_the_iou_of_the_overlap():
    truth, found = np.zeros((10, 4, 4), np.uint8), np.zeros((10, 4, 4), np.uint8)
    truth[:4], found[:5] = 1, 1
    scores = agreement(found, truth, {"electrolyte": 0, "electrode": 1})
    assert scores.iou.values == pytest.approx([5 / 6, 4 / 5])
    assert float(scores.total) == pytest.approx(4 / 5)
    assert float(scores.accuracy) == pytest.approx(9 / 10)


def test_lazy_labels_give_the_same_scores(cell):
    guess = cell.labels.copy(data=np.roll(cell.labels.values, 1, axis=1))
    eager = agreement(guess, cell.labels, CELL)
    assert agreement(guess.chunk({"z": 16}), cell.labels.chunk({"t": 1}), CELL).identical(eager)


def test_nothing_labeled_scores_nan_not_zero():
    blank = np.full((2, 3, 4), 255, np.uint8)
    scores = agreement(np.zeros((2, 3, 4), np.uint8), blank, CELL)
    assert np.isnan(scores.iou).all()
    assert np.isnan(scores.macro)


def test_other_shapes_and_labels_are_refused(cell):
    with pytest.raises(AxesError, match="the shape of the images"):
        agreement(cell.labels.values, cell.labels.values[:2], CELL)
    with pytest.raises(InputError, match="other labels"):
        agreement(cell.labels, cell.labels, {"electrolyte": 0})
