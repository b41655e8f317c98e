"""Where to label next: doubt, diversity, what is labeled already, and the same answer however the image is stored."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.segmentation import label_places, suggest

NAMES = ["electrolyte", "electrode"]


def sure(shape=(16, 24, 24), *, scans=None, phases=NAMES):
    """Everything is surely the first phase."""
    full = (*(() if scans is None else (scans,)), len(phases), *shape)
    values = np.zeros(full, np.float32)
    values[..., 0, :, :, :] = 1
    dims = ("phase", "z", "y", "x") if scans is None else ("t", "phase", "z", "y", "x")
    return labeled_image(values, dims=dims, voxel_size_um=2.0, coords={"phase": list(phases)})


def doubt(prediction, level, **place):
    """The same chance of the first two phases in a place."""
    at = prediction.isel(place)
    at[{"phase": 0}] = 1 - level
    at[{"phase": 1}] = level
    prediction[place] = at
    return prediction


def mixed(shape, seed=0, phases=3):
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(phases, 0.3), size=shape).astype(np.float32)
    data = np.moveaxis(values, -1, len(shape) - 3)
    dims = ("t", "phase", "z", "y", "x")[5 - data.ndim :]
    return labeled_image(data, dims=dims, voxel_size_um=1.0, coords={"phase": [f"p{i}" for i in range(phases)]})


def test_the_place_in_doubt_comes_first_and_says_where_it_is():
    prediction = doubt(sure(scans=3), 0.5, t=1, y=7)
    first = suggest(prediction, count=2).iloc[0]
    assert (first["rank"], first["scan"], first["plane"], first["index"]) == (1, 1, "zx", 7)
    assert first["position_um"] == 14.0
    assert first["pixels"] == 16 * 24
    assert [first[f"{dim}_{end}"] for dim in "zyx" for end in ("start", "stop")] == [0, 16, 7, 8, 0, 24]
    assert "electrolyte" in first["reason"] or "electrode" in first["reason"]


def test_the_uncertainty_is_the_share_of_each_phase_expected_to_be_wrong():
    prediction = doubt(sure(), 0.5, y=3)
    found = suggest(prediction, count=1, planes=["zx"]).iloc[0]
    voxels = 16 * 24
    volumes = np.array([16 * 24 * 24 - voxels / 2, voxels / 2])
    assert found["uncertainty"] == pytest.approx((voxels * 0.25 / volumes).mean(), rel=1e-6)


def test_a_thin_phase_in_doubt_outranks_the_longer_interface_of_a_thick_one():
    prediction = sure(phases=["electrolyte", "electrode", "dendrite"])
    prediction[{"z": slice(0, 6)}] = np.array([0, 1, 0], np.float32)[:, None, None, None]
    prediction[{"z": 6, "y": 4}] = np.array([0.5, 0.5, 0], np.float32)[:, None]  # 24 voxels of interface
    prediction[{"z": slice(9, 12), "y": 18, "x": slice(0, 4)}] = np.array([0.5, 0, 0.5], np.float32)[:, None, None]
    best = suggest(prediction, count=1, planes=["zx"]).iloc[0]
    assert best["index"] == 18
    assert "dendrite" in best["reason"]


def test_the_neighbor_of_a_suggestion_is_not_the_next_one():
    prediction = sure((16, 64, 24))
    for y, level in ((10, 0.5), (11, 0.49), (40, 0.4)):
        doubt(prediction, level, y=y)
    first, second = suggest(prediction, count=2, planes=["zx"])["index"]
    assert first in (10, 11)
    assert second == 40


def test_another_kind_of_place_comes_before_a_second_one_of_the_same_kind():
    prediction = sure((16, 96, 24), phases=["electrolyte", "electrode", "pit"])
    for y in (10, 50):
        prediction[{"y": y}] = np.array([0.5, 0.5, 0], np.float32)[:, None, None]
    prediction[{"y": 90}] = np.array([0.6, 0, 0.4], np.float32)[:, None, None]
    assert set(suggest(prediction, count=2, planes=["zx"])["index"]) == {90, 10}


def test_what_is_labeled_is_neither_suggested_nor_in_doubt():
    prediction = doubt(doubt(sure(), 0.5, y=7), 0.3, y=20)
    marks = xr.DataArray(np.full((16, 24, 24), 255, np.uint8), dims=("z", "y", "x"))
    marks[:, 7] = 1
    found = suggest(prediction, annotations=marks, count=9, planes=["zx"])
    assert found["index"].tolist() == [20]
    half = marks.copy()
    half[8:, 7] = 255
    found = suggest(prediction, annotations=half, count=1, planes=["zy"])
    assert found.loc[0, "pixels"] == 16 * 24 - 8


def test_a_copy_of_a_labeled_slice_is_worth_less_than_something_new():
    prediction = sure((16, 96, 24))
    doubt(prediction, 0.5, y=11)
    doubt(prediction, 0.45, y=80)
    marks = xr.DataArray(np.full((16, 96, 24), 255, np.uint8), dims=("z", "y", "x"))
    assert suggest(prediction, annotations=marks, count=1, planes=["zx"]).loc[0, "index"] == 11
    doubt(prediction, 0.5, y=10)
    marks[:, 10] = 1
    assert suggest(prediction, annotations=marks, count=1, planes=["zx"]).loc[0, "index"] == 80


def test_a_scan_of_which_nothing_is_labeled_is_named_as_such():
    prediction = doubt(sure(scans=2), 0.5, y=5)
    marks = xr.DataArray(np.full((2, 16, 24, 24), 255, np.uint8), dims=("t", "z", "y", "x"))
    marks[0, :, 5] = 1
    best = suggest(prediction, annotations=marks, count=1).iloc[0]
    assert best["scan"] == 1
    assert "nothing of this scan is labeled" in best["reason"]


@pytest.mark.parametrize("unit", ["slice", "patch"])
def test_scores_never_rise_with_the_rank_and_nothing_is_suggested_twice(unit):
    found = suggest(mixed((2, 16, 20, 24)), count=30, unit=unit, patch=(8, 10))
    assert len(found) == 30
    assert (np.diff(found["score"]) <= 1e-12).all()
    assert found["rank"].tolist() == list(range(1, 31))
    assert not found.duplicated(["scan", "plane", "index", "z_start", "y_start", "x_start"]).any()
    assert found["score"].sum() <= 1 + 1e-9
    assert found["diversity"].between(0, 1).all()


@pytest.mark.parametrize("chunks", [(1, 3, 16, 20, 24), (1, 1, 5, 7, 9), (2, 3, 4, 20, 11)])
@pytest.mark.parametrize("unit", ["slice", "patch"])
def test_chunks_do_not_change_the_suggestions(chunks, unit):
    prediction = mixed((2, 16, 20, 24))
    lazy = prediction.chunk(dict(zip(prediction.dims, chunks, strict=True)))
    there = suggest(lazy, count=6, unit=unit, patch=(7, 9))
    here = suggest(prediction, count=6, unit=unit, patch=(7, 9))
    pd.testing.assert_frame_equal(there, here, rtol=1e-5)


def test_every_lazy_block_is_computed_once():
    import dask.array as da

    prediction, computed = mixed((2, 16, 20, 24)), []

    def tell(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    lazy = da.from_array(prediction.values, chunks=(1, 3, 8, 10, 24))
    lazy = lazy.map_blocks(tell, dtype=lazy.dtype, meta=np.empty((0,) * 5, lazy.dtype))
    suggest(prediction.copy(data=lazy), count=1)
    assert sorted(computed) == sorted(set(computed))
    assert len(computed) == 2 * 2 * 2


def test_windows_lie_inside_and_tile_the_plane():
    prediction = mixed((10, 13, 17))
    found = suggest(prediction, count=10_000, unit="patch", patch=(5, 6), planes=["zx"])
    assert set(found["pixels"]) == {5 * 5, 5 * 6}
    assert found["pixels"].sum() == 10 * 13 * 17
    covered = label_places(xr.DataArray(np.zeros((10, 13, 17), np.uint8), dims=("z", "y", "x")), found)
    assert not covered.values.any()


def test_an_image_without_z_has_one_slice_per_scan():
    prediction = mixed((3, 1, 12, 14)).isel(z=0, drop=True)
    found = suggest(prediction, count=5)
    assert len(found) == 3
    assert set(found["plane"]) == {"yx"}
    assert set(found["pixels"]) == {12 * 14}


def test_voxels_without_a_value_raise_no_doubt():
    prediction = doubt(doubt(sure(), 0.5, y=3), 0.5, y=12)
    prediction[{"y": 3}] = np.nan
    assert suggest(prediction, count=5, planes=["zx"])["index"].tolist() == [12]


def test_fewer_places_come_back_where_no_doubt_is_left():
    assert suggest(sure(), count=5).empty
    assert list(suggest(sure(), count=5).columns) == list(suggest(mixed((16, 9, 9)), count=1).columns)


def test_known_labels_stand_in_for_the_person_who_labels_suggestions():
    labels = labeled_image(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4), voxel_size_um=1.0)
    place = {"scan": 0, "z_start": 0, "z_stop": 2, "y_start": 1, "y_stop": 2, "x_start": 0, "x_stop": 4}
    marks = label_places(labels, pd.DataFrame([place]))
    np.testing.assert_array_equal(marks[:, 1], labels[:, 1])
    assert (marks.values == 255).sum() == 2 * 2 * 4


def test_arguments_that_do_not_fit_are_told_what_to_do():
    prediction = mixed((16, 9, 9))
    with pytest.raises(InputError, match="Did you mean 'patch'"):
        suggest(prediction, unit="patches")
    with pytest.raises(InputError, match="there is no plane 'xz'"):
        suggest(prediction, planes=["xz"])
    with pytest.raises(InputError, match="each plane must be named once"):
        suggest(prediction, planes=["zx", "zx"])
    with pytest.raises(InputError, match="at least 1, got 0"):
        suggest(prediction, count=0)
    with pytest.raises(InputError, match="predict_probability"):
        suggest(prediction.astype(np.uint8))
    with pytest.raises(AxesError, match="missing \\['phase'\\]"):
        suggest(prediction.isel(phase=0, drop=True))
    with pytest.raises(AxesError, match="on the grid of the prediction"):
        suggest(prediction, annotations=xr.DataArray(np.zeros((16, 9, 8), np.uint8), dims=("z", "y", "x")))
    with pytest.raises(InputError, match="only zeros or NaN"):
        suggest(prediction * 0)
