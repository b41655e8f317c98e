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


def small(demo: Path, folder: Path, **changes: object) -> Path:
    """The recipe of the demo on a crop of its stack, without movie and alignment."""
    stack = io.open_image(demo.parent / "stack/stack.nxs").isel(y=slice(0, 28), x=slice(0, 28))
    io.save_image(stack, folder / "small.nxs")
    path = edited(demo, folder, align={"method": "none"}, report={"movie": False, "spectra": 1, "images": 2}, **changes)
    content = yaml.safe_load(path.read_text())
    content["inputs"].setdefault("kind", "counts")
    if "small" not in str(content["inputs"]["stack"]):
        content["inputs"]["stack"] = str(folder / "small.nxs")
    content.pop("truth")
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_an_optical_density_runs_to_its_report_and_the_recipe_as_run_can_be_run_again(
    demo: Path, tmp_path: Path
) -> None:
    path = small(demo, tmp_path)
    counts, i0 = io.open_image(tmp_path / "small.nxs").compute(), io.open_spectra(demo.parent / "stack/i0.csv")
    density = np.log(i0.isel(component=0, drop=True) / counts.clip(min=1)).transpose("energy", "y", "x")
    io.save_image(density.astype("float32").assign_attrs(units="1"), tmp_path / "small-density.nxs")
    content = yaml.safe_load(path.read_text())
    content["inputs"] = {"stack": str(tmp_path / "small-density.nxs"), "kind": "optical density"}
    path.write_text(yaml.safe_dump(content))
    loaded = load(path)
    loaded.run()
    assert (loaded.folder / "report.html").exists()
    assert not load(loaded.folder / "recipe.yaml", output=loaded.folder).plan().pending


@pytest.mark.slow
def test_images_of_an_interrupted_scan_that_are_missing_are_left_out_and_said(demo: Path, tmp_path: Path) -> None:
    path = small(demo, tmp_path)
    stack = io.open_image(tmp_path / "small.nxs").compute().astype("float32")
    stack[3], stack[40] = np.nan, 0.0
    stack[5, 2, 2] = np.nan
    io.save_image(stack, tmp_path / "small.nxs", overwrite=True)
    loaded = load(path)
    loaded.run()
    density = io.open_image(loaded.folder / "density.zarr")
    assert density.sizes["energy"] == stack.sizes["energy"] - 2
    assert not np.isin(stack.energy.values[[3, 40]], density.energy.values).any()
    page = (loaded.folder / "report.html").read_text()
    assert "2 of 81 images have no value and were left out" in page
    assert "2 images hold no value and went into nothing" in page


@pytest.mark.slow
def test_as_many_images_as_phases_give_maps_and_a_field_whose_error_is_noise_alone(demo: Path, tmp_path: Path) -> None:
    path = small(demo, tmp_path)
    stack = io.open_image(tmp_path / "small.nxs").sel(energy=[514.0, 518.5]).compute()
    io.save_image(stack, tmp_path / "small.nxs", overwrite=True)
    content = yaml.safe_load(path.read_text())
    content["references"] = [item for item in content["references"] if item["column"] in ("alpha", "gamma")]
    path.write_text(yaml.safe_dump(content))
    loaded = load(path)
    loaded.run()
    ledger = read_table(loaded.folder / "ledger.parquet").set_index(["component", "quantity"])
    assert np.isfinite(ledger.loc[("field", "lithiation"), "value"])
    assert "too few energies to see what all pixels share" in (loaded.folder / "report.html").read_text()


@pytest.mark.slow
def test_a_field_too_thin_for_clusters_still_has_its_maps(demo: Path, tmp_path: Path) -> None:
    path = small(demo, tmp_path, decompose={"minimum_optical_density": 50.0})
    loaded = load(path)
    loaded.run()
    assert (loaded.folder / "maps.zarr").exists()
    assert "What the stack shows by itself is not known in full" in (loaded.folder / "report.html").read_text()


def test_energies_that_repeat_are_averaged_where_the_recipe_says_so(demo: Path, tmp_path: Path) -> None:
    stack = io.open_image(demo.parent / "stack/stack.nxs").isel(energy=[0, 1, 1, 2, 3, 4, 5, 6])
    io.save_image(stack, tmp_path / "twice.nxs")
    twice = {"stack": str(tmp_path / "twice.nxs")}
    path = edited(demo, tmp_path, inputs=twice)
    assert any("each energy must be there once" in fault for fault in load(path).faults())
    assert load(edited(demo, tmp_path, inputs={**twice, "repeats": "mean"})).faults() == []


def test_i0_that_does_not_reach_or_is_not_one_spectrum_is_a_fault(demo: Path, tmp_path: Path) -> None:
    spectra = io.open_spectra(demo.parent / "stack/references.csv")
    io.save_spectra(spectra.isel(component=[0], energy=slice(10, None)), tmp_path / "i0.csv")
    for file, said in ((demo.parent / "stack/references.csv", "holds 4 spectra"), (tmp_path / "i0.csv", "lie outside")):
        (fault,) = load(edited(demo, tmp_path, inputs={"i0": {"file": str(file)}})).faults()
        assert fault.startswith("inputs.i0.file")
        assert said in fault
    named = {"file": str(demo.parent / "stack/references.csv"), "column": "alpha"}
    assert load(edited(demo, tmp_path, inputs={"i0": named})).faults() == []


def test_a_truth_of_other_phases_or_of_another_grid_is_a_fault(demo: Path, tmp_path: Path) -> None:
    truth = io.open_image(demo.parent / "stack/truth.zarr")
    io.save_image(truth.isel(component=slice(0, 2)), tmp_path / "few.zarr")
    io.save_image(truth.isel(x=slice(0, 20)), tmp_path / "narrow.zarr")
    for name, said in (("few", "it lacks delta, gamma"), ("narrow", "on the grid of the stack")):
        (fault,) = load(edited(demo, tmp_path, truth=str(tmp_path / f"{name}.zarr"))).faults()
        assert said in fault


def test_references_that_no_fit_can_tell_apart_are_a_fault(demo: Path, tmp_path: Path) -> None:
    file = str(demo.parent / "stack/references.csv")
    twice = [{"file": file, "column": "gamma", "x": 1}, {"file": file, "column": "gamma", "name": "again", "x": 2}]
    (fault,) = load(edited(demo, tmp_path, references=twice, truth=None)).faults()
    assert "gamma, again cannot be told apart" in fault


def test_a_pre_edge_given_from_high_to_low_is_the_same_range(demo: Path, tmp_path: Path) -> None:
    loaded = load(edited(demo, tmp_path, normalize={"pre_edge": [513, 511]}))
    assert loaded.settings.normalize.pre_edge == (511.0, 513.0)


def test_a_dead_time_without_a_dwell_is_a_fault(demo: Path, tmp_path: Path) -> None:
    (fault,) = load(edited(demo, tmp_path, detector={"dead_time_us": 0.05, "dwell_ms": None})).faults()
    assert fault.startswith("detector.dwell_ms")


def test_complex_amplitudes_are_no_optical_density(demo: Path, tmp_path: Path) -> None:
    stack = io.open_image(demo.parent / "stack/stack.nxs").compute()
    io.save_image(np.sqrt(stack).astype("complex64"), tmp_path / "complex.zarr")
    path = edited(demo, tmp_path)
    content = yaml.safe_load(path.read_text())
    content["inputs"] = {"stack": str(tmp_path / "complex.zarr"), "kind": "optical density"}
    path.write_text(yaml.safe_dump(content))
    assert any("complex amplitudes" in fault for fault in load(path).faults())
