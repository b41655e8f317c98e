"""Recipe cell-ct where inputs are less than complete, or not as they seem."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from operando import io, samples, segmentation
from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.pipeline import load
from operando.pipeline.cell_ct.segmenting import train
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.scans.inputs import open_labels
from operando.pipeline.scans.settings import Inputs
from operando.pipeline.step import Listener, Step, Task

PHASES = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3, "pit": 4, "redeposited": 5}


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A small simulated cell on disk: image, single scan, true labels, log and cycler."""
    folder = tmp_path_factory.mktemp("cell")
    made = samples.symmetric_cell((32, 24, 24), scans=3, seed=3101)
    io.save_image(made.image, folder / "image.zarr")
    io.save_image(made.image.isel(t=0, drop=True), folder / "one.zarr")
    io.save_image(made.labels, folder / "truth.zarr", labels=True)
    log = io.create_log(folder / "log.jsonl", like=made.image, phases=PHASES)
    marks = segmentation.label_slices(made.labels, slices=2, scans=[0, 2])
    io.append_marks(log.path, segmentation.marks_of(marks, phases=PHASES), who="Ada")
    record = pd.DataFrame({"time/h": made.current_t.values, "current/mA": made.current_ma.values})
    record.to_csv(folder / "cycler.csv", index=False)
    return folder


def recipe(folder, name, **changes):
    content = {
        "recipe": "cell-ct",
        "inputs": {"images": "image.zarr", "cycler": "cycler.csv", "simulated": True},
        "segment": {"method": "otsu"},
        "report": {"movie": False, "render": False},
    }
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)


@pytest.mark.slow
def test_pits_without_redeposited_lithium_make_a_whole_report(cell):
    some = {name: PHASES[name] for name in ("electrolyte", "electrode", "deposited", "pit")}
    loaded = recipe(cell, "pits", cell={"phases": some})
    loaded.run(workers=2)
    assert (loaded.folder / "report.html").exists()


def test_a_log_may_be_drawn_in_the_frame_of_the_reference(cell):
    segment = {"method": "network", "annotations": "log.jsonl", "annotations_frame": "reference"}
    assert recipe(cell, "log", segment=segment).faults() == []


def test_scans_in_files_with_and_without_times_make_one_series(cell):
    inputs = {"images": ["one.zarr", "image.zarr"], "times_h": [0.0, 1.0, 2.0, 3.0]}
    assert recipe(cell, "mixed", inputs=inputs).faults() == []


def test_a_cycler_on_another_clock_is_mended_by_keys_of_the_recipe(cell):
    faults = recipe(cell, "clock", inputs={"cycler_offset_h": 100.0}).faults()
    assert len(faults) == 1
    assert "Correct inputs.cycler_offset_h or inputs.times_h" in faults[0]


def test_a_field_of_view_cannot_take_more_than_all_of_the_current(cell):
    seen = (24 * 1.33) ** 2 * 1e-8
    assert recipe(cell, "wide", cell={"active_area_cm2": seen}).faults() == []
    faults = recipe(cell, "narrow", cell={"active_area_cm2": 0.9 * seen}).faults()
    assert len(faults) == 1
    assert faults[0].startswith("cell.active_area_cm2: it must be at least the field of view, 1.02e-05 cm2")


def test_only_annotated_scans_can_be_held_out(cell, tmp_path):
    loaded = recipe(cell, "held", segment={"annotations": "log.jsonl", "held_out_scans": [1]})
    steps = {step.name: step for step in loaded.steps()}
    io.save_image(io.open_image(cell / "image.zarr"), tmp_path / "image.zarr")
    with pytest.raises(InputError, match=r"got \[1\] where \[0, 2\] are annotated"):
        train(Task(steps["train"], tmp_path, Listener()))


def test_labels_of_the_reference_as_recorded_are_leveled_as_the_scans_are(tmp_path):
    values = np.zeros((1, 24, 20, 20), np.uint8)
    values[:, :8], values[:, 16:] = 1, 1
    labels = labeled_image(values, voxel_size_um=1.0, t=[0.0])
    io.save_image(labels.astype(np.float32), tmp_path / "image.zarr")
    io.save_image(labels, tmp_path / "truth.zarr", labels=True)
    angle = np.deg2rad(6.0)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [11.5, 9.5, 9.5] - matrix[:3, :3] @ [11.5, 9.5, 9.5]
    field = {"z": [3, 21], "y": [2, 18], "x": [0, 20]}
    known = {"units": "um", "t": [0.0], "motion": [matrix.tolist()], "field": field}
    parameters = {"inputs": {"images": str(tmp_path / "image.zarr")}, "phases": {"electrolyte": 0, "electrode": 1}}
    step = Step(
        name="truth", title="", function=print, inputs=("labels.zarr", "motion.json"), outputs=(), parameters=parameters
    )
    task = Task(step, tmp_path, Listener())
    found = {}
    for name, leveling in (("level", {"matrix": matrix.tolist()}), ("as it is", None)):
        (tmp_path / "motion.json").write_text(json.dumps({**known, "leveling": leveling}))
        found[name] = labels_on_grid(task, str(tmp_path / "truth.zarr"), key="truth", frame="reference").values
    # The reference itself moves by the leveling alone: both frames say the same of it.
    scans = labels_on_grid(task, str(tmp_path / "truth.zarr"), key="truth", frame="scans").values
    assert found["level"].shape == found["as it is"].shape == (1, 18, 16, 20)
    np.testing.assert_array_equal(found["level"], scans)
    assert (found["level"] != found["as it is"]).mean() > 0.02


def test_labels_drawn_on_registered_scans_are_not_turned_again(tmp_path):
    image = labeled_image(np.arange(12 * 8 * 6, dtype=np.float32).reshape(1, 12, 8, 6), voxel_size_um=1.0, t=[0.0])
    io.save_image(image, tmp_path / "image.zarr")
    inputs = Inputs(images=str(tmp_path / "image.zarr"), electrode_normal="y")
    turned, kept = {"t": 1, "z": 8, "y": 12, "x": 6}, {"t": 1, "z": 8, "y": 8, "x": 6}
    for name, shape, expected in (("recorded", (1, 12, 8, 6), turned), ("registered", (1, 8, 8, 6), kept)):
        labels = labeled_image(np.full(shape, 255, np.uint8), voxel_size_um=1.0, t=[0.0])
        io.save_image(labels, tmp_path / f"{name}.zarr", labels=True)
        found = open_labels(str(tmp_path / f"{name}.zarr"), inputs, key="truth", sizes=[turned, kept])
        assert dict(found.sizes) == expected
