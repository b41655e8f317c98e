"""``operando label``: what was done on stdout, talk on stderr, and no guess about whose file it is."""

import json

import numpy as np
import pytest
import tifffile
import yaml
from in_process import operando

from operando import io, learn, segmentation
from operando.core.axes import labeled_image
from operando.core.phases import CELL

SHAPE = (2, 24, 16, 16)


def done(*arguments, cwd):
    result = operando(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def failed(*arguments, cwd, code=1):
    result = operando(*arguments, cwd=cwd)
    assert result.returncode == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


@pytest.fixture
def folder(tmp_path):
    """An image, and labels painted on one of its cross-sections in napari."""
    rng = np.random.default_rng(0)
    truth = np.zeros(SHAPE, np.uint8)
    truth[:, :6] = truth[:, -6:] = CELL["electrode"]
    gray = np.array([1.0, 0.5])[truth] + 0.01 * rng.standard_normal(SHAPE)
    io.save_image(labeled_image(gray.astype(np.float32), voxel_size_um=1.0, t=[0.0, 1.0]), tmp_path / "cell.zarr")
    painted = np.zeros(SHAPE, np.int32)
    painted[0, :, 4] = truth[0, :, 4] + 1
    tifffile.imwrite(tmp_path / "Labels.tif", painted)
    return tmp_path


def begin(folder):
    return done("label", "import", "log.jsonl", "Labels.tif", "--convention", "napari", "--image", "cell.zarr",
                "--who", "Ada", cwd=folder)  # fmt: skip


def test_painted_labels_become_a_log_and_what_was_done_is_said(folder):
    shown = begin(folder)
    assert "log.jsonl: 2 marks appended" in shown
    assert "electrode" in shown
    log = io.read_log(folder / "log.jsonl")
    assert {(mark.phase, mark.plane, mark.index, mark.who) for mark in log.marks} == {
        ("electrolyte", "zx", 4, "Ada"),
        ("electrode", "zx", 4, "Ada"),
    }


def test_importing_twice_appends_only_what_is_new(folder):
    begin(folder)
    again = ("label", "import", "log.jsonl", "Labels.tif", "--convention", "napari", "--json")
    assert json.loads(done(*again, cwd=folder))["marks"] == 0
    painted = tifffile.imread(folder / "Labels.tif")
    painted[0, :3, 4] = 0
    painted[0, 10, 4, :5] = 5
    tifffile.imwrite(folder / "Labels.tif", painted)
    rows = json.loads(done(*again, cwd=folder))["phases"]
    assert [(row["phase"], row["voxels"]) for row in rows] == [("pit", 5)]
    rows = json.loads(done(*again, "--erase", cwd=folder))["phases"]
    assert [(row["phase"], row["voxels"]) for row in rows] == [("(erased)", 3 * 16)]


def test_whose_file_it_is_must_be_said(folder):
    assert "operando, fiji, napari, ilastik, dragonfly" in failed(
        "label", "import", "log.jsonl", "Labels.tif", "--image", "cell.zarr", cwd=folder, code=2
    )
    assert "Did you mean 'napari'" in failed(
        "label", "import", "log.jsonl", "Labels.tif", "--image", "cell.zarr", "--convention", "napary", cwd=folder
    )
    assert not (folder / "log.jsonl").exists()


def test_a_new_log_needs_the_image_and_an_old_one_refuses_another(folder):
    said = failed("label", "import", "log.jsonl", "Labels.tif", "--convention", "napari", cwd=folder)
    assert "--image" in said
    begin(folder)
    io.save_image(labeled_image(np.zeros((2, 24, 16, 17), np.float32), voxel_size_um=1.0), folder / "other.zarr")
    assert "begin another log" in failed(
        "label", "import", "log.jsonl", "Labels.tif", "--convention", "napari", "--image", "other.zarr", cwd=folder
    )


def test_masks_are_named_one_by_one(folder):
    mask = np.zeros(SHAPE[1:], np.uint8)
    mask[8:10, 3] = 255
    tifffile.imwrite(folder / "pits.tif", mask)
    begin(folder)
    out = done("label", "import", "log.jsonl", "--mask", "pit=pits.tif", "--scan", "1", "--json", cwd=folder)
    assert json.loads(out)["phases"] == [{"phase": "pit", "marks": 1, "voxels": 32, "scans": "1"}]
    assert "NAME=VALUE" in failed("label", "import", "log.jsonl", "--mask", "pits.tif", cwd=folder, code=2)
    assert "either a label image or masks" in failed("label", "import", "log.jsonl", cwd=folder, code=2)


def test_what_is_exported_is_imported_again_unchanged(folder):
    begin(folder)
    before = io.replay(io.read_log(folder / "log.jsonl")).values
    for convention, name in (("fiji", "out"), ("ilastik", "out.h5"), ("dragonfly", "out.tif"), ("operando", "a.zarr")):
        shown = json.loads(done("label", "export", "log.jsonl", name, "--convention", convention, "--json", cwd=folder))
        assert shown["unlabeled"] == (255 if convention == "operando" else 0)
        new = ("label", "import", f"{convention}.jsonl", name, "--convention", convention, "--image", "cell.zarr")
        done(*new, cwd=folder)
        np.testing.assert_array_equal(io.replay(io.read_log(folder / f"{convention}.jsonl")).values, before)
    assert "overwrite" in failed("label", "export", "log.jsonl", "out", "--convention", "fiji", cwd=folder)


def test_a_log_is_exported_as_it_was_and_scan_by_scan(folder):
    begin(folder)
    done("label", "export", "log.jsonl", "a.tif", "--until", "1", "--scan", "0", cwd=folder)
    assert set(np.unique(io.open_image(folder / "a.tif"))) == {0, 255}
    assert io.open_image(folder / "a.tif").dims == ("z", "y", "x")
    assert "from 0 to 1" in failed("label", "export", "log.jsonl", "b.tif", "--scan", "2", cwd=folder)


def test_the_log_shows_who_labeled_what(folder):
    begin(folder)
    shown = done("label", "log", "log.jsonl", cwd=folder)
    assert "2 x 24 x 16 x 16 (t, z, y, x), scans labeled [0]" in shown
    assert "Ada" in shown
    told = json.loads(done("label", "log", "log.jsonl", "--json", cwd=folder))
    assert [row for row in told["labeled"] if row["voxels"]] == [
        {"phase": "electrolyte", "voxels": 12 * 16},
        {"phase": "electrode", "voxels": 12 * 16},
    ]
    assert told["people"][0]["marks"] == 2


def test_who_asks_what_a_log_is_is_sent_to_the_verb_that_reads_it(folder):
    begin(folder)
    assert "Read it with: operando label log log.jsonl" in failed("info", "log.jsonl", cwd=folder)


def test_a_line_that_was_not_finished_is_said(folder):
    begin(folder)
    path = folder / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    result = operando("label", "log", "log.jsonl", cwd=folder)
    assert result.returncode == 0
    assert "lines 3 were not written to their end" in result.stderr


def test_a_recipe_that_turns_the_images_is_labeled_as_they_are_given(folder):
    recipe = {"recipe": "cell-ct", "inputs": {"images": "cell.zarr", "electrode_normal": "y"}, "output": "run"}
    (folder / "run.yaml").write_text(yaml.safe_dump(recipe))
    done("label", "import", "log.jsonl", "Labels.tif", "--convention", "napari", "--image", "run.yaml", cwd=folder)
    assert io.read_log(folder / "log.jsonl").shape == SHAPE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a network that has seen a few steps."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    truth = np.zeros((3, *SHAPE[1:]), np.uint8)
    truth[:, :6] = truth[:, -6:] = CELL["electrode"]
    gray = np.array([1.0, 0.5])[truth] + 0.05 * rng.standard_normal(truth.shape)
    series = labeled_image(gray.astype(np.float32), voxel_size_um=1.0, t=[0.0, 1.0, 2.0])
    marks = series.copy(data=np.full(truth.shape, 255, np.uint8))
    marks[0, :, 4] = truth[0, :, 4]
    io.save_image(series, folder / "cell.zarr")
    io.save_image(marks, folder / "marks.tif")
    network = segmentation.NetworkSegmenter(CELL, training=learn.TrainingSettings(steps=2), validation=False)
    network.fit(series, marks).save(folder / "run" / "model")
    recipe = {
        "recipe": "cell-ct",
        "inputs": {"images": "../cell.zarr", "region": {"x": [2, 14]}},
        "segment": {"annotations": "../marks.tif"},
        "output": ".",
    }
    (folder / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def test_places_are_suggested_in_the_voxels_of_the_scans_as_recorded(run):
    rows = json.loads(done("label", "suggest", "run", "--count", "5", "--json", cwd=run))
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        assert (row["scan"], row["plane"], row["index"]) != (0, "zx", 4)
        assert row["x_start"] >= 2
        assert row["x_stop"] <= 14
        assert row["index"] == (row["y_start"] if row["plane"] == "zx" else row["x_start"])


def test_suggestions_can_be_limited_to_some_scans_and_made_of_windows(run):
    shown = done("label", "suggest", "run", "--scans", "2", "--unit", "patch", cwd=run)
    assert "label these next" in shown
    rows = json.loads(done("label", "suggest", "run", "--scans", "1,2", "--json", cwd=run))
    assert {row["scan"] for row in rows} <= {1, 2}
    assert "0 to 2" in failed("label", "suggest", "run", "--scans", "5", cwd=run, code=2)


def test_annotations_are_turned_as_the_images_before_places_are_suggested(run, tmp_path):
    recipe = yaml.safe_load((run / "run" / "recipe.yaml").read_text())
    recipe["inputs"] = {"images": str(run / "cell.zarr"), "electrode_normal": "y"}
    recipe["segment"] = {"annotations": str(run / "marks.tif"), "model": str(run / "run" / "model")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    rows = json.loads(done("label", "suggest", tmp_path, "--scans", "0", "--count", "40", "--json", cwd=tmp_path))
    assert max(row["z_stop"] for row in rows) == SHAPE[2]
    assert max(row["y_stop"] for row in rows) == SHAPE[1]


def test_who_labels_registered_scans_is_told_places_in_these(run, tmp_path):
    recipe = yaml.safe_load((run / "run" / "recipe.yaml").read_text())
    recipe["inputs"] = {"images": str(run / "cell.zarr")}
    recipe["segment"] = {"model": str(run / "run" / "model"), "annotations_frame": "reference"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    field = {"z": [1, 23], "y": [2, 16], "x": [0, 15]}
    (tmp_path / "motion.json").write_text(json.dumps({"field": field}))
    kept = {dim: slice(*ends) for dim, ends in field.items()}
    io.save_image(io.open_image(run / "cell.zarr").isel(kept), tmp_path / "registered.zarr")
    io.save_image(io.open_image(run / "marks.tif").isel(kept), tmp_path / "cut.tif")
    found = []
    for marks in (tmp_path / "cut.tif", run / "marks.tif"):
        command = ("label", "suggest", tmp_path, "--annotations", marks, "--scans", "0", "--count", "40", "--json")
        found.append(json.loads(done(*command, cwd=tmp_path)))
    assert found[0] == found[1]
    assert max(row["z_stop"] for row in found[0]) == 22
    assert not [row for row in found[0] if (row["plane"], row["index"]) == ("zx", 4 - 2)]


def test_suggestions_need_a_trained_network(run, tmp_path):
    recipe = yaml.safe_load((run / "run" / "recipe.yaml").read_text())
    recipe["inputs"]["images"] = str(run / "cell.zarr")
    recipe["segment"]["annotations"] = str(run / "marks.tif")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert "Run the recipe with segment.method: network first" in failed("label", "suggest", tmp_path, cwd=tmp_path)
