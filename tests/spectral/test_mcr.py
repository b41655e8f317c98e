"""Curve resolution with partial knowledge: the spectrum of a phase nobody has a reference for."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.samples import stxm_particle
from operando.spectral import cluster, mcr_als, nmf, normalize, unmix

ENERGY = 700.0 + np.arange(30)


def peaks(*centers):
    return np.array([np.exp(-(((ENERGY - center) / 3) ** 2)) + 0.3 * (center < ENERGY) for center in centers])


def mixture(noise=0.0, seed=0, closure=False):
    """Known a and b, unknown c that is alone in one row of pixels."""
    random = np.random.default_rng(seed)
    spectra = peaks(708, 712, 718)
    shares = random.dirichlet(np.ones(3), (15, 20)).transpose(2, 0, 1)
    shares[:, 0] = np.array([0.0, 0.0, 1.0])[:, None]
    if not closure:
        shares = shares * random.uniform(0.2, 1.5, (15, 20))
    values = np.einsum("ke,kyx->eyx", spectra, shares) + noise * random.normal(size=(30, 15, 20))
    coords = {"energy": ENERGY}
    stack = xr.DataArray(values, dims=("energy", "y", "x"), coords=coords)
    return (
        stack,
        xr.DataArray(spectra, dims=("component", "energy"), coords={**coords, "component": ["a", "b", "c"]}),
        shares,
    )


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_an_unknown_spectrum_beside_known_ones_is_found():
    stack, spectra, shares = mixture()
    found = mcr_als(stack, spectra[:2], fixed="all", unknown=1, tolerance=1e-8, max_iter=1000)
    assert found["free"].values.tolist() == [False, False, True]
    np.testing.assert_array_equal(found["spectrum"][:2], spectra[:2])
    assert cosine(found["spectrum"].values[2], spectra.values[2]) > 0.99999
    scale = spectra.values[2].mean() / found["spectrum"].values[2].mean()
    np.testing.assert_allclose(found["weight"].values[:2], shares[:2], atol=0.01)
    np.testing.assert_allclose(found["weight"].values[2], shares[2] * scale, atol=0.01)
    assert found["purity"].values[2] > 0.99


def test_the_lack_of_fit_never_rises():
    stack, spectra, _ = mixture(noise=0.02)
    start = np.abs(spectra + 0.3 * np.random.default_rng(1).normal(size=spectra.shape))
    history = mcr_als(stack, start, max_iter=100)["lack_of_fit"].values
    assert history.size > 5
    assert (np.diff(history) <= 1e-12).all()


def test_with_every_spectrum_held_it_is_unmixing():
    stack, spectra, _ = mixture(noise=0.02)
    found = mcr_als(stack, spectra, fixed="all")
    expected = unmix(stack, spectra)
    np.testing.assert_allclose(found["weight"], expected["weight"].transpose("component", "y", "x"), atol=1e-9)
    np.testing.assert_allclose(found["r_factor"], expected["r_factor"], atol=1e-9)
    assert found.attrs["converged"]
    assert found.attrs["iterations"] == 1


def test_with_closure_weights_add_up_to_one_and_scales_are_right():
    stack, spectra, shares = mixture(closure=True)
    found = mcr_als(stack, spectra[:2], fixed="all", unknown=1, closure=True, tolerance=1e-7, max_iter=500)
    np.testing.assert_allclose(found["weight"].sum("component"), 1.0, atol=1e-9)
    np.testing.assert_allclose(found["spectrum"][2], spectra[2], atol=0.02)
    np.testing.assert_allclose(found["weight"], shares, atol=0.02)


def test_a_background_of_either_sign_is_no_spectrum():
    stack, spectra, _ = mixture()
    offset = np.linspace(-0.4, 0.4, 20)
    found = mcr_als(
        stack + offset, spectra[:2], fixed="all", unknown=1, background="constant", tolerance=1e-8, max_iter=1000
    )
    # The unknown may hold a constant too, where it is alone in no energy: its weights carry the scale.
    fit = unmix(stack + offset, spectra, background="constant")
    np.testing.assert_allclose(found["weight"][:2], fit["weight"][:2].transpose("component", "y", "x"), atol=0.02)
    assert found.attrs["lack_of_fit"] < 1e-3
    assert found["constant"].dims == ("y", "x")
    np.testing.assert_allclose(
        mcr_als(stack + offset, spectra, fixed="all", background="constant")["constant"], fit["constant"], atol=1e-9
    )


def test_fixed_by_name_and_starts_from_clusters_or_factors():
    stack, spectra, _ = mixture(noise=0.005)
    one = mcr_als(stack, spectra, fixed=["b"], max_iter=50)
    assert one["free"].values.tolist() == [True, False, True]
    for start in (cluster(stack, 3), nmf(stack, 3)):
        found = mcr_als(stack, start, max_iter=200)
        assert found.attrs["lack_of_fit"] < 0.05
        assert float(found["spectrum"].min()) >= 0


def test_without_the_bound_spectra_span_the_principal_components():
    stack, spectra, _ = mixture(noise=0.01)
    found = mcr_als(stack, spectra + 0.1, nonnegative=False, tolerance=1e-12, max_iter=3000)
    rows = stack.values.reshape(30, -1).T
    singular = np.linalg.svd(rows, compute_uv=False)
    best = np.sqrt((singular[3:] ** 2).sum() / (singular**2).sum())
    assert found.attrs["lack_of_fit"] == pytest.approx(best, rel=1e-3)


def test_units_of_references_reach_the_weights():
    stack, spectra, _ = mixture()
    found = mcr_als(stack, spectra.assign_attrs(units="um-1"), fixed="all")
    assert found["spectrum"].attrs["units"] == "um-1"
    assert found["weight"].attrs["units"] == "um"


@pytest.mark.parametrize(("kind", "seed"), [("wavefront", 3001), ("mosaic", 3002)])
def test_the_phase_without_reference_of_a_simulated_particle_is_found(kind, seed):
    made = stxm_particle(kind=kind, seed=seed, drift_px=0.0)
    density = normalize(made["counts"], made["i0"], dark=made.attrs["dark"])["optical_density"]
    known = made["references"].isel(component=made["has_reference"].values)
    truth = made["references"].isel(component=~made["has_reference"].values).values[0]
    mask = ~(made["boundary"] | made["thick"])
    found = mcr_als(density, known, fixed="all", unknown=1, mask=mask)
    assert found.attrs["converged"]
    assert cosine(found["spectrum"].values[-1], truth) > 0.9995
    # The nearest reference is at 0.988.
    assert max(cosine(row, truth) for row in known.values) < 0.99
    weight = made["weight"].values[-1][mask.values]
    assert np.corrcoef(found["weight"].values[-1][mask.values], weight)[0, 1] > 0.9


def test_mcr_errors_name_what_is_wrong():
    stack, spectra, _ = mixture()
    with pytest.raises(InputError, match="one of the initial ones, got 'd'"):
        mcr_als(stack, spectra, fixed=["d"])
    with pytest.raises(InputError, match="unknown must be a whole number from 0 up, got -1"):
        mcr_als(stack, spectra, unknown=-1)
    with pytest.raises(InputError, match="has the variable 'spectrum'"):
        mcr_als(stack, xr.Dataset({"x": spectra}))


def test_a_stack_of_zeros_is_refused():
    stack, spectra, _ = mixture()
    with pytest.raises(InputError, match="must not be zero"):
        mcr_als(stack * 0, spectra)


def test_a_stack_without_energies_takes_those_of_the_spectra():
    stack, spectra, _ = mixture(noise=0.01)
    found = mcr_als(stack.values, spectra)
    xr.testing.assert_equal(found["weight"], mcr_als(stack, spectra)["weight"])
    np.testing.assert_array_equal(found["energy"], ENERGY)
