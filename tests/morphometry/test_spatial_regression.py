"""Regression of a map on others: known slopes, pooled maps, and an error rate that holds where neighbors are alike."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.core.errors import AxesError, InputError
from operando.morphometry import spatial_regression
from operando.morphometry.spatial_covariance import covariance_models
from operando.morphometry.spatial_regression import permuted_blocks


def labeled(values, name=None, *, tile_um=36.0, units="1"):
    values = np.asarray(values, float)
    dims = ("t", "component", "y", "x")[-values.ndim :]
    coords = {
        dim: (dim, tile_um * (np.arange(values.shape[dims.index(dim)]) + 0.5), {"units": "um"}) for dim in ("y", "x")
    }
    return xr.DataArray(values, dims=dims, coords=coords, name=name, attrs={"units": units})


def regress(response, predictors, **options):
    table = spatial_regression(response, predictors, **{"permutations": 99, **options})
    return table.set_index(["component", "quantity"])["value"]


def smooth(random, size, sigma):
    margin = int(4 * sigma) + 2
    field = gaussian_filter(random.normal(size=(size + 2 * margin,) * 2), sigma)[margin : margin + size]
    field = field[:, margin : margin + size]
    return (field - field.mean()) / field.std()


@pytest.fixture
def fields():
    """Three unrelated maps with some structure, (3, 10, 10)."""
    random = np.random.default_rng(3000)
    return np.stack([smooth(random, 10, 1.0) + 0.3 * random.normal(size=(10, 10)) for _ in range(3)])


def test_the_effect_is_percent_of_the_mean_per_standard_deviation(fields):
    tau = labeled(1.5 + 0.2 * fields[0])
    current = labeled(-3.0 * (1 - 0.08 * (tau.values - tau.values.mean()) / tau.values.std()), "current")
    found = regress(current, {"tau": tau})
    # Stripping is negative, and its effect is of the strength all the same.
    assert found["current~tau", "effect"] == pytest.approx(-8.0)
    assert found["current~tau", "standardized coefficient"] == pytest.approx(-1.0)
    assert found["current~tau", "predictor sd"] == pytest.approx(tau.values.std())
    assert found["current~tau", "effect low"] < -8.0 < found["current~tau", "effect high"]
    assert found["current~tau", "p-value"] == found["current~all", "p-value"] == 0.01
    assert found["current~all", "r2"] == pytest.approx(1.0)


def test_slopes_are_those_of_least_squares(fields):
    x = np.stack([fields[0], 0.7 * fields[0] + fields[1]])
    y = 5 + fields[2] - 0.8 * x[0] + 0.3 * x[1]
    table = regress(labeled(y, "j"), {"a": labeled(x[0]), "b": labeled(x[1])}, relative_to="sd")
    flat = x.reshape(2, -1)
    standard = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    slopes = np.linalg.lstsq(standard.T, (y.ravel() - y.mean()) / y.std(), rcond=None)[0]
    assert [table["j~a", "effect"], table["j~b", "effect"]] == pytest.approx(slopes.tolist())
    assert table["j~a", "pearson"] == pytest.approx(np.corrcoef(flat[0], y.ravel())[0, 1])
    r = np.corrcoef(flat)[0, 1]
    assert table["j~a", "variance inflation"] == pytest.approx(1 / (1 - r * r))
    # Partial R2 is the squared correlation of what the other predictor leaves of both.
    left = [v - np.polyval(np.polyfit(flat[1], v, 1), flat[1]) for v in (flat[0], y.ravel())]
    assert table["j~a", "partial r2"] == pytest.approx(np.corrcoef(left)[0, 1] ** 2)


def test_units_and_scale_of_a_predictor_change_nothing_but_its_spread(fields):
    response = labeled(10 + fields[0] + fields[1], "j")
    one = regress(response, {"a": labeled(fields[1])})
    other = regress(response, {"a": labeled(7 - 1000 * fields[1])})
    for quantity in ("p-value", "pearson p-value", "partial r2", "effective samples"):
        assert one["j~a", quantity] == pytest.approx(other["j~a", quantity])
    assert one["j~a", "effect"] == pytest.approx(-other["j~a", "effect"])
    assert one["j~a", "effect low"] == pytest.approx(-other["j~a", "effect high"])


def test_transposed_maps_give_the_same_effects(fields):
    response, predictor = labeled(10 + fields[0], "j"), labeled(fields[1])
    one = regress(response, {"a": predictor})
    other = regress(response.transpose("x", "y"), {"a": predictor.transpose("x", "y")})
    assert one.equals(other)


def test_the_joint_test_of_one_predictor_is_its_own(fields):
    found = regress(labeled(10 + fields[0] + 0.3 * fields[1], "j"), {"a": labeled(fields[1])})
    assert found["j~all", "p-value"] == found["j~a", "p-value"]


def test_predictors_that_share_an_effect_are_found_together_though_neither_is_alone():
    random = np.random.default_rng(3009)
    x = random.normal(size=(10, 10))
    twins = [x + 0.05 * random.normal(size=x.shape) for _ in range(2)]
    y = 10 + 0.6 * x + random.normal(size=x.shape)
    found = regress(labeled(y, "j"), {"a": labeled(twins[0]), "b": labeled(twins[1])}, permutations=199)
    assert found["j~all", "p-value"] == 0.005
    assert found["j~a", "pearson p-value"] == found["j~b", "pearson p-value"] == 0.005
    assert found["j~a", "variance inflation"] > 50
    assert min(found["j~a", "p-value"], found["j~b", "p-value"]) > 0.05


@pytest.mark.parametrize("slope", [0.0, 0.15, 0.3, 1.0])
def test_an_interval_leaves_out_zero_where_the_test_rejects_it(fields, slope):
    found = regress(labeled(10 + fields[0] + slope * fields[1], "j"), {"a": labeled(fields[1])}, permutations=199)
    inside = found["j~a", "effect low"] <= 0 <= found["j~a", "effect high"]
    p = found["j~a", "p-value"]
    assert inside == (p > 0.05) or abs(p - 0.05) < 0.03


def test_unrelated_smooth_maps_are_rarely_called_related_where_a_test_of_tiles_calls_them_so_often():
    random = np.random.default_rng(3001)
    ours, naive = [], []
    for seed in range(30):
        a, b = (smooth(random, 10, 1.6) for _ in range(2))
        found = regress(labeled(10 + a, "j"), {"a": labeled(b)}, permutations=19, seed=seed)
        ours.append(found["j~a", "p-value"])
        r = found["j~a", "pearson"]
        naive.append(abs(r) * np.sqrt(98 / (1 - r * r)) > 1.984)
    # 30 draws of a rate of 0.05 exceed 6 once in a thousand times.
    assert np.sum(np.array(ours) <= 0.05) <= 6
    assert np.mean(naive) > 0.3


def test_a_slope_that_is_there_is_found_and_held_by_the_interval():
    random = np.random.default_rng(3002)
    found, held = 0, 0
    for seed in range(12):
        x = smooth(random, 10, 0.8)
        y = 10 + smooth(random, 10, 0.8) + x
        table = regress(labeled(y, "j"), {"a": labeled(x)}, seed=seed, permutations=39)
        found += table["j~a", "p-value"] <= 0.05
        truth = 100 / y.mean()
        held += table["j~a", "effect low"] <= truth <= table["j~a", "effect high"]
    assert found >= 11
    assert held >= 9


def test_maps_too_smooth_to_decide_anything_are_not_decided():
    random = np.random.default_rng(3003)
    a, b = (smooth(random, 10, 6.0) for _ in range(2))
    table = spatial_regression(labeled(10 + a, "j"), {"a": labeled(b)}, permutations=19)
    found = table.set_index(["component", "quantity"])
    assert np.isnan(found.loc[("j~a", "p-value"), "value"])
    assert np.isnan(found.loc[("j~a", "effect low"), "value"])
    assert "independent tiles, at least 10 are needed" in found.loc[("j~all", "p-value"), "method"]
    assert found.loc[("j~all", "effective samples"), "value"] < 10
    assert np.isfinite(found.loc[("j~a", "effect"), "value"])


def test_independent_tiles_count_as_what_they_are():
    random = np.random.default_rng(3004)
    y, x = random.normal(size=(2, 12, 12))
    found = regress(labeled(10 + y, "j"), {"a": labeled(x)})
    assert found["j~a", "effective samples"] == pytest.approx(144, rel=0.15)
    assert found["j~all", "correlation length"] < 36.0


def test_the_correlation_length_is_in_the_unit_of_the_tiles():
    random = np.random.default_rng(3005)
    # A Gaussian of sigma s makes a correlation that falls to 1/e at 2 s.
    lengths = [
        regress(
            labeled(10 + smooth(random, 10, 1.0), "j", tile_um=36.0),
            {"a": labeled(random.normal(size=(10, 10)))},
            permutations=19,
        )["j~all", "correlation length"]
        for _ in range(8)
    ]
    assert np.median(lengths) == pytest.approx(2.0 * 36.0, rel=0.35)
    found = spatial_regression(
        xr.DataArray(10 + smooth(random, 10, 1.0), dims=("y", "x")),
        {"a": xr.DataArray(random.normal(size=(10, 10)), dims=("y", "x"))},
        permutations=19,
    ).set_index("quantity")
    assert found.loc["correlation length", "unit"] == "px"


def test_repeating_a_map_adds_no_evidence(fields):
    single = labeled(10 + fields[0] + 0.3 * fields[1], "j")
    pooled = labeled(np.stack([single.values] * 3), "j").rename({"component": "t"})
    one, three = (regress(response, {"a": labeled(fields[1])}, permutations=499) for response in (single, pooled))
    assert three["j~a", "effect"] == pytest.approx(one["j~a", "effect"])
    assert three["j~a", "partial r2"] == pytest.approx(one["j~a", "partial r2"])
    width, three_times = (table["j~a", "effect high"] - table["j~a", "effect low"] for table in (one, three))
    # Independent maps would be surer by the root of three.
    assert three_times == pytest.approx(width, rel=0.2)
    assert three["j~a", "effective samples"] == pytest.approx(one["j~a", "effective samples"], rel=0.25)
    assert three["j~all", "maps"] == 3


def test_independent_maps_add_evidence():
    random = np.random.default_rng(3006)
    x = smooth(random, 10, 1.0)
    maps = 10 + np.stack([smooth(random, 10, 1.0) + 0.5 * x for _ in range(4)])
    one = regress(labeled(maps[0], "j"), {"a": labeled(x)})
    four = regress(labeled(maps, "j"), {"a": labeled(x)})
    widths = [table["j~a", "effect high"] - table["j~a", "effect low"] for table in (one, four)]
    assert widths[1] < 0.75 * widths[0]
    assert four["j~a", "p-value"] <= one["j~a", "p-value"]


def test_each_electrode_has_the_ceramic_beneath_it(fields):
    random = np.random.default_rng(3007)
    tau = np.stack([smooth(random, 10, 1.0) for _ in range(2)])
    current = np.stack([5 - 0.5 * tau, -9 + 0.9 * tau])
    response = labeled(current, "j")
    found = regress(response, {"tau": labeled(tau)})
    assert found["j~tau", "effect"] == pytest.approx(-10.0, rel=1e-6)
    assert found["j~all", "maps"] == 4
    swapped = regress(response, {"tau": labeled(tau[::-1])})
    assert abs(swapped["j~tau", "effect"]) < 5


def test_a_scan_without_any_current_is_left_out(fields):
    maps = np.stack([np.full((10, 10), np.nan), 10 + fields[0], 10 + fields[1]])
    found = regress(labeled(maps, "j").rename({"component": "t"}), {"a": labeled(fields[2])})
    assert found["j~all", "maps"] == 2
    assert found["j~all", "dropped maps"] == 1


def test_dead_ends_and_missing_tiles_are_dropped_and_counted(fields):
    response, tau = 10 + fields[0], 2 + 0.1 * fields[1]
    response[0, 0], tau[3, 4], tau[5, 5:7] = np.nan, np.nan, np.inf
    table = spatial_regression(labeled(response, "j"), {"tau": labeled(tau)}, permutations=19)
    found = table.set_index(["component", "quantity"])["value"]
    assert set(table["n"]) == {96}
    assert found["j~all", "dropped without response"] == 1
    assert found["j~all", "dropped without predictor"] == 1
    assert found["j~all", "dropped infinite"] == 2
    kept = regress(labeled(response, "j"), {"conductance": labeled(1 / tau)}, permutations=19)
    assert kept["j~all", "dropped infinite"] == 0


def test_the_same_seed_gives_the_same_table_and_another_seed_other_permutations(fields):
    response, predictors = labeled(10 + fields[0], "j"), {"a": labeled(fields[1])}
    one, again, other = (spatial_regression(response, predictors, permutations=99, seed=seed) for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)


def test_lazy_maps_give_the_same_table(fields):
    response, predictor = labeled(10 + fields[0], "j"), labeled(fields[1])
    one = spatial_regression(response, {"a": predictor}, permutations=19)
    assert one.equals(spatial_regression(response.chunk(y=3), {"a": predictor.chunk(x=4)}, permutations=19))


def test_what_was_simulated_says_so(fields):
    response = labeled(10 + fields[0], "j").assign_attrs(simulated=True)
    assert spatial_regression(response, {"a": labeled(fields[1])}, permutations=19).attrs["simulated"]


def test_permuted_blocks_keep_neighbors_together():
    places = np.argwhere(np.ones((8, 8)))
    order = permuted_blocks(places, 4, 200, random=np.random.default_rng(0))
    assert (np.sort(order, axis=1) == np.arange(64)).all()
    source = places[order].reshape(200, 8, 8, 2)
    apart = np.abs(np.diff(source, axis=2)).sum(axis=3)
    # Of seven neighbors in a row of two blocks or three parts of blocks, five or six stay neighbors.
    assert 0.6 < (apart == 1).mean() < 0.9
    alone = places[permuted_blocks(places, 1, 200, random=np.random.default_rng(0))].reshape(200, 8, 8, 2)
    assert (np.abs(np.diff(alone, axis=2)).sum(axis=3) == 1).mean() < 0.1


def test_the_likeliest_covariance_is_about_that_of_the_maps():
    places = np.argwhere(np.ones((12, 12)))
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    truth = 0.8 * np.exp(-((distance / 2.5) ** 2)) + 0.2 * np.eye(144)
    maps = np.linalg.cholesky(truth) @ np.random.default_rng(3008).normal(size=(144, 50)) * 3
    models = covariance_models(places, (1.0, 1.0))
    ones = np.ones((144, 1))
    fitted = models.fit(maps[:, :, None], models.prepare([ones]))
    chosen = [models[index] for index in fitted.choice]
    assert np.median([covariance.length for covariance in chosen]) == pytest.approx(2.5, rel=0.3)
    assert np.median([covariance.nugget for covariance in chosen]) == pytest.approx(0.2, abs=0.11)
    # A wave over the map scatters as the truth says, seven times as much as for independent tiles.
    wave = np.cos(np.pi * (places[:, :1] + 0.5) / 6)
    predicted = models.slope_covariance(fitted, [wave])[:, 0, 0]
    assert (wave.T @ truth @ wave).item() > 7 * (wave**2).sum()
    assert predicted.mean() == pytest.approx(9 * (wave.T @ truth @ wave).item(), rel=0.25)


def test_whitening_undoes_coloring():
    covariance = covariance_models(np.argwhere(np.ones((5, 7))), (2.0, 1.0))[40]
    matrix = covariance.color(covariance.color(np.eye(35)))
    assert np.allclose(np.diag(matrix), 1.0)
    assert np.allclose(covariance.whiten(covariance.whiten(matrix)), np.eye(35))
    one, other = np.eye(35)[:, :1], np.eye(35)[:, 3:5]
    assert np.allclose(covariance.between(one, other), matrix[:1, 3:5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictors": {}}, "map one or more names"),
        ({"predictors": {"all": labeled(np.eye(10))}}, "other than 'all'"),
        ({"predictors": {"flat": labeled(np.ones((10, 10)))}}, "'flat' does not"),
        ({"relative_to": "men"}, "Did you mean 'mean'"),
        ({"block": 4}, "at least 10 blocks, got 9 of 4 x 4"),
        ({"block": 0}, "block must be a whole number of at least 1, got 0"),
        ({"permutations": 9}, "at least 19 permutations, got 9"),
        ({"level": 95}, "level must lie between 0 and 1, got 95"),
        ({"response": labeled(np.ones((10, 10)))}, "map 0 is 1 everywhere"),
        ({"response": labeled(np.random.default_rng(0).normal(size=(10, 10)))}, "relative_to='sd'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_remedy(fields, change, message):
    arguments = {"response": labeled(10 + fields[0]), "predictors": {"a": labeled(fields[1])}, **change}
    with pytest.raises(InputError, match=message):
        spatial_regression(arguments.pop("response"), arguments.pop("predictors"), **arguments)


def test_predictors_that_follow_from_each_other_are_refused(fields):
    predictors = {"porosity": labeled(fields[1]), "solid": labeled(1 - fields[1])}
    with pytest.raises(InputError, match="'porosity', 'solid' one does"):
        spatial_regression(labeled(10 + fields[0]), predictors)


def test_too_few_tiles_are_refused_with_what_was_dropped(fields):
    tau = np.full((10, 10), np.inf)
    tau[:2] = fields[1][:2]
    with pytest.raises(InputError, match="got 20 of 100 .*dropped infinite 80.*inverse"):
        spatial_regression(labeled(10 + fields[0]), {"tau": labeled(tau)})


def test_maps_of_other_tiles_are_refused(fields):
    response = labeled(10 + fields[0])
    with pytest.raises(AxesError, match="size of the response along 'x', got 9 for 10"):
        spatial_regression(response, {"a": labeled(fields[1]).isel(x=slice(9))})
    with pytest.raises(AxesError, match="along 'y', their coordinates differ"):
        spatial_regression(response, {"a": labeled(fields[1], tile_um=30.0)})
    with pytest.raises(AxesError, match="size of the response along 't', got 3 for none"):
        spatial_regression(response, {"a": labeled(fields).rename({"component": "t"})})
    with pytest.raises(AxesError, match="spatial_regression: dims"):
        spatial_regression(response.rename({"y": "z"}), {"a": labeled(fields[1])})
