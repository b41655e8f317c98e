"""Marks as a person draws them, and as a label image adds them."""

import numpy as np
import pytest
import xarray as xr

from operando import io
from operando.core.errors import AxesError, InputError, PhaseError
from operando.segmentation import mark_mask, mark_points, mark_polygon, mark_stroke, marks_of

PHASES = {"electrolyte": 0, "electrode": 1, "pit": 2}
IMAGE = xr.DataArray(np.zeros((3, 8, 9, 10), np.float32), dims=("t", "z", "y", "x"))


def painted(tmp_path, marks, like=IMAGE):
    log = io.create_log(tmp_path / "log.jsonl", like=like, phases=PHASES)
    return io.replay(io.append_marks(log.path, marks, who="Ada")).values


@pytest.mark.parametrize("plane", ["zx", "zy", "yx"])
def test_a_mask_comes_back_voxel_for_voxel(tmp_path, plane):
    mask = np.random.default_rng(0).random([IMAGE.sizes[dim] for dim in plane]) < 0.4
    found = painted(tmp_path, [mark_mask(mask, phase="pit", plane=plane, index=5, scan=2)])
    axis = {"zx": 2, "zy": 3, "yx": 1}[plane]
    section = np.take(found, 5, axis=axis)[2]
    np.testing.assert_array_equal(section == PHASES["pit"], mask)
    assert (found != 255).sum() == mask.sum()


def test_points_label_their_voxels_and_nothing_else(tmp_path):
    at = [(0, 0, 0), (7, 8, 9), (0, 8, 3)]
    found = painted(tmp_path, mark_points(IMAGE, at, phase="electrode", scan=1))
    assert sorted(map(tuple, np.argwhere(found == 1)[:, 1:])) == sorted(at)
    assert (found != 255).sum() == 3


def test_points_of_an_image_without_z_have_two_coordinates(tmp_path):
    flat = IMAGE.isel(t=0, z=0, drop=True)
    found = painted(tmp_path, mark_points(flat, [(2, 3)], phase="pit"), like=flat)
    assert found[2, 3] == 2
    assert (found != 255).sum() == 1


def test_a_straight_stroke_is_as_long_and_as_wide_as_the_pen():
    image = xr.DataArray(np.zeros((21, 1, 40)), dims=("z", "y", "x"))
    thin = mark_stroke(image, [(10, 5), (10, 24)], phase="pit", index=0, width=1)
    assert thin.runs.tolist() == [[10 * 40 + 5, 20]]
    wide = mark_stroke(image, [(10, 5), (10, 24)], phase="pit", index=0, width=6)
    rows = {start // 40 for start, _ in wide.runs}
    assert rows == set(range(7, 14))
    assert abs(wide.voxels - (20 * 7 + np.pi * 9)) < 12


def test_a_diagonal_stroke_has_no_gaps():
    image = xr.DataArray(np.zeros((21, 1, 21)), dims=("z", "y", "x"))
    mark = mark_stroke(image, [(0, 0), (20, 20)], phase="pit", index=0, width=1)
    assert {divmod(int(start), 21) for start, _ in mark.runs} >= {(k, k) for k in range(21)}


def test_a_stroke_that_leaves_the_image_is_cut_off_and_one_beside_it_refused():
    mark = mark_stroke(IMAGE, [(4, -5), (4, 30)], phase="pit", index=0, width=1)
    assert mark.voxels == 10
    with pytest.raises(InputError, match="Draw inside of the image"):
        mark_stroke(IMAGE, [(40, 0), (40, 9)], phase="pit", index=0)


def test_a_polygon_covers_its_inside_and_its_border():
    square = mark_polygon(IMAGE, [(1, 2), (1, 6), (5, 6), (5, 2)], phase="pit", index=0)
    assert square.voxels == 25
    triangle = mark_polygon(IMAGE, [(0, 0), (0, 6), (6, 0)], phase="pit", index=0)
    assert triangle.voxels == 28


@pytest.mark.parametrize("chunked", [False, True])
def test_a_label_image_goes_through_the_log_unchanged(tmp_path, chunked):
    rng = np.random.default_rng(1)
    values = np.where(rng.random(IMAGE.shape) < 0.2, rng.integers(0, 3, IMAGE.shape), 255).astype(np.uint8)
    values[1] = 255
    labels = IMAGE.copy(data=values)
    if chunked:
        labels = labels.chunk({"t": 1, "z": 3, "y": 4, "x": 5})
    found = painted(tmp_path, marks_of(labels, phases=PHASES))
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(("axis", "plane"), [("y", "zx"), ("x", "zy"), ("z", "yx")])
def test_marks_lie_in_the_planes_that_were_labeled(axis, plane):
    labels = IMAGE.copy(data=np.full(IMAGE.shape, 255, np.uint8))
    labels[{"t": 1, axis: 4}] = 1
    (mark,) = marks_of(labels, phases=PHASES)
    assert (mark.plane, mark.index, mark.scan, mark.phase) == (plane, 4, 1, "electrode")


def test_only_what_differs_from_the_log_is_marked(tmp_path):
    before = IMAGE.copy(data=np.full(IMAGE.shape, 255, np.uint8))
    before[0, :, 2] = 0
    after = before.copy()
    after[0, 3, 2, 4] = 2
    after[0, 5:, 2] = 255
    (mark,) = marks_of(after, phases=PHASES, before=before)
    assert (mark.phase, mark.voxels) == ("pit", 1)
    both = list(marks_of(after, phases=PHASES, before=before, erase=True))
    assert {(mark.phase, mark.voxels) for mark in both} == {("pit", 1), (None, 3 * 10)}
    found = painted(tmp_path, [*marks_of(before, phases=PHASES), *both])
    np.testing.assert_array_equal(found, after.values)
    assert not list(marks_of(after, phases=PHASES, before=after, erase=True))


def test_more_slices_than_fit_in_memory_at_once_come_in_parts(monkeypatch):
    from operando.segmentation import marks as module

    values = np.random.default_rng(2).integers(0, 3, IMAGE.shape).astype(np.uint8)
    labels = IMAGE.copy(data=values)
    whole = [(m.scan, m.plane, m.index, m.phase, m.runs.tolist()) for m in marks_of(labels, phases=PHASES)]
    monkeypatch.setattr(module, "_HELD_BYTES", 200)
    parts = [(m.scan, m.plane, m.index, m.phase, m.runs.tolist()) for m in marks_of(labels, phases=PHASES)]
    assert parts == whole


def test_what_cannot_be_marked_is_refused_with_advice():
    mask = np.ones((8, 10), bool)
    with pytest.raises(InputError, match="there is no plane 'xz'"):
        mark_mask(mask, phase="pit", plane="xz", index=0)
    with pytest.raises(InputError, match="at least one voxel"):
        mark_mask(~mask, phase="pit", plane="zx", index=0)
    with pytest.raises(InputError, match="Count voxels from 0"):
        mark_points(IMAGE, [(8, 0, 0)], phase="pit")
    with pytest.raises(InputError, match="at least 3 points"):
        mark_polygon(IMAGE, [(0, 0), (1, 1)], phase="pit", index=0)
    labels = IMAGE.copy(data=np.full(IMAGE.shape, 7, np.uint8))
    with pytest.raises(PhaseError, match="got also \\[7\\]"):
        list(marks_of(labels, phases=PHASES))
    with pytest.raises(InputError, match="uint8"):
        list(marks_of(IMAGE, phases=PHASES))
    blank = IMAGE.copy(data=np.full(IMAGE.shape, 255, np.uint8))
    with pytest.raises(AxesError, match="before must have the sizes"):
        list(marks_of(blank, phases=PHASES, before=blank.isel(z=slice(4))))
