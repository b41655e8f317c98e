"""The pixel classifier: its features, its forest, what it learns from strokes, and the borders it leaves behind."""

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.errors import FileError, InputError
from operando.segmentation import PixelClassifier, Segmenter, agreement, draw_strokes, snap_borders
from operando.segmentation.features import feature_halo, feature_names, features
from operando.segmentation.forest import Forest, grow_forest

PHASES = {"matrix": 0, "grain": 1, "dot": 2}


def micrograph(seed=3100, size=96, blur=1.5, noise=0.04):
    """Dark grains with small gray dots between them, blurred."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(size, size)), 8, mode="wrap")
    truth = (field > np.quantile(field, 0.6)).astype(np.uint8)
    away = ndimage.distance_transform_edt(truth == 0)
    rows, columns = np.ogrid[:size, :size]
    for y, x in rng.integers(0, size, (60, 2)):
        if away[y, x] > 7:
            truth[(rows - y) ** 2 + (columns - x) ** 2 <= 6] = 2
    gray = ndimage.gaussian_filter(np.array([0.6, 0.1, 0.35])[truth], blur)
    return gray + noise * rng.normal(size=gray.shape), truth


@pytest.fixture(scope="module")
def taught():
    gray, truth = micrograph()
    labels = xr.DataArray(truth, dims=("y", "x"))
    marks = draw_strokes(labels, strokes_per_phase=8, width=1, length=15, seed=1).values
    return gray, truth, marks


@pytest.fixture(scope="module")
def fitted(taught):
    gray, _, marks = taught
    return PixelClassifier(PHASES, scales=[1, 2, 4], trees=50).fit(gray, marks)


def test_a_ramp_has_one_gradient_and_no_curvature():
    ramp = np.add.outer(np.zeros(30), 3.0 * np.arange(30)).astype(np.float32)
    found = features(ramp, (slice(14, 16), slice(14, 16)), scales=[1.0])
    named = dict(zip(feature_names(dims=2, scales=[1.0]), found.T, strict=True))
    np.testing.assert_allclose(named["gradient 1"], 3.0, rtol=1e-5)
    np.testing.assert_allclose(named["structure 1 1"], 3.0, rtol=1e-5)
    for name in ("laplacian 1", "hessian 1 1", "hessian 2 1", "structure 2 1"):
        np.testing.assert_allclose(named[name], 0.0, atol=2e-3)


def test_curvatures_of_a_paraboloid_are_those_of_its_equation():
    z, y, x = np.meshgrid(*[np.arange(25.0) - 12] * 3, indexing="ij")
    gray = (0.5 * x**2 + 1.0 * y**2 - 1.5 * z**2).astype(np.float32)
    found = features(gray, (slice(12, 13),) * 3, scales=[1.0])[0]
    named = dict(zip(feature_names(dims=3, scales=[1.0]), found, strict=True))
    np.testing.assert_allclose([named[f"hessian {k} 1"] for k in (1, 2, 3)], [2.0, 1.0, -3.0], atol=1e-3)
    assert named["laplacian 1"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("turn", [lambda a: np.rot90(a), lambda a: a[::-1], lambda a: a.T])
def test_features_do_not_change_when_the_image_is_turned_or_mirrored(turn):
    gray = np.random.default_rng(0).normal(size=(24, 24)).astype(np.float32)
    whole = (slice(None), slice(None))
    straight, turned = features(gray, whole), features(np.ascontiguousarray(turn(gray)), whole)
    back = np.stack([turn(column.reshape(24, 24)).ravel() for column in straight.T], axis=1)
    np.testing.assert_allclose(turned, back, atol=2e-5)


def test_features_of_a_core_depend_on_nothing_beyond_the_halo():
    gray = np.random.default_rng(1).normal(size=(60, 60)).astype(np.float32)
    halo = feature_halo([1.0, 2.0])
    core = (slice(20, 30), slice(24, 40))
    read = tuple(slice(c.start - halo, c.stop + halo) for c in core)
    inner = tuple(slice(halo, halo + c.stop - c.start) for c in core)
    np.testing.assert_array_equal(features(gray, core, scales=[1, 2]), features(gray[read], inner, scales=[1, 2]))


def test_a_forest_finds_the_threshold_that_parts_two_classes():
    rng = np.random.default_rng(2)
    values = rng.uniform(size=(400, 3)).astype(np.float32)
    classes = (values[:, 1] > 0.5).astype(int)
    groups = np.arange(400) // 4 + 1000 * classes
    forest, unseen = grow_forest(values, classes, groups, count=2)
    test = rng.uniform(size=(500, 3)).astype(np.float32)
    away = np.abs(test[:, 1] - 0.5) > 0.05
    assert (forest.chances(test).argmax(axis=1) == (test[:, 1] > 0.5))[away].all()
    known = np.isfinite(unseen[:, 0])
    assert (unseen[known].argmax(axis=1) == classes[known]).mean() > 0.95
    np.testing.assert_allclose(unseen[known].sum(axis=1), 1, rtol=1e-5)


def test_what_a_forest_says_of_unseen_groups_is_chance_where_nothing_can_be_learned():
    # Features name the group and nothing else: whoever peeks is always right.
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 10)
    classes = np.repeat(rng.permutation(60) % 2, 10)
    values = (rng.permutation(60)[groups] + 0.01 * rng.normal(size=600)).astype(np.float32)[:, None]
    forest, unseen = grow_forest(values, classes, groups, count=2, trees=200)
    assert (forest.chances(values).argmax(axis=1) == classes).mean() > 0.95
    assert (unseen.argmax(axis=1) == classes).mean() < 0.7


def test_a_class_of_one_group_is_in_every_tree_and_cannot_be_held_out():
    values = np.concatenate([np.zeros(20), np.ones(20)]).astype(np.float32)[:, None]
    classes = np.repeat([0, 1], 20)
    groups = np.concatenate([np.arange(20), np.full(20, 99)])
    forest, unseen = grow_forest(values, classes, groups, count=2)
    assert np.isnan(unseen[20:]).all()
    assert forest.chances(values).argmax(axis=1).tolist() == classes.tolist()


def test_trees_that_lead_outside_the_forest_are_refused():
    values = np.linspace(0, 1, 20, dtype=np.float32)[:, None]
    forest, _ = grow_forest(values, np.array([0, 1] * 10), np.arange(20), count=2, smallest=1)
    arrays, trees = forest.arrays(), len(forest.root)
    again = Forest.from_arrays(arrays, trees=trees, features=1, classes=2)
    np.testing.assert_array_equal(again.chances(values), forest.chances(values))
    inner = int(np.flatnonzero(forest.feature >= 0)[0])
    for name, wrong in (("below", inner), ("above", forest.feature.size), ("feature", 1), ("root", -1)):
        broken = {**arrays, name: arrays[name].copy()}
        broken[name][0 if name == "root" else inner] = wrong
        with pytest.raises(InputError, match="do not make"):
            Forest.from_arrays(broken, trees=trees, features=1, classes=2)
    with pytest.raises(InputError, match="'below' is missing"):
        Forest.from_arrays({k: v for k, v in arrays.items() if k != "below"}, trees=trees, features=1, classes=2)


def test_arrays_say_of_a_sample_what_the_library_says():
    from sklearn.tree import ExtraTreeClassifier

    from operando.segmentation.forest import _arrays_of

    rng = np.random.default_rng(3)
    values = rng.normal(size=(400, 5)).astype(np.float32)
    classes = (values[:, 0] * values[:, 1] > 0).astype(int) + 2 * (values[:, 2] > 1)  # class 1 may be absent above
    grown = ExtraTreeClassifier(min_samples_leaf=3, random_state=0).fit(values, classes)
    forest = Forest(**_arrays_of(grown, 4, 0))
    np.testing.assert_allclose(forest.chances(values)[:, grown.classes_], grown.predict_proba(values), atol=1e-6)


def test_it_is_a_segmenter(fitted):
    assert isinstance(fitted, Segmenter)


def test_strokes_on_two_percent_of_an_image_teach_the_rest(taught, fitted):
    gray, truth, marks = taught
    open_to_it = np.where(marks == 255, truth, 255).astype(np.uint8)
    scores = agreement(fitted.predict(gray), open_to_it, PHASES)
    assert scores.iou.sel(component=["matrix", "grain"]).min() > 0.85
    assert scores.iou.sel(component="dot") > 0.3


def test_its_metrics_are_of_strokes_it_has_not_seen(taught, fitted):
    _, _, marks = taught
    assert fitted.metrics_["voxels"] <= (marks != 255).sum()
    assert 0.8 < fitted.metrics_["accuracy"] <= 1
    assert set(fitted.metrics_["iou"]) == set(PHASES)
    np.testing.assert_allclose(fitted.unseen_["probability"].sum("phase"), 1, rtol=1e-5)


def test_probabilities_sum_to_one_and_their_largest_is_the_label(taught, fitted):
    gray, _, _ = taught
    chances = fitted.predict_probability(gray)
    assert chances.dims == ("phase", "y", "x")
    np.testing.assert_allclose(chances.sum("phase"), 1, rtol=1e-5)
    np.testing.assert_array_equal(chances.argmax("phase"), fitted.predict(gray))


def test_labels_do_not_depend_on_blocks_or_chunks(taught, fitted, tmp_path):
    gray, _, _ = taught
    whole = fitted.predict(gray)
    fitted.save(tmp_path / "model")
    small = PixelClassifier.load(tmp_path / "model", block=(1, 40, 33))
    np.testing.assert_array_equal(small.predict(gray), whole)
    lazy = xr.DataArray(da.from_array(gray, chunks=(31, 50)), dims=("y", "x"))
    found = small.predict(lazy)
    assert hasattr(found.data, "dask")
    np.testing.assert_array_equal(found, whole)


def test_missing_voxels_stay_unlabeled(taught, fitted):
    gray = taught[0].copy()
    gray[:3] = np.nan
    assert (fitted.predict(gray)[:3] == 255).all()
    assert fitted.predict_probability(gray)[:, :3].isnull().all()


def test_a_series_is_read_scan_by_scan_whatever_its_gray_scale(taught, fitted):
    gray, _, _ = taught
    series = np.stack([gray, 1000 * gray + 5])[:, None]
    found = fitted.predict(series)
    assert found.dims == ("t", "z", "y", "x")
    assert (found[0] == found[1]).mean() > 0.999


def test_a_volume_is_read_with_features_along_z(tmp_path):
    rng = np.random.default_rng(4)
    truth = np.zeros((16, 24, 24), np.uint8)
    truth[:, 12:] = 1
    gray = truth + 0.1 * rng.normal(size=truth.shape)
    marks = np.full_like(truth, 255)
    for z in (3, 8, 13):
        marks[z, 2:8, 5], marks[z, 16:22, 18] = 0, 1
    segmenter = PixelClassifier({"low": 0, "high": 1}, scales=[1, 2]).fit(gray, marks)
    assert segmenter.card_["volume"]
    assert agreement(segmenter.predict(gray), truth, {"low": 0, "high": 1}).macro > 0.95
    with pytest.raises(InputError, match="at least 8 slices along z"):
        segmenter.predict(gray[0])
    segmenter.save(tmp_path / "model")
    loaded = PixelClassifier.load(tmp_path / "model", block=(7, 9, 24))
    np.testing.assert_array_equal(loaded.predict(gray), segmenter.predict(gray))


def test_a_phase_that_nobody_annotated_has_no_probability(taught):
    gray, _, marks = taught
    some = np.where(marks == 2, 255, marks).astype(np.uint8)
    chances = PixelClassifier(PHASES, scales=[1], trees=10).fit(gray, some).predict_probability(gray)
    assert (chances.sel(phase="dot") == 0).all()


def test_the_same_seed_gives_the_same_labels(taught, fitted):
    gray, _, marks = taught
    again = PixelClassifier(PHASES, scales=[1, 2, 4], trees=50).fit(gray, marks)
    np.testing.assert_array_equal(again.predict_probability(gray), fitted.predict_probability(gray))


def test_fewer_samples_are_drawn_where_there_are_too_many(taught):
    gray, truth, _ = taught
    segmenter = PixelClassifier(PHASES, scales=[1, 2], trees=20, samples=500).fit(gray, truth)
    assert segmenter.metrics_["voxels"] <= 500
    assert sum(segmenter.card_["data"]["annotated_voxels"].values()) == truth.size


def test_what_was_exchanged_on_disk_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    trees = tmp_path / "model" / "trees.npz"
    trees.write_bytes(trees.read_bytes()[:-10])
    with pytest.raises(FileError, match="checksum"):
        PixelClassifier.load(tmp_path / "model")
    trees.unlink()
    with pytest.raises(FileError, match="cannot be read"):
        PixelClassifier.load(tmp_path / "model")
    fitted.save(tmp_path / "other")
    card = json.loads((tmp_path / "other" / "card.json").read_text())
    card["classes"] = [0, 1]
    (tmp_path / "other" / "card.json").write_text(json.dumps(card))
    with pytest.raises(FileError, match="cannot be used"):
        PixelClassifier.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "text"),
    [({"scales": []}, "scales"), ({"scales": [100]}, "64"), ({"trees": 0}, "at least 1"), ({"block": (1, 2)}, "block")],
)
def test_settings_that_cannot_work_are_refused_with_the_remedy(options, text):
    with pytest.raises(InputError, match=text):
        PixelClassifier(**options)


def test_it_must_be_fitted_before_it_predicts(tmp_path):
    with pytest.raises(InputError, match="fitted first"):
        PixelClassifier().predict(np.zeros((4, 4)))
    with pytest.raises(InputError, match="fitted first"):
        PixelClassifier().save(tmp_path / "model")


@pytest.mark.parametrize("off", [-3, -1, 0, 2, 3])
def test_a_border_within_reach_returns_to_the_blurred_step(off):
    step = np.zeros((40, 40))
    step[:, 20:] = 1
    wrong = np.zeros((40, 40), np.uint8)
    wrong[:, 20 + off :] = 1
    gray = ndimage.gaussian_filter(step, 2)
    found = snap_borders(wrong, gray, {"low": 0, "high": 1}, reach=4)
    assert abs(int((found.values[20] == 1).sum()) - 20) <= 1


def test_a_border_out_of_reach_moves_by_reach_at_most():
    step = np.zeros((40, 60))
    step[:, 40:] = 1
    wrong = np.zeros((40, 60), np.uint8)
    wrong[:, 20:] = 1
    found = snap_borders(wrong, ndimage.gaussian_filter(step, 1.5), {"low": 0, "high": 1}, reach=3).values
    assert (found[:, :17] == 0).all()
    assert (found[:, 23:] == 1).all()


def test_small_parts_and_unlabeled_voxels_survive():
    rng = np.random.default_rng(5)
    labels = np.zeros((40, 40), np.uint8)
    labels[10:13, 10:13], labels[20, 5:35], labels[30:, 30:] = 1, 2, 255
    found = snap_borders(labels, rng.normal(size=labels.shape), {"a": 0, "b": 1, "c": 2}, reach=5).values
    assert {0, 1, 2, 255} == set(np.unique(found).tolist())
    np.testing.assert_array_equal(found == 255, labels == 255)


def test_no_reach_changes_nothing_and_lazy_equals_whole():
    gray, truth = micrograph(size=64)
    np.testing.assert_array_equal(snap_borders(truth, gray, PHASES, reach=0), truth)
    lazy = snap_borders(truth, xr.DataArray(da.from_array(gray, chunks=20), dims=("y", "x")), PHASES)
    assert hasattr(lazy.data, "dask")
    np.testing.assert_array_equal(lazy, snap_borders(truth, gray, PHASES))
    with pytest.raises(InputError, match="reach must be at least 0"):
        snap_borders(truth, gray, PHASES, reach=-1)


def test_borders_of_a_ball_are_put_on_its_surface():
    grid = np.mgrid[:32, :32, :32] - 15.5
    ball = ((grid**2).sum(axis=0) <= 100).astype(np.uint8)
    small = ((grid**2).sum(axis=0) <= 64).astype(np.uint8)
    found = snap_borders(small, ndimage.gaussian_filter(ball.astype(float), 1.0), {"out": 0, "in": 1})
    assert abs(float(found.sum()) / ball.sum() - 1) < 0.06
    assert small.sum() / ball.sum() < 0.55
