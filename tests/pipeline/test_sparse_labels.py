"""Recipe sparse-labels: a made-up micrograph through the whole job, and the real ones where they are."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from scipy import ndimage

from operando import io, segmentation
from operando.core.errors import InputError, RecipeError
from operando.core.quantities import COLUMNS
from operando.pipeline import RECIPES, load

PHASES = {"matrix": 85, "grain": 255}


def picture(size=80, seed=3200):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(size, size)), 7, mode="wrap")
    truth = (field > np.quantile(field, 0.6)).astype(np.uint8)
    gray = ndimage.gaussian_filter(np.array([0.7, 0.2])[truth], 1.5) + 0.05 * rng.normal(size=truth.shape)
    return (1000 * gray).astype(np.float32), truth


def write(folder, **changes):
    """A recipe whose files call matrix 85 and grain 255, and 0 what nobody labeled."""
    import xarray as xr

    gray, truth = picture()
    marks = segmentation.draw_strokes(xr.DataArray(truth, dims=("y", "x")), strokes_per_phase=6, width=1, length=12)
    value = np.full(256, 0, np.uint8)
    value[[0, 1]] = 85, 255
    tifffile.imwrite(folder / "image.tif", gray)
    tifffile.imwrite(folder / "labels.tif", np.where(marks.values == 255, 0, value[marks.values]))
    tifffile.imwrite(folder / "truth.tif", value[truth])
    recipe = {
        "recipe": "sparse-labels",
        "image": {"file": "image.tif"},
        "labels": {"file": "labels.tif", "phases": PHASES},
        "reference": {"file": "truth.tif"},
        **changes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "run.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparse")
    loaded = load(write(folder, image={"file": "image.tif", "voxel_size_um": 2.0}))
    loaded.run(workers=1)
    return loaded


def test_phases_are_found_from_strokes_and_judged_where_nobody_drew(finished):
    scores = json.loads((finished.folder / "agreement.json").read_text())
    assert scores["unlabeled"]["forest"]["macro"] > 0.9
    assert scores["strokes"] == 1.0
    assert scores["judged_voxels"] == 6400
    marks = io.open_image(finished.folder / "strokes.zarr").values
    assert sorted(np.unique(marks)) == [0, 1, 255]


def test_the_interval_of_a_fraction_holds_the_truth(finished):
    ledger = pd.read_csv(finished.folder / "ledger.csv")
    _, truth = picture()
    grain = ledger[(ledger["component"] == "grain") & (ledger["quantity"] == "fraction")].iloc[0]
    assert grain["low"] < truth.mean() < grain["high"]
    assert ledger[ledger["quantity"] == "fraction"]["value"].sum() == pytest.approx(1)
    assert list(ledger.columns[: len(COLUMNS)]) == list(COLUMNS)


def test_areas_are_there_where_a_voxel_has_a_size(finished):
    ledger = pd.read_csv(finished.folder / "ledger.csv")
    area = ledger[ledger["quantity"] == "area"]
    assert area["value"].sum() == pytest.approx(80 * 80 * 4.0)
    assert set(area["unit"]) == {"um2"}


def test_the_page_says_how_far_to_trust_it(finished):
    html = (finished.folder / "report.html").read_text()
    for text in ("macro IoU on held-out strokes", "nobody labeled", "ground truth", "data:image/png"):
        assert text.lower() in html.lower()
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_the_same_command_finds_nothing_left_to_do(finished):
    assert not finished.plan().pending
    assert {"train", "segment", "measure", "report"} == {item.step.name for item in finished.plan().steps}


def test_tables_for_the_terminal_hold_fractions_and_agreement(finished):
    tables = finished.summary()["tables"]
    assert any("fraction" in title for title in tables)
    assert any("ground truth" in title for title in tables)


def test_without_a_truth_there_is_no_agreement_but_a_page(tmp_path):
    loaded = load(write(tmp_path, reference=None, segment={"snap_voxels": 0}))
    loaded.run(workers=1)
    assert not (loaded.folder / "agreement.json").exists()
    assert (loaded.folder / "report.html").stat().st_size > 10_000
    before = io.open_image(loaded.folder / "labels-before.zarr").values
    np.testing.assert_array_equal(io.open_image(loaded.folder / "labels.zarr").values, before)


def test_darker_voxels_are_left_out(tmp_path):
    loaded = load(write(tmp_path, image={"file": "image.tif", "ignore_below": 620.0}, reference=None))
    gray, _ = picture()
    with pytest.raises(InputError, match="at least two phases must be annotated"):
        loaded.run(workers=1)
    loaded = load(write(tmp_path, image={"file": "image.tif", "ignore_below": 150.0}, reference=None))
    loaded.run(workers=1)
    labels = io.open_image(loaded.folder / "labels.zarr").values
    np.testing.assert_array_equal(labels == 255, gray < 150.0)


def test_a_volume_is_measured_in_um3(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.zeros((10, 24, 24), np.uint8)
    truth[:, 12:] = 1
    marks = np.zeros_like(truth)
    marks[[2, 5, 8], 4, 4:10], marks[[2, 5, 8], 18, 4:10] = 85, 255
    tifffile.imwrite(tmp_path / "image.tif", (truth + 0.1 * rng.normal(size=truth.shape)).astype(np.float32))
    tifffile.imwrite(tmp_path / "labels.tif", marks)
    recipe = {
        "recipe": "sparse-labels",
        "image": {"file": "image.tif", "voxel_size_um": 2.0},
        "labels": {"file": "labels.tif", "phases": PHASES},
        "segment": {"scales": [1.0, 2.0]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(recipe))
    loaded = load(tmp_path / "run.yaml")
    loaded.run(workers=1)
    ledger = pd.read_csv(loaded.folder / "ledger.csv")
    volume = ledger[ledger["quantity"] == "volume"].set_index("component")["value"]
    assert volume["grain"] == pytest.approx(10 * 24 * 12 * 8.0, rel=0.05)


def test_a_network_may_do_it_instead(tmp_path):
    loaded = load(write(tmp_path, segment={"method": "network", "steps": 10}))
    loaded.run(workers=1)
    scores = json.loads((loaded.folder / "agreement.json").read_text())
    assert set(scores["unlabeled"]) == {"network", "before borders", "multi-Otsu"}


def test_a_color_image_is_read_as_the_mean_of_its_channels(tmp_path):
    from PIL import Image

    from operando.pipeline.sparse_labels.inputs import open_gray
    from operando.pipeline.sparse_labels.settings import Image as ImageSettings

    Image.fromarray(np.full((4, 5, 3), (30, 60, 90), np.uint8)).save(tmp_path / "color.png")
    gray = open_gray(ImageSettings(file=str(tmp_path / "color.png")))
    assert gray.dims == ("y", "x")
    np.testing.assert_allclose(gray, 60.0)


def test_every_fault_of_the_settings_is_told_at_once(tmp_path):
    path = write(tmp_path, labels={"file": "labels.tif", "phases": {"matrix": 0, "grain": 85}, "unlabelled": 0})
    with pytest.raises(RecipeError) as caught:
        load(path)
    text = str(caught.value)
    assert "Did you mean 'unlabeled'?" in text
    path = write(tmp_path, labels={"file": "labels.tif", "phases": {"matrix": 0, "grain": 85}})
    with pytest.raises(RecipeError, match="0 cannot mean both matrix and unlabeled"):
        load(path)


def test_labels_on_another_grid_are_a_fault_before_anything_runs(tmp_path):
    path = write(tmp_path)
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((5, 5), np.uint8))
    tifffile.imwrite(tmp_path / "truth.tif", np.zeros((6, 6), np.float32))
    faults = load(path).faults()
    assert len(faults) == 2
    assert "labels.file" in faults[0]
    assert "reference.file" in faults[1]


def test_values_that_nobody_named_and_phases_without_a_voxel_are_refused(tmp_path):
    path = write(tmp_path, labels={"file": "labels.tif", "phases": {"matrix": 85, "grain": 170}})
    with pytest.raises(InputError, match="got others too"):
        load(path).run(workers=1)
    path = write(tmp_path, labels={"file": "labels.tif", "phases": {**PHASES, "pore": 9}})
    with pytest.raises(InputError, match=r"none of \['pore'\]"):
        load(path).run(workers=1)


def test_there_is_a_template_that_names_every_key():
    text = RECIPES["sparse-labels"].template()
    for key in ("unlabeled", "phases", "snap_voxels", "ignore_below", "reference"):
        assert key in text
