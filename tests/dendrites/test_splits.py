import numpy as np
import pandas as pd
import pytest

from operando.core.errors import InputError
from operando.dendrites import frame_numbers, possible_splits, split_rows


def table(**frames):
    """Ten rows per frame; frames=5 of experiment a is a=5."""
    parts = [
        pd.DataFrame({"experiment": name, "frame": np.repeat(np.arange(1, count + 1), 10)})
        for name, count in frames.items()
    ]
    return pd.concat(parts, ignore_index=True)


PAPER = table(first=14, second=3, third=3)


def frames_of(rows):
    return set(PAPER.iloc[rows][["experiment", "frame"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("how", ["random", "frame", "experiment"])
def test_no_row_is_trained_on_and_tested_and_none_is_lost(how):
    train, test = split_rows(PAPER, how)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(PAPER)))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(test) > 0)


@pytest.mark.parametrize("how", ["random", "frame"])
def test_a_quarter_is_tested(how):
    for repeat in range(5):
        assert len(split_rows(PAPER, how, repeat=repeat)[1]) == 50


@pytest.mark.parametrize("how", ["random", "frame", "experiment"])
def test_seed_and_repeat_make_the_split_and_repeats_differ(how):
    once, again = split_rows(PAPER, how, repeat=2, seed=7), split_rows(PAPER, how, repeat=2, seed=7)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once[1], split_rows(PAPER, how, repeat=1, seed=7)[1])


def test_a_random_split_has_points_of_every_frame_on_both_sides_and_a_split_by_frame_of_none():
    train, test = split_rows(PAPER, "random")
    assert len(frames_of(train) & frames_of(test)) > 15
    train, test = split_rows(PAPER, "frame")
    assert not frames_of(train) & frames_of(test)


def test_four_repeats_test_every_frame_once_and_leave_no_experiment_out_of_training():
    tested = [frames_of(split_rows(PAPER, "frame", repeat=repeat)[1]) for repeat in range(4)]
    assert sum(map(len, tested)) == len(set().union(*tested)) == 20
    for repeat in range(8):
        train, _ = split_rows(PAPER, "frame", repeat=repeat)
        assert {name for name, _ in frames_of(train)} == {"first", "second", "third"}


def test_the_frames_are_dealt_anew_after_each_was_tested():
    first, fifth = (frames_of(split_rows(PAPER, "frame", repeat=repeat)[1]) for repeat in (0, 4))
    assert first != fifth


def test_repeats_go_through_the_experiments():
    tested = [PAPER.experiment[split_rows(PAPER, "experiment", repeat=repeat)[1]].unique() for repeat in range(4)]
    assert [list(names) for names in tested] == [["first"], ["second"], ["third"], ["first"]]


def test_a_gap_drops_the_neighbors_of_tested_frames_in_their_own_experiment_only():
    train, test = split_rows(PAPER, "frame", gap=1)
    without, same = split_rows(PAPER, "frame")
    assert np.array_equal(test, same)
    dropped = frames_of(without) - frames_of(train)
    near = {(name, frame + step) for name, frame in frames_of(test) for step in (-1, 1)}
    assert dropped == near & frames_of(without)
    assert dropped


def test_a_frame_is_its_experiment_and_its_number():
    assert frame_numbers(table(a=2, b=2))[::10].tolist() == [0, 1, 2, 3]


def test_rows_are_told_by_position_whatever_the_index():
    shuffled = PAPER.set_index(np.arange(len(PAPER))[::-1])
    assert all(
        np.array_equal(a, b) for a, b in zip(split_rows(PAPER, "frame"), split_rows(shuffled, "frame"), strict=True)
    )


def test_possible_splits_are_those_that_can_be_made():
    assert possible_splits(PAPER) == ("random", "frame", "experiment")
    assert possible_splits(table(a=3)) == ("random", "frame")
    assert possible_splits(table(a=1)) == ("random",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"how": "frames"}, "Did you mean 'frame'"),
        (
            {"how": "random", "test_fraction": 25},
            "test_fraction must lie in .0, 1., got 25. Divide a percentage by 100",
        ),
        ({"how": "random", "gap": 1}, "a gap belongs to a split by frame"),
        ({"how": "frame", "repeat": -1}, "must not be negative"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(InputError, match=message):
        split_rows(PAPER, **arguments)


def test_a_gap_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match="a gap of 9 around 2 of 8 frames leaves none to train on"):
        split_rows(table(alone=8), "frame", gap=9)


def test_one_experiment_or_one_frame_is_named():
    with pytest.raises(InputError, match=r"has one \('alone'\). Add another series, or split by 'frame'"):
        split_rows(table(alone=3), "experiment")
    with pytest.raises(InputError, match="two frames at least"):
        split_rows(table(alone=1), "frame")


def test_a_table_without_its_columns_is_refused():
    with pytest.raises(InputError, match="missing experiment"):
        split_rows(PAPER.drop(columns="experiment"), "frame")
    with pytest.raises(InputError, match="must be a DataFrame"):
        split_rows(np.zeros((3, 2)), "frame")
    with pytest.raises(InputError, match="must have rows"):
        split_rows(PAPER.iloc[:0], "frame")
