"""The log: appended to, never rewritten, replayed to any moment, by several people, also after a crash."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from operando import io
from operando.core.axes import labeled_image
from operando.core.errors import AxesError, FileError, InputError, PhaseError, UnitsError
from operando.io import Mark, append_marks, create_log, open_annotations, read_log, replay

PHASES = {"electrolyte": 0, "electrode": 1, "pit": 2}
SHAPE = (3, 6, 7, 8)
SIZES = dict(zip("tzyx", SHAPE, strict=True))
NORMAL = {"zx": "y", "zy": "x", "yx": "z"}


def image(shape=SHAPE, *, voxel_size_um=1.5):
    return labeled_image(np.zeros(shape, np.float32), voxel_size_um=voxel_size_um, name="cell")


def row(phase, *, scan=0, index=0, start=0, length=3, plane="zx"):
    return Mark(phase, plane, index, np.array([[start, length]]), scan=scan)


@pytest.fixture
def log(tmp_path):
    return create_log(tmp_path / "log.jsonl", like=image(), phases=PHASES)


def random_marks(count, seed=0):
    """Marks with runs anywhere, also over the ends of blocks, some of which erase."""
    rng = np.random.default_rng(seed)
    marks = []
    for _ in range(count):
        plane = list(NORMAL)[rng.integers(3)]
        rows, columns = (SIZES[dim] for dim in plane)
        runs = []
        for _ in range(rng.integers(1, 4)):
            first = int(rng.integers(columns))
            runs.append([int(rng.integers(rows)) * columns + first, int(rng.integers(1, columns - first + 1))])
        phase = [None, *PHASES][rng.integers(4)]
        index = int(rng.integers(SIZES[NORMAL[plane]]))
        marks.append(Mark(phase, plane, index, np.array(runs), scan=int(rng.integers(SIZES["t"]))))
    return marks


def painted(marks):
    """The same, voxel by voxel."""
    labels = np.full(SHAPE, 255, np.uint8)
    for mark in marks:
        value = 255 if mark.phase is None else PHASES[mark.phase]
        for start, length in mark.runs:
            for at in range(start, start + length):
                place = dict(zip(mark.plane, divmod(at, SIZES[mark.plane[1]]), strict=True))
                place[NORMAL[mark.plane]] = mark.index
                labels[mark.scan, place["z"], place["y"], place["x"]] = value
    return labels


def test_an_empty_log_labels_nothing(log):
    labels = replay(log)
    assert labels.dims == ("t", "z", "y", "x")
    assert labels.dtype == np.uint8
    assert (labels.values == 255).all()
    assert labels.x.attrs["spacing"] == 1.5


@pytest.mark.parametrize("seed", range(4))
def test_replaying_gives_what_painting_voxel_by_voxel_gives(log, seed):
    marks = random_marks(40, seed)
    found = replay(append_marks(log.path, marks, who="Ada"))
    np.testing.assert_array_equal(found.values, painted(marks))
    for until in (1, 7, 25):
        np.testing.assert_array_equal(replay(read_log(log.path), until=until).values, painted(marks[:until]))


def test_any_box_of_a_replayed_log_can_be_read_by_itself(log, monkeypatch):
    from operando.io import annotation_replay

    monkeypatch.setattr(annotation_replay, "_BLOCK", 3)
    marks = random_marks(60, 9)
    labels, whole = replay(append_marks(log.path, marks, who="Ada")), painted(marks)
    np.testing.assert_array_equal(labels.values, whole)
    np.testing.assert_array_equal(labels[1, 2:5, ::-2, 3].values, whole[1, 2:5, ::-2, 3])
    np.testing.assert_array_equal(labels.isel(t=[2, 0], y=[1, 5, 6]).values, whole[[2, 0]][:, :, [1, 5, 6]])


def test_later_marks_win_and_erasing_makes_unlabeled(log):
    found = append_marks(log.path, [row("pit"), row("electrode", start=1), row(None, start=2, length=1)], who="Ada")
    assert replay(found)[0, 0, 0, :5].values.tolist() == [2, 1, 255, 1, 255]


def test_a_log_can_be_replayed_as_of_a_time(log):
    append_marks(log.path, [row("pit")], who="Ada", when="2026-01-31T12:00:00Z")
    found = append_marks(log.path, [row("electrode")], who="Bo", when="2026-02-01T12:00:00+01:00")
    assert [mark.when for mark in found.marks] == ["2026-01-31T12:00:00.000Z", "2026-02-01T11:00:00.000Z"]
    for until, value in (("2026-01-31T11:59", 255), ("2026-01-31 12:00", 2), ("2026-02-01T11:00:00Z", 1)):
        assert replay(found, until=until)[0, 0, 0, 0].values == value
    with pytest.raises(InputError, match="a time must be like"):
        replay(found, until="yesterday")


def test_nothing_that_stands_in_a_log_is_ever_rewritten(log):
    before = log.path.read_bytes()
    for number in range(3):
        append_marks(log.path, [row("pit", index=number)], who="Ada")
        after = log.path.read_bytes()
        assert after.startswith(before)
        assert len(after) > len(before)
        before = after


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_not_finished_is_said_and_costs_nothing_else(log, cut):
    append_marks(log.path, [row("pit"), row("electrode", index=3)], who="Ada")
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    found = read_log(log.path)
    # Without its line feed alone, the line is whole.
    assert found.damaged == (() if cut == 1 else (3,))
    assert len(found) == (2 if cut == 1 else 1)
    after = append_marks(log.path, [row("electrolyte", index=5)], who="Bo")
    assert [mark.phase for mark in after.marks][-1] == "electrolyte"
    assert after.marks[-1].number == 3
    assert after.damaged == found.damaged
    assert replay(after)[0, 0, 5, 0].values == 0
    assert open_annotations(log.path).attrs.get("damaged_lines", []) == list(found.damaged)


def test_wherever_writing_stopped_every_finished_line_is_read(log):
    append_marks(log.path, [row("pit", index=number) for number in range(4)], who="Ada")
    whole = log.path.read_bytes()
    header = whole.index(b"\n") + 1
    for stop in range(header, len(whole)):
        log.path.write_bytes(whole[:stop])
        found = read_log(log.path)
        finished = whole[:stop].count(b"\n") - 1
        # A line that lacks nothing but its line feed is whole.
        assert len(found) - finished == (1 if whole[stop : stop + 1] == b"\n" else 0)
        assert [mark.index for mark in found.marks] == list(range(len(found)))


def _append_many(path, who, times):
    for number in range(times):
        append_marks(path, [row("pit", index=number % 7, scan=1)], who=who)


def test_two_people_can_append_at_once(log):
    # Each write opens the file for itself, so threads meet the same lock as processes do.
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(_append_many, log.path, who, 15) for who in ("Ada", "Bo")]
        for job in jobs:
            job.result()
    found = read_log(log.path)
    assert found.damaged == ()
    assert sorted(found.table()["who"]) == ["Ada"] * 15 + ["Bo"] * 15
    assert [mark.number for mark in found.marks] == list(range(1, 31))


def test_the_table_says_who_labeled_what_where_and_when(log):
    mark = Mark("pit", "zy", 4, np.array([[0, 2], [9, 3]]), scan=2, tool="stroke")
    table = append_marks(log.path, [mark, row(None)], who="Ada Müller", when="2026-01-31T12:00:00Z").table()
    assert table.iloc[0].to_dict() == {
        "number": 1,
        "when": "2026-01-31T12:00:00.000Z",
        "who": "Ada Müller",
        "scan": 2,
        "phase": "pit",
        "plane": "zy",
        "index": 4,
        "voxels": 5,
        "tool": "stroke",
    }
    assert table.loc[1, "phase"] is None


def test_every_line_is_json_that_any_program_reads(log):
    append_marks(log.path, [row("pit")], who="Ada")
    header, mark = (json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines())
    assert header["image"] == {
        "name": "cell",
        "dims": ["t", "z", "y", "x"],
        "shape": [3, 6, 7, 8],
        "voxel_size": {"z": [1.5, "um"], "y": [1.5, "um"], "x": [1.5, "um"]},
    }
    assert mark["runs"] == [0, 3]


def test_phases_are_matched_by_name_where_their_numbers_differ(log):
    found = append_marks(log.path, [row("pit")], who="Ada")
    assert replay(found, phases={"pit": 7, "electrode": 1})[0, 0, 0, 0].values == 7
    with pytest.raises(PhaseError, match="got also \\['pit'\\]"):
        replay(found, phases={"pits": 7})


def test_a_log_of_another_grid_is_refused(log):
    assert len(read_log(log.path, like=image())) == 0
    with pytest.raises(AxesError, match="'cell'.*got one of"):
        read_log(log.path, like=image((3, 6, 7, 9)))
    with pytest.raises(AxesError, match="got one of"):
        replay(log, like=image((6, 7, 8)))
    with pytest.raises(UnitsError, match="voxels of 1.5 um along z, got 1.33 um"):
        open_annotations(log.path, like=image(voxel_size_um=1.33))
    assert read_log(log.path, like=image(voxel_size_um=None)).name == "cell"


def test_replayed_labels_take_the_coordinates_of_the_image(log):
    like = image().assign_coords(t=("t", [0.0, 2.0, 5.0], {"units": "h"}))
    assert replay(log, like=like).t.values.tolist() == [0, 2, 5]


def test_a_mark_outside_of_the_image_or_of_an_unknown_phase_is_refused_and_nothing_written(log):
    before = log.path.read_bytes()
    wrong = [
        (row("pitt"), PhaseError, "Did you mean 'pit'"),
        (row("pit", scan=3), InputError, "scan of a mark must lie from 0 to 2"),
        (row("pit", index=7), InputError, "index of a mark must lie from 0 to 6"),
        (row("pit", plane="xz"), InputError, "no plane 'xz'"),
        (row("pit", start=6, length=3), InputError, "within a row"),
        (row("pit", start=48), InputError, "within a row"),
        (row("pit", start=-1), InputError, "within a row"),
        (row("pit", length=0), InputError, "within a row"),
    ]
    for mark, error, text in wrong:
        with pytest.raises(error, match=text):
            append_marks(log.path, [row("pit"), mark], who="Ada")
    with pytest.raises(InputError, match="who labeled must be said"):
        append_marks(log.path, [row("pit")], who=" ")
    assert log.path.read_bytes() == before


def test_a_file_that_is_no_log_or_a_newer_one_is_refused(tmp_path, log):
    other = tmp_path / "other.jsonl"
    other.write_text('{"hello": 1}\n')
    with pytest.raises(FileError, match="must be the header of an annotation log"):
        read_log(other)
    with pytest.raises(FileError, match="Did you mean 'log.jsonl'"):
        read_log(tmp_path / "log.json")
    header = json.loads(log.path.read_text())
    other.write_text(json.dumps(header | {"version": 2}) + "\n")
    with pytest.raises(FileError, match="version 1, got 2. Update operando"):
        read_log(other)
    other.write_text(json.dumps(header | {"image": {}}) + "\n")
    with pytest.raises(FileError, match="header of the log is damaged"):
        read_log(other)
    with pytest.raises(FileError, match="must not exist yet"):
        create_log(log.path, like=image(), phases=PHASES)


def test_a_whole_line_that_makes_no_sense_is_named(log):
    append_marks(log.path, [row("pit")], who="Ada")
    with log.path.open("a") as file:
        file.write('{"scan": 0, "phase": "pit"}\n')
    with pytest.raises(FileError, match="line 3 is no mark on this image \\(KeyError: 'plane'\\)"):
        read_log(log.path)


def test_a_series_of_gigabytes_is_not_allocated(tmp_path):
    import dask.array as da

    large = labeled_image(da.zeros((10, 2048, 2048, 700), chunks=(1, 256, 256, 256)), voxel_size_um=1.33)
    log = create_log(tmp_path / "log.jsonl", like=large, phases=PHASES)
    labels = replay(append_marks(log.path, [row("pit", scan=9, index=2000)], who="Ada"), like=large)
    assert labels.nbytes > 29e9
    assert labels[9, 0, 2000, :4].values.tolist() == [2, 2, 2, 255]


def test_open_annotations_takes_a_log_or_a_label_image_alike(tmp_path, log):
    append_marks(log.path, [row("pit")], who="Ada")
    labels = replay(read_log(log.path))
    io.save_image(labels, tmp_path / "marks.tif")
    for path in (log.path, tmp_path / "marks.tif"):
        found = open_annotations(path, like=image())
        assert found.dims == ("t", "z", "y", "x")
        assert found.x.attrs["units"] == "um"
        np.testing.assert_array_equal(found.values, labels.values)
    assert open_annotations(log.path, until=0).values.min() == 255
    with pytest.raises(InputError, match="until needs a log"):
        open_annotations(tmp_path / "marks.tif", until=1)
