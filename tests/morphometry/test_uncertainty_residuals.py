import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.morphometry import probability_moments, residual_correlation, segmentation_sigma, volumes

TWO = {"electrolyte": 0, "layer": 1}


def _probability(chance, voxel_size_um=1.0):
    """Two phases from the probability of the second, ([t], z, y, x)."""
    dims = ("t", "phase", "z", "y", "x")[4 - chance.ndim :]
    both = np.stack([1 - chance, chance], axis=chance.ndim - 3)
    return labeled_image(both, dims=dims, voxel_size_um=voxel_size_um, coords={"phase": list(TWO)})


def _labels(values, voxel_size_um=1.0):
    return labeled_image(values.astype(np.uint8), voxel_size_um=voxel_size_um)


def _slices(truth, every=8, axis=-2):
    """Whole cross-sections annotated, the rest 255."""
    values = np.full(truth.shape, 255, np.uint8)
    kept = [slice(None)] * truth.ndim
    kept[axis] = slice(every // 2, None, every)
    values[tuple(kept)] = truth.values[tuple(kept)]
    return truth.copy(data=values)


def _blocks(rng, shape, edge):
    """Random bits, the same within columns and blocks of edge x edge columns."""
    small = rng.integers(0, 2, (1, -(-shape[1] // edge), -(-shape[2] // edge)))
    whole = small.repeat(shape[0], axis=0).repeat(edge, axis=1).repeat(edge, axis=2)
    return whole[:, : shape[1], : shape[2]]


def test_independent_voxels_err_one_by_one():
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.05, 0.95, (12, 96, 96))
    truth = _labels(rng.random(chance.shape) < chance)
    found = residual_correlation(_probability(chance), _slices(truth, 2), TWO).sel(component="layer")
    # A label is no expectation: its mean square error is min(p, 1 - p), between one and two times p (1 - p).
    # Neighbors that go together by chance are counted until the first that do not: at most a quarter here.
    expected = np.minimum(chance, 1 - chance).mean() / (chance * (1 - chance)).mean()
    pieces = float(found["pieces"])
    assert pieces > 5_000
    prior = 5 * 150 / (pieces + 5)
    assert found["correlation_volume"] - prior == pytest.approx(expected, rel=0.25)
    assert abs(found["shift"]) < 0.05


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("edge_um", [1.0, 2.0])
def test_clumps_are_measured_in_volume_from_slices_in_one_direction(axis, edge_um):
    rng = np.random.default_rng(2)
    shape = (3, 384, 384)
    truth, labels = (_labels(_blocks(rng, shape, 4), edge_um) for _ in range(2))
    probability = _probability(np.full(shape, 0.5), edge_um)
    found = residual_correlation(probability, _slices(truth, 6, axis), TWO, labels=labels).sel(component="layer")
    # 3 x 4 x 4 voxels err as one, twice as much as their p (1 - p) says because the labels are drawn as well.
    pieces = float(found["pieces"])
    measured = float(found["correlation_volume"]) / edge_um**3 * (pieces + 5) / pieces - 5 * 150 / pieces
    assert measured == pytest.approx(2 * 48, rel=0.2)
    assert found["correlation_volume"].attrs["units"] == "um3"


def test_slices_count_as_fewer_pieces_than_their_voxels():
    rng = np.random.default_rng(3)
    shape = (4, 96, 96)
    truth, labels = (_labels(_blocks(rng, shape, 8)) for _ in range(2))
    probability = _probability(np.full(shape, 0.5))
    few = residual_correlation(probability, _slices(truth, 32), TWO, labels=labels)
    whole = residual_correlation(probability, truth, TWO, labels=labels)
    # Of 12 x 12 blocks three slices show 36. A block of N voxels has the doubt N / 4 and the variance N^2 / 2.
    assert few["pieces"].sel(component="layer") == pytest.approx(36 / 8, rel=0.4)
    assert whole["pieces"].sel(component="layer") == pytest.approx(144 / 8, rel=0.4)


def _scans(rates, shape=(4, 64, 64), seed=4):
    """Scans whose layer is too large by rate x doubt everywhere, beside independent errors of p = 0.5."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (len(rates), *shape))
    labels = np.stack([np.where(rng.random(shape) < rate / 2, 1, t) for rate, t in zip(rates, truth, strict=True)])
    return _probability(np.full(truth.shape, 0.5)), _labels(truth), _labels(labels)


def test_an_error_common_to_all_scans_is_told_from_scatter_between_them():
    # Of half of the voxels, rate / 2 become layer: rate / 4 of all, over a doubt of 1 / 4 of all.
    p, truth, labels = _scans([1.0, 1.0, 1.0, 1.0])
    common = residual_correlation(p, _slices(truth), TWO, labels=labels).sel(component="layer")
    assert common["shift"] == pytest.approx(1.0, abs=0.1)
    assert common["common"] > 0.5  # one cell beside a prior that counts as two
    assert common["scatter"] < 0.4
    p, truth, labels = _scans([0.0, 1.6, 0.0, 1.6])
    mixed = residual_correlation(p, _slices(truth), TWO, labels=labels).sel(component="layer")
    assert mixed["scatter"] > 0.65


def test_cells_tell_what_is_common_within_each():
    p, truth, labels = _scans([0.0, 0.0, 1.6, 1.6, 0.0, 0.0, 1.6, 1.6])
    marks = _slices(truth)
    told = residual_correlation(p, marks, TWO, labels=labels, cells=["a", "a", "b", "b", "c", "c", "d", "d"])
    untold = residual_correlation(p, marks, TWO, labels=labels)
    told, untold = told.sel(component="layer"), untold.sel(component="layer")
    assert told["common"] > untold["common"]
    assert told["scatter"] < 0.4 < 0.65 < untold["scatter"]


def test_without_doubt_nothing_but_the_prior_is_known():
    truth = _labels(np.zeros((4, 16, 16)))
    found = residual_correlation(_probability(np.zeros((4, 16, 16))), _slices(truth, 4), TWO).sel(component="layer")
    assert found["pieces"] == 0
    assert np.isnan(found["shift"])
    assert [float(found[name]) for name in ("correlation_volume", "common", "scatter")] == [150.0, 0.3, 0.5]


def test_blocks_do_not_change_what_is_measured():
    p, truth, labels = _scans([0.5, 1.0], shape=(6, 40, 40))
    marks = _slices(truth)
    whole = residual_correlation(p, marks, TWO, labels=labels)
    lazy = residual_correlation(
        p.chunk({"t": 1, "z": 4, "y": 13}), marks.chunk({"t": 1, "x": 9}), TWO, labels=labels.chunk({"t": 1, "z": 3})
    )
    xr.testing.assert_allclose(lazy, whole, rtol=1e-4)


def test_only_blocks_with_annotations_are_computed():
    p, truth, _ = _scans([1.0], shape=(6, 40, 40))
    marks = truth.copy(data=np.full(truth.shape, 255, np.uint8))
    marks[0, :, 3] = truth[0, :, 3]
    seen = []

    def counted(block):
        seen.append(block.shape)
        return block

    lazy = p.chunk({"t": 1, "y": 10})
    lazy = lazy.copy(data=lazy.data.map_blocks(counted, dtype=float, meta=np.empty((0,) * 5)))
    residual_correlation(lazy, marks, TWO)
    assert len(seen) == 1


def test_what_does_not_fit_is_refused():
    p, truth, labels = _scans([1.0, 1.0], shape=(4, 16, 16))
    with pytest.raises(InputError, match="probability and annotation must have one shape"):
        residual_correlation(p.isel(z=slice(1, None)), truth, TWO)
    with pytest.raises(InputError, match="labels and annotation must have one shape"):
        residual_correlation(p, truth, TWO, labels=labels.isel(t=[0]))
    with pytest.raises(InputError, match="one cell per scan, got 1 for 2 scans"):
        residual_correlation(p, truth, TWO, cells=["a"])
    with pytest.raises(InputError, match="at least one voxel must be annotated"):
        residual_correlation(p, truth.copy(data=np.full(truth.shape, 255, np.uint8)), TWO)


def _threshold_cell(rng, shape=(24, 48, 48)):
    """A slab whose rough surface is known up to correlated noise; probabilities are exact, voxel by voxel."""

    def smooth(sigma):
        field = gaussian_filter(rng.normal(size=shape), sigma)
        return field / field.std()

    z = np.arange(shape[0])[:, None, None]
    known = 0.4 * (rng.uniform(10, 14) - z) + 0.6 * smooth(3)
    truth = known + smooth(2.5) > 0
    return ndtr(known), truth


def test_intervals_of_correlated_fields_hold_the_truth_where_independent_voxels_do_not():
    rng = np.random.default_rng(5)
    chances, truths = (np.stack(found) for found in zip(*(_threshold_cell(rng) for _ in range(64)), strict=True))
    probability, truth = _probability(chances), _labels(truths)
    held, judged = slice(0, 4), slice(4, None)
    found = residual_correlation(probability.isel(t=held), _slices(truth.isel(t=held), 12), TWO)
    labels = truth.copy(data=(chances > 0.5).astype(np.uint8)).isel(t=judged)
    moments = probability_moments(probability.isel(t=judged), TWO)
    sigma = segmentation_sigma(labels, TWO, moments=moments, residuals=found)["volume"].sel(component="layer")
    error = np.abs(volumes(labels, TWO) - volumes(truth.isel(t=judged), TWO)).sel(component="layer")
    inside = float((error <= 1.96 * sigma).mean())
    assert inside >= 0.9
    independent = np.sqrt(moments["doubt"].sel(component="layer"))
    assert float((error <= 1.96 * independent).mean()) < 0.5
    # What clumps alone account for is of the size of the errors, not many times larger.
    clumps = np.sqrt(moments["doubt"] * found["correlation_volume"]).sel(component="layer")
    assert 0.6 < float(np.sqrt((error**2).mean()) / np.sqrt((clumps**2).mean())) < 1.7
