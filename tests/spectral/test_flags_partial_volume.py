"""Optical density that a probe hides where the sample changes under it."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import InputError
from operando.spectral import PoissonNoise, normalize, partial_volume, unmix

SPECTRA = xr.DataArray(
    [[1.0, 0.5], [0.2, 2.0]],
    dims=("component", "energy"),
    coords={"component": ["a", "b"], "energy": [517.0, 530.0]},
)


def fitted(a, b, **terms):
    weight = np.stack([np.asarray(a, float), np.asarray(b, float)])
    dims = ("component", "z", "y", "x")
    dims = ("component", *dims[5 - weight.ndim :]) if weight.ndim > 1 else ("component",)
    made = {"weight": (dims, weight)} | {name: (dims[1:], values) for name, values in terms.items()}
    return xr.Dataset(made, coords={"component": ["a", "b"]})


def test_a_slope_loses_half_of_the_variance_under_the_probe_at_each_energy():
    y, x = np.mgrid[:5, :6]
    lost = partial_volume(fitted(0.1 * x, 0.05 * y), SPECTRA, probe_px=0.4)
    # squared slope of the optical density: along x 0.1 a, along y 0.05 b
    slope = (0.1 * np.array([1.0, 0.5])) ** 2 + (0.05 * np.array([0.2, 2.0])) ** 2
    assert lost.dims == ("energy", "y", "x")
    assert lost.values[:, 1:-1, 1:-1] == pytest.approx(
        np.broadcast_to((0.5 * 1.5 * 0.4**2 * slope)[:, None, None], (2, 3, 4))
    )


def test_a_flat_sample_and_a_point_probe_lose_nothing():
    assert (partial_volume(fitted(np.ones((4, 4)), np.ones((4, 4))), SPECTRA) == 0).all()
    assert (partial_volume(fitted(np.eye(4), np.eye(4)), SPECTRA, probe_px=0.0) == 0).all()
    assert partial_volume(fitted(1.0, 2.0), SPECTRA).values.tolist() == [0.0, 0.0]


def test_phases_that_change_places_without_changing_the_density_lose_nothing_there():
    step = np.array([0.0, 0.0, 1.0, 1.0])
    same = xr.DataArray([[1.0, 0.5], [1.0, 2.0]], dims=SPECTRA.dims, coords=SPECTRA.coords)
    lost = partial_volume(fitted(step, 1.0 - step), same)
    assert lost.values[0] == pytest.approx(0.0)
    assert lost.values[1].max() > 0.05


def test_a_background_counts_as_density_and_missing_neighbors_as_no_change():
    lost = partial_volume(
        fitted(np.zeros(4), np.zeros(4), constant=[0.0, 0.2, 0.4, np.nan]), SPECTRA, background="constant"
    )
    assert lost.values[0].round(6).tolist() == [0.00375, 0.0075, 0.00375, 0.0]
    with pytest.raises(InputError, match="must hold the background term 'constant'"):
        partial_volume(fitted(np.zeros(4), np.zeros(4)), SPECTRA, background="constant")


def test_lazy_weights_give_a_lazy_result():
    rng = np.random.default_rng(0)
    fit = fitted(rng.random((8, 9)), rng.random((8, 9)))
    lazy = partial_volume(fit.chunk({"y": 3, "x": 4}), SPECTRA)
    assert isinstance(lazy.data, da.Array)
    xr.testing.assert_allclose(lazy.compute(), partial_volume(fit, SPECTRA))


def test_a_probe_below_zero_and_other_references_are_refused():
    with pytest.raises(InputError, match="probe_px must be zero or more pixels, got -1"):
        partial_volume(fitted(1.0, 2.0), SPECTRA, probe_px=-1)
    with pytest.raises(InputError, match=r"weights of the references \['a'\] are needed, got those of \['a', 'b'\]"):
        partial_volume(fitted(1.0, 2.0), SPECTRA[:1])


def test_unmixing_again_with_what_was_lost_lowers_the_error_at_rims_and_phase_boundaries():
    sample = samples.stxm_particle(
        (64, 64), kind="mosaic", seed=3101, i0_counts=1e5, drift_px=0.0, stray=0.0, thick_um=None, missing_phase=False
    )
    made = normalize(sample.counts, sample.i0, i0_sigma=sample.i0_sigma, dark=sample.attrs["dark"])
    noise = PoissonNoise(sample.i0, i0_sigma=sample.i0_sigma, dark=sample.attrs["dark"])
    first = unmix(made.optical_density, sample.references, sigma=noise)
    again = unmix(made.optical_density + partial_volume(first, sample.references), sample.references, sigma=noise)
    at = sample.boundary.values
    errors = [np.sqrt(np.mean((fit.weight - sample.weight).values[:, at] ** 2)) for fit in (first, again)]
    assert errors[1] < 0.6 * errors[0]
    inside = [
        np.mean(((fit.weight_low <= sample.weight) & (sample.weight <= fit.weight_high)).values[:, at])
        for fit in (first, again)
    ]
    assert inside[0] < 0.85 < inside[1]
