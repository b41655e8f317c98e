import numpy as np

from operando.learn import count_annotations
from operando.segmentation.split import choose_split


def split_of(marks, ids=(0, 1)):
    return choose_split(count_annotations(marks), ids=ids)


def blank(scans=5, shape=(4, 64, 64)):
    return np.full((scans, *shape), 255, np.uint8)


def test_a_fifth_of_the_annotated_scans_is_held_out():
    marks = blank(12)
    marks[1:11, 0], marks[1:11, 1] = 0, 1
    split = split_of(marks)
    assert split.kind == "scan"
    assert len(split.scans) == 2
    assert set(split.scans) <= set(range(1, 11))


def test_every_phase_stays_in_training():
    marks = blank(3)
    marks[:, 0], marks[:, 1] = 0, 1
    marks[2, 2] = 7
    split = split_of(marks, ids=(0, 1, 7))
    assert split.kind == "scan"
    assert 2 not in split.scans


def test_one_scan_is_split_by_place_with_a_gap():
    marks = blank(1)
    marks[:, 0], marks[:, 1] = 0, 1
    split = split_of(marks)
    assert (split.kind, split.axis) == ("place", "y")
    low, high = split.limits
    assert high - low >= 8
    assert "flatter" in split.describe()["note"]
    trained = marks[split.training_region]
    assert trained.shape == (1, 4, low, 64)
    held = split.held_out(marks[0, :, 30:], (slice(0, 4), slice(30, 64), slice(0, 64)))
    assert np.flatnonzero((held != 255).any(axis=(0, 2))).tolist() == list(range(high - 30, 34))


def test_place_takes_the_axis_along_which_every_phase_stays():
    marks = blank(1)
    marks[0, 0, 60], marks[0, 1, 60] = 0, 1
    assert split_of(marks).axis == "x"


def test_too_little_to_spare_holds_out_nothing_and_says_why():
    marks = blank(1)
    marks[0, 0, 5, 5], marks[0, 1, 5, 5] = 0, 1
    split = split_of(marks)
    assert split.kind == "none"
    assert "too small or too sparsely" in split.describe()["note"]
