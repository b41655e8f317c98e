"""Recipe ``growth-rate``: small simulated series through the whole job, plain TIFF series, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from PIL import Image

from operando import dendrites, samples
from operando.core.errors import InputError, RecipeError
from operando.pipeline import RECIPES, load
from operando.pipeline.growth_rate.demo import write_demo
from operando.pipeline.growth_rate.inputs import open_series
from operando.pipeline.growth_rate.settings import Experiment
from operando.pipeline.step import derived_seed
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
    sample = samples.srs_series((64, 48), frames=5, seed=3002)
    tifffile.imwrite(path, sample["image"].values, photometric="minisblack")
    return path


def plain(images: Path, **experiment: Any) -> Path:
    """A recipe of one series with few, quick trainings."""
    one = {"name": "one", "images": str(images), "interval_min": 5, "pixel_size_um": 1.0, **experiment}
    content = {
        "recipe": "growth-rate",
        "experiments": [one],
        **SMALL,
        "points": 40,
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
    # Growth by stage counts every interval, that before the first of these images too.
    growth = read_table(run / "growth.parquet")
    assert growth.loc[growth["quantity"] == "growth rate", "n"].sum() == 15 + 4 + 4


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
    network, table = read_json(run / "network.json"), read_table(run / "features.parquet")
    table = table[np.isfinite(table[[*network["features"], "growth_rate_next"]]).all(axis=1)]
    x, y = table[network["features"]], table["growth_rate_next"]
    low, high = np.array(network["inputs"]["low"]), np.array(network["inputs"]["high"])
    signal = 2 * (x.to_numpy() - low) / (high - low) - 1
    for number, layer in enumerate(network["weights"]):
        matrix = np.array(layer)
        signal = signal @ matrix[:, :-1].T + matrix[:, -1]
        signal = signal if number == len(network["weights"]) - 1 else np.tanh(signal)
    target = network["target"]
    forecast = target["low"] + (signal[:, 0] + 1) / 2 * (target["high"] - target["low"])
    again, _ = dendrites.best_of(x, y, 2, random_state=derived_seed(3001, "forecast"), hidden=(4,), max_epochs=8)
    np.testing.assert_allclose(forecast, again.predict(x), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_the_forecast_of_the_next_interval_lies_in_its_interval_at_every_point(run: Path) -> None:
    ahead = read_table(run / "forecast.parquet")
    assert ahead.groupby("experiment")["frame"].first().tolist() == [15, 4, 4]
    assert len(ahead) == 3 * 40
    assert (ahead["low"] <= ahead["predicted"]).all()
    assert (ahead["predicted"] <= ahead["high"]).all()


def test_a_model_that_is_not_there_is_refused_with_the_nearest(images: Path) -> None:
    recipe = plain(images)
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**content, "forecast": {"model": "linaer"}}))
    with pytest.raises(RecipeError, match="there is no model 'linaer'. Did you mean 'linear'"):
        load(recipe).steps()


@pytest.mark.slow
def test_a_finished_run_is_not_run_again_and_other_points_leave_the_interface_alone(run: Path, demo: Path) -> None:
    assert not load(demo).plan().pending
    other = demo.with_name("other.yaml")
    other.write_text(yaml.safe_dump({**yaml.safe_load(demo.read_text()), "points": 36, "output": "run"}))
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


@pytest.mark.slow
def test_an_image_that_was_lost_is_left_out_and_only_the_last_one_is_forecast(tmp_path: Path) -> None:
    values = samples.srs_series((64, 48), frames=10, seed=3003)["image"].values.copy()
    values[4] = 0
    tifffile.imwrite(tmp_path / "lost.tif", values, photometric="minisblack")
    recipe = plain(tmp_path / "lost.tif")
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "interface": {"missing": "nan"}}))
    loaded = load(recipe)
    loaded.run()
    assert read_table(loaded.folder / "next.parquet")["frame"].unique().tolist() == [9]
    assert read_table(loaded.folder / "forecast.parquet")["frame"].unique().tolist() == [9]


def test_a_series_is_the_same_from_a_stack_and_from_single_images(images: Path, tmp_path: Path) -> None:
    stack = tifffile.imread(images)
    paths = [str(tmp_path / f"t{number}.tif") for number in range(len(stack))]
    for path, image in zip(paths, stack, strict=True):
        tifffile.imwrite(path, image)
    given: dict[str, Any] = {"name": "one", "interval_min": 5, "pixel_size_um": 0.5}
    one = open_series(Experiment(images=str(images), **given))
    many = open_series(Experiment(images=paths, **given))
    np.testing.assert_array_equal(one.values, many.values)
    assert one["t"].values.tolist() == many["t"].values.tolist() == [0.0, 300.0, 600.0, 900.0, 1200.0]
    assert float(one["x"][1] - one["x"][0]) == 0.5


def test_a_folder_of_pictures_is_read_in_the_order_of_their_numbers(images: Path, tmp_path: Path) -> None:
    stack = tifffile.imread(images)
    for number, image in zip((9, 10, 11, 100, 101), stack, strict=True):
        Image.fromarray(image).save(tmp_path / f"frame {number}.png")
    one = open_series(Experiment(images=str(tmp_path), name="one", interval_min=5, pixel_size_um=0.5))
    np.testing.assert_array_equal(one.values, stack)


@pytest.mark.parametrize(("dtype", "saturation"), [("uint16", 65535), ("float32", 1.0)])
def test_gray_values_of_another_scale_are_brought_to_255(
    images: Path, tmp_path: Path, dtype: str, saturation: float
) -> None:
    stack = tifffile.imread(images)
    path = tmp_path / "scaled.tif"
    tifffile.imwrite(path, (stack * (saturation / 255)).astype(dtype), photometric="minisblack")
    given: dict[str, Any] = {"name": "one", "images": str(path), "interval_min": 5, "pixel_size_um": 0.5}
    one = open_series(Experiment(saturation=saturation, **given))
    np.testing.assert_allclose(one.values, stack, atol=1e-3)
    assert open_series(Experiment(**given)).dtype == dtype


def test_metal_at_the_side_is_turned_to_the_end_of_y(images: Path, tmp_path: Path) -> None:
    stack = tifffile.imread(images)
    path = tmp_path / "side.tif"
    tifffile.imwrite(path, np.ascontiguousarray(stack.transpose(0, 2, 1)), photometric="minisblack")
    given: dict[str, Any] = {"name": "one", "images": str(path), "interval_min": 5, "pixel_size_um": 0.5}
    np.testing.assert_array_equal(open_series(Experiment(normal="x", **given)).values, stack)


def test_a_fault_of_the_interface_names_its_experiment_and_the_keys_that_mend_it(images: Path) -> None:
    dark = images.with_name("dark.tif")
    tifffile.imwrite(dark, np.minimum(tifffile.imread(images), 100), photometric="minisblack")
    with pytest.raises(InputError, match=r"one: find_interface: frame 0.*interface\.rule 'half level'"):
        load(plain(dark, times_min=[0, 5, 10, 15, 20], interval_min=None)).run()


@pytest.mark.slow
def test_an_image_without_interface_is_left_out_where_the_recipe_says_so(tmp_path: Path) -> None:
    path = tmp_path / "gap.tif"
    stack = samples.srs_series((64, 48), frames=10, current_density=1.3, interval_min=3, seed=3002)["image"].values
    stack[3] = np.minimum(stack[3], 150)
    tifffile.imwrite(path, stack, photometric="minisblack")
    recipe = plain(path, interval_min=3, current_density=1.3)
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "interface": {"missing": "nan"}}))
    loaded = load(recipe)
    loaded.run()
    stages = read_table(loaded.folder / "over-time.parquet")["stage"]
    assert (stages == "unknown").tolist() == [number == 3 for number in range(10)]
    page = (loaded.folder / "report.html").read_text()
    assert "The interface was found in 9 of 10 images of 1 series." in page
    assert "Images without interface, which were left out: 1." in page


@pytest.mark.slow
def test_a_random_split_alone_runs_and_tells_no_leak(images: Path) -> None:
    recipe = plain(images)
    content = yaml.safe_load(recipe.read_text())
    content["forecast"]["splits"] = ["random"]
    recipe.write_text(yaml.safe_dump({**content, "output": "random"}))
    loaded = load(recipe)
    loaded.run()
    assert (loaded.folder / "report.html").exists()


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        ({"interval_min": None}, "Give interval_min or times_min"),
        ({"pixel_size_um": None}, "Give pixel_size_um"),
        ({"interval_min": None, "times_min": [0, 5, 10]}, "got 3 for 5 images"),
        ({"interval_min": None, "times_min": [0, 5, 5, 10, 15]}, "must rise from image to image"),
        ({"interval_min": None, "times_min": [0, 5, float("nan"), 10, 15]}, "must rise from image to image"),
        ({"frames": [0, 2]}, "at least 3 images are needed"),
        ({"frames": [0, 3]}, "a forecast needs 3 images or more that have one before and one after them, got 1"),
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


def test_too_few_samples_are_refused(images: Path) -> None:
    recipe = plain(images)
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "points": 8}))
    with pytest.raises(RecipeError, match="100 samples or more are needed to train and to test, got 24 at 3 times"):
        load(recipe).steps()


def test_a_split_by_experiment_alone_is_refused_for_one_experiment(images: Path) -> None:
    recipe = plain(images)
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**content, "forecast": {"splits": ["experiment"]}}))
    with pytest.raises(RecipeError, match="one experiment cannot be split by experiment"):
        load(recipe).steps()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"ceilings": [{"r": 1}], "sensitivities": []}, "'ceilings' must have"),
        ([1, 2], "must hold the lists 'ceilings'"),
    ],
)
def test_a_truth_of_something_else_is_refused_before_anything_runs(images: Path, rows: Any, told: str) -> None:
    recipe = plain(images)
    recipe.with_name("truth.json").write_text(json.dumps(rows))
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "truth": "truth.json"}))
    with pytest.raises(RecipeError, match=told):
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
