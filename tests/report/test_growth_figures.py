"""Figures of a growth-rate run: what they draw, from made-up interfaces, tables and scores."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando import report, samples
from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.report import growth_style as look
from operando.report.growth_interface import draw_line, line_of
from operando.report.growth_next import next_growth
from operando.report.growth_sensitivity import truth_values
from operando.report.growth_trust import ceiling_values

FEATURES = list(look.FEATURE_LABELS)
COLUMNS = [f"{name}_previous" for name in FEATURES] + FEATURES


@pytest.fixture(scope="module")
def series() -> xr.DataArray:
    height = 8.0 + np.arange(4)[:, None] + np.sin(np.arange(24) / 3.0)
    far = (31.5 - height)[:, None, :] - np.arange(32.0)[:, None]
    gray = np.where(far > 0, 60.0, 5.0) + 300 * np.exp(-0.5 * (far / 1.5) ** 2)
    return labeled_image(
        np.clip(gray, 0, 255).astype(np.uint8), dims=("t", "y", "x"), voxel_size_um=1.0, t=300.0 * np.arange(4),
        time_units="s", attrs={"simulated": True},
    )  # fmt: skip


@pytest.fixture(scope="module")
def interface(series) -> xr.Dataset:
    position = 31.5 - (8.0 + np.arange(4)[:, None] + np.sin(np.arange(24) / 3.0))
    broken = np.zeros(position.shape, dtype=bool)
    broken[1, 5:8] = True
    return xr.Dataset(
        {"position": (("t", "x"), position), "broken": (("t", "x"), broken), "overhang": (("t", "x"), broken & False)},
        coords={"t": series.t, "x": series.x},
        attrs={"metal": "high"},
    )


@pytest.fixture(scope="module")
def salt(series) -> xr.DataArray:
    values = np.broadcast_to(np.linspace(0.33, 0.1, 32)[:, None], series.shape)
    return series.copy(data=values).assign_attrs(units="mol L-1", long_name="Concentration")


@pytest.fixture(scope="module")
def stages(series) -> xr.DataArray:
    return xr.DataArray([0, 0, 1, 2], dims="t", coords={"t": series.t}, attrs={"stages": ["none", "partial", "full"]})


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    frames = np.repeat([1, 2, 3], 10)
    rates = np.array([0.0, 0.04, 0.4, 0.6])[frames] + np.tile(np.linspace(-0.02, 0.02, 10), 3)
    rows = pd.DataFrame(
        {"experiment": "cell", "frame": frames, "t_min": 5.0 * frames, "x_um": np.tile(np.arange(10.0), 3),
         "stage": np.array(["", "none", "partial", "full"])[frames], "growth_rate": rates - 0.01,
         "growth_rate_next": rates, "concentration": 0.3 / frames}
    )  # fmt: skip
    rows.attrs["units"] = {"growth_rate_next": "um min-1", "x_um": "um", "t_min": "min"}
    return rows


@pytest.fixture(scope="module")
def predictions(table) -> pd.DataFrame:
    parts = []
    for split in ("random", "frame"):
        for model in ("network 1", "network 2"):
            test = (table["frame"] == 2) if split == "frame" else pd.Series(np.arange(30) % 4 == 0)
            measured = table["growth_rate_next"]
            parts.append(
                pd.DataFrame(
                    {"split": split, "model": model, "repeat": 0, "sample": table.index, "measured": measured,
                     "predicted": measured + 0.05, "low": measured - 0.1, "high": measured + 0.2,
                     "part": np.where(test, "test", "train"), "experiment": "cell", "frame": table["frame"]}
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rows = [
        {"split": split, "model": model, "repeat": repeat, "r_train": 0.99, "r_test": r - 0.1 * repeat,
         "r_within": np.nan if model == "stage mean" else r / 2, "rmse": 0.1, "coverage": 0.9}
        for model in ("stage mean", "nearest neighbor", "network 1", "network 2")
        for split, r in (("random", 0.95), ("frame", 0.5))
        for repeat in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def ablation() -> pd.DataFrame:
    rows = [
        {"split": split, "features": features, "times": times, "network": network, "repeat": repeat,
         "r_train": 0.9, "r_test": (0.8 if split == "random" else -0.2) + 0.1 * repeat, "r_within": 0.1}
        for split in ("frame", "random")
        for features in ("slopes", "all")
        for times in ("current", "both")
        for network in ("[8, 8]", "16", "[64, 64]")
        for repeat in range(2)
        if network != "[64, 64]" or (features == "all" and times == "both")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_overview_draws_one_boundary_per_image_in_the_color_of_its_stage(series, interface, salt, stages):
    figure = report.interface_overview({"a": series}, {"a": interface}, {"a": salt}, {"a": stages}, at=3)
    boundaries = figure.axes[2]
    solid = [line for line in boundaries.lines if line.get_linestyle() == "-"]
    colors = [look.STAGE_COLORS[name] for name in ("none", "none", "partial", "full")]
    assert [line.get_color() for line in solid] == colors
    assert solid[3].get_linewidth() > solid[0].get_linewidth()
    assert figure.get_suptitle() == "simulated"


def test_row_zero_of_the_image_is_drawn_at_the_top_and_the_metal_below_the_interface(series, interface, salt, stages):
    figure = report.interface_overview({"a": series}, {"a": interface}, {"a": salt}, {"a": stages})
    for ax in figure.axes[:3]:
        assert ax.get_ylim()[0] > ax.get_ylim()[1]
    drawn = np.ma.getmaskarray(figure.axes[1].images[0].get_array())
    assert drawn[-1].all()
    assert not drawn[0].any()


def test_metal_at_the_low_end_is_masked_there(series, interface, salt, stages):
    flipped = salt.isel(y=slice(None, None, -1)).assign_coords(y=salt.y)
    mirrored = interface.assign(position=31.0 - interface["position"]).assign_attrs(metal="low")
    figure = report.interface_overview({"a": series}, {"a": mirrored}, {"a": flipped}, {"a": stages})
    masked = np.ma.getmaskarray(figure.axes[1].images[0].get_array())
    assert masked[0].all()
    assert not masked[-1].any()


def test_a_broken_part_of_the_line_is_dashed_and_joins_the_rest(interface):
    x, _, doubtful = line_of(interface, 1)
    figure = report.style.new_figure(50, 50)
    ax = figure.add_subplot()
    draw_line(ax, interface, 1, color="k")
    solid, dashed = ax.lines
    assert np.isnan(solid.get_ydata()[doubtful]).all()
    assert x[np.isfinite(dashed.get_ydata())].tolist() == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_further_series_get_a_panel_each(series, interface, salt, stages):
    names = ("a", "b", "c")
    lines, found = dict.fromkeys(names, interface), dict.fromkeys(names, stages)
    figure = report.interface_overview(dict.fromkeys(names, series), lines, {"b": salt}, found, name="b")
    assert [ax.get_title() for ax in figure.axes if ax.get_title() in names] == ["b", "a", "c"]


def test_a_series_without_interface_or_frame_is_refused(series, interface, salt, stages):
    with pytest.raises(InputError, match="every series needs its interface"):
        report.interface_overview({"a": series}, {}, {"a": salt}, {"a": stages})
    with pytest.raises(InputError, match="at must be a frame from 0 to 3, got 4"):
        report.interface_overview({"a": series}, {"a": interface}, {"a": salt}, {"a": stages}, at=4)
    with pytest.raises(InputError, match="Did you mean 'cell one'"):
        report.interface_overview(
            {"cell one": series}, {"cell one": interface}, {"cell one": salt}, {"cell one": stages}, name="cell on"
        )


def test_the_movie_has_a_frame_per_image_and_adds_boundaries(series, interface, stages):
    frames = report.interface_frames(series, interface, stages, dpi=60)
    assert len(frames) == 4
    assert len({frame.shape for frame in frames}) == 1
    half = frames[0].shape[1] // 2

    def ink(frame: np.ndarray) -> int:
        return int((frame[:, half:].min(axis=2) < 200).sum())

    assert ink(frames[0]) < ink(frames[3])


def test_growth_is_drawn_interval_by_interval_with_the_stage_at_its_start(table, stages):
    figure = report.growth_over_time(table, stages={"cell": stages}, faraday={"cell": 0.05})
    top = figure.axes[0]
    line = top.lines[0]
    assert line.get_xdata().tolist() == [0, 5, 5, 10, 10, 15, 15, 20]
    assert np.allclose(line.get_ydata()[::2], [0.03, 0.39, 0.59, 0.6])
    shades = [patch for patch in top.patches if patch.get_alpha() == 0.16]
    assert [shade.get_x() for shade in shades] == [0, 5, 10, 15]
    assert top.get_ylabel() == "Growth rate\n[µm min⁻¹]"


def test_a_last_frame_without_a_next_one_ends_the_growth_there(table):
    last = table.copy()
    last.loc[last["frame"] == 3, "growth_rate_next"] = np.nan
    assert report.growth_over_time(last).axes[0].lines[0].get_xdata().max() == 15


def test_uneven_intervals_are_drawn_as_long_as_they_were_and_a_lost_image_leaves_a_gap(table):
    times = xr.DataArray([0.0, 2.0, 9.0, 12.0, 20.0], dims="t", attrs={"units": "min"})
    clock = xr.DataArray([0, 1, 1, 2, 2], dims="t", coords={"t": times})
    uneven = table.assign(t_min=times.values[table["frame"]])
    line = report.growth_over_time(uneven, stages={"cell": clock}).axes[0].lines[0]
    assert line.get_xdata().tolist() == [0, 2, 2, 9, 9, 12, 12, 20]
    lost = uneven[uneven["frame"] != 2].assign(
        growth_rate_next=lambda rows: rows["growth_rate_next"].where(rows.frame > 1)
    )
    line = report.growth_over_time(lost, stages={"cell": clock}).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [0, 2, np.nan, 9, 12, 12, 20])


def test_salt_that_is_missing_at_first_is_relative_to_the_first_that_is_known(table):
    surface = xr.DataArray(
        [np.nan, 0.2, 0.1, 0.05], dims="t", coords={"t": ("t", [0.0, 5.0, 10.0, 15.0], {"units": "min"})}
    )
    bottom = report.growth_over_time(table, surface={"cell": surface}).axes[1]
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [np.nan, 1.0, 0.5, 0.25])
    none = report.growth_over_time(table, surface={"cell": 0.0 * surface}).axes[1]
    assert np.isnan(none.lines[0].get_ydata()).all()


def test_a_name_is_no_formula(series, interface, salt, stages, table):
    name = r"5 $\bad$ a cell"
    figure = report.interface_overview(
        {name: series, "b": series},
        dict.fromkeys((name, "b"), interface),
        {name: salt},
        dict.fromkeys((name, "b"), stages),
    )
    figure.canvas.draw()
    both = pd.concat([table.assign(experiment=name), table.assign(experiment="b")], ignore_index=True)
    report.growth_over_time(both).canvas.draw()


def test_growth_in_pixels_says_so(table):
    rough = table.copy()
    rough.attrs["units"] = {"growth_rate_next": "px min-1"}
    assert report.growth_over_time(rough).axes[0].get_ylabel() == "Growth rate\n[px min⁻¹]"


def test_the_scatter_writes_the_given_scores_and_draws_every_point_in_the_color_of_its_stage(
    predictions, scores, table
):
    figure = report.forecast_scatter(
        predictions, scores, models={"network 1": "small", "network 2": "large"}, table=table
    )
    axes = figure.axes
    assert len(axes) == 8
    assert axes[1].texts[0].get_text() == "R = 0.95\nwithin frames 0.47"
    assert axes[0].texts[0].get_text() == "R = 0.99"
    held_out = axes[5].collections[0]
    assert len(held_out.get_offsets()) == 10
    assert np.allclose(np.diff(held_out.get_offsets(), axis=1), 0.05)
    import matplotlib

    assert np.allclose(held_out.get_facecolors()[0][:3], matplotlib.colors.to_rgb(look.STAGE_COLORS["partial"]))


def test_points_beyond_the_axes_are_drawn_on_their_edge(predictions, scores):
    wild = predictions.assign(predicted=predictions["predicted"].where(predictions.index % 7 > 0, 99.0))
    figure = report.forecast_scatter(wild, scores, models={"network 1": "a"}, splits=["random"])
    ax = figure.axes[0]
    y = ax.collections[0].get_offsets()[:, 1]
    assert np.isclose(y.max(), ax.get_ylim()[1])


def test_an_unknown_model_is_told_its_nearest_neighbor(predictions, scores):
    with pytest.raises(InputError, match="Did you mean 'network 1'"):
        report.forecast_scatter(predictions, scores, models={"netwrk 1": "a"})


def test_along_the_electrode_the_held_out_frame_and_its_interval_are_drawn(predictions, table):
    figure = report.forecast_along(predictions, table, models={"network 1": "small"})
    ax = figure.axes[1]
    assert ax.get_title() == "small\nheld out, cell, 10 min"
    forecast, measured = ax.lines
    assert np.allclose(forecast.get_ydata() - measured.get_ydata(), 0.05)
    assert len(ax.collections) == 1


def test_random_test_points_are_the_same_for_one_seed(predictions, table):
    first, again, other = (
        report.forecast_along(predictions, table, models={"network 1": "a"}, points=4, seed=seed) for seed in (0, 0, 5)
    )
    drawn = [figure.axes[0].lines[1].get_ydata().tolist() for figure in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_next_growth_lies_outward_by_rate_times_interval(series, interface):
    ahead = pd.DataFrame({"x_um": np.arange(24.0), "predicted": 0.4, "low": 0.2, "high": 0.6})
    figure = next_growth(series, interface, ahead, interval_min=5.0)
    above, below = figure.axes
    expected = above.lines[1].get_ydata()
    assert np.allclose(expected, interface["position"].values[-1] - 2.0)
    low = next_growth(series, interface.assign_attrs(metal="low"), ahead, interval_min=5.0).axes[0].lines[1].get_ydata()
    assert np.allclose(low, interface["position"].values[-1] + 2.0)
    assert below.get_ylabel() == "Growth rate\n[µm min⁻¹]"
    with pytest.raises(InputError, match="interval_min must be positive, got 0"):
        next_growth(series, interface, ahead, interval_min=0)


def test_where_all_points_grow_alike_none_is_the_fastest(series, interface):
    ahead = pd.DataFrame({"x_um": np.arange(24.0), "predicted": 0.4, "low": 0.2, "high": 0.6})
    slower = ahead.assign(predicted=np.where(ahead["x_um"] < 22, 0.1, 0.4))
    drawn = [next_growth(series, interface, one, interval_min=5.0) for one in (ahead, slower)]
    marked = [figure.axes[1].lines[1].get_ydata() for figure in drawn]
    assert [int(np.isfinite(values).sum()) for values in marked] == [0, 2]


def test_a_series_without_times_or_voxel_size_is_drawn_in_frames_and_pixels(series, interface, salt, stages):
    bare = [xr.DataArray(one.values, dims=("t", "y", "x")) for one in (series, salt)]
    line = interface.drop_vars(["t", "x"])
    figure = report.interface_overview({"a": bare[0]}, {"a": line}, {"a": bare[1]}, {"a": stages.drop_vars("t")}, at=1)
    assert figure.axes[0].get_title() == "raw image, frame 1"
    assert figure.axes[2].get_xlabel() == "Position x [px]"


def test_an_image_in_which_no_line_was_found_has_no_metal_and_no_line(series, interface, salt, stages):
    lost = interface.copy(deep=True)
    lost["position"][2] = np.nan
    figure = report.interface_overview({"a": series}, {"a": lost}, {"a": salt}, {"a": stages}, at=2)
    assert not np.ma.getmaskarray(figure.axes[1].images[0].get_array()).any()
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).all()


def test_trust_marks_means_and_ranges_and_leaves_out_what_is_undefined(scores):
    figure = report.trust_plot(scores, ceiling={"all that can be known": {"r": 0.97, "r_within": 0.6}})
    overall, within, coverage = figure.axes
    assert [text.get_text() for text in overall.get_yticklabels()][:2] == [
        "Stage mean",
        "Nearest neighbor\n(finds leaks)",
    ]
    marks = [line for line in overall.lines if line.get_linestyle() == "None"]
    assert np.isclose(marks[0].get_xdata()[0], 0.9)
    assert len(marks) == 8
    assert len([line for line in within.lines if line.get_linestyle() == "None"]) == 6
    assert coverage.get_xlabel() == "Coverage of\n95 % intervals"
    dashed = [line for line in within.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [0.6]


def test_the_ceilings_of_a_simulated_series_are_drawn_as_they_come(scores):
    made = ceiling_values(samples.srs_ceiling(samples.srs_series((64, 64), frames=4, seed=3000)))
    assert list(made) == ["knowing all the past", "knowing what is visible"]
    figure = report.trust_plot(scores, ceiling=made)
    dashed = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert dashed[0].get_xdata()[0] == made["knowing all the past"]["r_within"]
    assert 0 < made["knowing what is visible"]["r_within"] < made["knowing all the past"]["r_within"] < 1


def test_trust_takes_values_and_bars_from_given_intervals(scores):
    given = pd.DataFrame(
        {"split": ["random"], "model": ["network 1"], "score": ["r"], "value": [0.3], "low": [0.2], "high": [0.7]}
    )
    overall = report.trust_plot(scores, intervals=given).axes[0]
    (bar,) = overall.collections[0].get_segments()
    assert bar[:, 0].tolist() == [0.2, 0.7]


def test_the_study_has_a_panel_per_split_and_times_on_one_scale_and_leaves_wide_networks_out(ablation):
    figure = report.study_maps(ablation)
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 4
    assert {image.get_clim() for ax in panels for image in ax.images} == {(0.0, 1.0)}
    assert [text.get_text() for text in panels[-1].get_xticklabels()] == ["16", "[8, 8]"]
    assert panels[0].texts[0].get_text() == "0.85"
    assert panels[2].texts[0].get_text() == "\u22120.15"
    assert panels[0].get_ylabel() == "random points\n(the paper's)"


def test_overfitting_is_drawn_over_the_number_of_parameters(ablation):
    figure = report.overfitting_plot(ablation)
    train, test = figure.axes[0].lines
    assert test.get_xdata().tolist() == [look.parameter_count(name, 14) for name in ("[8, 8]", "16", "[64, 64]")]
    assert np.allclose(test.get_ydata(), 0.85)
    assert np.allclose(train.get_ydata(), 0.9)


def test_sensitivities_are_drawn_by_time_with_their_means_and_the_truth():
    rng = np.random.default_rng(0)
    s = pd.DataFrame({name: rng.gamma(2, 0.1 + 0.05 * k, 400) for k, name in enumerate(COLUMNS)})
    figure = report.sensitivity_distributions(s, truth={"slope": 0.0, "growth_rate": 0.9})
    before, now, bars = figure.axes
    assert [text.get_text() for text in before.get_yticklabels()] == list(look.FEATURE_LABELS.values())
    assert len(before.collections) == len(now.collections) == 7
    assert np.allclose(sorted(patch.get_width() for patch in bars.patches), sorted(s.mean()))
    assert [float(line.get_xdata()[0]) for line in bars.lines] == [0.0, 0.9]


def test_runs_are_averaged_by_stage_and_the_truth_stands_in_its_stage():
    runs = pd.DataFrame(
        [{"run": run, "stage": stage, "feature": "slope", "mean": value + run, "std": 0.1}
         for run in (0, 2) for stage, value in (("full", 3.0), ("all", 1.0), ("none", 0.5))]
    )  # fmt: skip
    truth = pd.DataFrame({"stage": ["all", "full"], "feature": "slope", "sensitivity": [2.5, 4.5]})
    figure = report.sensitivity_over_runs(runs, truth=truth)
    assert [ax.get_title() for ax in figure.axes] == ["all stages", "no depletion", "full depletion"]
    assert [ax.patches[0].get_width() for ax in figure.axes] == [2.0, 1.5, 4.0]
    assert [[float(line.get_xdata()[0]) for line in ax.lines] for ax in figure.axes] == [[2.5], [], [4.5]]
    with pytest.raises(InputError, match="Did you mean 'none'"):
        report.sensitivity_over_runs(runs, stages=["nome"])


def test_truth_of_a_table_without_stages_is_that_of_all():
    truth = pd.DataFrame({"feature": ["slope"], "sensitivity": [0.5]})
    assert truth_values(truth) == {"slope": 0.5}
    assert truth_values(truth, "full") == {}
    assert truth_values(None) == {}


def test_methods_have_a_panel_each_and_groups_stand_below_in_their_own():
    rows = [
        {"method": method, "feature": feature, "index": index, "value": 0.4, "low": 0.3, "high": 0.5}
        for method, features, index in (
            ("Sobol", COLUMNS, "total"),
            ("Morris", COLUMNS, "mu_star"),
            ("Morris", COLUMNS, "sigma"),
            ("conditional permutation", [*COLUMNS, "slopes current"], "r2"),
            ("conditional permutation", COLUMNS, "rmse"),
            ("grouped Sobol", ["slopes previous", "growth current"], "total"),
        )
        for feature in features
    ]
    figure = report.sensitivity_methods(pd.DataFrame(rows), truth={"slope": 0.1})
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        "Sobol", "Morris", "conditional permutation", "conditional permutation,\ngroups", "grouped Sobol"
    ]  # fmt: skip
    sobol, morris, permutation = figure.axes[:3]
    marks = [len([line for line in ax.lines if line.get_linestyle() == "None"]) for ax in (sobol, morris, permutation)]
    assert marks == [14, 15, 14]
    assert morris.get_xlabel() == "Mean |effect| [µm min⁻¹]"
    assert permutation.get_xlabel() == "Loss of R²"


def test_the_training_shows_the_restart_of_the_highest_evidence():
    trace = pd.DataFrame(
        {"epoch": [0, 1, 2], "E_D": [4.0, 2.0, 1.0], "E_W": 1.0, "gamma": [9.0, 6.0, 5.0], "alpha": 0.1, "beta": 2.0}
    )
    restarts = pd.DataFrame({"log_evidence": [1.0, 7.0, 3.0], "gamma": [4.0, 5.0, 6.0], "r_test": [0.1, 0.2, 0.3]})
    figure = report.growth_training(trace, restarts, parameters=12)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [9.0, 6.0, 5.0]
    (ring,) = figure.axes[3].lines
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (5.0, 7.0)


@pytest.mark.parametrize(
    "draw",
    [
        report.trust_plot,
        report.study_maps,
        report.growth_over_time,
        report.sensitivity_methods,
        report.growth_training,
    ],
)
def test_a_table_of_other_columns_or_without_rows_is_refused(draw):
    with pytest.raises(InputError, match="must have the columns"):
        draw(pd.DataFrame({"other": [1.0]}))


def test_features_keep_the_numbers_of_the_paper():
    assert look.feature_order(reversed(COLUMNS)) == FEATURES
    assert [look.feature_label(name)[0] for name in COLUMNS[:7]] == list("1234567")


def test_stages_are_named_from_integers_and_from_words():
    assert look.stage_names(xr.DataArray([2, -1, 0], dims="t")) == ["full", "unknown", "none"]
    assert look.stage_names(xr.DataArray(["partial"], dims="t")) == ["partial"]
