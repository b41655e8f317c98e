from itertools import combinations, pairwise

import numpy as np
import pytest

from operando.core.errors import FileError, InputError, PhaseError
from operando.core.phases import CELL
from operando.segmentation import NetworkSegmenter, Otsu, agreement, multi_otsu


def within_class_variance(counts, starts):
    edges = [0, *starts, len(counts)]
    total = 0.0
    for low, high in pairwise(edges):
        weight, place = counts[low:high], np.arange(low, high)
        if weight.sum() == 0:
            return np.inf
        total += (weight * (place - np.average(place, weights=weight)) ** 2).sum()
    return total


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_thresholds_are_the_best_of_all_combinations(classes):
    counts = np.random.default_rng(classes).poisson(3, size=16).astype(float)
    best = min(within_class_variance(counts, starts) for starts in combinations(range(1, 16), classes - 1))
    assert within_class_variance(counts, multi_otsu(counts, classes=classes)) == pytest.approx(best)


def test_thresholds_agree_with_scikit_image():
    from skimage.filters import threshold_multiotsu

    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(center, 3, 4000) for center in (20, 60, 110)]).round().clip(0, 127)
    counts = np.bincount(values.astype(int), minlength=128)
    expected = threshold_multiotsu(hist=(counts, np.arange(128)), classes=3)
    # Thresholds may differ inside an empty stretch of the histogram, but not in what they separate.
    filled = np.flatnonzero(counts)
    ours = np.digitize(filled, multi_otsu(counts, classes=3))
    assert np.array_equal(ours, np.digitize(filled, expected, right=True))


def test_more_classes_than_gray_values_are_refused():
    with pytest.raises(InputError, match="Use fewer classes"):
        multi_otsu(np.array([3, 0, 4]), classes=3)


def test_distinct_grays_are_separated_whatever_their_order():
    truth = np.random.default_rng(0).integers(0, 3, (2, 10, 12, 14)).astype(np.uint8)
    image = np.array([5.0, 1.0, 3.0])[truth]
    phases = {"a": 0, "b": 1, "c": 2}
    marks = np.where(np.random.default_rng(1).random(truth.shape) < 0.1, truth, 255).astype(np.uint8)
    labels = Otsu(phases).fit(image, marks).predict(image)
    assert np.array_equal(labels.values, truth)


def test_without_annotations_bins_are_numbered_from_the_darkest():
    image = np.array([[9.0, 1.0, 5.0]])
    segmenter = Otsu(classes=3).fit(image)
    assert segmenter.predict(image).values.tolist() == [[2, 0, 1]]
    assert segmenter.phases_.names == ("class_0", "class_1", "class_2")


def test_more_phases_than_bins_leave_some_unpredicted():
    image = np.array([[0.0, 0.1, 9.0, 9.1]])
    marks = np.array([[0, 0, 1, 2]], np.uint8)
    labels = Otsu({"a": 0, "b": 1, "c": 2}, classes=2).fit(image, marks).predict(image)
    assert set(np.unique(labels)) in ({0, 1}, {0, 2})


def test_more_bins_than_phases_give_the_rest_to_the_phase_most_in_them():
    image = np.array([[0.0, 4.0, 9.0, 9.1]])
    marks = np.array([[0, 0, 1, 1]], np.uint8)
    assert Otsu(classes=3).fit(image, marks).predict(image).values.tolist() == [[0, 0, 1, 1]]


def test_probability_is_one_for_the_label_and_lazy_images_stay_lazy(cell):
    segmenter = Otsu(sample=50_000).fit(cell.image, cell.labels)
    lazy = cell.image.chunk({"t": 1, "z": 20})
    labels, chances = segmenter.predict(lazy), segmenter.predict_probability(lazy)
    assert labels.chunks is not None
    assert chances.chunks is not None
    assert chances.dims == ("t", "phase", "z", "y", "x")
    assert chances.dtype == np.float32
    assert np.array_equal(labels, segmenter.predict(cell.image))
    found = np.array(segmenter.phases_.ids)[chances.values.argmax(axis=1)]
    assert np.array_equal(found, labels)
    assert np.array_equal(chances.sum("phase"), np.ones(cell.image.shape))


def test_a_missing_voxel_stays_missing():
    image = np.array([[0.0, np.nan, 9.0]])
    segmenter = Otsu(classes=2).fit(image)
    assert segmenter.predict(image).values.tolist() == [[0, 255, 1]]
    assert segmenter.predict_probability(image).values[:, 0, 1].tolist() == [0, 0]


def test_thresholds_do_not_tell_phases_of_one_gray_apart(cell):
    scores = agreement(Otsu().fit(cell.image, cell.labels).predict(cell.image), cell.labels, CELL)
    assert float(scores.macro) < 0.5


def test_otsu_survives_saving(cell, tmp_path):
    segmenter = Otsu(classes=4).fit(cell.image, cell.labels)
    segmenter.save(tmp_path / "otsu")
    again = Otsu.load(tmp_path / "otsu")
    assert again.phases_ == segmenter.phases_
    assert np.array_equal(again.predict(cell.image), segmenter.predict(cell.image))


def test_a_network_card_is_no_otsu_card(tmp_path, cell):
    Otsu().fit(cell.image, cell.labels).save(tmp_path / "otsu")
    with pytest.raises(FileError, match="Load it with its own class"):
        NetworkSegmenter.load(tmp_path / "otsu")


@pytest.mark.parametrize("change", [{"thresholds": [2, 1]}, {"bin_ids": [0, 1]}, {"phases": 3}, {"settings": {}}])
def test_a_card_with_a_wrong_field_is_refused(tmp_path, cell, change):
    import json

    Otsu(classes=3).fit(cell.image, cell.labels).save(tmp_path / "otsu")
    file = tmp_path / "otsu" / "card.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(FileError, match="cannot be used"):
        Otsu.load(tmp_path / "otsu")


def test_what_is_not_fitted_says_so():
    with pytest.raises(InputError, match="must be fitted first"):
        Otsu().predict(np.zeros((2, 2)))
    with pytest.raises(InputError, match="must be fitted first"):
        Otsu().save("nowhere")


def test_an_annotated_value_that_is_no_phase_is_refused(cell):
    with pytest.raises(PhaseError, match="Add these ids"):
        Otsu({"electrolyte": 0, "electrode": 1}).fit(cell.image, cell.labels)


def test_bins_without_a_phase_each_are_refused_without_annotations():
    with pytest.raises(InputError, match="a phase per bin"):
        Otsu({"a": 0, "b": 1}, classes=3).fit(np.arange(9.0).reshape(3, 3))
