import numpy as np
import pytest

from operando.core.errors import InputError
from operando.core.phases import CELL, PhaseScheme
from operando.learn import (
    accuracy,
    background_index,
    confusion_matrix,
    intersection_over_union,
    macro_iou,
    summary,
    total_iou,
)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (3, 20, 30, 10)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 4, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    return prediction, truth


def test_confusion_matrix_counts_every_labeled_voxel_once(pair):
    prediction, truth = pair
    confusion = confusion_matrix(prediction, truth, ids=range(4), block=7)
    known = truth != 255
    for i in range(4):
        for j in range(4):
            assert confusion[i, j] == np.count_nonzero((truth == i) & (prediction == j) & known)


def test_confusion_matrix_does_not_depend_on_blocks_or_chunks(pair):
    import dask.array as da

    prediction, truth = pair
    whole = confusion_matrix(prediction, truth, ids=range(4), block=1000)
    lazy = confusion_matrix(da.from_array(prediction, chunks=6), da.from_array(truth, chunks=9), ids=range(4), block=5)
    assert np.array_equal(whole, lazy)


def test_permuting_the_labels_permutes_the_iou(pair):
    prediction, truth = pair
    order = np.array([2, 0, 3, 1], np.uint8)
    table = np.append(order, np.full(252, 255, np.uint8))
    before = intersection_over_union(confusion_matrix(prediction, truth, ids=range(4)))
    after = intersection_over_union(confusion_matrix(table[prediction], table[truth], ids=range(4)))
    assert np.allclose(after[order], before)


def test_an_absent_class_is_nan_and_not_in_the_macro_iou():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    confusion = confusion_matrix(truth, truth, ids=[0, 1, 2])
    assert np.array_equal(intersection_over_union(confusion), [1, 1, np.nan], equal_nan=True)
    assert macro_iou(confusion) == 1


def test_a_prediction_of_255_is_a_miss():
    confusion = confusion_matrix(np.array([[255, 1]], np.uint8), np.array([[1, 1]], np.uint8), ids=[1])
    assert intersection_over_union(confusion)[0] == 0.5
    assert accuracy(confusion) == 0.5


def test_total_leaves_true_background_out_of_the_denominator():
    # 90 background voxels right, 2 taken for foreground; of 8 foreground voxels 5 are right.
    confusion = np.array([[90, 2, 0], [3, 5, 0]])
    assert total_iou(confusion, background=0) == 5 / 10
    assert accuracy(confusion) == 95 / 100
    assert total_iou(confusion, background=None) == accuracy(confusion)


def test_background_is_found_by_name_then_by_id():
    assert background_index(CELL) == 0
    assert background_index(PhaseScheme({"electrode": 3, "background": 7})) == 1
    assert background_index(PhaseScheme({"layer": 255 - 1, "gap": 0})) == 1
    assert background_index(PhaseScheme({"layer": 1})) is None


def test_summary_of_nothing_labeled_is_none_everywhere():
    blank = np.full((1, 4), 255, np.uint8)
    scores = summary(confusion_matrix(blank, blank, ids=[0, 1]), PhaseScheme({"a": 0, "b": 1}))
    assert scores == {"iou": {"a": None, "b": None}, "macro": None, "total": None, "accuracy": None, "voxels": 0}


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match="one shape"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), ids=[0])


def test_a_label_of_the_truth_that_is_no_class_is_refused():
    with pytest.raises(InputError, match="1 voxels of other labels"):
        confusion_matrix(np.zeros((1, 2), np.uint8), np.array([[0, 9]], np.uint8), ids=[0])
