"""Recipe ``growth-rate``: small simulated series through the whole job, plain TIFF series, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from operando import samples
from operando.core.errors import RecipeError
from operando.pipeline import RECIPES, load
from operando.pipeline.growth_rate.demo import write_demo
from operando.pipeline.growth_rate.inputs import open_series
from operando.pipeline.growth_rate.settings import Experiment
from operando.pipeline.storage import read_dataset, read_json, read_table

SMALL: dict[str, Any] = {
    "points": 40,
    "forecast": {"hidden": [4], "epochs": 8, "repeats": 1, "restarts": 2},
    "study": {"networks": [[2], [4]], "wider": [[8, 8]], "repeats": 1},
    "sensitivity": {"trainings": 2, "samples": 16, "permutations": 1},
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small series on disk and their recipe."""
    recipe = write_demo(tmp_path_factory.mktemp("growth"), seed=3001, shape=(96, 64))
    content = {**yaml.safe_load(recipe.read_text()), **SMALL}
    recipe.write_text(yaml.safe_dump(content))
    return recipe


@pytest.fixture(scope="module")
def run(demo: Path) -> Path:
    """The finished run folder of the demo."""
    loaded = load(demo)
    loaded.run()
    return loaded.folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated series as a plain TIFF stack, which says neither time nor pixel."""
    path = tmp_path_factory.mktemp("plain") / "series.tif"
    sample = samples.srs_series((64, 48), frames=4, seed=3002)
    tifffile.imwrite(path, sample["image"].values, photometric="minisblack")
    return path


def plain(images: Path, **experiment: Any) -> Path:
    """A recipe of one series with few, quick trainings."""
    one = {"name": "one", "images": str(images), "interval_min": 5, "pixel_size_um": 1.0, **experiment}
    content = {
        "recipe": "growth-rate",
        "experiments": [one],
        **SMALL,
        "points": 30,
        "study": {"run": False},
        "sensitivity": {"run": False},
    }
    path = images.with_name("plain.yaml")
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_a_run_writes_growth_scores_and_the_next_interval_into_the_ledger(run: Path) -> None:
    ledger = read_table(run / "ledger.parquet")
    asked = {
        "interface height",
        "interface roughness",
        "mean growth rate",
        "dense growth rate",
        "apparent porosity",
        "R of the forecast",
        "R of the forecast within frames",
        "error of the forecast",
        "forecast growth rate of the next interval",
    }
    assert asked <= set(ledger["quantity"])
    assert (run / "report.html").stat().st_size > 100_000
    assert pd.read_csv(run / "ledger.csv")["high"].notna().any()


@pytest.mark.slow
def test_every_image_but_the_first_and_the_last_of_a_series_gives_its_points(run: Path) -> None:
    table = read_table(run / "features.parquet")
    assert len(table) == (14 + 3 + 3) * 40
    assert table.groupby("experiment")["frame"].nunique().tolist() == [14, 3, 3]
    assert len(read_table(run / "next.parquet")) == 3 * 40


@pytest.mark.slow
def test_the_interface_of_a_simulated_run_lies_where_the_simulation_put_it(run: Path) -> None:
    truth = samples.srs_experiments(seed=3001, shape=(96, 64))
    for number, one in enumerate(truth.values()):
        found = read_dataset(run / f"interface-{number + 1}.zarr")
        off = (found["position"].values - one["position"].values)[~found["broken"].values.astype(bool)]
        assert np.sqrt(np.mean(off**2)) < 0.5


@pytest.mark.slow
def test_the_network_on_disk_forecasts_as_the_one_that_wrote_it(run: Path) -> None:
    """Weights, layer by layer as a matrix with the bias last, and the scaling are all that a forecast needs."""
    network, ahead = read_json(run / "network.json"), read_table(run / "forecast.parquet")
    low, high = np.array(network["inputs"]["low"]), np.array(network["inputs"]["high"])
    x = read_table(run / "next.parquet")[network["features"]].to_numpy()
    signal = 2 * (x - low) / (high - low) - 1
    for number, layer in enumerate(network["weights"]):
        matrix = np.array(layer)
        signal = signal @ matrix[:, :-1].T + matrix[:, -1]
        signal = signal if number == len(network["weights"]) - 1 else np.tanh(signal)
    target = network["target"]
    forecast = target["low"] + (signal[:, 0] + 1) / 2 * (target["high"] - target["low"])
    np.testing.assert_allclose(forecast, ahead["predicted"], rtol=1e-9, atol=1e-12)
    assert (ahead["low"] <= ahead["predicted"]).all()
    assert (ahead["predicted"] <= ahead["high"]).all()


@pytest.mark.slow
def test_a_finished_run_is_not_run_again_and_other_points_leave_the_interface_alone(run: Path, demo: Path) -> None:
    assert not load(demo).plan().pending
    other = demo.with_name("other.yaml")
    other.write_text(yaml.safe_dump({**yaml.safe_load(demo.read_text()), "points": 30, "output": "run"}))
    names = [item.step.name for item in load(other).plan().pending]
    assert "features" in names
    assert "interface" not in names


@pytest.mark.slow
def test_a_plain_tiff_series_runs_with_an_interval_a_pixel_and_one_experiment(images: Path) -> None:
    loaded = load(plain(images))
    loaded.run()
    scores = read_table(loaded.folder / "scores.parquet")
    assert set(scores["split"]) == {"random", "frame"}
    assert (loaded.folder / "report.html").exists()


def test_a_series_is_the_same_from_a_stack_and_from_single_images(images: Path, tmp_path: Path) -> None:
    stack = tifffile.imread(images)
    paths = [str(tmp_path / f"t{number}.tif") for number in range(len(stack))]
    for path, image in zip(paths, stack, strict=True):
        tifffile.imwrite(path, image)
    given: dict[str, Any] = {"name": "one", "interval_min": 5, "pixel_size_um": 0.5}
    one = open_series(Experiment(images=str(images), **given))
    many = open_series(Experiment(images=paths, **given))
    np.testing.assert_array_equal(one.values, many.values)
    assert one["t"].values.tolist() == many["t"].values.tolist() == [0.0, 300.0, 600.0, 900.0]
    assert float(one["x"][1] - one["x"][0]) == 0.5


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        ({"interval_min": None}, "Give interval_min or times_min"),
        ({"pixel_size_um": None}, "Give pixel_size_um"),
        ({"interval_min": None, "times_min": [0, 5, 10]}, "got 3 for 4 images"),
        ({"interval_min": None, "times_min": [0, 5, 5, 10]}, "must rise from image to image"),
        ({"frames": [0, 2]}, "at least 3 images are needed"),
    ],
)
def test_a_series_that_cannot_give_a_growth_rate_is_refused_with_a_remedy(
    images: Path, experiment: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        load(plain(images, **experiment)).steps()


def test_more_points_than_columns_are_refused(images: Path) -> None:
    recipe = plain(images)
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "points": 47}))
    with pytest.raises(RecipeError, match="46 columns with two neighbors"):
        load(recipe).steps()


def test_a_split_by_experiment_alone_is_refused_for_one_experiment(images: Path) -> None:
    recipe = plain(images)
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**content, "forecast": {"splits": ["experiment"]}}))
    with pytest.raises(RecipeError, match="one experiment cannot be split by experiment"):
        load(recipe).steps()


def test_half_a_calibration_is_refused(images: Path) -> None:
    recipe = plain(images)
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "salt": {"dark": 10}}))
    with pytest.raises(RecipeError, match="a calibration needs both"):
        load(recipe)


def test_two_experiments_of_one_name_are_refused(images: Path) -> None:
    recipe = plain(images)
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**content, "experiments": content["experiments"] * 2}))
    with pytest.raises(RecipeError, match="one stands twice"):
        load(recipe)


def test_the_template_of_the_recipe_says_what_every_key_is() -> None:
    text = RECIPES["growth-rate"].template()
    assert "how rows are held out" in text
    assert yaml.safe_load(text)["experiments"][0]["interval_min"] == 5
