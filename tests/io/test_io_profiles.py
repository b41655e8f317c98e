"""Folders of numbered one-dimensional profiles."""

from pathlib import Path

import numpy as np
import pytest

from operando.core.errors import FileError, InputError
from operando.io import numbered_files, open_profiles


def write(folder: Path, number: int, values, *, size: int | None = None) -> None:
    header = f"# File created = now\n# SIZE = {len(values) if size is None else size} ( = number of points)\n#\n"
    body = "\n".join(map(str, values))
    (folder / f"cell({number:03}).txt").write_text(header + body + "\n")


def test_the_number_in_the_name_counts_time_and_a_missing_one_stays_missing(tmp_path):
    for number in (5, 7, 8):
        write(tmp_path, number, [number, 2.0, 3.0, 4.0])
    (tmp_path / "POL.txt").write_text("0.0 1.0 2.0\n")
    profiles = open_profiles(tmp_path, field_of_view_um=40, interval_s=100)
    assert profiles.dims == ("t", "y")
    assert profiles.t.values.tolist() == [0.0, 200.0, 300.0]
    assert profiles.t.attrs["units"] == "s"
    assert profiles.number.values.tolist() == [5, 7, 8]
    assert profiles.attrs["missing_numbers"] == [6]
    assert profiles.y.values.tolist() == [5.0, 15.0, 25.0, 35.0]
    assert profiles.y.attrs["units"] == "um"
    assert profiles.values[:, 0].tolist() == [5.0, 7.0, 8.0]


def test_flipping_turns_the_values_and_not_the_axis(tmp_path):
    write(tmp_path, 1, [1.0, 2.0, 3.0, 4.0])
    straight = open_profiles(tmp_path, field_of_view_um=4, interval_s=1)
    flipped = open_profiles(tmp_path, field_of_view_um=4, interval_s=1, flip=True)
    np.testing.assert_array_equal(flipped.values, straight.values[:, ::-1])
    np.testing.assert_array_equal(flipped.y, straight.y)


def test_numbers_are_ordered_as_numbers(tmp_path):
    for name in ("p_9.txt", "p_10.txt", "p_2.txt"):
        (tmp_path / name).write_text("1\n")
    assert [number for number, _ in numbered_files(tmp_path)] == [2, 9, 10]


def test_count_takes_the_first_files(tmp_path):
    for number in range(4):
        write(tmp_path, number, [1.0, 2.0])
    assert open_profiles(tmp_path, field_of_view_um=2, interval_s=1, count=2).sizes["t"] == 2


def test_every_faulty_profile_is_named_at_once(tmp_path):
    write(tmp_path, 1, [1.0, 2.0])
    write(tmp_path, 2, [1.0, 2.0], size=3)
    write(tmp_path, 3, ["a", 2.0])
    write(tmp_path, 4, ["nan", 2.0])
    with pytest.raises(FileError, match=r"3 of 4 are not") as error:
        open_profiles(tmp_path, field_of_view_um=2, interval_s=1)
    assert all(name in str(error.value) for name in ("cell(002).txt", "cell(003).txt", "cell(004).txt"))


def test_profiles_of_different_lengths_are_refused(tmp_path):
    for number, values in ((1, [1.0, 2.0]), (2, [1.0, 2.0]), (3, [1.0])):
        write(tmp_path, number, values)
    with pytest.raises(FileError, match=r"cell\(003\)\.txt: 1 points where the others have 2"):
        open_profiles(tmp_path, field_of_view_um=2, interval_s=1)


def test_a_folder_without_numbers_or_with_one_twice_is_refused(tmp_path):
    with pytest.raises(FileError, match="there is none"):
        open_profiles(tmp_path / "absent", field_of_view_um=1, interval_s=1)
    (tmp_path / "POL.txt").write_text("1\n")
    with pytest.raises(FileError, match="Number the files"):
        open_profiles(tmp_path, field_of_view_um=1, interval_s=1)
    write(tmp_path, 1, [1.0])
    (tmp_path / "other_1.txt").write_text("1\n")
    with pytest.raises(FileError, match="every number must stand once"):
        open_profiles(tmp_path, field_of_view_um=1, interval_s=1)


@pytest.mark.parametrize(("name", "value"), [("field_of_view_um", 0.0), ("interval_s", float("nan")), ("count", 0)])
def test_sizes_must_be_positive(tmp_path, name, value):
    write(tmp_path, 1, [1.0])
    options = {"field_of_view_um": 1.0, "interval_s": 1.0, name: value}
    with pytest.raises(InputError, match=name):
        open_profiles(tmp_path, **options)


def test_the_real_profiles_are_read_with_their_gap(data_folder):
    folder = data_folder / "li-peo-mri-operando" / "Li_Li"
    if not folder.is_dir():
        pytest.skip("the profiles are not here")
    profiles = open_profiles(folder, field_of_view_um=4000, interval_s=513)
    assert profiles.shape == (94, 256)
    assert profiles.attrs["missing_numbers"] == [6]
    assert float(profiles.t[-1]) == (99 - 5) * 513.0
    assert float(profiles[0, 0]) == 13824.080078125


def test_a_line_that_is_no_number_and_a_file_without_any_are_named(tmp_path):
    write(tmp_path, 1, [1.0, 2.0])
    (tmp_path / "cell(002).txt").write_text("# a header\n1.0 2.0\n")
    (tmp_path / "cell(003).txt").write_text("# a header\n")
    with pytest.raises(FileError, match=r"line 2 is '1.0 2.0' and not one number; cell\(003\)\.txt: no number\."):
        open_profiles(tmp_path, field_of_view_um=2, interval_s=1)
