"""Non-negative factors: exact where they are unique."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.spectral import nmf


def separable(noise=0.0, seed=0):
    """Three phases, each alone in a row of pixels and each alone at an energy of its own: factors are unique."""
    random = np.random.default_rng(seed)
    spectra = np.hstack([np.eye(3) * 3, random.random((3, 9))])
    shares = random.dirichlet(np.ones(3), (12, 20)).transpose(2, 0, 1)
    shares[:, :3] = np.eye(3)[:, :, None] * (3 - np.arange(3))[:, None, None]
    values = np.einsum("ke,kyx->eyx", spectra, shares) + noise * random.normal(size=(12, 12, 20))
    stack = xr.DataArray(values, dims=("energy", "y", "x"), coords={"energy": 700.0 + np.arange(12)})
    return stack, spectra, shares


def test_unique_factors_are_found():
    stack, spectra, shares = separable()
    found = nmf(stack, 3, tolerance=1e-8, max_iter=3_000)
    assert found.attrs["converged"]
    assert found.attrs["lack_of_fit"] < 1e-3
    for spectrum, share in zip(spectra, shares, strict=True):
        cosine = found["spectrum"].values @ spectrum / np.linalg.norm(found["spectrum"], axis=1)
        k = int(cosine.argmax())
        assert cosine[k] / np.linalg.norm(spectrum) > 0.9999
        np.testing.assert_allclose(found["weight"].values[k], share * spectrum.mean(), atol=0.02)


def test_factors_are_not_negative_and_the_largest_comes_first():
    stack, _, _ = separable(noise=0.05)
    found = nmf(stack, 3)
    assert float(found["spectrum"].min()) >= 0
    assert float(found["weight"].min()) >= 0
    assert (np.diff(found["weight"].sum(("y", "x"))) <= 0).all()
    np.testing.assert_allclose(found["spectrum"].mean("energy"), 1.0)
    assert found.attrs["clipped"] == pytest.approx(float((stack < 0).mean()))


def test_r_factor_and_lack_of_fit_are_what_the_fit_leaves():
    stack, _, _ = separable(noise=0.05)
    found = nmf(stack, 3)
    fit = np.einsum("kyx,ke->eyx", found["weight"], found["spectrum"])
    left = ((stack.values - fit) ** 2).sum(axis=0)
    np.testing.assert_allclose(found["r_factor"], left / (stack.values**2).sum(axis=0), rtol=1e-9)
    assert found.attrs["lack_of_fit"] == pytest.approx(np.sqrt(left.sum() / (stack.values**2).sum()))


def test_purity_tells_whether_a_phase_is_ever_alone():
    stack, _, _ = separable()
    alone = nmf(stack, 3, tolerance=1e-8, max_iter=3_000)
    assert (alone["purity"] > 0.98).all()
    # With a tenth of everything everywhere no pixel is pure; the factors still fit.
    stack, spectra, shares = separable()
    everywhere = xr.zeros_like(stack) + np.einsum("ke,kyx->eyx", spectra, shares + 2.0)
    mixed = nmf(everywhere, 3, tolerance=1e-8, max_iter=3_000)
    assert mixed.attrs["lack_of_fit"] < 0.01


def test_lazy_masked_and_incomplete_pixels():
    stack, _, _ = separable()
    gaps = stack.copy(deep=True)
    gaps[2:6, 5, 5] = np.nan
    gaps[1:, 6, 6] = np.nan
    mask = np.ones((12, 20), dtype=bool)
    mask[11] = False
    expected = nmf(gaps, 3, mask=mask)
    found = nmf(gaps.copy(data=da.from_array(gaps.values, chunks=(3, 6, 20))), 3, mask=mask)
    np.testing.assert_allclose(found["weight"], expected["weight"], atol=1e-9)
    assert np.isfinite(found["weight"][:, 5, 5]).all()
    assert np.isnan(found["weight"][:, 6, 6]).all()
    assert np.isnan(found["weight"][:, 11]).all()


def test_weights_are_fitted_to_every_pixel_though_spectra_come_from_some():
    stack, _, _ = separable()
    found = nmf(stack, 3, max_pixels=100, tolerance=1e-8, max_iter=5_000)
    assert np.isfinite(found["weight"]).all()
    assert float(found["r_factor"].max()) < 0.05


def test_nmf_errors_name_what_is_wrong():
    stack, _, _ = separable()
    with pytest.raises(InputError, match="n must be a whole number from 1 to 12, got 13"):
        nmf(stack, 13)
    with pytest.raises(InputError, match="must be positive"):
        nmf(-stack, 2)


def test_more_components_than_pixels_are_refused():
    with pytest.raises(InputError, match="at least 3 pixels must have every energy, got 2"):
        nmf(np.ones((4, 1, 2)), 3)
