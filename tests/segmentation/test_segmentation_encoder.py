"""The network, the split and the confidence of Dixit (2020)."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.learn import NetworkDesign, TrainingSettings
from operando.segmentation import (
    NetworkSegmenter,
    Otsu,
    agreement,
    confidence,
    confident_fraction,
    slice_split,
)

TINY = NetworkDesign(channels=(8, 8, 16, 16, 32, 512), strides=(2,) * 5, patch=(32, 64), encoder="resnet10")
PHASES = {"electrode": 1, "pore": 2}
QUICK = TrainingSettings(steps=40, batch=4, learning_rate=2e-3)


def lithium(*, seed=0, share=0.12, shape=(20, 72, 64)):
    """A slab with dark blobs, slow shading and noise."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2.5)
    pore = field < np.quantile(field, share)
    shade = ndimage.gaussian_filter(rng.normal(size=shape), 12)
    image = np.where(pore, 0.0, 1.0) + 0.6 * shade / shade.std() + 0.2 * rng.normal(size=shape)
    labels = np.where(pore, 2, 1).astype(np.uint8)
    return labeled_image(image.astype(np.float32), voxel_size_um=2.0), labeled_image(labels, voxel_size_um=2.0)


@pytest.fixture(scope="module")
def slab():
    return lithium()


@pytest.fixture(scope="module")
def split(slab):
    return slice_split(slab[1], train=40, validation=16, gap=8)


@pytest.fixture(scope="module")
def fitted(slab, split):
    training, validation = split
    segmenter = NetworkSegmenter(PHASES, network=TINY, planes="zx", context=1, training=QUICK, windows=40)
    return segmenter.fit(slab[0], training, validation=validation)


def test_the_encoder_learns_what_thresholds_cannot(fitted):
    image, truth = lithium(seed=1)
    scores = agreement(fitted.predict(image), truth, PHASES)
    otsu = Otsu(PHASES).fit(image, truth).predict(image)
    assert float(scores.iou[1]) > float(agreement(otsu, truth, PHASES).iou[1]) + 0.1


def test_a_saved_encoder_predicts_the_same(slab, fitted, tmp_path):
    fitted.save(tmp_path / "network")
    again = NetworkSegmenter.load(tmp_path / "network")
    assert again.network == TINY
    assert np.array_equal(again.predict_probability(slab[0]), fitted.predict_probability(slab[0]))
    assert json.loads((tmp_path / "network" / "card.json").read_text())["network"]["encoder"] == "resnet10"


def test_lazy_images_and_blocks_do_not_change_the_labels(slab, fitted):
    whole = fitted.predict(slab[0])
    segmenter = NetworkSegmenter(PHASES, network=TINY, block=(20, 17, 40))
    segmenter.__dict__ |= {key: value for key, value in fitted.__dict__.items() if key != "block"}
    lazy = segmenter.predict(slab[0].chunk({"y": 11}))
    assert lazy.chunks is not None
    assert np.array_equal(lazy, whole)


def test_given_validation_is_never_trained_on_and_said_so_on_the_card(slab, split, fitted):
    training, validation = split
    assert {entry["stage"] for entry in fitted.history_} == {"final"}
    assert fitted.card_["split"]["kind"] == "given"
    assert fitted.metrics_["voxels"] == int((validation != 255).sum())
    # Nothing in it can have changed the weights.
    other = validation.where(validation == 255, 3 - validation).astype(np.uint8)
    settings = TrainingSettings(steps=2, batch=2)
    one, two = (
        NetworkSegmenter(PHASES, network=TINY, planes="zx", training=settings).fit(slab[0], training, validation=marks)
        for marks in (validation, other)
    )
    states = [network._fitted.network.state_dict() for network in (one, two)]
    assert all(bool((states[0][name] == states[1][name]).all()) for name in states[0])
    assert one.metrics_["accuracy"] == pytest.approx(1 - two.metrics_["accuracy"], abs=0.2)


def test_given_validation_may_be_measured_on_before_anything_else_happens(slab, split):
    seen = []
    NetworkSegmenter(
        PHASES, network=TINY, planes="zx", training=TrainingSettings(steps=1, batch=1), validated=seen.append
    ).fit(slab[0], split[0], validation=split[1])
    assert len(seen) == 1
    assert seen[0].metrics_["iou"]


def test_validation_of_several_cells_is_given_as_a_list(slab, split):
    settings = TrainingSettings(steps=1, batch=1)
    network = NetworkSegmenter(PHASES, network=TINY, planes="zx", training=settings)
    network.fit([slab[0]] * 2, [split[0]] * 2, validation=[split[1]] * 2)
    assert network.metrics_["voxels"] == 2 * int((split[1] != 255).sum())


def test_a_voxel_cannot_be_trained_on_and_validated(slab, split):
    training, validation = split
    both = validation.where(validation != 255, training).astype(np.uint8)
    network = NetworkSegmenter(PHASES, network=TINY, training=QUICK)
    with pytest.raises(InputError, match=r"for training or for validation, got \d+ voxels in both"):
        network.fit(slab[0], training, validation=both)


def test_validation_shows_no_phase_that_training_lacks(slab, split):
    training, validation = split
    odd = validation.where(validation != 2, 7).astype(np.uint8)
    network = NetworkSegmenter({**PHASES, "dirt": 7}, network=TINY, training=QUICK)
    with pytest.raises(InputError, match="got also \\['dirt'\\]"):
        network.fit(slab[0], training, validation=odd)
    with pytest.raises(AxesError, match=r"fit: validation"):
        network.fit(slab[0], training, validation=validation[:, 1:])


def slices_of(marks, axis="y"):
    return np.flatnonzero((marks != 255).any([dim for dim in marks.dims if dim != axis])).tolist()


def test_validation_slices_lie_in_one_piece_apart_from_those_trained_on(slab):
    training, validation = slice_split(slab[1], train=30, validation=20, gap=6)
    assert slices_of(validation) == list(range(52, 72))
    assert len(slices_of(training)) == 30
    assert max(slices_of(training)) < 52 - 6
    assert np.array_equal(training.isel(y=slices_of(training)), slab[1].isel(y=slices_of(training)))


def test_without_a_gap_in_mind_slices_are_drawn_at_random_and_neighbor_each_other(slab):
    training, validation = slice_split(slab[1], train=50, validation=12, gap=None, seed=1)
    trained = set(slices_of(training))
    assert len(trained) == 50
    assert len(slices_of(validation)) == 12
    assert not trained & set(slices_of(validation))
    assert sum(bool({i - 1, i + 1} & trained) for i in slices_of(validation)) > 8
    again = slice_split(slab[1], train=50, validation=12, gap=None, seed=1)[1]
    assert np.array_equal(validation, again)
    assert slices_of(slice_split(slab[1], train=50, validation=12, gap=None, seed=2)[1]) != slices_of(validation)


def test_one_scan_of_a_series_is_split_along_any_axis(slab):
    labels = xr.concat([slab[1]] * 3, dim="t").assign_coords(t=[0.0, 1.0, 2.0])
    lazy = slice_split(labels.chunk({"t": 1, "y": 30}), train=30, validation=10, axis="x", scan=1)
    for marks in lazy:
        assert marks.chunks is not None
        assert marks.dims == labels.dims
        assert marks.dtype == np.uint8
        assert (marks[[0, 2]] == 255).all()
    assert slices_of(lazy[1][1], "x") == list(range(54, 64))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, InputError, r"800 training and 200 validation slices with 8 between them are wanted, of 72"),
        ({"train": 70, "validation": 5, "gap": 0}, InputError, "Use train=58 and validation=14"),
        ({"train": 0}, InputError, "Use train="),
        ({"gap": -1}, InputError, "Use train="),
        ({"scan": 1}, InputError, "scan must lie from 0 to 0"),
        ({"axis": "w"}, AxesError, "no spatial axis 'w'"),
    ],
)
def test_slices_that_are_not_there_are_refused_with_what_would_fit(slab, wrong, error, message):
    with pytest.raises(error, match=message):
        slice_split(slab[1], **wrong)


def test_confidence_is_the_largest_probability_and_keeps_the_grid(slab, fitted):
    chances = fitted.predict_probability(slab[0])
    sure = confidence(chances)
    assert sure.dims == slab[0].dims
    assert np.array_equal(sure, chances.values.max(axis=0))
    assert float(sure.min()) >= 0.5
    assert sure.attrs["units"] == "1"
    share = confident_fraction(sure)
    assert 0.5 < float(share) < 1
    assert float(confident_fraction(sure, level=0)) == 1
    assert float(share) == pytest.approx(float((sure > 0.8).mean()))


def test_missing_voxels_are_not_counted_as_doubtful():
    sure = labeled_image(np.array([[[0.9, np.nan]], [[0.6, 0.9]], [[np.nan, np.nan]]]), dims=("t", "y", "x"))
    shares = confident_fraction(sure)
    assert shares.dims == ("t",)
    assert shares.values[:2].tolist() == [1.0, 0.5]
    assert np.isnan(shares.values[2])
    lazy = confident_fraction(sure.chunk({"t": 1}))
    assert lazy.chunks is not None
    assert np.array_equal(lazy, shares, equal_nan=True)


def test_a_percentage_is_no_level():
    with pytest.raises(InputError, match="Divide a percentage by 100"):
        confident_fraction(labeled_image(np.ones((2, 2))), level=80)
    with pytest.raises(AxesError, match="phase"):
        confidence(labeled_image(np.ones((2, 2))))
