"""The command line as a user meets it: data on stdout, talk on stderr, exit 0, 1 or 2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from in_process import operando

from operando import io
from operando.core.axes import labeled_image
from operando.core.phases import CELL

VERBS = ("demo", "info", "convert", "new", "check", "estimate", "run", "report", "label")


def in_a_process(*arguments, cwd):
    command = [sys.executable, "-m", "operando.cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def failed(result, *, code=1):
    """One sentence on stderr, nothing on stdout, no traceback."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def image():
    return labeled_image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), voxel_size_um=(2.0, 1.5, 1.5))


def test_every_verb_explains_itself(tmp_path):
    shown = in_a_process("--help", cwd=tmp_path).stdout
    for verb in VERBS:
        assert verb in shown
    for verb in ("info", "run"):
        result = operando(verb, "--help", cwd=tmp_path)
        assert result.returncode == 0
        assert "Usage: " in result.stdout


def test_bad_usage_exits_with_2(tmp_path):
    assert operando("inof", "x", cwd=tmp_path).returncode == 2
    assert operando("info", cwd=tmp_path).returncode == 2
    assert "Did you mean 'cell-ct'" in failed(operando("new", "cellct", "a.yaml", cwd=tmp_path), code=2)
    assert "1.33 or 2,1.33,1.33" in failed(
        operando("convert", "a.tif", "b.zarr", "--voxel-size-um", "small", cwd=tmp_path), code=2
    )


def test_info_prints_headers_for_people_and_for_programs(tmp_path, image):
    io.save_image(image, tmp_path / "cell.tif")
    text = operando("info", "cell.tif", cwd=tmp_path).stdout
    assert "z 2, y 3, x 4" in text
    assert "z 2 um, y 1.5 um, x 1.5 um" in text
    about = json.loads(operando("info", "cell.tif", "--json", cwd=tmp_path).stdout)
    assert about["shape"] == [2, 3, 4]
    assert about["voxel_size"] == {"z": 2.0, "y": 1.5, "x": 1.5}


def test_a_file_that_is_not_there_gets_one_sentence(tmp_path, image):
    io.save_image(image, tmp_path / "cell.tif")
    said = failed(operando("info", "cel.tif", cwd=tmp_path))
    assert said.startswith("operando: ")
    assert "cell.tif" in said


def test_a_traceback_is_shown_only_on_request(tmp_path):
    (tmp_path / "empty.tif").touch()
    failed(operando("info", "empty.tif", cwd=tmp_path))
    for arguments in (("-v", "info", "empty.tif"), ("info", "empty.tif", "-v")):
        assert "Traceback" in operando(*arguments, cwd=tmp_path).stderr


def test_convert_keeps_voxels_and_values_and_does_not_overwrite_unasked(tmp_path, image):
    io.save_image(image, tmp_path / "cell.tif")
    assert operando("convert", "cell.tif", "cell.zarr", cwd=tmp_path).returncode == 0
    np.testing.assert_array_equal(io.open_image(tmp_path / "cell.zarr").values, image.values)
    assert "overwrite" in failed(operando("convert", "cell.tif", "cell.zarr", cwd=tmp_path))
    done = operando("convert", "cell.tif", "cell.zarr", "--overwrite", "--voxel-size-um", "3", cwd=tmp_path)
    assert done.returncode == 0
    assert float(io.open_image(tmp_path / "cell.zarr").z[1]) == 3.0


def test_new_writes_a_template_that_check_reads_and_names_what_is_missing(tmp_path):
    assert operando("new", "cell-ct", "run.yaml", cwd=tmp_path).returncode == 0
    said = failed(operando("check", "run.yaml", cwd=tmp_path))
    assert "3 faults" in said
    assert "annotations.tif" in said
    assert "cell.zarr" in said
    assert "cycler.csv" in said
    assert "exist" in failed(operando("new", "cell-ct", "run.yaml", cwd=tmp_path))


def test_check_lists_every_misspelt_key_at_once(tmp_path):
    operando("new", "cell-ct", "run.yaml", cwd=tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(path.read_text().replace("title:", "titel:").replace("speck_voxels: 30", "speck_voxels: -1"))
    said = failed(operando("check", "run.yaml", cwd=tmp_path))
    assert "titel: unknown key. Did you mean 'title'?" in said
    assert "clean.speck_voxels: input should be greater than or equal to 0, got -1." in said
    result = operando("check", "run.yaml", "--json", cwd=tmp_path)
    assert result.returncode == 1
    assert len(json.loads(result.stdout)["faults"]) == 2


@pytest.fixture(scope="module")
def small_cell(tmp_path_factory) -> Path:
    """A cell small enough to segment by thresholds in a second, with its record, and a recipe."""
    folder = tmp_path_factory.mktemp("cell")
    shape = (3, 24, 16, 16)
    labels = np.zeros(shape, np.uint8)
    labels[:, :6] = labels[:, -6:] = CELL["electrode"]
    labels[1, 6:8] = labels[2, 6:9] = CELL["deposited"]
    rng = np.random.default_rng(0)
    gray = np.array([1.0, 0.5, 0.75, 0, 0, 0])[labels] + 0.003 * rng.standard_normal(shape)
    times = [0.0, 1.0, 2.0]
    series = labeled_image(gray.astype(np.float32), voxel_size_um=1.0, t=times)
    marks = labeled_image(np.where(np.arange(16) % 8 == 4, labels, 255).astype(np.uint8), voxel_size_um=1.0, t=times)
    io.save_image(series, folder / "images.zarr")
    io.save_image(marks, folder / "marks.tif")
    pd.DataFrame({"time/h": [0, 0.5, 1, 1.5, 2], "I/mA": [0, 1e-6, 1e-6, 1e-6, 0]}).to_csv(
        folder / "c.csv", index=False
    )
    recipe = {
        "recipe": "cell-ct",
        "inputs": {"images": "images.zarr", "cycler": "c.csv"},
        "cell": {"phases": {"electrolyte": 0, "electrode": 1, "deposited": 2}},
        "segment": {"method": "otsu", "annotations": "marks.tif"},
        "report": {"movie": False, "render": False},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def test_a_whole_run_writes_ledger_and_report_and_is_not_run_twice(small_cell):
    assert operando("check", "run.yaml", cwd=small_cell).stdout == "run.yaml: no faults\n"
    estimate = json.loads(operando("estimate", "run.yaml", "--json", cwd=small_cell).stdout)
    assert [step["status"] for step in estimate["steps"]] == ["to run"] * len(estimate["steps"])
    assert estimate["total"]["memory_bytes"] > 0
    done = in_a_process("run", "run.yaml", "--json", cwd=small_cell)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    folder = Path(summary["folder"])
    kept = ("recipe.yaml", "log.txt", "provenance.json", "labels.zarr", "ledger.parquet", "ledger.csv", "figures")
    assert {path.name for path in folder.iterdir()} >= {*kept, "report.html"}
    ledger = pd.read_parquet(folder / "ledger.parquet")
    volume = ledger.query("quantity == 'volume' and component == 'deposited'").set_index("scan")["value"]
    assert volume.to_dict() == {0: 0.0, 1: 512.0, 2: 768.0}
    state = {path.name: path.stat().st_mtime_ns for path in (folder / "steps").iterdir()}
    assert operando("run", "run.yaml", cwd=small_cell).returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "steps").iterdir()} == state
    again = json.loads(operando("estimate", "run.yaml", "--json", cwd=small_cell).stdout)
    assert again["total"]["seconds"] == 0


def test_the_kept_recipe_runs_again_from_its_folder_and_report_is_remade(small_cell):
    assert operando("run", "run.yaml", cwd=small_cell).returncode == 0
    folder = small_cell / "run"
    kept = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert kept["clean"] == {"enabled": True, "speck_voxels": 30}
    before = (folder / "report.html").stat().st_mtime_ns
    result = operando("report", "run", cwd=small_cell)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(folder / "report.html")
    assert (folder / "report.html").stat().st_mtime_ns > before


def test_a_report_of_an_unfinished_run_says_what_is_left(small_cell, tmp_path):
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    recipe["inputs"] = {key: str(small_cell / name) for key, name in recipe["inputs"].items()}
    recipe["segment"]["annotations"] = str(small_cell / "marks.tif")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(recipe))
    said = failed(operando("report", "other.yaml", cwd=tmp_path))
    assert "still has to run" in said
    assert "operando run" in said


def test_no_number_of_workers_changes_the_ledger(small_cell, tmp_path):
    variant(small_cell, tmp_path, "first")
    recipe = yaml.safe_load((tmp_path / "first.yaml").read_text())
    ledgers = []
    for workers in (1, 3):
        path = tmp_path / f"run{workers}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        result = operando("run", path.name, "--workers", workers, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        ledgers.append(pd.read_parquet(tmp_path / f"run{workers}" / "ledger.parquet"))
    pd.testing.assert_frame_equal(*ledgers)


def variant(small_cell, folder, name, **changes):
    """The recipe of the small cell, changed, in another folder; returns its run folder once it ran."""
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    recipe["inputs"] = {key: str(small_cell / path) for key, path in recipe["inputs"].items()}
    recipe["segment"]["annotations"] = str(small_cell / "marks.tif")
    for section, values in changes.items():
        recipe.setdefault(section, {}).update(values)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    result = operando("run", path.name, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / name


def test_the_field_of_view_takes_its_share_of_the_charge(small_cell, tmp_path):
    # 16 x 16 voxels of 1 um are 2.56e-6 cm2, a quarter of this cell.
    whole = pd.read_parquet(variant(small_cell, tmp_path, "whole") / "ledger.parquet")
    part = variant(small_cell, tmp_path, "part", cell={"active_area_cm2": 4 * 2.56e-6})
    part = pd.read_parquet(part / "ledger.parquet")
    faraday = [table.query("component == 'faraday'")[["value", "sigma"]].to_numpy() for table in (whole, part)]
    np.testing.assert_allclose(faraday[1], faraday[0] / 4)


def test_scans_that_moved_are_registered_with_their_annotations_and_cut_to_what_all_show(tmp_path):
    rng = np.random.default_rng(1)
    shape = (24, 40, 40)
    scene = rng.normal(size=shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[:6] = labels[-6:] = 1
    scene += 10 * labels
    moved = np.roll(scene, (0, 2, 0), axis=(0, 1, 2))
    series = labeled_image(np.stack([scene, moved]), voxel_size_um=1.0, t=[0.0, 1.0])
    marks = np.stack([labels, np.roll(labels, 2, axis=1)])
    io.save_image(series, tmp_path / "i.zarr")
    io.save_image(labeled_image(marks, voxel_size_um=1.0, t=[0.0, 1.0]), tmp_path / "m.tif")
    recipe = {
        "recipe": "cell-ct",
        "inputs": {"images": "i.zarr"},
        "cell": {"phases": {"electrolyte": 0, "electrode": 1}},
        "registration": {"method": "translation"},
        "segment": {"method": "otsu", "annotations": "m.tif", "held_out_scans": [1]},
        "report": {"movie": False, "render": False},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    result = operando("run", "r.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    motion = json.loads((tmp_path / "r" / "motion.json").read_text())
    np.testing.assert_allclose(np.array(motion["motion"])[1, :3, 3], [0, 2, 0], atol=0.05)
    assert motion["field"]["y"] in ([0, 38], [0, 37])
    found = io.open_image(tmp_path / "r" / "labels.zarr")
    assert found.sizes["y"] == motion["field"]["y"][1]
    assert not (found == 255).any()
    agreement = json.loads((tmp_path / "r" / "agreement.json").read_text())
    assert agreement["scans"] == [1]
    assert agreement["otsu"]["macro"] > 0.99


@pytest.mark.parametrize(
    ("section", "key", "value", "fault"),
    [
        ("inputs", "images", "nowhere.zarr", "nowhere.zarr"),
        ("inputs", "times_h", [0, 1], "one time per scan is needed, got 2 for 3 scans"),
        ("inputs", "times_h", [0, 2, 1], "must rise"),
        ("inputs", "region", {"z": [0, 99]}, "z ends at voxel 24, got 99"),
        ("inputs", "voxel_size_um", -1, "must be positive"),
        ("segment", "held_out_scans", [7], "scans are numbered 0 to 2, got 7"),
        ("segment", "model", "nothing", "a saved segmenter is a folder with card.json"),
        ("segment", "annotations", "images.zarr", "uint8 with 255 = unlabeled, got float32"),
        ("cell", "phases", {"a": 0, "b": 1}, "'electrode' is needed"),
        ("cell", "phases", {"electrolyte": 0, "electrode": 0}, "each id must belong to one phase"),
    ],
)
def test_a_fault_of_a_recipe_is_named_before_anything_runs(small_cell, section, key, value, fault):
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    recipe[section][key] = value
    (small_cell / "bad.yaml").write_text(yaml.safe_dump(recipe))
    for verb in ("check", "run"):
        assert fault in failed(operando(verb, "bad.yaml", cwd=small_cell))
    assert not (small_cell / "bad").exists()


def test_uncalibrated_images_are_refused_with_the_remedy(small_cell, tmp_path):
    io.save_image(labeled_image(np.zeros((2, 8, 8, 8), np.float32)), tmp_path / "px.zarr")
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    recipe["inputs"] = {"images": str(tmp_path / "px.zarr")}
    recipe["segment"] = {"method": "otsu"}
    (tmp_path / "px.yaml").write_text(yaml.safe_dump(recipe))
    assert "voxel_size_um" in failed(operando("check", "px.yaml", cwd=tmp_path))


def test_a_run_never_writes_over_what_it_reads_or_into_a_folder_of_something_else(small_cell, tmp_path):
    before = io.open_image(small_cell / "images.zarr").shape
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    io.save_image(io.open_image(small_cell / "images.zarr"), tmp_path / "cell" / "image.zarr")
    recipe["inputs"] = {"images": "cell/image.zarr"}
    recipe["segment"] = {"method": "otsu"}
    for output, fault in (("cell", "image.zarr is read there"), (".", "holds other things")):
        recipe["output"] = output
        (tmp_path / "cell.yaml").write_text(yaml.safe_dump(recipe))
        for verb in ("check", "run"):
            assert fault in failed(operando(verb, "cell.yaml", cwd=tmp_path))
    assert io.open_image(tmp_path / "cell" / "image.zarr").shape == before


def test_scans_of_different_voxel_size_are_not_joined(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a", 1.33), ("b", 2.66)):
        io.save_image(labeled_image(rng.random((8, 8, 8), np.float32), voxel_size_um=size), tmp_path / f"{name}.zarr")
    recipe = {"recipe": "cell-ct", "inputs": {"images": ["a.zarr", "b.zarr"]}, "segment": {"method": "otsu"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert "voxels of the first one" in failed(operando("check", "r.yaml", cwd=tmp_path))
    recipe["inputs"]["voxel_size_um"] = 1.33
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert operando("check", "r.yaml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda a: a.__setitem__((1, slice(None), 0), np.nan), "NaN or infinity in 6.25 % of scan 1"),
        (lambda a: a.__setitem__(2, 1.0), "scan 2 must show something, got 1 everywhere"),
    ],
)
def test_scans_without_values_are_refused_before_a_ledger_is_wrong(small_cell, tmp_path, spoil, fault):
    series = io.open_image(small_cell / "images.zarr").compute()
    spoil(series.values)
    io.save_image(series, tmp_path / "spoilt.zarr")
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    recipe["inputs"] = {"images": "spoilt.zarr"}
    recipe["segment"] = {"method": "otsu"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert fault in failed(operando("run", "r.yaml", cwd=tmp_path))


def test_the_report_of_a_copied_run_is_made_in_the_copy(small_cell, tmp_path):
    original = variant(small_cell, tmp_path, "original")
    shutil.copytree(original, tmp_path / "copy")
    (tmp_path / "copy" / "report.html").unlink()
    before = (original / "report.html").stat().st_mtime_ns
    result = operando("report", "copy", cwd=tmp_path)
    assert result.stdout.strip() == str(tmp_path / "copy" / "report.html")
    assert (tmp_path / "copy" / "report.html").exists()
    assert (original / "report.html").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "text", ["recipe: [1]", "recipe: {a: 1}", "? [a]\n: 1", "recipe: cell-ct\ninputs: {images: []}"]
)
def test_odd_yaml_is_one_sentence(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    assert "fault" in failed(operando("check", "r.yaml", cwd=tmp_path))


def test_a_name_that_the_ledger_needs_is_refused_for_a_phase(small_cell):
    recipe = yaml.safe_load((small_cell / "run.yaml").read_text())
    recipe["cell"]["phases"]["inactive"] = 7
    (small_cell / "bad.yaml").write_text(yaml.safe_dump(recipe))
    assert "'inactive' is what the ledger calls something else" in failed(operando("check", "bad.yaml", cwd=small_cell))


def test_a_folder_is_never_replaced_by_a_recipe(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    assert "is a folder" in failed(operando("new", "cell-ct", "thesis", "--force", cwd=tmp_path))
    assert (tmp_path / "thesis" / "chapter").read_text() == "1"
