"""Recipe ``pores``: a small simulated cell through the whole job, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from operando import io
from operando.core.axes import labeled_image
from operando.core.errors import OperandoError, RecipeError
from operando.pipeline import RECIPES, load
from operando.pipeline.pores.cycle import cycle_of, names_of
from operando.pipeline.pores.demo import corrections, write_demo
from operando.pipeline.pores.settings import Cell
from operando.pipeline.scans.settings import Inputs
from operando.pipeline.storage import read_dataset, read_table
from operando.samples import ceramic_cell


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cell on disk and its recipe, with a training of a few steps."""
    folder = tmp_path_factory.mktemp("pores")
    recipe = write_demo(folder, scans=3, seed=3001, shape=(64, 72, 72))
    content = yaml.safe_load(recipe.read_text())
    content["segment"] |= {"steps": 4, "network": "small"}
    content["measure"] = {"interface_um": 30.0, "tile_um": 36.0}
    content["ceramic"] = {"synthetic_domains": 4, "stiffness": True}
    content["explain"] = {"permutations": 99}
    recipe.write_text(yaml.safe_dump(content))
    return recipe


@pytest.fixture(scope="module")
def run(demo: Path) -> Path:
    """The finished run folder of the demo."""
    loaded = load(demo)
    loaded.run()
    return loaded.folder


@pytest.mark.slow
def test_a_run_writes_a_ledger_with_pores_current_and_ceramic(run: Path) -> None:
    ledger = read_table(run / "ledger.parquet")
    asked = {
        "porosity",
        "porosity near the interface",
        "lithium volume",
        "thickness",
        "image current",
        "applied current",
        "current mismatch",
        "electrolyte porosity",
        "tortuosity factor along z",
        "least tortuosity factor",
        "tortuosity factor of tiles",
        "p-value",
    }
    assert asked <= set(ledger["quantity"])
    assert (run / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_thickness_follows_the_charge_that_passed(run: Path) -> None:
    """Faraday's law but for the share that pores hide or add: nothing here was adjusted to agree."""
    rows = read_table(run / "ledger.parquet").set_index(["scan", "component", "quantity"])["value"]
    for scan in (1, 2):
        for side in ("low", "high"):
            assert 0.75 < rows[scan, side, "image current"] / rows[scan, side, "applied current"] < 1.1


@pytest.mark.slow
def test_a_scan_has_one_time_in_the_ledger(run: Path) -> None:
    rows = read_table(run / "ledger.parquet").query("scan >= 0")
    assert len(rows[["scan", "t"]].drop_duplicates()) == 3


@pytest.mark.slow
def test_both_electrodes_together_are_as_doubtful_as_each_of_them(run: Path) -> None:
    rows = read_table(run / "ledger.parquet").set_index(["scan", "component", "quantity"])["sigma"]
    for scan in (1, 2):
        each = [rows[scan, side, "image current without pores"] for side in ("low", "high")]
        assert rows[scan, "low", "current mismatch"] > rows[scan, "low", "image current without pores"]
        assert rows[scan, "low", "applied current"] > 0
        assert np.isclose(rows[scan, "cell", "electrode imbalance"], np.hypot(*each), rtol=1e-3)


@pytest.mark.slow
def test_the_page_shows_every_step_but_its_own(demo: Path, run: Path) -> None:
    steps = load(demo).steps()
    shown = next(step for step in steps if step.name == "report").parameters["workflow"]
    assert [one["title"] for one in shown] == [step.title for step in steps if step.name != "report"]


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(demo: Path, run: Path) -> None:
    assert not load(demo).plan().pending


@pytest.mark.slow
def test_labels_of_a_run_hold_the_five_phases_where_they_belong(run: Path, demo: Path) -> None:
    labels = io.open_image(run / "labels.zarr").compute()
    truth = io.open_image(demo.parent / "cell" / "truth.zarr").compute()
    dense = {0, 3}
    same = np.isin(labels.values, list(dense)) == np.isin(truth.values, list(dense))
    assert same.mean() > 0.97


@pytest.mark.slow
def test_the_null_of_the_microstructure_factors_has_the_porosity_of_the_ceramic(run: Path) -> None:
    factors = read_dataset(run / "factors.zarr")
    assert {"conductivity", "synthetic_conductivity", "modulus", "synthetic_modulus"} <= set(factors)
    assert float(factors["conductivity"].max()) <= 1 + 1e-3
    measured, null = (float(factors[name].mean()) for name in ("conductivity", "synthetic_conductivity"))
    assert abs(measured - null) < 0.02


def test_steps_are_named_after_the_charge_before_them() -> None:
    assert names_of(np.array([2.0, -2.0, 0.001, 2.0])) == ["pristine", "plate 1", "strip 1", "rest 1", "plate 2"]


def test_corrections_of_the_demo_are_true_and_only_in_the_stripped_low_electrode() -> None:
    sample = ceramic_cell((48, 24, 24), steps=3, seed=3002)
    told = corrections(sample)
    known = told.values != 255
    assert known.any()
    assert known[2].any()
    assert not known[:2].any()
    assert np.isin(told.values[known], [1, 2]).all()
    assert (told.values[known] == sample.labels.values[known]).all()
    assert not known[:, 24:].any()


def test_every_fault_of_a_recipe_is_told_at_once(tmp_path: Path) -> None:
    sample = ceramic_cell((48, 24, 24), steps=2, seed=3002)
    io.save_image(sample.image.drop_vars("step"), tmp_path / "image.zarr")
    content = {
        "recipe": "pores",
        "inputs": {"images": "image.zarr"},
        "cell": {"steps": ["pristine"], "active_area_cm2": 1e-9},
        "segment": {"scan": 7, "model": "nothing"},
        "measure": {"tile_um": 36.0},
        "hot_spots": {"radius_um": 50.0},
        "truth_current": "image.zarr",
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError) as told:
        load(path).steps()
    text = str(told.value)
    for sentence in (
        "cell.steps: one name per scan is needed, got 1 for 2 scans",
        "cell.active_area_cm2: it must be at least the field of view",
        "segment.scan: scans are numbered 0 to 1, got 7",
        "segment.model",
        "measure.tile_um: the field must hold at least three tiles along y and x",
        "hot_spots.radius_um: a disc must fit into the field",
        "truth_current: ",
    ):
        assert sentence in text


def test_an_image_without_layers_is_no_cell(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(1, 60, 48, 48)).astype(np.float32)
    io.save_image(labeled_image(noise, voxel_size_um=3.0, t=[0.0]), tmp_path / "image.zarr")
    path = tmp_path / "run.yaml"
    content = {"recipe": "pores", "inputs": {"images": "image.zarr"}, "segment": {"method": "otsu"}}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(OperandoError, match="z run through the whole cell, from collector to collector"):
        load(path).run()


def test_scans_between_which_nothing_flowed_are_apart_by_the_clock_and_others_by_the_hours_of_current(
    tmp_path: Path,
) -> None:
    hours = np.array([0.0, 1.0, 1.001, 3.0, 4.0, 4.001, 5.0, 5.001, 8.0])
    current = np.array([1.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, 0.0, 0.0])
    pd.DataFrame({"time/h": hours, "current/mA": current}).to_csv(tmp_path / "cycler.csv", index=False)
    series = labeled_image(np.zeros((4, 2, 2, 2), np.float32), voxel_size_um=3.0, t=[0.0, 2.0, 4.0, 8.0])
    inputs = Inputs(images="x", cycler=str(tmp_path / "cycler.csv"))
    cycle = cycle_of(inputs, Cell(), series, area_um2=36.0)
    assert cycle.names == ["pristine", "plate 1", "rest 1", "strip 1"]
    lasted = np.diff(cycle.hours)
    assert np.allclose(lasted, [1.0, 2.0, 1.0], atol=0.01)


def test_two_scans_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"recipe": "pores", "inputs": {"images": "x"}, "cell": {"steps": ["a", "a"]}}))
    with pytest.raises(RecipeError, match="every scan needs a name of its own"):
        load(path)


def test_the_template_of_the_recipe_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(RECIPES["pores"].template())
    assert load(path).settings.segment.network == "dixit2020"
