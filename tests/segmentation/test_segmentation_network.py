import json
from dataclasses import replace

import numpy as np
import pytest

from operando.core.axes import calibrate, labeled_image
from operando.core.errors import AxesError, FileError, InputError, PhaseError
from operando.core.phases import CELL
from operando.learn import TrainingSettings, training_settings
from operando.segmentation import NetworkSegmenter, Otsu, Segmenter, agreement, draw_strokes, label_slices

QUICK = TrainingSettings(steps=60, batch=4)


@pytest.fixture(scope="module")
def marks(cell):
    return label_slices(cell.labels, slices=5, scans=[1, 2, 3])


@pytest.fixture(scope="module")
def fitted(cell, marks):
    return NetworkSegmenter(CELL, training=QUICK).fit(cell.image, marks)


def test_a_network_trained_for_seconds_beats_thresholds(cell, marks, fitted):
    network = agreement(fitted.predict(cell.image), cell.labels, CELL)
    otsu = agreement(Otsu(CELL).fit(cell.image, marks).predict(cell.image), cell.labels, CELL)
    assert float(network.macro) > float(otsu.macro) + 0.1


def test_both_members_keep_the_contract(fitted):
    assert isinstance(fitted, Segmenter)
    assert isinstance(Otsu().fit(np.arange(16.0).reshape(4, 4)), Segmenter)


def test_labels_have_the_dims_coordinates_and_phases_of_the_image(cell, fitted):
    labels = fitted.predict(cell.image)
    assert labels.dtype == np.uint8
    assert labels.dims == cell.image.dims
    assert all(np.array_equal(labels[dim], cell.image[dim]) for dim in labels.dims)
    assert labels.attrs["phases"] == CELL.to_dict()
    assert set(np.unique(labels)) <= set(CELL.ids)


def test_one_scan_of_a_series_is_labeled_like_the_series(cell, fitted):
    series = fitted.predict(cell.image)
    assert np.array_equal(fitted.predict(cell.image[2]), series[2])
    assert np.array_equal(fitted.predict(cell.image[2].values), series[2])


def test_lazy_in_lazy_out_and_the_chunks_do_not_matter(cell, fitted):
    whole = fitted.predict(cell.image[:2])
    segmenter = NetworkSegmenter(CELL, block=(24, 20, 31))
    segmenter.__dict__ |= {key: value for key, value in fitted.__dict__.items() if key != "block"}
    for chunks in ({"t": 1, "z": 13, "y": 48, "x": 20}, {"t": 2, "z": 40, "y": 7, "x": 48}):
        lazy = segmenter.predict(cell.image[:2].chunk(chunks))
        assert lazy.chunks is not None
        assert np.array_equal(lazy, whole)


def test_probability_names_the_phases_sums_to_one_and_fits_the_labels(cell, fitted):
    chances = fitted.predict_probability(cell.image[3])
    assert chances.dims == ("phase", "z", "y", "x")
    assert chances.dtype == np.float32
    assert chances.phase.values.tolist() == list(CELL.names)
    assert np.allclose(chances.sum("phase"), 1, atol=1e-5)
    # Labels differ from the most probable phase by the volume shift alone.
    shift = np.array(fitted.card_["volume_shift"])[:, None, None, None] / fitted.card_["temperature"]
    scores = np.log(np.maximum(chances.values, 1e-30)) + shift
    assert np.mean(scores.argmax(axis=0) == fitted.predict(cell.image[3]).values) > 0.9999
    lazy = fitted.predict_probability(cell.image[3].chunk({"z": 16}))
    assert lazy.chunks is not None
    assert np.array_equal(lazy, chances)


def test_gain_offset_and_integers_of_the_detector_hardly_matter(cell, fitted):
    expected = fitted.predict(cell.image[3]).values
    as_counts = (20_000 + 30_000 * (cell.image[3] - 0.8)).round().astype(np.uint16)
    assert np.mean(fitted.predict(as_counts).values == expected) > 0.999


def test_a_missing_voxel_stays_missing(cell, fitted):
    image = cell.image[3].copy(deep=True)
    image[5, 6, 7] = np.nan
    labels, chances = fitted.predict(image), fitted.predict_probability(image)
    assert int(labels[5, 6, 7]) == 255
    assert int((labels == 255).sum()) == 1
    assert np.isnan(chances[:, 5, 6, 7]).all()
    assert int(np.isnan(chances).sum()) == len(CELL)


def test_a_saved_network_predicts_the_same(cell, fitted, tmp_path):
    fitted.save(tmp_path / "network")
    again = NetworkSegmenter.load(tmp_path / "network")
    assert np.array_equal(again.predict(cell.image[2]), fitted.predict(cell.image[2]))
    assert np.array_equal(again.predict_probability(cell.image[2]), fitted.predict_probability(cell.image[2]))
    assert again.phases_ == CELL
    assert again.metrics_ == fitted.metrics_
    assert again.card_ == json.loads(json.dumps(fitted.card_))


def test_the_card_tells_what_a_reader_must_know(fitted):
    card = fitted.card_
    assert card["split"]["kind"] == "scan"
    assert card["data"]["annotated_scans"] == [1, 2, 3]
    assert set(card["split"]["held_out_scans"]) < {1, 2, 3}
    assert card["voxel_size_um"] == {"z": 1.33, "y": 1.33, "x": 1.33}
    assert set(card["metrics"]["iou"]) == set(CELL)
    assert card["data"]["annotated_voxels"]["electrode"] > 0
    assert {"torch", "monai"} <= set(card["versions"])


def test_held_out_metrics_resemble_those_on_scans_nobody_annotated(cell, fitted):
    honest = float(agreement(fitted.predict(cell.image[0]), cell.labels[0], CELL).accuracy)
    assert fitted.metrics_["accuracy"] == pytest.approx(honest, abs=0.1)
    assert fitted.metrics_["calibration_error"] < 0.1


def test_a_voxel_size_unlike_the_training_is_noted_not_refused(cell, fitted):
    from operando.core.axes import calibrate

    assert "voxel_size_note" not in fitted.predict(cell.image[1]).attrs
    assert "1.33" in fitted.predict(calibrate(cell.image[1], voxel_size_um=3.0)).attrs["voxel_size_note"]


def test_the_same_seed_gives_the_same_network(cell, marks):
    settings = TrainingSettings(steps=3, batch=2)
    first, second = (
        NetworkSegmenter(CELL, training=settings, validation=False, seed=4).fit(cell.image, marks) for _ in range(2)
    )
    assert np.array_equal(first.predict_probability(cell.image[1]), second.predict_probability(cell.image[1]))


def test_lazy_training_data_give_the_same_network(cell, marks):
    settings = TrainingSettings(steps=2, batch=2)
    eager = NetworkSegmenter(CELL, training=settings, validation=False).fit(cell.image, marks)
    lazy = NetworkSegmenter(CELL, training=settings, validation=False).fit(
        cell.image.chunk({"t": 1, "y": 16}), marks.chunk({"t": 2, "x": 16})
    )
    assert np.array_equal(eager.predict_probability(cell.image[1]), lazy.predict_probability(cell.image[1]))


def test_without_phases_the_classes_are_the_values_annotated(cell, marks):
    settings = TrainingSettings(steps=1, batch=1)
    fewer = marks.where(marks <= 1, 255).astype(np.uint8)
    segmenter = NetworkSegmenter(training=settings, validation=False).fit(cell.image, fewer)
    assert dict(segmenter.phases_) == {"class_0": 0, "class_1": 1}
    assert set(np.unique(segmenter.predict(cell.image[0]))) <= {0, 1}


def test_a_phase_nobody_annotated_has_probability_zero(cell, marks):
    settings = TrainingSettings(steps=1, batch=1)
    fewer = marks.where(marks != CELL["dendrite"], 255).astype(np.uint8)
    segmenter = NetworkSegmenter(CELL, training=settings, validation=False).fit(cell.image, fewer)
    chances = segmenter.predict_probability(cell.image[3])
    assert float(chances.sel(phase="dendrite").max()) == 0
    assert np.allclose(chances.sum("phase"), 1, atol=1e-5)


def test_progress_counts_through_both_stages(cell, marks):
    told = []
    settings = TrainingSettings(steps=4, batch=1)
    NetworkSegmenter(CELL, training=settings, progress=lambda *values: told.append(values)).fit(cell.image, marks)
    assert [step for step, _, _ in told] == [1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in told} == {6}


def test_scans_to_hold_out_can_be_named_and_measured_on_before_they_are_trained_on(cell, marks):
    annotated = [scan for scan in range(marks.sizes["t"]) if (marks[scan] != 255).any()]
    seen = []

    def judge(segmenter):
        labels = segmenter.predict(cell.image.isel(t=[annotated[0]]))
        seen.append((labels.shape, [entry["stage"] for entry in segmenter.history_][-1]))

    settings = TrainingSettings(steps=2, batch=1)
    options = {"training": settings, "validation": [annotated[0]], "validated": judge}
    fitted = NetworkSegmenter(CELL, **options).fit(cell.image, marks)
    assert seen == [((1, *cell.image.shape[1:]), "validation")]
    assert fitted.card_["split"]["held_out_scans"] == [annotated[0]]
    with pytest.raises(InputError, match="leave at least one"):
        NetworkSegmenter(CELL, training=settings, validation=annotated).fit(cell.image, marks)


@pytest.fixture(scope="module")
def cells(make_cell):
    """Three cells of different shapes, and annotations of each."""
    shapes = ((40, 32, 24), (40, 24, 32), (48, 24, 24))
    made = [make_cell(shape, scans=2, seed=seed) for seed, shape in enumerate(shapes)]
    return [c.image for c in made], [label_slices(c.labels, slices=4) for c in made]


@pytest.fixture(scope="module")
def of_cells(cells):
    seen = []
    settings = TrainingSettings(steps=20, batch=2)
    segmenter = NetworkSegmenter(CELL, training=settings, validated=lambda network: seen.append(len(network.history_)))
    return segmenter.fit(*cells), seen


def test_a_network_learns_from_several_cells_and_is_measured_on_whole_ones(cells, of_cells):
    segmenter, seen = of_cells
    card = segmenter.card_
    assert card["split"]["kind"] == "series"
    assert len(card["split"]["held_out_series"]) == 1
    assert [entry["shape"] for entry in card["data"]["series"]] == [list(image.shape) for image in cells[0]]
    assert card["data"]["annotated_voxels"]["electrode"] == sum(int((m == CELL["electrode"]).sum()) for m in cells[1])
    assert seen == [20]
    labels = segmenter.predict(cells[0][2])
    assert labels.shape == cells[0][2].shape


def test_one_cell_in_a_list_is_that_cell(cell, marks):
    settings = TrainingSettings(steps=2, batch=1)
    alone, listed = (NetworkSegmenter(CELL, training=settings, validation=False) for _ in range(2))
    alone.fit(cell.image, marks)
    listed.fit([cell.image], [marks])
    assert listed.card_ == alone.card_
    assert np.array_equal(listed.predict(cell.image[3]), alone.predict(cell.image[3]))


def test_cells_to_hold_out_can_be_named(cells):
    settings = TrainingSettings(steps=1, batch=1)
    segmenter = NetworkSegmenter(CELL, training=settings, validation=[2]).fit(*cells)
    assert segmenter.card_["split"]["held_out_series"] == [2]
    assert segmenter.card_["split"]["held_out_scans"] == [[2, 0], [2, 1]]
    with pytest.raises(InputError, match="annotated series"):
        NetworkSegmenter(CELL, validation=[0, 1, 2]).fit(*cells)


def test_cells_that_do_not_belong_together_are_refused(cells):
    images, marks = cells
    with pytest.raises(InputError, match="lists of as many"):
        NetworkSegmenter(CELL).fit(images, marks[:2])
    with pytest.raises(InputError, match="lists of as many"):
        NetworkSegmenter(CELL).fit(images[0], marks)
    with pytest.raises(InputError, match="empty list"):
        NetworkSegmenter(CELL).fit([], [])
    coarse = [images[0], calibrate(images[1], voxel_size_um=2.0)]
    with pytest.raises(InputError, match="one voxel size"):
        NetworkSegmenter(CELL).fit(coarse, marks[:2])


def test_held_out_volumes_are_right_after_the_calibration(fitted):
    before, after = fitted.metrics_["volume_ratio_before"], fitted.metrics_["volume_ratio"]
    assert set(after) == set(CELL)
    assert max(abs(after[name] - 1) for name in CELL) <= max(abs(before[name] - 1) for name in CELL)
    assert any(fitted.card_["volume_shift"])
    assert not any(fitted.card_["shift"])
    assert fitted.metrics_["expected_volume_ratio"]["electrode"] == pytest.approx(1, abs=0.1)


def test_strokes_say_nothing_about_volumes_and_do_not_calibrate_them(cell):
    strokes = draw_strokes(cell.labels, strokes_per_phase=6, scans=[1, 2, 3])
    fitted = NetworkSegmenter(CELL, training=QUICK).fit(cell.image, strokes)
    assert fitted.card_["temperature"] >= 1
    # Shifted by how frequent the phases are in the images, which makes the thin ones rarer.
    assert fitted.card_["shift"][CELL["dendrite"]] < fitted.card_["shift"][CELL["electrolyte"]]
    assert not any(fitted.card_["volume_shift"])


def test_reliability_is_told_of_all_and_of_each_phase_before_and_after(fitted):
    told = fitted.metrics_["reliability"]
    for when in ("before", "after"):
        assert set(told[when]) <= {"all", *CELL}
        for curve in told[when].values():
            assert set(curve) == {"confidence", "accuracy", "n"}
            assert len(curve["n"]) == len(curve["accuracy"]) == len(curve["confidence"])
        assert sum(told[when]["all"]["n"]) == fitted.metrics_["voxels"]
    json.dumps(fitted.card_, allow_nan=False)


def test_mirror_images_are_averaged_where_asked_and_saved(cell, fitted, tmp_path):
    fitted.save(tmp_path / "network")
    plain, mirrored = (NetworkSegmenter.load(tmp_path / "network", symmetries=count) for count in (1, 4))
    assert np.array_equal(plain.predict(cell.image[3]), fitted.predict(cell.image[3]))
    chances = [segmenter.predict_probability(cell.image[3]).values for segmenter in (plain, mirrored)]
    assert not np.array_equal(*chances)
    assert np.mean(chances[0].argmax(axis=0) == chances[1].argmax(axis=0)) > 0.9
    with pytest.raises(InputError, match="symmetries must be 1, 2 or 4"):
        NetworkSegmenter.load(tmp_path / "network", symmetries=3)
    settings = TrainingSettings(steps=1, batch=1)
    own = NetworkSegmenter(CELL, symmetries=2, training=settings, validation=False)
    assert own.fit(cell.image, label_slices(cell.labels, slices=2)).card_["sections"]["symmetries"] == 2


def test_the_network_of_the_paper_trains_and_predicts_by_name(make_cell):
    cell = make_cell((32, 24, 24), scans=1, seed=6)
    marks = label_slices(cell.labels, slices=3)
    told = []
    segmenter = NetworkSegmenter(
        CELL,
        network="huang2023",
        planes="zx",
        context=0,
        training=replace(training_settings("huang2023"), steps=1, batch=2),
        validation=False,
        progress=lambda step, steps, loss: told.append(loss),
    ).fit(cell.image, marks)
    assert np.isfinite(told).all()
    assert segmenter.card_["sections"]["patch"] == (512, 512)
    labels = segmenter.predict(cell.image[0].isel(y=slice(0, 2)))
    assert set(np.unique(labels)) <= set(CELL.ids)


@pytest.mark.slow
def test_the_network_of_the_paper_takes_a_whole_patch_of_512():
    rng = np.random.default_rng(0)
    truth = np.zeros((1, 1, 512, 512), np.uint8)
    truth[..., 256:, :] = 1
    image = truth + 0.3 * rng.normal(size=truth.shape)
    settings = replace(training_settings("huang2023"), steps=1, batch=1)
    segmenter = NetworkSegmenter(network="huang2023", training=settings, validation=False).fit(image, truth)
    assert segmenter.predict(image[0, 0]).shape == (512, 512)


def test_a_network_of_images_reads_a_volume_slice_by_slice():
    rng = np.random.default_rng(0)
    truth = np.zeros((96, 96), np.uint8)
    truth[:, 48:] = 1
    truth[20:30] = 0
    image = labeled_image(100 * truth + 20 * rng.normal(size=truth.shape))
    strokes = draw_strokes(labeled_image(truth), strokes_per_phase=15, length=30)
    segmenter = NetworkSegmenter(training=QUICK).fit(image, strokes)
    assert segmenter.card_["sections"]["planes"] == ("yx",)
    assert segmenter.card_["sections"]["context"] == 0
    volume = labeled_image(100 * np.stack([truth] * 3) + 20 * rng.normal(size=(3, *truth.shape)))
    labels = segmenter.predict(volume)
    assert labels.dims == ("z", "y", "x")
    assert np.mean(labels.values == truth) > 0.97
    assert np.mean(segmenter.predict(image).values == truth) > 0.97


def test_a_network_of_volumes_refuses_a_single_slice(fitted):
    with pytest.raises(InputError, match="planes='yx'"):
        fitted.predict(np.zeros((64, 64)))


@pytest.mark.parametrize(
    ("images", "annotations", "error", "message"),
    [
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 9), np.uint8), AxesError, "the shape of the images"),
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 8), np.int64), InputError, "must be uint8"),
        (np.zeros((2, 8, 8)), np.full((2, 8, 8), 255, np.uint8), InputError, "at least two phases"),
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 8), np.uint8), InputError, "at least two phases"),
        (np.zeros(8), np.zeros(8, np.uint8), AxesError, "2 to 4 dims"),
        (np.zeros((2, 8, 8), complex), np.zeros((2, 8, 8), np.uint8), InputError, "real numbers"),
        (np.zeros((0, 8, 8)), np.zeros((0, 8, 8), np.uint8), InputError, "must not be empty"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(images, annotations, error, message):
    with pytest.raises(error, match=message):
        NetworkSegmenter().fit(images, annotations)


def test_an_annotated_value_that_is_no_phase_is_refused(cell, marks):
    with pytest.raises(PhaseError, match="Add these ids"):
        NetworkSegmenter({"electrolyte": 0, "electrode": 1}).fit(cell.image, marks)


def test_what_is_not_fitted_says_so():
    with pytest.raises(InputError, match="must be fitted first"):
        NetworkSegmenter().predict(np.zeros((8, 8, 8)))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"classes": [0, 77]},
        {"sections": {"planes": ["qq"]}},
        {"network": {"channels": "many"}},
        {"temperature": 0},
        {"volume_shift": [1.0]},
        {"training": None},
        {"phases": []},
    ],
)
def test_a_card_with_a_wrong_field_is_refused(fitted, tmp_path, change):
    fitted.save(tmp_path / "network")
    file = tmp_path / "network" / "card.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(FileError):
        NetworkSegmenter.load(tmp_path / "network")
