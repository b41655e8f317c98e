"""Hot and cold spots: found where they were planted, not found where there are none, followed from step to step."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.morphometry import hot_spots, spot_table, track_spots
from operando.morphometry.null_maps import FieldDraws, disc_mean

PIXEL = 3.0
DISC = {"radius_um": 12.0, "surrogates": 49}


def noise(size=72, *, seed=3000, scans=None, level=1.0):
    """A map, or a series of maps, of independent pixels with the spread 0.1."""
    shape = (size, size) if scans is None else (scans, size, size)
    return level + 0.1 * np.random.default_rng(seed).normal(size=shape)


def smooth(size=72, *, length=4.0, seed=3000):
    margin = int(5 * length)
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(size + 2 * margin,) * 2), length)
    return 1 + field[margin:-margin, margin:-margin] / field.std()


def image(values, **options):
    dims = ("t", "y", "x")[3 - np.ndim(values) :]
    extra = {"t": np.arange(1.0, len(values) + 1)} if np.ndim(values) == 3 else {}
    return labeled_image(values, dims=dims, voxel_size_um=PIXEL, units="mA cm-2", **extra, **options)


def test_a_hot_and_a_cold_place_are_found_where_they_are():
    values = noise()
    values[20:28, 40:48] += 1
    values[50:58, 10:18] -= 1
    spots = hot_spots(image(values), **DISC)
    table = spot_table(spots).set_index("kind")
    assert sorted(table.index) == ["cold", "hot"]
    assert table.loc["hot", ["y_um", "x_um"]].tolist() == pytest.approx([23.5 * PIXEL, 43.5 * PIXEL], abs=PIXEL)
    assert table.loc["cold", ["y_um", "x_um"]].tolist() == pytest.approx([53.5 * PIXEL, 13.5 * PIXEL], abs=PIXEL)
    assert table.loc["hot", "mean"] > 1.4
    assert table.loc["cold", "mean"] < 0.6
    assert table.loc["hot", "area_um2"] == pytest.approx((8 * PIXEL) ** 2, rel=0.5)
    assert spots["spot"].dtype == np.int8
    assert spots["spot"].values[24, 44] == 1
    assert spots["spot"].values[54, 14] == -1
    assert spots["p_value"].values[24, 44] < 0.01
    assert spots["score"].values[54, 14] < -5


def test_the_mirror_image_of_a_map_has_the_mirror_image_of_its_spots():
    values = noise()
    values[20:28, 40:48] += 1
    one, other = hot_spots(image(values), **DISC), hot_spots(image(2 - values), **DISC)
    assert np.array_equal(one["spot"].values, -other["spot"].values)


def test_the_unit_of_the_map_does_not_matter():
    values = noise()
    values[20:28, 40:48] += 1
    one, other = hot_spots(image(values), **DISC), hot_spots(image(1000 * values), **DISC)
    assert np.array_equal(one["spot"].values, other["spot"].values)
    assert np.allclose(one["score"].values, other["score"].values, rtol=1e-4)


def test_the_same_seed_gives_the_same_spots():
    values = image(smooth())
    one, other = hot_spots(values, **DISC, seed=1), hot_spots(values, **DISC, seed=1)
    xr.testing.assert_identical(one, other)


def test_smooth_maps_without_spots_have_none():
    # A rate of 0.05 gives more than 3 of 12 once in 500 times; pixels taken for independent give 12.
    found = [bool((hot_spots(image(smooth(seed=k)), **DISC)["spot"] != 0).any()) for k in range(3000, 3012)]
    assert sum(found) <= 3


def test_noise_without_spots_has_none():
    found = [bool((hot_spots(image(noise(seed=k)), **DISC)["spot"] != 0).any()) for k in range(3000, 3012)]
    assert sum(found) <= 3


def test_what_a_map_measured_exactly_shows_is_a_spot_of_the_noise_null_only():
    values = 1 + 0.1 * (smooth(size=120, length=4.0, seed=3001) - 1)
    carried = image(values).assign_coords(sigma=0.005)
    assert not (hot_spots(carried, **DISC)["spot"] != 0).any()
    spots = hot_spots(carried, null="noise", **DISC)
    assert {1, -1} <= set(np.unique(spots["spot"].values))
    # What is called hot is higher than the middle of the map.
    assert (values[spots["spot"].values == 1] > np.median(values)).mean() > 0.99
    assert "standard uncertainty" in spots.attrs["tested"]


def test_a_spot_of_less_than_the_asked_excess_is_none():
    values = noise()
    values[20:28, 40:48] += 0.5
    measured = image(values).assign_coords(sigma=0.1)
    assert hot_spots(measured, null="noise", excess=0.25, **DISC)["spot"].values[24, 44] == 1
    assert not hot_spots(measured, null="noise", excess=0.6, **DISC)["spot"].any()


def test_an_excess_belongs_to_the_noise_null():
    with pytest.raises(InputError, match="excess must be a share of at least 0 and belongs to null='noise'"):
        hot_spots(image(noise()), excess=0.1, **DISC)


def test_noise_against_its_own_sigma_is_no_spot():
    rates = []
    for k in range(3000, 3012):
        carried = image(noise(seed=k)).assign_coords(sigma=0.1)
        rates.append(bool((hot_spots(carried, null="noise", **DISC)["spot"] != 0).any()))
    assert sum(rates) <= 3


def test_smoothed_noise_is_no_spot_where_the_smoothing_is_known():
    filtered = [gaussian_filter(noise(seed=k), 2.0, mode="wrap") for k in range(3000, 3010)]
    sigma = float(np.std(filtered))
    maps = [image(values, attrs={"smooth_um": 6.0}).assign_coords(sigma=sigma) for values in filtered]
    known = [bool((hot_spots(one, null="noise", **DISC)["spot"] != 0).any()) for one in maps]
    unknown = [bool((hot_spots(one, null="noise", error_length_um=0, **DISC)["spot"] != 0).any()) for one in maps]
    assert sum(known) <= 3
    assert sum(unknown) == 10


def test_unknown_pixels_are_no_spot_and_hide_none():
    values = noise()
    values[20:28, 40:48] += 1
    values[:, :15] = np.nan
    values[22:24, 42:44] = np.nan
    spots = hot_spots(image(values), **DISC)
    assert np.isnan(spots["score"].values[:, :15]).all()
    assert (spots["spot"].values[np.isnan(values)] == 0).all()
    assert spots["spot"].values[26, 46] == 1
    assert len(spot_table(spots)) == 1


def test_on_a_stripping_electrode_hot_means_faster_stripping():
    values = -noise()
    values[20:28, 40:48] -= 1
    spots = hot_spots(image(values), **DISC)
    assert spots["direction"].item() == -1
    assert spots["spot"].values[24, 44] == 1
    table = spot_table(spots)
    assert table["kind"].tolist() == ["hot"]
    assert table["peak"][0] < -1.5


def test_a_series_of_two_electrodes_is_judged_map_by_map():
    values = np.stack([np.stack([noise(seed=k), -noise(seed=k + 1)]) for k in (3000, 3010)])
    values[1, 1, 20:28, 40:48] -= 1
    series = labeled_image(
        values, dims=("t", "component", "y", "x"), voxel_size_um=PIXEL, t=[1, 2],
        coords={"component": ["low", "high"], "step": ("t", ["plate 1", "strip 1"])}, attrs={"simulated": True},
    )  # fmt: skip
    spots = hot_spots(series, **DISC)
    assert spots["spot"].dims == ("t", "component", "y", "x")
    assert spots["direction"].values.tolist() == [[1, -1], [1, -1]]
    table = spot_table(spots)
    assert table[["scan", "t", "step", "component", "kind"]].values.tolist() == [[1, 2.0, "strip 1", "high", "hot"]]
    assert table.attrs["simulated"] is True
    assert spots.attrs["simulated"] is True


def test_a_spot_at_the_border_is_marked():
    values = noise()
    values[0:8, 30:38] += 1
    table = spot_table(hot_spots(image(values), **DISC))
    assert table["at_border"].tolist() == [True]


def test_a_map_without_spots_has_an_empty_table_with_all_columns():
    table = spot_table(hot_spots(image(noise()), **DISC))
    assert table.empty
    assert {"kind", "y_um", "x_um", "area_um2", "mean", "peak", "q_value"} <= set(table.columns)


def test_the_local_mean_is_that_of_the_disc():
    values = np.zeros((9, 9))
    values[4, 4] = 5.0
    known = np.ones((9, 9), bool)
    known[4, 5] = False
    found = disc_mean(values, known, (1.0, 1.0), 1.0)
    assert found[4, 4] == pytest.approx(5 / 4)
    assert found[4, 3] == pytest.approx(5 / 5)
    assert found[0, 0] == pytest.approx(0, abs=1e-12)


def test_random_fields_have_the_correlation_of_the_map():
    values = smooth(size=160, length=5.0)
    draw = FieldDraws(values, np.ones(values.shape, bool), np.random.default_rng(0))
    fields = np.stack([draw() for _ in range(40)])
    assert fields.shape[1:] == values.shape
    near = (fields[:, 5:] * fields[:, :-5]).mean() / (fields**2).mean()
    assert near == pytest.approx(np.exp(-25 / 100), abs=0.1)


def test_a_place_that_stands_out_in_each_step_is_one_track():
    values = noise(scans=3)
    values[:, 20:28, 40:48] += 1
    values[1:, 50:58, 10:18] += 1
    tracks = track_spots(hot_spots(image(values), **DISC))
    persists = tracks[tracks["relation"] == "persists"]
    assert len(persists) == 3
    assert (persists["p_value"] < 0.05).all()
    assert (persists["overlap"] > 0.6).all()
    assert persists.groupby("track").size().tolist() == [2, 1]
    begins = tracks[tracks["relation"] == "begins"]
    assert begins[["scan_to", "id_from", "kind_to"]].values.tolist() == [[1, 0, "hot"]]
    assert begins["track"].isin(persists["track"]).all()


def test_a_hot_place_that_turns_cold_is_a_reversal():
    values = noise(scans=2)
    values[0, 20:28, 40:48] += 1
    values[1, 20:28, 40:48] -= 0.8
    tracks = track_spots(hot_spots(image(values), **DISC))
    assert tracks[["relation", "kind_from", "kind_to"]].values.tolist() == [["reverses", "hot", "cold"]]
    assert tracks["p_value"][0] < 0.05


def test_more_plating_and_then_more_stripping_persists():
    values = noise(scans=2)
    values[1] *= -1
    values[0, 20:28, 40:48] += 1
    values[1, 20:28, 40:48] -= 1
    assert track_spots(hot_spots(image(values), **DISC))["relation"].tolist() == ["persists"]


def test_spots_that_move_end_and_begin():
    values = noise(scans=2)
    values[0, 10:18, 10:18] += 1
    values[1, 50:58, 50:58] += 1
    tracks = track_spots(hot_spots(image(values), **DISC))
    assert tracks["relation"].tolist() == ["ends", "begins"]
    assert tracks["track"].tolist() == [1, 2]
    assert tracks["overlap_um2"].tolist() == [0, 0]


def test_the_overlap_of_unrelated_maps_is_left_to_chance():
    p = []
    for seed in range(3000, 3008):
        random = np.random.default_rng(seed)
        field = np.stack([smooth(length=3.0, seed=int(random.integers(10**6))) for _ in range(2)])
        spot = np.where(np.abs(field - 1) > 1.2, np.sign(field - 1), 0).astype(np.int8)
        spots = hot_spots(image(field), **DISC)
        spots["spot"] = spots["spot"].copy(data=spot)
        # Every pixel of a kind is one spot here.
        spots["id"] = spots["id"].copy(data=np.where(spot > 0, 1, np.where(spot < 0, 2, 0)).astype(np.int32))
        found = track_spots(spots, shifts=49)
        p += found.loc[found["relation"] == "persists", "p_value_map"].unique().tolist()
    assert np.mean(np.array(p) < 0.1) < 0.4
    assert np.mean(p) == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"null": "noisy"}, "null must be 'field' or 'noise', got 'noisy'. Did you mean 'noise'"),
        ({"null": "noise"}, "needs the standard uncertainty of the map as its coordinate 'sigma'"),
        ({"fdr": 5}, "fdr must be a share between 0 and 1, got 5"),
        ({"radius_um": 0.1}, "radius_um must be at least half a pixel, 1.5 um, got 0.1"),
        ({"radius_um": 200.0}, "a disc must fit into the map, with a radius_um of at most 108 um, got 200"),
        ({"surrogates": 0}, "surrogates must be a whole number of at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_named_with_the_remedy(options, text):
    with pytest.raises(InputError, match=text):
        hot_spots(image(noise()), **options)


def test_a_map_that_cannot_be_judged_is_refused():
    with pytest.raises(UnitsError, match="voxel_size_um"):
        hot_spots(labeled_image(noise()))
    with pytest.raises(AxesError, match="missing"):
        hot_spots(image(noise()).isel(x=0))
    empty = noise(scans=2)
    empty[1] = np.nan
    with pytest.raises(InputError, match="at least 25 known pixels per map are needed, got 0 in map {'t': 1}"):
        hot_spots(image(empty), **DISC)
    with pytest.raises(InputError, match="at least two steps"):
        track_spots(hot_spots(image(noise()), **DISC))
    with pytest.raises(InputError, match="it lacks"):
        spot_table(xr.Dataset({"spot": image(noise())}))
