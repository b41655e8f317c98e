"""Sections of the page of a growth-rate run: their sentences, figures and what they say of trust."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando import report
from operando.core.axes import labeled_image
from operando.core.quantities import quantity_table
from operando.report import FigureItem, MovieItem, TableItem, TextItem


class Book:
    """Keeps the name of every figure, as a folder of figures would."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def figure(self, name: str, figure: object, caption: str) -> FigureItem:
        self.names.append(name)
        return FigureItem(figure, caption)


def _trust(section: report.Section) -> str:
    (text,) = [i.text for i in section.items if isinstance(i, TextItem) and i.text.startswith("What to trust.")]
    return text


def _tables(section: report.Section) -> dict[str, pd.DataFrame]:
    return {item.name: item.table for item in section.items if isinstance(item, TableItem)}


@pytest.fixture(scope="module")
def series() -> xr.DataArray:
    gray = np.where(np.arange(20)[:, None] > 12, 5, 80) * np.ones((3, 20, 16))
    return labeled_image(
        gray.astype(np.uint8), dims=("t", "y", "x"), voxel_size_um=0.5, t=[0, 300, 600], time_units="s"
    )


@pytest.fixture(scope="module")
def interface(series) -> xr.Dataset:
    broken = np.zeros((3, 16), dtype=bool)
    broken[0, :6] = True
    position = np.array([6.0, 5.5, 5.0])[:, None] * np.ones((3, 16))
    return xr.Dataset(
        {"position": (("t", "x"), position), "position_sigma": (("t", "x"), 0.04 + 0 * position, {"units": "um"}),
         "broken": (("t", "x"), broken), "overhang": (("t", "x"), broken & False)},
        coords={"t": series.t, "x": series.x}, attrs={"metal": "high"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def stages(series) -> xr.DataArray:
    return xr.DataArray([0, 0, 2], dims="t", coords={"t": series.t})


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    frames = np.repeat([1, 2, 3], 6)
    return pd.DataFrame(
        {"experiment": "cell", "frame": frames, "t_min": 5.0 * frames, "x_um": np.tile(np.arange(6.0), 3),
         "stage": np.array(["", "none", "none", "full"])[frames], "growth_rate": 0.04,
         "growth_rate_next": 0.1 * frames + np.tile(np.arange(6) / 100, 3), "concentration": 0.3}
    )  # fmt: skip


@pytest.fixture(scope="module")
def compared(table) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores, predictions = [], []
    for split, r in (("random", 0.9), ("frame", 0.4)):
        for model in ("nearest neighbor", "network"):
            for repeat in range(2):
                scores.append(
                    {"split": split, "model": model, "repeat": repeat, "r_train": 0.99, "r_test": r + 0.02 * repeat,
                     "r_within": r / 4, "rmse": 0.1, "coverage": 0.9 - 0.1 * repeat}
                )  # fmt: skip
                test = (table["frame"] == 2).to_numpy() if split == "frame" else np.arange(len(table)) % 3 == 0
                predictions.append(
                    pd.DataFrame(
                        {"split": split, "model": model, "repeat": repeat, "sample": table.index,
                         "measured": table["growth_rate_next"], "predicted": table["growth_rate_next"] + 0.01,
                         "low": 0.0, "high": 0.5, "part": np.where(test, "test", "train")}
                    )
                )  # fmt: skip
    return pd.DataFrame(scores), pd.concat(predictions, ignore_index=True)


def test_the_interface_section_counts_images_stages_and_broken_columns(series, interface, stages):
    book = Book()
    salt = series.astype(float).assign_attrs(units="1")
    section = report.section_interface(
        {"a": series}, {"a": interface}, {"a": salt}, {"a": stages}, simulated=True, figure=book.figure
    )
    assert "The interface was found in 3 images of 1 series." in section.intro
    assert "known to 40 nm (one sigma, median)" in section.intro
    assert "In 12.5 % of the columns the line is broken and was bridged." in section.intro
    assert "overhangs" not in section.intro
    assert "Images by stage: no depletion 2, full depletion 1." in section.intro
    assert book.names == ["interface"]
    (movie,) = [item for item in section.items if isinstance(item, MovieItem)]
    assert len(movie.frames) == 3
    assert "concentrations are relative" in _trust(section)
    calibrated = salt.assign_attrs(units="mol L-1")
    plain = report.section_interface({"a": series}, {"a": interface}, {"a": calibrated}, {"a": stages}, movie=False)
    assert "as good as the calibration" in _trust(plain)
    assert not any(isinstance(item, MovieItem) for item in plain.items)


def test_the_growth_section_sets_the_stages_beside_the_paper(table):
    velocities = quantity_table(
        [{"component": stage, "quantity": "growth rate", "value": value, "sigma": sigma, "unit": "um min-1", "n": n}
         for stage, value, sigma, n in (("none", 0.05, 0.01, 4), ("full", 0.7, np.nan, 1))]
    )  # fmt: skip
    section = report.section_growth(table, velocities, faraday={"cell": 0.0485}, simulated=True)
    assert "No depletion: 0.050 ± 0.020 µm min⁻¹ (95 %). Full depletion: 0.7 µm min⁻¹." in section.intro
    assert "Dense lithium would grow by 0.0485 (cell) µm min⁻¹ at these currents." in section.intro
    shown = _tables(section)["stage-velocities"]
    assert shown["Ma et al. 2021 [µm min⁻¹]"].tolist() == [0.04, 0.64]
    assert "A simulated series was made with the velocities of the paper" in _trust(section)
    assert "simulated" not in _trust(report.section_growth(table, velocities))


def test_growth_of_unknown_stages_says_nothing_of_stages(table):
    section = report.section_growth(table, quantity_table([]), faraday={"cell": 0.0485})
    assert section.intro.startswith("Dense lithium would grow")
    assert "stage-velocities" not in _tables(section)


def test_an_image_without_interface_is_not_counted_as_one_with_a_broken_line(series, interface, stages):
    lost = interface.copy(deep=True)
    lost["position"][1] = np.nan
    lost["broken"][1] = True
    salt = series.astype(float).assign_attrs(units="1")
    section = report.section_interface({"a": series}, {"a": lost}, {"a": salt}, {"a": stages}, movie=False)
    assert "The interface was found in 2 of 3 images of 1 series." in section.intro
    assert "In 18.8 % of the columns the line is broken" in section.intro


def test_growth_in_pixels_is_not_set_beside_the_paper(table):
    rows = [{"component": "none", "quantity": "growth rate", "value": 0.5, "sigma": 0.1, "unit": "px min-1", "n": 4}]
    shown = _tables(report.section_growth(table, quantity_table(rows)))["stage-velocities"]
    assert list(shown.columns) == ["stage", "growth rate [px min⁻¹]", "sigma [px min⁻¹]", "images"]


def test_the_forecast_section_tells_both_splits_with_the_given_scores(table, compared, series, interface):
    scores, predictions = compared
    book = Book()
    ahead = pd.DataFrame({"x_um": np.arange(6.0), "predicted": 0.1, "low": 0.0, "high": 0.2})
    section = report.section_forecast(
        predictions, scores, table, models={"network": "network 2"}, series=series, interface=interface, ahead=ahead,
        interval_min=5.0, figure=book.figure,
    )  # fmt: skip
    assert section.intro == (
        "Network 2, R of the test points: random points 0.91 (0.90 to 0.92), within frames 0.23 (0.23 to 0.23); "
        "whole frames 0.41 (0.40 to 0.42), within frames 0.10 (0.10 to 0.10)."
    )
    assert book.names == ["forecast", "forecast-along", "next"]
    assert "Neighbors of a random test point were trained on" in _trust(section)
    book = Book()
    report.section_forecast(predictions, scores, table, models={"network": "n"}, figure=book.figure)
    assert book.names == ["forecast", "forecast-along"]


def test_the_trust_section_leads_with_the_sentence_given_and_tables_what_leaked(compared):
    scores, _ = compared
    leak = pd.DataFrame({"model": ["network"], "random": [0.9], "frame": [0.4], "leak": [0.5]})
    section = report.section_trust(
        scores, message="Trust the stage, not the place.", leak=leak, advantage=leak, simulated=True,
        ceiling={"what can be known": {"r": 0.97, "r_within": 0.5}},
    )  # fmt: skip
    assert section.intro == "Trust the stage, not the place."
    shown = _tables(section)
    assert list(shown) == ["leak", "coverage", "advantage"]
    assert np.allclose(shown["coverage"].iloc[:, 1:], 0.85)
    assert list(shown["coverage"]["model"]) == ["nearest neighbor", "network"]
    caption = section.items[0].caption
    assert "Ceiling, what can be known: 0.97 overall, 0.50 within frames." in caption
    assert "the range over 2 repeats" in caption
    assert "1-nearest neighbor" in caption
    assert section.items[0].figure.get_suptitle() == "simulated"


def test_the_leak_within_frames_stands_below_the_overall_one_of_the_same_model(compared):
    leak = pd.DataFrame(
        {"model": ["a", "b"], "random": [0.9, 0.8], "frame": [0.4, 0.5], "leak": [0.5, 0.3],
         "random_within": [0.7, 0.6], "frame_within": [0.1, 0.2], "leak_within": [0.6, 0.4]}
    )  # fmt: skip
    shown = _tables(report.section_trust(compared[0], leak=leak))["leak"]
    assert shown.to_numpy().tolist() == [
        ["a", "overall", 0.9, 0.4, 0.5],
        ["a", "within frames", 0.7, 0.1, 0.6],
        ["b", "overall", 0.8, 0.5, 0.3],
        ["b", "within frames", 0.6, 0.2, 0.4],
    ]


def test_the_study_section_names_the_best_of_each_split_and_warns_of_choosing_it():
    rows = [
        {"split": split, "features": features, "times": "both", "network": network, "repeat": repeat, "r_train": 0.9,
         "r_test": best + (0.1 if features == "all" and network == "16" else 0.0), "r_within": 0.1}
        for split, best in (("random", 0.7), ("frame", 0.3))
        for features in ("slopes", "all")
        for network in ("8", "16", "[64, 64]")
        for repeat in range(2)
        if network != "[64, 64]" or features == "all"
    ]  # fmt: skip
    book = Book()
    section = report.section_study(pd.DataFrame(rows), figure=book.figure)
    assert section.intro.startswith("4 combinations of features, times and network, 2 repeats, 20 trainings in all.")
    assert "Best with whole frames held out: R = 0.40 (all (1-7), times: both, network 16)." in section.intro
    assert book.names == ["study", "study-within", "overfitting"]
    assert "chosen on the test points" in _trust(section)
    narrow = pd.DataFrame(rows).query("network != '[64, 64]'").drop(columns="r_within")
    book = Book()
    report.section_study(narrow, figure=book.figure)
    assert book.names == ["study"]


def test_the_sensitivity_section_names_the_leading_features_and_what_sobol_asked(compared):
    s = pd.DataFrame({"slope": [0.1, 0.1], "concentration": [1.0, 2.0], "growth_rate_previous": [0.5, 0.5]})
    runs = pd.DataFrame(
        [{"run": run, "stage": "all", "feature": name, "mean": 1.0 + run, "std": 0.1} for run in (0, 1) for name in s]
    )
    index = pd.DataFrame(
        {"method": "Sobol", "feature": list(s), "index": "total", "value": 0.3, "low": 0.2, "high": 0.4}
    )
    book = Book()
    section = report.section_sensitivity(
        s, runs, global_=index, permutation=index.assign(method="permutation", index="r2"), outside_share=0.97,
        message="The slopes cannot be told apart.", truth={"slope": 0.0}, figure=book.figure,
    )  # fmt: skip
    assert section.intro.startswith("The slopes cannot be told apart. Largest mean sensitivities")
    assert "4 concentration 1.5, 7 growth rate (time before) 0.5, 3 slope 0.1 µm min⁻¹." in section.intro
    assert book.names == ["sensitivity", "sensitivity-runs", "sensitivity-methods"]
    assert "97 % of the points that Sobol and Morris ask for" in _trust(section)
    assert len(_tables(section)["sensitivity-methods"]) == 6
    book = Book()
    alone = report.section_sensitivity(s, figure=book.figure)
    assert book.names == ["sensitivity"]
    assert "Sobol and Morris ask for" not in _trust(alone)


def test_the_training_section_tells_effective_parameters_and_the_spread_of_the_evidence():
    trace = pd.DataFrame({"epoch": [0, 250], "E_D": [4.0, 2.0], "gamma": [529.0, 181.25], "alpha": 0.1, "beta": 2.0})
    restarts = pd.DataFrame({"log_evidence": [1510.0, 1522.0], "gamma": [180.0, 181.0]})
    section = report.section_training(trace, restarts=restarts, parameters=529, stopped_by="max_epochs")
    assert section.intro == (
        "After 250 epochs the data determine γ = 181.2 of 529 parameters. The training ended on: max_epochs. "
        "2 starts end at a log evidence from 1510 to 1522; the highest was taken."
    )


def test_every_section_goes_onto_a_page_with_a_text_for_every_figure(table, compared, series, interface, stages):
    scores, predictions = compared
    given = {"a": series}, {"a": interface}, {"a": series}, {"a": stages}
    sections = [
        report.section_growth(table, simulated=True),
        report.section_trust(scores, simulated=True),
        report.section_interface(*given, movie=False, simulated=True),
        report.section_forecast(predictions, scores, table, models={"network": "n"}, simulated=True),
    ]
    figures = [item for section in sections for item in section.items if isinstance(item, FigureItem)]
    assert all(item.alt for item in figures)
    assert all(item.figure.get_suptitle() == "simulated" for item in figures)
    # To render takes most of the time: two of them show that a page takes them.
    assert report.page("Growth", sections[:2]).count("What to trust.") == 2
