"""How many components: exact on matrices of known rank and noise, and on simulated particles."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.samples import stxm_particle
from operando.spectral import normalize, number_of_components, scree


def mixed(rank, noise, *, energies=50, y=40, x=50, seed=0):
    random = np.random.default_rng(seed)
    values = np.einsum("ke,kyx->eyx", random.random((rank, energies)), random.random((rank, y, x)))
    return values + noise * random.normal(size=values.shape)


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_rank_of_a_noisy_matrix_is_found_with_and_without_its_sigma(rank, seed):
    values = mixed(rank, 0.05, seed=seed)
    assert number_of_components(values, sigma=0.05) == rank
    assert number_of_components(values) == rank


@pytest.mark.parametrize("rank", [1, 3])
def test_a_stack_without_noise_has_as_many_components_as_spectra(rank):
    assert number_of_components(mixed(rank, 0.0)) == rank


def test_noise_alone_has_no_component():
    random = np.random.default_rng(0)
    assert [number_of_components(random.normal(size=(30, 20, 25)), sigma=1.0) for _ in range(20)] == [0] * 20


def test_noise_that_differs_between_pixels_and_energies_is_no_component():
    random = np.random.default_rng(1)
    sigma = 0.01 * np.exp(random.normal(0, 0.7, (50, 1, 1)) + random.normal(0, 0.7, (1, 40, 50)))
    sigma = sigma * np.exp(0.2 * random.normal(size=(50, 40, 50)))
    values = mixed(3, 0.0) + sigma * random.normal(size=sigma.shape)
    assert number_of_components(values, sigma=sigma) == 3
    # Taken as equal everywhere, the loud energies look like components.
    assert number_of_components(values, sigma=float(np.sqrt((sigma**2).mean()))) > 3


def test_a_sigma_wrong_by_a_factor_is_noticed_and_does_no_harm():
    found = scree(mixed(3, 0.05), sigma=0.02)
    assert int(found["number"]) == 3
    assert float(found["noise_factor"]) == pytest.approx(2.5, rel=0.03)


def test_an_error_common_to_all_pixels_is_left_out_by_centering():
    values = mixed(2, 0.01) + 0.01 * np.random.default_rng(2).normal(size=(50, 1, 1))
    assert number_of_components(values, sigma=0.01) == 2
    assert number_of_components(values, sigma=0.01, center=False) == 3


def test_shares_that_add_up_to_one_make_one_component_less():
    random = np.random.default_rng(3)
    shares = random.dirichlet(np.ones(4), (40, 50)).transpose(2, 0, 1)
    values = np.einsum("ke,kyx->eyx", random.random((4, 50)), shares) + 0.01 * random.normal(size=(50, 40, 50))
    assert number_of_components(values, sigma=0.01) == 3
    assert number_of_components(values, sigma=0.01, center=False) == 4


@pytest.mark.parametrize(("kind", "seed"), [("core-shell", 3000), ("wavefront", 3001), ("mosaic", 3002)])
@pytest.mark.parametrize("missing", [False, True])
def test_phases_of_a_simulated_particle_are_counted_where_light_was_linear(kind, seed, missing):
    made = stxm_particle(
        kind=kind, seed=seed, missing_phase=missing, drift_px=0.0, blur_px=0.0, stray=0.0, thick_um=None
    )
    found = normalize(made["counts"], made["i0"], i0_sigma=made["i0_sigma"], dark=made.attrs["dark"])
    density, sigma = found["optical_density"], found["optical_density_sigma"]
    assert number_of_components(density, sigma=sigma, mask=~made["boundary"]) == made.sizes["component"]
    # The indicator function drowns what is in few pixels, but does not invent.
    assert made.sizes["component"] - 1 <= number_of_components(density, mask=~made["boundary"])


def test_drift_makes_components_that_are_no_phases():
    made = stxm_particle(kind="wavefront", seed=3000, missing_phase=False, drift_px=0.5)
    found = normalize(made["counts"], made["i0"], i0_sigma=made["i0_sigma"], dark=made.attrs["dark"])
    assert number_of_components(found["optical_density"], sigma=found["optical_density_sigma"]) > 10


def test_a_lazy_stack_and_gaps_count_the_same():
    values = mixed(3, 0.05)
    values[4, :2] = np.nan
    stack = xr.DataArray(values, dims=("energy", "y", "x"))
    lazy = stack.copy(data=da.from_array(values, chunks=(5, 20, 25)))
    sigma = xr.full_like(lazy, 0.05)
    expected = scree(stack, sigma=0.05)
    found = scree(lazy, sigma=sigma)
    assert int(expected["number"]) == int(found["number"]) == 3
    np.testing.assert_allclose(expected["variance"], found["variance"], rtol=1e-9)
    assert expected.attrs["pixels"] == 38 * 50


def test_scree_errors_name_what_is_wrong():
    values = mixed(2, 0.1)
    with pytest.raises(InputError, match="Did you mean 'malinowski'"):
        scree(values, method="malinovski")
    with pytest.raises(InputError, match="needs the noise"):
        scree(values, method="marchenko-pastur")
    with pytest.raises(InputError, match="sigma is one number, one per energy"):
        scree(values, sigma=np.ones(7))


def test_sigma_goes_with_its_energies_not_with_its_order():
    random = np.random.default_rng(4)
    energy = np.linspace(700.0, 720.0, 30)
    noise = np.geomspace(0.001, 0.1, 30)[:, None, None] * np.ones((30, 40, 40))
    stack = xr.DataArray(random.normal(0, noise), dims=("energy", "y", "x"), coords={"energy": energy})
    sigma = stack.copy(data=noise)
    assert number_of_components(stack, sigma=sigma[::-1]) == number_of_components(stack, sigma=sigma) == 0


def test_sigma_may_be_a_number_in_any_form_but_not_below_zero():
    stack = mixed(2, 0.01)
    assert number_of_components(stack, sigma=xr.DataArray(0.01)) == number_of_components(stack, sigma=0.01)
    with pytest.raises(InputError, match="sigma must be positive and finite, got -0.01"):
        scree(stack, sigma=-0.01)


def test_fewer_pixels_than_half_of_the_energies_can_be_counted():
    found = scree(np.random.default_rng(0).normal(0, 0.01, (40, 3, 4)), sigma=0.01)
    assert int(found["number"]) == 0
    assert float(found["noise_factor"]) == 1.0


def test_a_stack_without_energies_takes_those_of_its_sigma():
    values = mixed(2, 0.05)
    sigma = xr.DataArray(np.full(50, 0.05), dims="energy", coords={"energy": 700.0 + np.arange(50)})
    assert int(scree(values, sigma=sigma)["number"]) == 2
    with pytest.raises(InputError, match="the stack has no energies, and 50 images for the 49 energies"):
        scree(values, sigma=sigma[1:])
