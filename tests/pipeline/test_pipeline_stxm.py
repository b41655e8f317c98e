"""Recipe ``stxm``: a small simulated stack and the real one through the whole job, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from operando import io
from operando.core.axes import labeled_image
from operando.core.errors import RecipeError
from operando.pipeline import RECIPES, load
from operando.pipeline.storage import read_dataset, read_table
from operando.pipeline.stxm.demo import write_demo

ROOT = Path(__file__).parents[2]
FE = "als-stxm-fe2p/71214078_FigS4"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stack on disk and its recipe."""
    return write_demo(tmp_path_factory.mktemp("stxm"), seed=3001, shape=(48, 48))


@pytest.fixture(scope="module")
def run(demo: Path) -> Path:
    """The finished run folder of the demo."""
    loaded = load(demo)
    loaded.run()
    return loaded.folder


def edited(recipe: Path, folder: Path, **changes: object) -> Path:
    """A copy of a recipe with other values, whose relative paths still lead to the same files."""
    content = yaml.safe_load(recipe.read_text())
    content["inputs"]["stack"] = str(recipe.parent / content["inputs"]["stack"])
    content["inputs"]["i0"] = {"file": str(recipe.parent / "stack/i0.csv")}
    content["truth"] = str(recipe.parent / content["truth"])
    for item in content["references"]:
        item["file"] = str(recipe.parent / item["file"])
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    path = folder / "edited.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_a_run_writes_phases_lithiation_particles_and_doubts_into_the_ledger(run: Path) -> None:
    ledger = read_table(run / "ledger.parquet")
    asked = {
        "mean weight",
        "phase fraction",
        "lithiation",
        "state_of_charge",
        "phase_boundary_length",
        "disorder, mixing",
        "flagged, thick",
        "ambiguous",
        "explained variance",
        "core_minus_rim",
    }
    assert asked <= set(ledger["quantity"])
    assert (run / "report.html").stat().st_size > 100_000
    assert pd.read_csv(run / "ledger.csv")["high"].notna().any()


@pytest.mark.slow
def test_the_lithiation_of_a_simulated_field_is_that_of_its_truth_within_five_hundredths(run: Path, demo: Path) -> None:
    """The patch without a reference, which the fit cannot know, is left out of the truth."""
    maps, found = read_dataset(run / "maps.zarr"), read_table(run / "ledger.parquet")
    truth = io.open_image(demo.parent / "stack/truth.zarr").compute()
    x = {item["column"]: float(item["x"]) for item in yaml.safe_load(demo.read_text())["references"]}
    known = truth.sel(component=list(x))
    sample = maps["sample"].values.astype(bool) & (truth.sel(component="omega").values < 1e-3)
    amounts = {name: float(known.sel(component=name).values[sample].sum()) for name in x}
    true = sum(amounts[name] * x[name] for name in x) / sum(amounts.values())
    here = maps["lithiation"].values[sample]
    thick = read_dataset(run / "unmixed.zarr")["thickness"].values[sample]
    assert abs(np.average(here, weights=thick) - true) < 0.05
    row = found[(found["component"] == "field") & (found["quantity"] == "lithiation")]
    assert 0 < row["sigma"].iloc[0] < 0.1


@pytest.mark.slow
def test_a_finished_run_is_not_run_again_and_a_new_background_runs_only_what_rests_on_it(run: Path, demo: Path) -> None:
    assert not load(demo).plan().pending
    content = yaml.safe_load(demo.read_text())
    content["unmix"] = {"background": "constant"}
    other = demo.with_name("other.yaml")
    other.write_text(yaml.safe_dump({**content, "output": "run"}))
    names = [item.step.name for item in load(other).plan().pending]
    assert "unmix" in names
    assert not {"align", "normalize"} & set(names)


@pytest.mark.slow
def test_the_published_stack_gives_what_an_independent_least_squares_gives(data_folder: Path, tmp_path: Path) -> None:
    """R2 0.947 about the grand mean, mean weights 0.101 and 0.374, R2 of the mean spectrum 0.994."""
    assert (data_folder / FE).is_dir()
    loaded = load(ROOT / "examples" / "stxm-fe2p.yaml", output=tmp_path / "run")
    loaded.run()
    ledger = read_table(tmp_path / "run" / "ledger.parquet").set_index(["component", "quantity"])["value"]
    assert ledger["field", "explained variance"] == pytest.approx(0.947, abs=0.001)
    assert ledger["field", "explained variance of the mean spectrum"] == pytest.approx(0.994, abs=0.001)
    assert ledger["reduced", "mean weight without bound"] == pytest.approx(0.101, abs=0.001)
    assert ledger["oxidized", "mean weight without bound"] == pytest.approx(0.374, abs=0.001)
    assert ledger["oxidized", "mean weight"] > ledger["reduced", "mean weight"] > 0


def test_the_template_of_the_recipe_says_what_every_key_is() -> None:
    text = RECIPES["stxm"].template()
    assert "photon energy" in text
    assert yaml.safe_load(text)["references"][0]["x"] == 0


def test_counts_without_incident_counts_are_refused(demo: Path, tmp_path: Path) -> None:
    path = edited(demo, tmp_path)
    content = yaml.safe_load(path.read_text())
    del content["inputs"]["i0"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match="counts need incident counts"):
        load(path)


def test_every_fault_is_said_at_once(demo: Path, tmp_path: Path) -> None:
    io.save_image(labeled_image(np.ones((3, 3), "uint8"), voxel_size_um=1.0), tmp_path / "mask.tif")
    path = edited(demo, tmp_path, normalize={"pre_edge": [100, 200]}, inputs={"mask": str(tmp_path / "mask.tif")})
    faults = load(path).faults()
    assert any("grid of the stack" in fault for fault in faults)
    assert any("no image lies between 100 and 200 eV" in fault for fault in faults)


def test_a_reference_that_does_not_reach_over_the_energies_is_a_fault(demo: Path, tmp_path: Path) -> None:
    spectra = io.open_spectra(demo.parent / "stack/references.csv").sel(component=["alpha"])
    io.save_spectra(spectra.isel(energy=slice(10, None)), tmp_path / "short.csv")
    path = edited(demo, tmp_path, references=[{"file": str(tmp_path / "short.csv"), "x": 0}])
    (fault,) = load(path).faults()
    assert "references" in fault
    assert "510" in fault


def test_a_column_that_is_not_there_names_the_nearest(demo: Path, tmp_path: Path) -> None:
    references = [{"file": str(demo.parent / "stack/references.csv"), "column": "gama", "x": 0}]
    (fault,) = load(edited(demo, tmp_path, references=references)).faults()
    assert "'gamma'" in fault


def test_more_weights_than_images_are_a_fault(demo: Path, tmp_path: Path) -> None:
    stack = io.open_image(demo.parent / "stack/stack.nxs").isel(energy=slice(0, 4))
    io.save_image(stack, tmp_path / "few.nxs")
    path = edited(demo, tmp_path, inputs={"stack": str(tmp_path / "few.nxs")}, unmix={"background": "linear"})
    assert any("cannot be told from 4 images" in fault for fault in load(path).faults())
