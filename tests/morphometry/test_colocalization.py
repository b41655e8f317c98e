import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.core.phases import CELL
from operando.core.quantities import COLUMNS
from operando.morphometry import colocalize, flatten
from operando.morphometry.correlation import (
    autocovariance,
    correlation_length,
    effective_samples,
    random_phase_correlations,
)
from operando.morphometry.costes import costes_threshold
from operando.samples import symmetric_cell


def _map(values, name=None, **attrs):
    return labeled_image(np.asarray(values, float), dims=("y", "x"), voxel_size_um=2.0, name=name, attrs=attrs)


def _smooth(seed, size=64, sigma=3.0):
    """A piece of an unbounded smooth random map with the skewed values of a thickness: never below 0."""
    margin = int(4 * sigma) + 4
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(size + 2 * margin,) * 2), sigma)
    field = field[margin : margin + size, margin : margin + size]
    return _map(np.maximum(field / field.std() - 0.3, 0))


def _values(table):
    return table.set_index("quantity")["value"]


def test_a_map_is_wholly_colocalized_with_itself():
    table = colocalize(_smooth(0), _smooth(0))
    found = _values(table)
    for quantity in ("pearson", "overlap", "m1", "m2", "m1 costes", "m2 costes"):
        assert found[quantity] == pytest.approx(1.0), quantity
    assert found["costes p-value"] == pytest.approx(1 / 201)
    assert found["spatial p-value"] == pytest.approx(1 / 1000)
    assert found["dutilleul p-value"] < 1e-12
    assert found["costes threshold a"] == found["costes threshold b"] == 0
    assert tuple(table.columns) == COLUMNS
    assert set(table["n"]) == {64 * 64}


def test_a_map_is_anticorrelated_with_its_negative_and_shares_nothing_with_its_gaps():
    values = _smooth(1).values
    found = _values(colocalize(_map(values), _map(values.max() - values)))
    assert found["pearson"] == pytest.approx(-1.0)
    assert found["spatial p-value"] == pytest.approx(1 / 1000)
    gaps = _values(colocalize(_map(values > 0), _map(values == 0)))
    assert (gaps["m1"], gaps["m2"], gaps["overlap"]) == (0.0, 0.0, 0.0)
    table = colocalize(_map(values), _map(values.max() - values)).set_index("quantity")
    assert np.isnan(table.loc["m1 costes", "value"])
    assert table.loc["costes threshold a", "method"] == "no positive correlation, thus no threshold"


def test_pearson_and_manders_are_those_of_their_formulas():
    random = np.random.default_rng(2)
    a, b = random.gamma(1.0, size=(2, 40, 30))
    b[random.random(b.shape) < 0.5] = 0
    found = _values(colocalize(_map(a), _map(b)))
    assert found["pearson"] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert found["m1"] == pytest.approx(a[b > 0].sum() / a.sum())
    assert found["m2"] == pytest.approx(1.0)
    assert found["m1 chance"] == pytest.approx((b > 0).mean())
    assert found["overlap"] == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    above = _values(colocalize(_map(a), _map(b), threshold=0.5))
    assert above["m2"] == pytest.approx(b[a > 0.5].sum() / b.sum())


def test_scale_and_offset_do_not_change_pearson_and_swapping_swaps_manders():
    a, b = _smooth(3), _smooth(4)
    one, scaled, swapped = (_values(colocalize(*maps)) for maps in ((a, b), (a, 7 * b + 3), (b, a)))
    assert scaled["pearson"] == pytest.approx(one["pearson"])
    assert scaled["effective samples"] == pytest.approx(one["effective samples"])
    assert swapped["m1"] == pytest.approx(one["m2"])
    assert swapped["m1 costes"] == pytest.approx(one["m2 costes"], nan_ok=True)


def test_costes_finds_where_common_signal_rises_above_independent_noise():
    random = np.random.default_rng(5)
    a, b = random.uniform(0, 1, (2, 4000))
    shared = np.r_[np.linspace(2, 10, 400), np.zeros(3600)]
    a, b = np.where(shared > 0, shared, a), np.where(shared > 0, 0.5 * shared, b)
    (ta, tb, below), reason = costes_threshold(a, b)
    assert reason == ""
    assert below <= 0
    assert 0.5 < ta < 3
    # The slow way: the correlation below every threshold on the same line, which goes through both means.
    slope = (tb - b.mean()) / (ta - a.mean())
    for limit in np.linspace(10, 0, 2001):
        under = (a < limit) | (b < b.mean() + slope * (limit - a.mean()))
        if np.corrcoef(a[under], b[under])[0, 1] <= 0:
            break
    assert ta == pytest.approx(limit, abs=0.01)


def test_shuffled_pixels_call_unrelated_smooth_maps_colocalized_and_the_spatial_null_does_not():
    by_pixel, spatial, corrected = [], [], []
    for seed in range(40):
        a, b = _smooth(100 + seed), _smooth(500 + seed)
        found = _values(colocalize(a, b, block=1, shuffles=99, surrogates=199, seed=seed))
        by_pixel.append(found["costes p-value"])
        spatial.append(found["spatial p-value"])
        corrected.append(found["dutilleul p-value"])
    assert np.mean(np.array(by_pixel) < 0.05) > 0.5
    for p in (spatial, corrected):
        assert np.mean(np.array(p) < 0.05) < 0.15
        assert kstest(p, "uniform").pvalue > 0.01


def test_effective_samples_say_how_much_correlations_of_unrelated_maps_scatter():
    maps = [_smooth(seed, sigma=2.0) for seed in range(40)]
    found = [_values(colocalize(maps[i], maps[i + 1], shuffles=1, surrogates=1)) for i in range(0, 40, 2)]
    scatter = np.sqrt(np.mean([f["pearson"] ** 2 for f in found]))
    expected = np.mean([1 / np.sqrt(f["effective samples"] - 1) for f in found])
    assert 0.6 < scatter / expected < 1.6
    white = np.random.default_rng(0).normal(size=(2, 64, 64))
    independent = _values(colocalize(_map(white[0]), _map(white[1])))
    assert independent["effective samples"] == pytest.approx(64**2, rel=0.1)


def test_a_common_pattern_is_found_through_independent_noise():
    common, noise = _smooth(7).values, np.random.default_rng(8).normal(size=(2, 64, 64))
    found = _values(colocalize(_map(common + 0.7 * noise[0]), _map(common + 0.7 * noise[1])))
    assert found["pearson"] > 0.2
    for test in ("costes p-value", "spatial p-value", "dutilleul p-value"):
        assert found[test] < 0.02


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_correlation_length_of_filtered_noise_is_twice_its_sigma(sigma):
    # The autocorrelation of noise filtered by a Gaussian is exp(-r^2 / 4 sigma^2).
    values = gaussian_filter(np.random.default_rng(9).normal(size=(256, 256)), sigma)
    covariance = autocovariance(values, np.ones(values.shape, bool))
    assert covariance.variance == pytest.approx(values.var())
    assert correlation_length(covariance, (1.0, 1.0)) == pytest.approx(2 * sigma, rel=0.1)
    assert correlation_length(covariance, (1.5, 1.5)) == pytest.approx(3 * sigma, rel=0.1)
    # Its sum over all lags is the correlation area 4 pi sigma^2.
    assert effective_samples(values, np.ones(values.shape, bool)) == pytest.approx(
        256**2 / (4 * np.pi * sigma**2), rel=0.25
    )


def test_random_phases_keep_the_spread_that_whole_random_maps_have():
    a, b = _smooth(10).values, _smooth(11).values
    a, b = a - a.mean(), b - b.mean()
    everywhere = np.ones(a.shape, bool)
    quick = random_phase_correlations(a, b, everywhere, surrogates=4000, random=np.random.default_rng(0))
    random, slow = np.random.default_rng(1), []
    spectrum = np.abs(np.fft.fft2(b))
    for _ in range(400):
        phases = np.angle(np.fft.fft2(random.normal(size=b.shape)))
        surrogate = np.fft.ifft2(spectrum * np.exp(1j * phases)).real
        slow.append((a * surrogate).sum() / np.sqrt((a**2).sum() * (surrogate**2).sum()))
    assert quick.std() == pytest.approx(np.std(slow), rel=0.12)
    assert abs(quick.mean()) < 0.1 * quick.std()


def test_pixels_that_are_not_known_in_both_maps_do_not_count():
    a, b = _smooth(12).values, _smooth(13).values
    holed = a.copy()
    holed[:20] = np.nan
    whole = _values(colocalize(_map(a[20:]), _map(b[20:])))
    table = colocalize(_map(holed), _map(b))
    found = _values(table)
    assert set(table["n"]) == {44 * 64}
    for quantity in ("pearson", "overlap", "m1", "m2", "m1 chance", "costes threshold a", "m1 costes"):
        assert found[quantity] == pytest.approx(whole[quantity], nan_ok=True), quantity
    # Half of the field, to which the autocorrelation is taken, is that of the whole map.
    assert found["effective samples"] == pytest.approx(whole["effective samples"], rel=0.2)


def test_what_cannot_be_computed_is_nan_with_its_reason():
    table = colocalize(_map(np.full((16, 16), 2.0)), _smooth(0, size=16)).set_index("quantity")
    assert np.isnan(table.loc["pearson", "value"])
    assert table.loc["pearson", "method"] == "a constant"
    assert table.loc["m2", "value"] == 1.0
    empty = colocalize(_map(np.zeros((16, 16))), _map(np.zeros((16, 16)))).set_index("quantity")
    assert empty.loc["spatial p-value", "method"] == "a and b constant"
    assert empty.loc["m1", "method"] == "the map is zero everywhere"
    unknown = colocalize(_map(np.full((16, 16), np.nan)), _smooth(0, size=16)).set_index("quantity")
    assert unknown.loc["pearson", "method"] == "fewer than 3 pixels are known in both maps: 0"
    signed = colocalize(-_smooth(0), _smooth(1)).set_index("quantity")
    assert signed.loc["m1", "method"] == "a map with negative values has no shares"
    few = colocalize(_smooth(0, size=16), _smooth(1, size=16), block=8).set_index("quantity")
    assert few.loc["costes p-value", "method"] == "fewer than 10 whole blocks of 8 x 8 pixels: 4"


def test_a_series_has_rows_for_every_scan():
    cell = symmetric_cell((40, 40, 44), scans=3, seed=3000)
    pits, deposit = (flatten(cell.labels, name) for name in ("pit", "deposited"))
    table = colocalize(pits, deposit, shuffles=20, surrogates=50)
    assert set(table["component"]) == {"pit~deposited"}
    assert table["scan"].unique().tolist() == [0, 1, 2]
    assert table.groupby("scan")["t"].first().tolist() == cell.t.values.tolist()
    assert table.attrs["simulated"] is True
    alone = colocalize(pits[2], deposit[2], shuffles=20, surrogates=50)
    series = table[table["scan"] == 2].set_index("quantity")["value"]
    assert series["pearson"] == pytest.approx(_values(alone)["pearson"])
    # One map is held against every scan of the other.
    fixed = colocalize(pits[1], deposit, shuffles=20, surrogates=50, component="pits")
    assert fixed["scan"].unique().tolist() == [0, 1, 2]
    assert fixed.query("scan == 1 and quantity == 'pearson'")["value"].item() == pytest.approx(
        table.query("scan == 1 and quantity == 'pearson'")["value"].item()
    )
    lengths = table[table["quantity"].isin(["correlation length", "block length"])]
    assert set(lengths["unit"]) == {"um"}


def test_scans_keep_the_numbers_they_had_in_the_series():
    maps = xr.concat([_smooth(0), _smooth(1)], dim="t").assign_coords(t=[3.0, 4.0], scan=("t", [7, 8]))
    table = colocalize(maps, maps, shuffles=5, surrogates=5)
    assert table["scan"].unique().tolist() == [7, 8]


def test_the_seed_decides_and_lazy_maps_are_the_same():
    a, b = _smooth(0), _smooth(1)
    first = colocalize(a, b, seed=4)
    assert first.equals(colocalize(a.chunk({"y": 20}), b.chunk({"x": 9}), seed=4))
    assert not first.equals(colocalize(a, b, seed=5))


def test_cross_sections_with_oblong_pixels_have_blocks_as_long_as_wide():
    values = gaussian_filter(np.random.default_rng(0).normal(size=(2, 60, 240)), (0, 2, 8))
    a, b = (labeled_image(v, dims=("z", "x"), voxel_size_um=(4.0, 1.0)) for v in values)
    table = colocalize(a, b).set_index("quantity")
    length = table.loc["correlation length", "value"]
    assert length == pytest.approx(16, rel=0.2)
    assert f"{round(2 * length / 4)} x {round(2 * length)} pixels" in table.loc["costes p-value", "method"]


def test_maps_that_do_not_belong_together_are_refused():
    a = _smooth(0)
    with pytest.raises(AxesError, match="a must be a map with two of the dims z, y, x"):
        colocalize(labeled_image(np.ones((2, 3, 4))), a)
    with pytest.raises(AxesError, match="one plane"):
        colocalize(a, a.rename(x="z").transpose("z", "y"))
    with pytest.raises(AxesError, match="one size along 'y', got 64 and 32"):
        colocalize(a, a[:32])
    with pytest.raises(AxesError, match="same places along 'y'"):
        colocalize(a[:32], a[32:])
    with pytest.raises(InputError, match=r"DataArray.*got ndarray"):
        colocalize(a.values, a)
    with pytest.raises(InputError, match="threshold must be a finite value of the maps, got nan"):
        colocalize(a, a, threshold=float("nan"))
    with pytest.raises(InputError, match="shuffles must be a whole number of at least 1, got 0"):
        colocalize(a, a, shuffles=0)
    with pytest.raises(InputError, match="block must be a whole number"):
        colocalize(a, a, block=2.5)


def test_lines_of_one_pixel_are_maps_too():
    values = gaussian_filter(np.random.default_rng(0).normal(size=(2, 400)), (0, 2))
    a, b = (_map(v[:, None]) for v in values)
    assert np.isfinite(_values(colocalize(a, b))[["pearson", "spatial p-value", "dutilleul p-value"]]).all()


def test_pits_of_the_synthetic_cell_are_not_where_its_deposit_is():
    # The two sides are drawn independently, as Huang 2023 finds them in the real cell.
    cell = symmetric_cell((64, 64, 64), scans=3, seed=3004)
    scan = cell.labels[1]
    found = _values(colocalize(flatten(scan, "pit", phases=CELL), flatten(scan, "deposited", phases=CELL)))
    assert abs(found["pearson"]) < 0.4
    assert found["spatial p-value"] > 0.01
