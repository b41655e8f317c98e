import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.learn import count_annotations
from operando.segmentation import random_patch_split
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


def of_series(*series, ids=(0, 1)):
    return choose_split([count_annotations(marks) for marks in series], ids=ids)


def annotated(scans=2, **options):
    marks = blank(scans, **options)
    marks[:, 0], marks[:, 1] = 0, 1
    return marks


def test_of_three_or_more_cells_whole_ones_are_held_out():
    split = of_series(*(annotated() for _ in range(8)))
    assert split.kind == "series"
    assert len(split.series) == 2
    assert split.held == {(number, scan) for number in split.series for scan in (0, 1)}
    described = split.describe(several=True)
    assert described["held_out_series"] == list(split.series)
    assert sorted(map(tuple, described["held_out_scans"])) == sorted(split.held)


def test_a_cell_with_a_phase_that_no_other_has_is_trained_on():
    alone = annotated()
    alone[0, 2] = 7
    split = of_series(alone, annotated(), annotated(), ids=(0, 1, 7))
    assert split.kind == "series"
    assert 0 not in split.series


def test_of_two_cells_scans_are_held_out():
    split = of_series(annotated(), annotated(shape=(4, 32, 48)))
    assert split.kind == "scan"
    assert len(split.held) == 1


def test_two_cells_of_which_nothing_can_be_spared_say_so():
    first, second = blank(1), blank(1)
    first[0, 0], second[0, 1] = 0, 1
    split = of_series(first, second)
    assert split.kind == "none"
    assert "no other has" in split.describe()["note"]


def test_random_patches_part_the_annotations_and_have_trained_neighbors():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (2, 64, 64, 64)).astype(np.uint8)
    values[:, :, 1:] = 255
    marks = labeled_image(values)
    training, held = random_patch_split(marks, share=0.25, patch=16, seed=3)
    assert np.array_equal(np.minimum(training, held), marks)
    assert not ((training != 255) & (held != 255)).any()
    patches = held.values[:, :, 0].reshape(2, 4, 16, 4, 16) != 255
    whole = patches.all(axis=(2, 4))
    assert np.array_equal(whole, patches.any(axis=(2, 4)))
    assert whole.sum() == 8
    again = random_patch_split(marks, share=0.25, patch=16, seed=3)[1]
    assert np.array_equal(held, again)
    assert not np.array_equal(held, random_patch_split(marks, share=0.25, patch=16, seed=4)[1])


@pytest.mark.parametrize("wrong", [{"share": 15}, {"share": 0}, {"patch": 0}, {"patch": 999}])
def test_patches_that_cannot_be_held_out_are_refused(wrong):
    with pytest.raises(InputError, match="random_patch_split"):
        random_patch_split(labeled_image(np.zeros((8, 8), np.uint8)), **wrong)
