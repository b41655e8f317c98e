"""The table of features, from painted series whose interface is known, and from simulated experiments."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.dendrites import (
    FEATURE_SETS,
    FEATURES,
    concentration,
    feature_names,
    features_table,
    find_interface,
    growth_features,
    surface_state,
)
from operando.samples import srs_experiments, srs_series


def _paint(heights, *, rows=64, salt=120.0, ramp=0.0):
    """Gray images with the metal below: a bright line at each height (px above the lower edge), salt above it."""
    heights = np.atleast_2d(np.asarray(heights, dtype=float))
    above = (rows - 0.5 - np.arange(rows))[None, :, None] - heights[:, None, :]
    gray = np.where(above > 0, salt + ramp * above, 10.0)
    return np.clip(gray + 600 * np.exp(-0.5 * (above / 1.5) ** 2), 0, 255)


def _series(heights, *, t=None, units="s", **options):
    images = _paint(heights, **options)
    times = 300.0 * np.arange(len(images)) if t is None else t
    return labeled_image(images, dims=("t", "y", "x"), voxel_size_um=1.0, t=times, time_units=units)


def _climbing(frames=4, width=40, step=2.0):
    return 12.0 + step * np.arange(frames)[:, None] + np.zeros(width)


def _written(heights):
    """An interface and the salt at it, written down rather than found."""
    shape = heights.shape
    interface = xr.Dataset(
        {
            "position": (("t", "x"), 63.5 - heights),
            "position_sigma": (("t", "x"), np.full(shape, 0.05)),
            "broken": (("t", "x"), np.zeros(shape, bool)),
            "overhang": (("t", "x"), np.zeros(shape, bool)),
        },
        coords={"t": ("t", 300.0 * np.arange(shape[0]), {"units": "s"}), "x": ("x", np.arange(float(shape[1])))},
        attrs={"metal": "high", "edge": 63.5, "units": "um"},
    )
    salt = xr.DataArray(np.full(shape, 0.3), dims=("t", "x"))
    names = ("concentration", "concentration_sigma", "concentration_gradient", "concentration_gradient_sigma")
    return interface, xr.Dataset(dict.fromkeys(names, salt))


def test_the_sets_of_features_are_those_of_the_paper():
    assert len(FEATURES) == 7
    assert [len(FEATURE_SETS[name]) for name in ("slopes", "concentration", "growth", "all")] == [3, 2, 2, 7]
    assert len(feature_names()) == 14


def test_previous_features_come_first():
    assert feature_names("slopes", "current") == ["slope_up", "slope_down", "slope"]
    assert feature_names(["growth_rate"], "both") == ["growth_rate_previous", "growth_rate"]
    assert feature_names("concentration", "previous") == ["concentration_previous", "concentration_gradient_previous"]
    assert feature_names("slope", "current") == ["slope"]


def test_unknown_features_and_times_suggest_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'slopes'"):
        feature_names("slops")
    with pytest.raises(InputError, match="Did you mean 'previous'"):
        feature_names("all", "previos")


def test_rates_are_those_before_and_after_the_frame():
    heights = np.array([10.0, 12.0, 15.0, 15.0, 21.0])[:, None] + np.zeros(40)
    table = growth_features(_series(heights), 10).groupby("frame").mean(numeric_only=True)
    np.testing.assert_allclose(table["growth_rate"], [0.4, 0.6, 0.0], atol=0.01)
    np.testing.assert_allclose(table["growth_rate_next"], [0.6, 0.0, 1.2], atol=0.01)
    np.testing.assert_allclose(table["growth_rate_previous"], [0.0, 0.4, 0.6], atol=0.01)
    np.testing.assert_allclose(table["t_min"], [5, 10, 15])
    np.testing.assert_allclose(table["interface_position"] - table["interface_position_previous"], [2, 3, 0], atol=0.05)


def test_the_first_frame_has_not_grown_by_definition_and_can_be_left_out():
    series = _series(_climbing(5))
    table = growth_features(series, 10)
    assert (table.loc[table["frame"] == 1, "growth_rate_previous"] == 0).all()
    assert growth_features(series, 10, drop_first=True)["frame"].unique().tolist() == [2, 3]


def test_the_last_frame_waits_for_its_forecast():
    table = growth_features(_series(_climbing(4)), 10, include_last=True)
    assert table["frame"].unique().tolist() == [1, 2, 3]
    last = table[table["frame"] == 3]
    assert last["growth_rate_next"].isna().all()
    assert last[feature_names()].notna().all(axis=None)


def test_uneven_intervals_use_the_true_time():
    table = growth_features(_series(_climbing(4), t=[0.0, 5.0, 15.0, 20.0], units="min"), 10)
    np.testing.assert_allclose(table.groupby("frame")["growth_rate_next"].mean(), [0.2, 0.4], atol=0.01)


def test_slopes_curvature_and_their_neighbors_are_those_of_the_line():
    x = np.arange(80.0)
    shape = 20 + 4 * np.cos(2 * np.pi * x / 40)
    table = growth_features(_series(np.stack([shape + step for step in (0.0, 1.0, 2.0)])), 40)
    at = table["x_um"].to_numpy()
    k = 2 * np.pi / 40
    for name, shift in (("slope", 0), ("slope_up", -1), ("slope_down", 1), ("slope_previous", 0)):
        np.testing.assert_allclose(table[name], -4 * k * np.sin(k * (at + shift)), atol=0.06)
    inside = (at > 8) & (at < 71)
    true = 4 * k**2 * np.cos(k * at) / (1 + (4 * k * np.sin(k * at)) ** 2) ** 1.5
    assert np.corrcoef(table["curvature"][inside], true[inside])[0, 1] > 0.97
    assert table["curvature"][at == at[np.argmin(abs(at - 40))]].gt(0).all()


def test_salt_and_its_gradient_are_calibrated():
    series = _series(_climbing(3), rows=96, salt=60.0, ramp=0.8)
    table = growth_features(series, 10, calibration={"dark": 20.0, "gray_per_molar": 400.0})
    np.testing.assert_allclose(table["concentration"], 0.1, atol=0.002)
    np.testing.assert_allclose(table["concentration_gradient"], 0.002, rtol=0.05)
    assert table.attrs["units"]["concentration"] == "mol L-1"
    assert table.attrs["units"]["concentration_gradient"] == "mol L-1 um-1"


def test_the_picture_upside_down_gives_the_same_table():
    series = _series(_climbing(4) + np.cos(0.2 * np.arange(40)), salt=60, ramp=0.5)
    flipped = series.copy(data=series.values[:, ::-1])
    up, down = growth_features(series, 20), growth_features(flipped, 20)
    pd.testing.assert_frame_equal(up, down, rtol=1e-5, atol=1e-6)


def test_a_bare_array_counts_frames_and_pixels():
    table = growth_features(_paint(_climbing(4)), 10)
    assert table.attrs["units"]["growth_rate_next"] == "px frame-1"
    assert table.attrs["units"]["t_min"] == "frame"
    np.testing.assert_allclose(table["growth_rate_next"], 2.0, atol=0.05)
    told = growth_features(_paint(_climbing(4)).astype(np.uint8), 10, interval_min=5)
    np.testing.assert_allclose(told["growth_rate_next"], 0.4, atol=0.01)


def test_an_array_with_dims_and_nothing_else_is_enough():
    table = growth_features(xr.DataArray(_paint(_climbing(4)), dims=("t", "y", "x")), 10)
    assert len(table) == 20
    timed = xr.DataArray(_paint(_climbing(4)), dims=("t", "y", "x"), coords={"t": 300.0 * np.arange(4)})
    np.testing.assert_allclose(growth_features(timed, 10)["growth_rate_next"], 0.4, atol=0.01)


def test_points_are_distinct_and_have_both_neighbors():
    table = growth_features(_series(_climbing(3, width=40)), 36)
    x = table.loc[table["frame"] == 1, "x_um"].to_numpy()
    assert (np.diff(x) > 0).all()
    assert (x.min(), x.max()) == (2, 37)
    most = growth_features(_series(_climbing(3, width=40)), 38)
    assert most[feature_names()].notna().all(axis=None)
    with pytest.raises(InputError, match="from 1 to 38.*got 39"):
        growth_features(_series(_climbing(3, width=40)), 39)


def test_experiments_are_opened_one_at_a_time_and_only_when_their_turn_comes():
    opened = []

    def opener(name):
        def open_it():
            opened.append(name)
            return _series(_climbing(3))

        return open_it

    def one_by_one():
        for name in ("a", "b"):
            assert opened == ["a", "b"][: len(opened)]
            yield opener(name)

    assert growth_features(one_by_one(), 5)["experiment"].unique().tolist() == ["0", "1"]
    assert opened == ["a", "b"]
    named = growth_features({"first": opener("c"), "second": _series(_climbing(4))}, 5)
    assert named["experiment"].unique().tolist() == ["first", "second"]
    assert len(named) == 5 + 10


def test_a_lazy_series_gives_the_same_table_as_one_in_memory():
    series = _series(_climbing(4))
    pd.testing.assert_frame_equal(growth_features(series.chunk({"t": 1}), 10), growth_features(series, 10))


def test_a_list_of_experiments_is_no_stack_of_frames():
    both = growth_features([_paint(_climbing(3)), _paint(_climbing(3))], 5)
    assert both["experiment"].unique().tolist() == ["0", "1"]


def test_a_table_from_its_parts_is_the_table_from_images():
    series = srs_series((96, 64), frames=4, seed=3000)["image"]
    interface = find_interface(series)
    surface = surface_state(concentration(series, interface), interface)
    parts = features_table(interface, surface, 40)
    pd.testing.assert_frame_equal(parts, growth_features(series, 40), rtol=1e-5, atol=1e-6)


def test_a_broken_line_is_flagged_on_every_row_that_uses_it_and_can_be_dropped():
    interface, surface = _written(_climbing(7, width=60))
    interface["broken"][2, 30:32] = True
    table = features_table(interface, surface, 56)
    flagged = table[table["broken"]]
    # t_{i+1} and t_{i-2} count at the point itself; t_i and t_{i-1} count at the columns of its slopes, too.
    assert set(flagged.loc[flagged["frame"] == 1, "x_um"]) == {30.0, 31.0}
    assert set(flagged.loc[flagged["frame"] == 2, "x_um"]) == set(np.arange(28.0, 34.0))
    assert set(flagged.loc[flagged["frame"] == 3, "x_um"]) == set(np.arange(28.0, 34.0))
    assert set(flagged.loc[flagged["frame"] == 4, "x_um"]) == {30.0, 31.0}
    assert not (flagged["frame"] == 5).any()
    kept = features_table(interface, surface, 56, drop_broken=True)
    assert len(kept) == len(table) - len(flagged)
    assert not kept["broken"].any()


def test_images_without_salt_have_features_but_no_stage():
    interface, surface = _written(_climbing(4))
    table = features_table(interface, 0 * surface, 10)
    assert table["stage"].unique().tolist() == ["unknown"]
    np.testing.assert_allclose(table["growth_rate_next"], 0.4)
    assert features_table(interface, 0 * surface, 10, initial=0.3)["stage"].unique().tolist() == ["full"]


def test_too_few_frames_say_how_many_are_needed():
    with pytest.raises(InputError, match="at least 3 frames.*include_last=True"):
        growth_features(_series(_climbing(2)), 10)
    assert len(growth_features(_series(_climbing(2)), 10, include_last=True)) == 10
    with pytest.raises(InputError, match="at least 2 frames"):
        growth_features(_series(_climbing(1)), 10, include_last=True)
    with pytest.raises(InputError, match="drop_first"):
        growth_features(_series(_climbing(3)), 10, drop_first=True)


def test_an_error_names_its_experiment():
    with pytest.raises(InputError, match="experiment 'b': times must increase"):
        growth_features({"a": _series(_climbing(3)), "b": _series(_climbing(3), t=[0, 10, 10])}, 10)
    with pytest.raises(InputError, match="experiment 'dark'.*find_interface"):
        growth_features({"dark": np.full((3, 32, 32), 5.0)}, 10)


def test_what_is_no_series_is_refused():
    with pytest.raises(InputError, match="Stack the frames"):
        growth_features(_paint(_climbing(1))[0], 10)
    with pytest.raises(InputError, match="variable 'image'"):
        growth_features(xr.Dataset({"gray": ("t", [1.0])}))
    with pytest.raises(InputError, match="got int"):
        growth_features(3)
    with pytest.raises(InputError, match="at least one experiment"):
        growth_features([])


@pytest.fixture(scope="module")
def simulated():
    experiments = srs_experiments(seed=3003, shape=(128, 208))
    return experiments, growth_features(experiments)


def test_the_images_of_the_paper_make_four_thousand_rows(simulated):
    experiments, table = simulated
    assert [data.sizes["t"] for data in experiments.values()] == [16, 5, 5]
    assert len(table) == 4000
    assert table.groupby("experiment")["frame"].nunique().to_dict() == {"set 1": 14, "set 2": 3, "set 3": 3}
    assert table.groupby(["experiment", "frame"])["x_um"].nunique().eq(200).all()
    assert table[feature_names()].notna().all(axis=None)


def _truth(experiments, table, name):
    at = zip(table["experiment"], table["frame"], table["x_um"], strict=True)
    arrays = {key: data[name] for key, data in experiments.items()}
    return np.array([float(arrays[key].values[frame, round(x)]) for key, frame, x in at])


def test_features_of_simulated_images_follow_their_truth(simulated):
    experiments, table = simulated
    sound = ~table["broken"].to_numpy()
    least = {
        "height": ("interface_position", 0.999),
        "surface_concentration": ("concentration", 0.98),
        "concentration_gradient": ("concentration_gradient", 0.6),
        "curvature": ("curvature", 0.9),
        "growth_rate": ("growth_rate_next", 0.98),
    }
    for name, (column, bound) in least.items():
        truth = _truth(experiments, table, name)
        assert np.corrcoef(table[column][sound], truth[sound])[0, 1] > bound, name


def test_rates_of_simulated_images_are_within_their_sigma(simulated):
    experiments, table = simulated
    sound = table[~table["broken"]]
    pull = (sound["growth_rate_next"] - _truth(experiments, sound, "growth_rate")) / sound["growth_rate_next_sigma"]
    assert pull.abs().lt(1.96).mean() > 0.9


def test_stages_of_simulated_images_are_found_to_within_a_frame(simulated):
    experiments, table = simulated
    for name, frames in table.groupby("experiment"):
        true = experiments[name]["stage"].values
        found = frames.groupby("frame")["stage"].first().map(["none", "partial", "full"].index)
        for stage in (1, 2):
            start = np.flatnonzero(true >= stage)[0]
            assert abs(found.index[found >= stage].min() - max(start, 1)) <= 1


def test_labeled_series_in_a_list_are_experiments():
    one = xr.Dataset({"image": xr.DataArray(_paint(_climbing()), dims=("t", "y", "x"))})
    for many in ([one, one], [one["image"], one["image"]], [lambda: one, lambda: one]):
        assert growth_features(many, 20)["experiment"].unique().tolist() == ["0", "1"]


@pytest.mark.parametrize("spacing", [0.1, 1.0, 4.0])
def test_the_window_of_the_curvature_follows_the_field_and_its_pixels(spacing):
    series = labeled_image(_paint(_climbing()), dims=("t", "y", "x"), voxel_size_um=spacing)
    table = growth_features(series, 20, over_um=20 * spacing)
    np.testing.assert_allclose(table["curvature"], 0.0, atol=1e-3)


def test_a_frame_without_interface_costs_the_rows_that_need_it_and_no_other():
    images = xr.DataArray(_paint(_climbing(9)), dims=("t", "y", "x"))
    images[4] = np.minimum(images[4], 200)
    found = find_interface(images, missing="nan")
    surface = surface_state(concentration(images, found), found)
    table = features_table(found, surface, 20, include_last=True)
    missing = table[[*feature_names(), "growth_rate_next"]].isna().any(axis=1).groupby(table["frame"]).all()
    # The image itself, one to either side, and those whose growth before or before that uses it; 8 has no next one.
    assert missing[missing].index.tolist() == [3, 4, 5, 6, 8]
    assert table.loc[table["frame"] == 4, "stage"].eq("unknown").all()


def test_axes_in_millimeters_give_the_table_of_micrometers() -> None:
    series = srs_series((64, 48), frames=4, seed=3003)["image"]
    small = series.assign_coords(
        {dim: (dim, series[dim].values / 1000, {"units": "mm", "spacing": 1e-3}) for dim in ("y", "x")}
    )
    one, other = (growth_features(images, 20) for images in (series, small))
    assert other.attrs["units"] == one.attrs["units"]
    for name in ("x_um", "concentration_gradient", "growth_rate", "curvature"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-6, atol=1e-9)


def test_a_surface_without_its_sigma_is_refused_with_what_makes_one() -> None:
    line = xr.DataArray(np.full((3, 12), 30.0), dims=("t", "x"), attrs={"units": "um", "metal": "high", "edge": 40.5})
    surface = xr.Dataset({"concentration": line, "concentration_gradient": line})
    with pytest.raises(InputError, match=r"lacks concentration_sigma\. Pass what operando\.dendrites\.surface_state"):
        features_table(line, surface, 5, interval_min=5)
