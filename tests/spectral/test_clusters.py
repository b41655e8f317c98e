"""Clusters of pixels: by the shape of their spectra, not by thickness."""

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import adjusted_rand_score

from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.samples import stxm_particle
from operando.spectral import cluster, match_spectra, optical_density

SHAPES = np.array([[0.2, 2.0, 1.0, 0.8], [0.2, 1.0, 2.0, 0.8], [0.3, 0.9, 0.9, 1.6]])


def wedges(noise=0.01, seed=0):
    """Three stripes of one phase each, from 0 to 1.5 thick."""
    thickness = np.broadcast_to(np.linspace(0, 1.5, 60), (30, 60))
    phase = np.repeat([0, 1, 2], 10)
    values = SHAPES[phase].T[:, :, None] * thickness
    values = values + noise * np.random.default_rng(seed).normal(size=values.shape)
    stack = xr.DataArray(values, dims=("energy", "y", "x"), coords={"energy": [700.0, 708.0, 710.0, 720.0]})
    return stack, np.broadcast_to(phase[:, None], thickness.shape), thickness


@pytest.fixture(scope="module")
def particle():
    made = stxm_particle(kind="wavefront", seed=3001, drift_px=0.0, dark=0.0, stray=0.0)
    weight = made["weight"].transpose("component", "y", "x").values
    return optical_density(made["counts"], made["i0"]), weight


@pytest.mark.parametrize("method", ["kmeans", "minibatch"])
def test_wedges_of_three_phases_are_three_clusters_and_thin_pixels_none(method):
    stack, phase, thickness = wedges()
    found = cluster(stack, 3, method=method)
    label = found["label"].values
    used = label != 255
    assert label.dtype == np.uint8
    assert adjusted_rand_score(phase[used], label[used]) == 1.0
    assert used[thickness > 0.3].all()
    assert not used[thickness < 0.01].any()


def test_without_normalization_clusters_follow_thickness():
    stack, phase, thickness = wedges()
    label = cluster(stack, 3, normalize="none", mask=thickness > 0.1)["label"].values
    assert adjusted_rand_score(phase[label != 255], label[label != 255]) < 0.3
    # One phase alone is cut into steps of thickness.
    steps = cluster(stack[:, :10], 3, normalize="none")["label"].values
    middle = [thickness[:10][steps == k].mean() for k in range(3)]
    spread = [np.ptp(thickness[:10][steps == k]) for k in range(3)]
    assert np.diff(np.sort(middle)).min() > 0.3
    assert max(spread) < 0.8


def test_phases_of_a_simulated_particle_are_found_with_normalization_only(particle):
    density, weight = particle
    total = weight.sum(axis=0)
    pure = weight.max(axis=0) > 0.9 * total
    agreement = {}
    for normalize in ("thickness", "norm", "none"):
        label = cluster(density, 5, normalize=normalize)["label"].values
        used = (label != 255) & pure & (total > 0.02)
        agreement[normalize] = adjusted_rand_score(weight.argmax(axis=0)[used], label[used])
    assert agreement["thickness"] > 0.95
    assert agreement["norm"] > 0.95
    assert agreement["none"] < 0.1


def test_pixels_beside_the_particles_are_in_no_cluster(particle):
    density, weight = particle
    label = cluster(density, 5)["label"].values
    assert (label[weight.sum(axis=0) == 0] == 255).mean() > 0.99
    assert (label[weight.sum(axis=0) > 0.02] != 255).all()


def test_the_spectrum_of_a_cluster_is_the_mean_of_its_pixels():
    stack, _, _ = wedges()
    found = cluster(stack, 3)
    for k, name in enumerate(found["component"].values):
        mean = stack.where(found["label"] == k).mean(("y", "x"))
        # The ratio of sums, times the mean thickness, is the mean of the pixels up to the noise of thickness.
        np.testing.assert_allclose(found["spectrum"].sel(component=name), mean, rtol=1e-3, atol=1e-4)


def test_the_error_of_a_spectrum_is_its_scatter_over_repetitions():
    spectra, sigmas = [], []
    for seed in range(40):
        stack, _, _ = wedges(noise=0.02, seed=seed)
        found = cluster(stack, 3, minimum_thickness=0.3)
        k = found["label"].values[5, -1]
        spectra.append(found["spectrum"].values[k] / found["spectrum"].values[k].mean())
        sigmas.append(found["spectrum_sigma"].values[k] / found["spectrum"].values[k].mean())
    scatter = np.std(spectra, axis=0)
    # 40 repetitions give a standard deviation to about 11 %; dividing by the mean takes some noise away.
    np.testing.assert_allclose(np.mean(sigmas, axis=0), scatter, rtol=0.4)


def test_the_largest_cluster_comes_first_and_shares_add_up():
    stack, phase, _ = wedges()
    found = cluster(stack, 3, mask=(phase != 2) | (np.arange(60) > 40))
    assert (np.diff(found["pixels"].values) <= 0).all()
    assert found["fraction"].sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(found["pixels"].values, np.bincount(found["label"].values.ravel(), minlength=256)[:3])
    scheme = PhaseScheme.of(found["label"].attrs["phases"])
    assert scheme.names == ("cluster 1", "cluster 2", "cluster 3")
    scheme.check(found["label"])


def test_one_seed_gives_one_result_and_a_lazy_stack_the_same():
    stack, _, _ = wedges()
    first = cluster(stack, 3, seed=5)
    xr.testing.assert_identical(first, cluster(stack, 3, seed=5))
    lazy = cluster(stack.copy(data=da.from_array(stack.values, chunks=(1, 30, 60))), 3, seed=5)
    np.testing.assert_array_equal(first["label"], lazy["label"])
    np.testing.assert_allclose(first["spectrum"], lazy["spectrum"])


def test_gaps_leave_pixels_in_their_cluster():
    stack, _, _ = wedges(noise=0.002)
    stack = xr.concat([stack.assign_coords(energy=stack.energy + step) for step in (0.0, 0.25, 0.5)], dim="energy")
    expected = cluster(stack, 3)["label"].values
    gaps = stack.copy(deep=True)
    gaps[:3, :, 50:] = np.nan
    gaps[:, :, :3] = np.nan
    found = cluster(gaps, 3)["label"].values
    assert (found[:, :3] == 255).all()
    assert (found[:, 50:] != 255).all()
    used = (found != 255) & (expected != 255)
    assert adjusted_rand_score(expected[used], found[used]) == 1.0


def test_scaling_the_thickness_changes_no_label():
    stack, _, _ = wedges()
    np.testing.assert_array_equal(cluster(stack, 3)["label"], cluster(7.0 * stack, 3)["label"])


def test_cluster_errors_name_what_is_wrong():
    stack, _, _ = wedges()
    with pytest.raises(InputError, match="Did you mean 'thickness'"):
        cluster(stack, 3, normalize="thicknes")
    with pytest.raises(InputError, match="Did you mean 'kmeans'"):
        cluster(stack, 3, method="k-means")
    with pytest.raises(InputError, match="from 1 to 254, got 0"):
        cluster(stack, 0)
    with pytest.raises(InputError, match="at least as many pixels as clusters"):
        cluster(stack, 3, minimum_thickness=10.0)
    with pytest.raises(InputError, match="as many different spectra, got 1"):
        cluster(np.ones((4, 2, 2)), 2)


def test_clusters_of_a_real_stack_hold_no_stray_pixels_and_the_largest_is_the_known_mixture(data_folder):
    folder = data_folder / "als-stxm-fe2p" / "71214078_FigS4"
    with h5py.File(next(folder.glob("*_aligned.h5"))) as file:
        energy, i0, counts = (file[name][:] for name in ("energy_eV", "i0", "counts"))
    density = xr.DataArray(
        np.log(i0[:, 1][:, None, None] / counts), dims=("energy", "y", "x"), coords={"energy": energy}
    )
    density = density - density.sel(energy=slice(0, 705)).mean("energy")
    rows = (folder / "mask_file.msk").read_text().splitlines()
    kept = np.array([[mark == "O" for mark in row.ljust(125)[:125]] for row in rows])
    found = cluster(density, 3, mask=kept)
    # Pixels with a mean near zero, or below, would be clusters of a few pixels each if they were divided by it.
    assert (found["fraction"] > 0.02).all()
    # The largest is what the authors' references explain, most of it the oxidized one.
    spectra = {}
    for name in ("reduced", "oxidized"):
        columns = np.loadtxt(folder / f"{name}.r")
        spectra[name] = xr.DataArray(columns[:, 1], dims="energy", coords={"energy": columns[:, 0]})
    first = match_spectra(found, spectra, background="constant").iloc[0]
    assert first["r_factor"] < 0.01
    assert first["combination"] == ("reduced", "oxidized")
    assert first["shares"][1] > 0.6


def test_spectra_with_a_mean_below_zero_are_clustered_by_their_length():
    stack, phase, thickness = wedges()
    found = cluster(-stack, 3, normalize="norm")
    thick = (thickness > 0.3) & (found.label.values != 255)
    assert thick.sum() > 0.9 * (thickness > 0.3).sum()
    assert adjusted_rand_score(phase[thick], found.label.values[thick]) > 0.99


def test_infinite_values_are_gaps():
    stack, _, _ = wedges()
    stack[0, 3, 40], stack[1, 3, 40], stack[2, 5, 41] = np.inf, -np.inf, np.inf
    assert np.isin(cluster(stack, 3).label.values, [0, 1, 2, 255]).all()


@pytest.mark.parametrize("n", [None, True, "two", np.nan, np.inf])
def test_a_number_of_clusters_that_is_no_number_is_refused(n):
    with pytest.raises(InputError, match="n must be a whole number from 1 to 254"):
        cluster(wedges()[0], n)
