"""Phases in three dimensions: both orders, on volumes that are known."""

from functools import partial

import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import AxesError, InputError
from operando.spectral import spectro_tomography
from operando.tomography import reconstruct

ORDERS = ("unmix first", "reconstruct first")
STEP = 0.05  # um


def along_x(projections: xr.DataArray) -> xr.DataArray:
    """Invert projections of a volume one voxel thick along the rays, seen from one side."""
    volume = projections.isel(angle=0, drop=True).rename(detector_y="z", detector_x="x") / STEP
    return volume.expand_dims("y", axis=1).assign_attrs(units="um-1")


def slab(weight: np.ndarray, noise: float = 0.0) -> xr.Dataset:
    """Projections of weights (component, z, x) in a volume of one voxel along y."""
    spectra = samples.stxm_references(["alpha", "gamma"], energies=[513.0, 516.5, 518.5, 529.75])
    coords = {"energy": spectra.energy, "angle": [0.0]}
    density = np.einsum("ce,czx->ezx", spectra.values, weight)[:, None] * STEP
    density = density + noise * np.random.default_rng(0).standard_normal(density.shape)
    dims = ("energy", "angle", "detector_y", "detector_x")
    return xr.Dataset({"density": (dims, density), "references": spectra}, coords=coords)


@pytest.fixture(scope="module")
def scan() -> xr.Dataset:
    return samples.stxm_tomography((8, 32, 32), n_angles=90, n_particles=2, seed=3300, radius_px=6.0)


@pytest.mark.parametrize("order", ORDERS)
def test_shares_come_out_as_they_went_in(order):
    weight = np.random.default_rng(1).random((2, 5, 6))
    made = slab(weight)
    found = spectro_tomography(made.density, made.references, reconstruct=along_x, order=order)
    assert found.weight.dims == ("component", "z", "y", "x")
    assert found.component.values.tolist() == ["alpha", "gamma"]
    np.testing.assert_allclose(found.weight[:, :, 0], weight, atol=1e-12)
    np.testing.assert_allclose(found.total[:, 0], weight.sum(axis=0), atol=1e-12)
    assert (found.weight.attrs["units"], found.attrs["order"]) == ("1", order)


def test_where_no_weight_is_at_its_bound_both_orders_are_equal():
    weight = 0.5 + 0.3 * np.random.default_rng(2).random((2, 5, 6))
    made = slab(weight, noise=1e-3)
    first, second = (
        spectro_tomography(made.density, made.references, reconstruct=along_x, order=order).weight for order in ORDERS
    )
    assert float(abs(first[:, :, 0] - weight).max()) > 1e-3
    np.testing.assert_allclose(first, second, atol=1e-10)


@pytest.mark.parametrize("method", [{"method": "fbp", "filter": "hann"}, {"method": "sirt", "iterations": 10}])
@pytest.mark.parametrize("order", ORDERS)
def test_a_simulated_volume_is_found(scan, order, method):
    maker = partial(reconstruct, rotation_axis=float(scan.rotation_axis), **method)
    found = spectro_tomography(scan.optical_density, scan.references, reconstruct=maker, order=order)
    error = found.weight - scan.weight
    inside = scan.particles > 0
    # Shares are off where the surface of a particle cuts through voxels.
    assert float(np.sqrt((error.where(inside) ** 2).mean())) < 0.12
    assert float(np.sqrt((error.where(scan.weight.sum("component") == 0) ** 2).mean())) < 0.03
    assert found.z.attrs["units"] == "um"
    assert found.attrs["simulated"] is True


def test_a_bound_on_voxels_removes_more_noise_than_one_on_rays():
    scan = samples.stxm_tomography((8, 32, 32), n_angles=30, n_particles=2, seed=3301, radius_px=6.0, i0_counts=1000)
    net = (scan.projections - scan.attrs["dark"]).clip(min=1)
    density = np.log((scan.i0 - scan.attrs["dark"]) / net).transpose(*scan.projections.dims)
    maker = partial(reconstruct, rotation_axis=float(scan.rotation_axis), filter="ramp")
    empty = scan.weight.sum("component") == 0
    rms = {}
    for order in ORDERS:
        found = spectro_tomography(density, scan.references, reconstruct=maker, order=order)
        rms[order] = float(np.sqrt((found.weight.where(empty) ** 2).mean()))
    assert rms["reconstruct first"] < 0.5 * rms["unmix first"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_energy_with_a_large_sigma_does_not_count(order):
    weight = 0.2 + np.random.default_rng(3).random((2, 4, 5))
    made = slab(weight)
    wrong = made.density.copy()
    wrong[1] += 1.0
    sigma = xr.DataArray([1e-3, 1e6, 1e-3, 1e-3], dims="energy", coords={"energy": made.energy})
    words = {"reconstruct": along_x, "order": order}
    for given in (sigma, sigma.broadcast_like(wrong)):
        found = spectro_tomography(wrong, made.references, sigma=given, **words)
        np.testing.assert_allclose(found.weight[:, :, 0], weight, atol=1e-9)
    plain = spectro_tomography(wrong, made.references, **words)
    assert float(abs(plain.weight[:, :, 0] - weight).max()) > 0.1


@pytest.mark.parametrize("order", ORDERS)
def test_a_constant_background_is_not_taken_for_a_phase(order):
    weight = 0.2 + np.random.default_rng(4).random((2, 4, 5))
    made = slab(weight)
    found = spectro_tomography(
        made.density - 0.02, made.references, reconstruct=along_x, order=order, background="constant"
    )
    np.testing.assert_allclose(found.weight[:, :, 0], weight, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_lazy_projections_give_the_same_and_stay_lazy(order):
    made = slab(np.random.default_rng(5).random((2, 6, 5)))
    lazy = made.density.chunk({"detector_y": 2})
    found = spectro_tomography(lazy, made.references, reconstruct=along_x, order=order)
    assert found.weight.chunks is not None
    eager = spectro_tomography(made.density, made.references, reconstruct=along_x, order=order)
    np.testing.assert_allclose(found.weight, eager.weight, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_dims_may_come_in_any_order_and_references_by_name(order):
    made = slab(np.random.default_rng(6).random((2, 6, 5)))
    named = {name: made.references.sel(component=name, drop=True) for name in ("gamma", "alpha")}
    words = {"reconstruct": along_x, "order": order}
    found = spectro_tomography(made.density.transpose(..., "energy"), named, **words)
    expected = spectro_tomography(made.density, made.references, **words)
    xr.testing.assert_allclose(found.weight, expected.weight.sel(component=["gamma", "alpha"]))


def test_weights_have_the_unit_of_the_volume_where_references_have_none():
    made = slab(np.ones((2, 3, 3)))
    plain = made.references.drop_attrs()
    found = spectro_tomography(made.density, plain, reconstruct=along_x)
    assert found.weight.attrs["units"] == "um-1"


def test_what_does_not_fit_is_refused():
    made = slab(np.ones((2, 3, 3)))
    words = {"reconstruct": along_x}
    with pytest.raises(InputError, match="Did you mean 'unmix first'"):
        spectro_tomography(made.density, made.references, order="unmix-first", **words)
    with pytest.raises(AxesError, match="angle"):
        spectro_tomography(made.density.isel(angle=0), made.references, **words)
    with pytest.raises(InputError, match="reconstruct must return"):
        spectro_tomography(made.density, made.references, reconstruct=lambda projections: projections)
    with pytest.raises(InputError, match="sigma must be a DataArray"):
        spectro_tomography(made.density, made.references, sigma=0.1, **words)
    with pytest.raises(InputError, match="outside"):
        spectro_tomography(made.density, made.references.isel(energy=slice(1, None)), **words)
