"""Huang's loop: what is learned from which slices, how predictions are merged, and what it remembers."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import FileError, InputError
from operando.core.phases import CELL, PhaseScheme
from operando.learn import NetworkDesign, TrainingSettings
from operando.segmentation import IterativeSegmenter, NetworkSegmenter, Segmenter, label_slices
from operando.segmentation.hand_labels import sort_labels
from operando.segmentation.material import gather_series
from operando.segmentation.partial_models import PartialModels, phase_groups

TINY = NetworkDesign(channels=(4, 8), strides=(2,), patch=(32, 32))
OPTIONS = {"network": TINY, "training": TrainingSettings(steps=6), "partial_steps": 3, "context": 1, "scans": 2}


def annotate(cell):
    """In-plane slices of three scans, cross-sections of three."""
    labels = cell.labels
    flat = label_slices(labels, slices=[9, 11, 29, 31], scans=[1, 2, 3], axis="z")
    upright = label_slices(labels, slices=3, scans=[1, 2, 3], axis="y")
    return xr.where(upright != 255, upright, flat).astype(np.uint8).assign_coords(labels.coords)


@pytest.fixture(scope="module")
def fitted(cell):
    return IterativeSegmenter(CELL, **OPTIONS, validation=[2]).fit(cell.image, annotate(cell))


def test_in_plane_slices_are_told_from_cross_sections_by_where_labels_lie(cell):
    marks = annotate(cell)
    material, _ = gather_series(cell.image, marks, CELL, where="test")
    hand = sort_labels(material[0], {2})
    assert np.argwhere(hand.in_plane).tolist() == [[t, z] for t in (1, 2, 3) for z in (9, 11, 29, 31)]
    assert hand.voxels(hand.slices).sum() == 2 * 4 * 48 * 48
    in_plane = hand.where(hand.slices)
    assert (in_plane[2] == 255).all()
    assert (in_plane[1, 9] == cell.labels.values[1, 9]).all()
    rest = hand.where(hand.rest)
    assert rest[1, 9].min() == 255
    assert (np.minimum(in_plane, rest)[[0, 1, 3]] == marks.values[[0, 1, 3]]).all()


def test_phases_are_grouped_by_role_and_confined_to_the_half_they_were_seen_in():
    counts = np.zeros((255, 20), int)
    counts[CELL["electrolyte"], 5:15] = 9
    counts[CELL["electrode"], [1, 18]] = 9
    counts[CELL["deposited"], 3] = 9
    counts[CELL["pit"], 17] = 9
    groups = phase_groups(CELL, [counts])
    assert dict(groups.members) == {"background": (0,), "void": (4,), "material": (1, 2)}
    assert groups.single == (1, 2)
    assert dict(groups.halves) == {2: "low"}
    assert groups.models == 3


def test_in_plane_slices_of_one_group_teach_no_initial_model():
    counts = np.zeros((255, 4), int)
    counts[[1, 2]] = 5
    with pytest.raises(InputError, match="at least two of background, voids and material"):
        phase_groups(CELL, [counts])


class _Says:
    """Stands for a network that says the same everywhere."""

    def __init__(self, *chances):
        self.chances = chances


def test_the_surest_phase_wins_doubt_stays_open_and_depth_decides_the_side(monkeypatch):
    import operando.segmentation.partial_models as module

    def told(network, volume, core):
        sizes = [c.stop - c.start for c in core]
        return np.broadcast_to(np.array(network.chances)[:, None, None, None], (len(network.chances), *sizes))

    monkeypatch.setattr(module, "chances_in", told)
    counts = np.zeros((255, 10), int)
    counts[0, 5], counts[2, 2], counts[5, 8] = 9, 9, 9
    groups = phase_groups(CELL, [counts])
    volume, core = np.zeros((10, 4, 4)), (slice(0, 10), slice(0, 4), slice(0, 4))

    def labels(initial, deposited, redeposited, confidence=0.6):
        own = {2: _Says(1 - deposited, deposited), 5: _Says(1 - redeposited, redeposited)}
        return PartialModels(groups, _Says(*initial), own, confidence).labels(volume, core)[:, 0, 0].tolist()

    # Both binary models claim everything: the low half is deposited, the high half redeposited.
    assert labels((0.1, 0.9), 0.9, 0.9) == [2] * 5 + [5] * 5
    # The initial model sees background: nothing a binary model says can outweigh it.
    assert labels((0.9, 0.1), 0.9, 0.9) == [0] * 10
    # Background against deposited at even odds: nobody is sure.
    assert labels((0.5, 0.5), 1.0, 0.0)[:5] == [255] * 5
    assert labels((0.5, 0.5), 1.0, 0.0)[5:] == [0] * 5


def test_it_is_a_segmenter(fitted):
    assert isinstance(fitted, Segmenter)


def test_history_says_what_was_trained_on_what(fitted, cell):
    stages = [entry["stage"] for entry in fitted.history_]
    assert stages == ["partial"] * 5 + ["merge", "cross-section", "refine"]
    models = [entry["model"] for entry in fitted.history_[:5]]
    assert models == ["background, void, material", "electrode", "deposited", "dendrite", "redeposited"]
    assert {entry["hand_voxels"] for entry in fitted.history_[:5]} == {2 * 4 * 48 * 48}
    merge, cross, refine = fitted.history_[5:]
    assert 0 < merge["pseudo_voxels"] <= 2 * 40 * 48 * 48
    assert cross["hand_voxels"] == int((annotate(cell).isel(t=[1, 3]) != 255).sum())
    assert refine["trained_on"] == "hand-labeled cross-sections"
    assert refine["hand_voxels"] == 3 * 3 * 36 * 48


def test_every_stage_after_the_partial_models_is_measured_on_held_out_scans(fitted):
    assert all(entry["held_out"] is None for entry in fitted.history_[:5])
    merge, *networks = fitted.history_[5:]
    assert 0 <= merge["held_out"]["answered"] < 1
    for entry in networks:
        assert 0 <= entry["held_out"]["macro"] <= 1
        assert entry["held_out"]["answered"] == 1
    assert fitted.card_["split"]["held_out_scans"] == [2]
    assert fitted.metrics_["voxels"] > 0


def test_the_merge_leaves_doubtful_voxels_unlabeled(fitted, cell):
    voxels = fitted.history_[5]["pseudo_voxels"]
    strict = IterativeSegmenter(CELL, **OPTIONS, validation=[2], confidence=0.99).fit(cell.image, annotate(cell))
    assert strict.history_[5]["pseudo_voxels"] < voxels


def test_predictions_have_the_form_of_the_image(fitted, cell):
    labels = fitted.predict(cell.image[0])
    assert labels.dims == ("z", "y", "x")
    assert set(np.unique(labels)) <= set(CELL.ids)
    np.testing.assert_allclose(fitted.predict_probability(cell.image[0]).sum("phase"), 1, rtol=1e-5)


def test_a_saved_loop_predicts_the_same_and_remembers_its_history(fitted, cell, tmp_path):
    fitted.save(tmp_path / "loop")
    loaded = IterativeSegmenter.load(tmp_path / "loop")
    np.testing.assert_array_equal(loaded.predict(cell.image[1]), fitted.predict(cell.image[1]))
    assert [entry["stage"] for entry in loaded.history_] == [entry["stage"] for entry in fitted.history_]
    assert loaded.metrics_["macro"] == pytest.approx(fitted.metrics_["macro"])
    with pytest.raises(FileError, match="NetworkSegmenter"):
        IterativeSegmenter.load(tmp_path / "loop" / "network")


def test_the_caller_hears_of_every_step_and_measures_before_held_out_scans_are_learned(cell):
    steps, seen = [], []
    IterativeSegmenter(
        CELL,
        **OPTIONS,
        validation=[2],
        progress=lambda done, total, loss: steps.append((done, total)),
        validated=lambda network: seen.append(network),
    ).fit(cell.image, annotate(cell))
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, total in steps} == {len(steps)}
    assert len(seen) == 1
    assert isinstance(seen[0], NetworkSegmenter)


def test_without_held_out_scans_nothing_is_measured(cell):
    loop = IterativeSegmenter(CELL, **OPTIONS, validation=False).fit(cell.image, annotate(cell))
    assert all(entry["held_out"] is None for entry in loop.history_)
    assert loop.metrics_ == {}


def test_several_cells_are_learned_from_together(cell):
    marks = annotate(cell)
    loop = IterativeSegmenter(CELL, **OPTIONS).fit([cell.image, cell.image[1:]], [marks, marks[1:]])
    assert loop.history_[0]["hand_voxels"] == 2 * 3 * 4 * 48 * 48


def test_both_kinds_of_slices_are_needed(cell):
    flat = label_slices(cell.labels, slices=[9, 31], axis="z")
    upright = label_slices(cell.labels, slices=3, axis="y")
    for marks in (flat, upright):
        with pytest.raises(InputError, match="in-plane slices .* and cross-sections must be annotated"):
            IterativeSegmenter(CELL, **OPTIONS).fit(cell.image, marks)


def test_a_phase_that_only_held_out_scans_show_is_refused_before_anything_is_trained(cell):
    marks = annotate(cell)
    values = marks.values.copy()
    values[[1, 3]] = np.where(values[[1, 3]] == CELL["pit"], 255, values[[1, 3]])
    with pytest.raises(InputError, match=r"got \['pit'\] in held-out scans alone"):
        IterativeSegmenter(CELL, **OPTIONS, validation=[2]).fit(cell.image, marks.copy(data=values))


def test_phases_without_voids_need_no_void_model(cell):
    scheme = PhaseScheme({"electrolyte": 0, "electrode": 1})
    labels = cell.labels.copy(data=(cell.labels.values != 0).astype(np.uint8))
    flat = label_slices(labels, slices=[11, 31], axis="z")
    upright = label_slices(labels, slices=3, axis="y")
    marks = xr.where(upright != 255, upright, flat).astype(np.uint8).assign_coords(labels.coords)
    loop = IterativeSegmenter(scheme, **OPTIONS, validation=False).fit(cell.image, marks)
    assert [entry.get("model") for entry in loop.history_ if entry["stage"] == "partial"] == ["background, material"]


def test_it_must_be_fitted_first_and_settings_must_make_sense(tmp_path):
    with pytest.raises(InputError, match="fitted first"):
        IterativeSegmenter().predict(np.zeros((8, 8, 8)))
    for options in ({"confidence": 1.0}, {"box": 4}, {"partial_steps": 0}):
        with pytest.raises(InputError, match="IterativeSegmenter"):
            IterativeSegmenter(**options)


def test_a_network_goes_on_from_the_weights_of_another(cell):
    options = {"network": TINY, "validation": False, "context": 1}
    marks = label_slices(cell.labels, slices=2)
    first = NetworkSegmenter(CELL, training=TrainingSettings(steps=5), **options).fit(cell.image, marks)
    nearly = TrainingSettings(steps=1, learning_rate=1e-9)
    second = NetworkSegmenter(CELL, training=nearly, start=first, **options).fit(cell.image, marks)
    theirs, ours = (n._fitted.network.state_dict() for n in (first, second))
    weights = [name for name in theirs if name.endswith("weight")]
    assert all(float((theirs[name] - ours[name]).abs().max()) < 1e-6 for name in weights)
    with pytest.raises(InputError, match="start must know the classes"):
        NetworkSegmenter(CELL, training=nearly, start=first, **options).fit(
            cell.image, label_slices(cell.labels, slices=2, scans=[0])
        )
