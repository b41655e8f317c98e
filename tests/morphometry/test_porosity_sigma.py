"""How far porosities are off: coverage of intervals, and changes between scans."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.morphometry import porosity_difference, porosity_profile
from operando.morphometry.porosity_sigma import effective_number, ratio_sigma

PHASES = {"electrolyte": 0, "electrode": 1, "pore": 2}


def smooth(rng, shape, sigma):
    field = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return field / field.std()


def tiles(pores, size=12):
    ny, nx = pores.shape[1:]
    return pores.sum(axis=0).reshape(ny // size, size, nx // size, size).sum(axis=(1, 3))


def test_independent_tiles_have_the_textbook_standard_error():
    rng = np.random.default_rng(0)
    part = rng.binomial(100, 0.1, (200, 10, 10))
    sigma = ratio_sigma(part, np.full(part.shape, 100))
    # Chance correlations widen it by a sixth.
    assert 1.0 < np.sqrt((sigma**2).mean()) / np.sqrt(0.1 * 0.9 / 10_000) < 1.25


@pytest.mark.parametrize(("slow", "share"), [(3.0, 0.0), (8.0, 0.2)])
def test_intervals_of_correlated_porosities_hold_the_truth_nearly_as_often_as_they_say(slow, share):
    """A field whose pores come in clumps of a few voxels and, with ``share``, of a slow variation as well."""
    held, known = 0, 0.08
    for seed in range(60):
        rng = np.random.default_rng(seed)
        # The seen part is a part of a larger field of known porosity.
        field = np.sqrt(1 - share) * smooth(rng, (3, 240, 240), 1.5) + np.sqrt(share) * smooth(rng, (240, 240), slow)
        part = tiles(field[:, :144, :144] < norm.ppf(known))
        sigma = ratio_sigma(part, np.full(part.shape, 3 * 144)).item()
        held += abs(part.sum() / (3 * 144**2) - known) < 1.96 * sigma
    assert held >= 51


def test_values_that_vary_slowly_are_worth_fewer_values():
    rng = np.random.default_rng(0)
    assert effective_number(rng.standard_normal((30, 30))) > 600
    assert effective_number(smooth(rng, (30, 30), 3.0)) < 60
    gaps = smooth(rng, (30, 30), 3.0)
    gaps[::7] = np.nan
    assert effective_number(gaps) < 60


def flat_boundaries(n):
    coords = {"component": ["high interface"]}
    return xr.DataArray(np.full((1, n, n), 4.5, np.float32), dims=("component", "y", "x"), coords=coords)


def flickering(seed, noise=0.1, more=0.0, n=96, depth=16):
    """Two scans of the same pores, each with a little noise of its own; ``more`` pores in the right half later."""
    rng = np.random.default_rng(seed)
    pores = smooth(rng, (depth, n, n), 2.5)
    scans = np.ones((2, depth + 2, n, n), np.uint8)
    scans[:, :2] = 0
    for k in range(2):
        level = np.full((n, n), norm.ppf(0.06))
        level[:, n // 2 :] += more * k
        field = np.sqrt(1 - noise) * pores + np.sqrt(noise) * smooth(rng, pores.shape, 1.5)
        scans[k, 2:][field < level] = 2
    return labeled_image(scans, voxel_size_um=3.0, t=[0.0, 1.0])


def test_unchanged_tiles_seldom_have_a_large_z_score_and_changed_ones_do():
    still, changed = [], []
    for seed in range(5):
        found = porosity_difference(flickering(seed, more=0.5), PHASES, boundaries=flat_boundaries(96))
        z = found["z_score"].sel(component="high").isel(t=0).values
        still.append(z[:, :4])
        changed.append(z[:, 4:])
    assert np.mean(np.abs(still) > 1.96) < 0.06
    assert np.mean(np.array(changed) > 1.96) > 0.4


def test_pores_that_stay_cancel_and_leave_a_sigma_far_below_that_of_the_porosity():
    image = flickering(0, noise=0.02)
    found = porosity_difference(image, PHASES, boundaries=flat_boundaries(96)).sel(component="high")
    profile = porosity_profile(image, PHASES, boundaries=flat_boundaries(96), bin_um=100.0).sel(component="high")
    assert found["change_sigma"].item() < 0.3 * profile["sigma"].isel(t=0, depth=0).item()
    assert abs(found["change"].item()) < 2.5 * found["change_sigma"].item()
    same = image.copy()
    same[1] = same[0]
    nothing = porosity_difference(same, PHASES, boundaries=flat_boundaries(96)).sel(component="high")
    assert (nothing["difference"] == 0).all()
    assert (nothing["sigma"] == 0).all()


def test_a_difference_of_known_columns_is_exact_and_belongs_to_the_second_scan():
    scans = np.ones((3, 6, 4, 8), np.uint8)
    scans[:, 4:] = 0
    scans[1, 3, :, :4] = scans[2, 2:4, :, :4] = 2
    image = labeled_image(scans, voxel_size_um=5.0, t=[0.0, 1.0, 3.0]).assign_coords(step=("t", ["a", "b", "c"]))
    found = porosity_difference(image, PHASES, tile_um=20.0).sel(component="low")
    np.testing.assert_allclose(found["difference"].values, [[[0.25, 0.0]], [[0.25, 0.0]]])
    np.testing.assert_allclose(found["change"].values, [0.125, 0.125])
    assert found["t"].values.tolist() == [1.0, 3.0]
    assert found["step"].values.tolist() == ["b", "c"]
    assert found["x"].values.tolist() == [7.5, 27.5]
    near = porosity_difference(image, PHASES, tile_um=20.0, depth_um=5.0).sel(component="low")
    np.testing.assert_allclose(near["difference"].values, [[[1.0, 0.0]], [[0.0, 0.0]]])


def test_probabilities_add_the_doubt_of_the_segmentation():
    image = flickering(0).isel(t=0, drop=True)
    labels = image.values
    certain = np.stack([labels == k for k in range(3)]).astype(np.float32)
    coords = {"phase": list(PHASES)}
    boundaries = flat_boundaries(96)
    sharp = labeled_image(certain, dims=("phase", "z", "y", "x"), voxel_size_um=3.0, coords=coords)
    vague = sharp.copy(data=0.8 * certain + 0.1 * (1 - certain))
    plain = porosity_profile(image, PHASES, boundaries=boundaries).sel(component="high")
    known = porosity_profile(image, PHASES, boundaries=boundaries, probability=sharp).sel(component="high")
    unsure = porosity_profile(image, PHASES, boundaries=boundaries, probability=vague).sel(component="high")
    assert np.isnan(plain["sigma_segmentation"]).all()
    assert (known["sigma_segmentation"] == 0).all()
    np.testing.assert_allclose(known["sigma"], plain["sigma"])
    np.testing.assert_allclose(unsure["sigma"] ** 2, unsure["sigma_sampling"] ** 2 + unsure["sigma_segmentation"] ** 2)
    # Every voxel has p = 0.8 or 0.1: p (1 - p) = 0.16 or 0.09; 150 voxels err as one, shares 0.3 and 0.5.
    count, porosity = unsure["n"].values, unsure.values
    doubt = count * (0.16 * porosity + 0.09 * (1 - porosity))
    expected = np.sqrt(150 * doubt + 0.34 * doubt**2) / count
    np.testing.assert_allclose(unsure["sigma_segmentation"], expected, rtol=1e-5)
    alone = porosity_profile(image, PHASES, boundaries=boundaries, probability=vague.sel(phase="pore", drop=True))
    np.testing.assert_array_equal(alone.sel(component="high")["sigma"], unsure["sigma"])


def test_the_interval_contains_the_porosity_and_stays_between_zero_and_one():
    profile = porosity_profile(flickering(3), PHASES, boundaries=flat_boundaries(96), bin_um=6.0).sel(component="high")
    assert (profile["low"] > 0).all()
    assert (profile["low"] < profile).all()
    assert (profile["high"] > profile).all()
    assert (profile["high"] < 1).all()


def test_what_cannot_be_compared_says_why():
    image = flickering(0)
    with pytest.raises(AxesError, match="at least two scans"):
        porosity_difference(image.isel(t=0), PHASES)
    with pytest.raises(InputError, match="must fit into the field of view"):
        porosity_difference(image, PHASES, tile_um=1e4)
    with pytest.raises(InputError, match="depth_um must be positive"):
        porosity_difference(image, PHASES, depth_um=0.0)
    with pytest.raises(InputError, match="probability must have the shape"):
        porosity_profile(image, PHASES, boundaries=flat_boundaries(96), probability=image.isel(t=0).astype(float))
    stranger = xr.Dataset({"common": ("component", [0.1])}, coords={"component": ["pit"]})
    with pytest.raises(InputError, match="residuals must know the component 'pore'"):
        porosity_profile(
            image, PHASES, boundaries=flat_boundaries(96), probability=image.astype(np.float32), residuals=stranger
        )
