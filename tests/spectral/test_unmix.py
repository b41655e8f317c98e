"""Unmixing: known weights, SciPy, algebra, blocks, units and messages."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import nnls
from scipy.stats import norm, t

from operando.core.errors import InputError
from operando.spectral import explained_variance, fitted, residuals, unmix
from operando.spectral import streaming as streaming_module

ENERGIES = np.sort(np.random.default_rng(99).uniform(510.0, 535.0, 40))


def spectra(n=4, energies=ENERGIES, unit="um-1"):
    centers = 514.0 + 3.0 * np.arange(n)
    peaks = np.exp(-(((energies - centers[:, None]) / 1.5) ** 2))
    steps = 0.3 / (1 + np.exp(-(energies - centers[:, None])))
    return xr.DataArray(
        peaks + steps,
        dims=("component", "energy"),
        coords={"component": [f"phase {k}" for k in range(n)], "energy": energies},
        attrs={"units": unit},
    )


def weights(n=4, shape=(9, 11), seed=0):
    return np.maximum(np.random.default_rng(seed).standard_normal((n, *shape)), 0.0)


def stack(references, truth, noise=0.0, seed=1):
    values = np.tensordot(references.values.T, truth, axes=1)
    values = values + noise * np.random.default_rng(seed).standard_normal(values.shape)
    space = ("z", "y", "x")[3 - (truth.ndim - 1) :]
    coords = {
        "energy": references["energy"].values,
        **{d: np.arange(truth.shape[i + 1]) * 0.5 for i, d in enumerate(space)},
    }
    return xr.DataArray(values, dims=("energy", *space), coords=coords)


def loop(matrix, values):
    return np.array([nnls(matrix, column)[0] for column in values.reshape(len(values), -1).T]).T


def test_weights_without_noise_are_the_truth():
    references, truth = spectra(), weights()
    unmixed = unmix(stack(references, truth), references)
    np.testing.assert_allclose(unmixed["weight"], truth, atol=1e-12)
    np.testing.assert_allclose(unmixed["thickness"], truth.sum(axis=0), atol=1e-12)
    assert unmixed["r_factor"].max() < 1e-24
    assert unmixed["weight"].attrs["units"] == unmixed["thickness"].attrs["units"] == "um"
    assert unmixed["weight"].dims == ("component", "y", "x")
    assert unmixed["weight"].coords["x"].values[1] == 0.5
    assert (unmixed["n_energies"] == 40).all()


@pytest.mark.parametrize("n", [1, 5, 8, 10])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_weights_are_those_of_scipy(n, kind):
    references = spectra(n)
    images = stack(references, weights(n), noise=0.1).astype(kind)
    expected = loop(references.values.T, images.values.astype(float))
    found = unmix(images, references)["weight"].values.reshape(n, -1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * max(1.0, expected.max()))


@pytest.mark.parametrize(
    ("background", "terms"),
    [("constant", ["constant"]), ("linear", ["constant", "slope"]), ("scattering", ["constant", "scattering"])],
)
def test_a_background_is_free_to_be_negative(background, terms):
    references, truth = spectra(), weights()
    mean = ENERGIES.mean()
    values = {"constant": np.ones(40), "slope": ENERGIES - mean, "scattering": (mean / ENERGIES) ** 2}
    images = stack(references, truth, noise=0.05)
    for k, term in enumerate(terms):
        images = images - (0.4 + 0.2 * k) * xr.DataArray(values[term], dims="energy")
    unmixed = unmix(images, references, background=background)
    free = np.column_stack([values[term] for term in terms])
    expected = loop(np.hstack([free, -free, references.values.T]), images.values)
    np.testing.assert_allclose(unmixed["weight"].values.reshape(4, -1), expected[2 * len(terms) :], atol=1e-9)
    for k, term in enumerate(terms):
        difference = expected[k] - expected[len(terms) + k]
        np.testing.assert_allclose(unmixed[term].values.ravel(), difference, atol=1e-7)
    np.testing.assert_array_equal(unmix(images, references, background=terms)["weight"], unmixed["weight"])


def test_one_sigma_per_energy_is_a_fit_of_everything_divided_by_it():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    sigma = xr.DataArray(np.linspace(0.05, 0.3, 40), dims="energy", coords={"energy": ENERGIES})
    over = 1.0 / sigma.values
    expected = loop(references.values.T * over[:, None], images.values * over[:, None, None])
    for given in (sigma, sigma.isel(energy=slice(None, None, -1)), sigma.values, sigma.broadcast_like(images)):
        found = unmix(images, references, sigma=given)
        np.testing.assert_allclose(found["weight"].values.reshape(4, -1), expected, atol=1e-11)
        fit = fitted(found, references)
        np.testing.assert_allclose(found["r_factor"], ((images - fit) ** 2).sum("energy") / (images**2).sum("energy"))
        used = (found["weight"] > 0).sum("component")
        chi2 = (((images - fit) / sigma.values[:, None, None]) ** 2).sum("energy") / (40 - used)
        np.testing.assert_allclose(found["chi2_reduced"], chi2)


@pytest.mark.parametrize("background", [None, "linear"])
def test_a_sigma_for_each_number_is_the_fit_of_each_pixel_divided_by_it(background):
    references, images = spectra(), stack(spectra(), weights(shape=(5, 7)), noise=0.1)
    sigma = images.copy(data=np.random.default_rng(3).uniform(0.02, 0.5, images.shape))
    found = unmix(images, references, sigma=sigma, background=background)
    free = np.column_stack([np.ones(40), ENERGIES - ENERGIES.mean()])[:, : 0 if background is None else 2]
    matrix = np.hstack([free, -free, references.values.T])
    for y in range(5):
        for x in range(7):
            over = 1.0 / sigma.values[:, y, x]
            expected = nnls(matrix * over[:, None], images.values[:, y, x] * over)[0][-4:]
            np.testing.assert_allclose(found["weight"].values[:, y, x], expected, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"sigma": 0.05}, {"background": "constant"}, {"sum_to_one": True}])
def test_a_missing_energy_counts_for_nothing(options):
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    images[5:9, 2, 3] = np.nan
    images[7, 0, 1] = np.inf
    images[:, 4, 4] = np.nan
    found = unmix(images, references, **options)
    left = images[:, 2, 3].dropna("energy")
    alone = unmix(left, references, **options)
    at = found.isel(y=2, x=3)
    for name in ("weight", "weight_sigma", "weight_high", "thickness", "r_factor", "chi2_reduced"):
        np.testing.assert_allclose(at[name], alone[name], rtol=1e-9, err_msg=name)
    assert at["n_energies"] == 36
    assert found["n_energies"][0, 1] == 39
    assert np.isfinite(found["weight"][:, 0, 1]).all()
    assert found["n_energies"][4, 4] == 0
    assert all(
        np.isnan(found[name].isel(y=4, x=4)).all() for name in ("weight", "weight_sigma", "thickness", "r_factor")
    )
    assert np.isfinite(found["weight"].isel(y=4, x=5)).all()


def test_a_number_without_a_usable_sigma_is_missing():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    sigma = images.copy(data=np.full(images.shape, 0.1))
    sigma[3, 0, 0], sigma[4, 0, 0], sigma[5, 0, 0] = 0.0, np.nan, -1.0
    found = unmix(images, references, sigma=sigma)
    assert found["n_energies"][0, 0] == 37
    holed = images.copy()
    holed[3:6, 0, 0] = np.nan
    np.testing.assert_allclose(found["weight"], unmix(holed, references, sigma=0.1)["weight"], atol=1e-11)


def test_a_pixel_whose_energies_cannot_tell_the_references_apart_is_nan():
    references, images = spectra(), stack(spectra(), weights())
    images[3:, 1, 1] = np.nan
    found = unmix(images, references)
    assert np.isnan(found["weight"][:, 1, 1]).all()
    assert found["n_energies"][1, 1] == 3


def test_weights_that_must_add_up_to_one_do():
    references = spectra()
    truth = np.random.default_rng(0).dirichlet(np.ones(4), (9, 11)).transpose(2, 0, 1)
    exact = unmix(stack(references, truth), references, sum_to_one=True)
    np.testing.assert_allclose(exact["weight"], truth, atol=1e-12)
    noisy = stack(references, truth, noise=0.3)
    for options in ({}, {"sigma": xr.full_like(noisy, 0.3)}):
        found = unmix(noisy, references, sum_to_one=True, **options)
        np.testing.assert_allclose(found["thickness"], 1.0, atol=1e-13)
        assert (found["weight"] >= 0).all()
        assert (found["weight_low"] <= found["weight"]).all()
        assert (found["weight"] <= found["weight_high"]).all()


def test_the_error_of_the_only_weight_is_sigma_over_the_length_of_its_reference():
    references = spectra(1)
    images = stack(references, np.full((1, 30, 30), 5.0), noise=0.1)
    length = float(np.sqrt((references**2).sum()))
    given = unmix(images, references, sigma=0.1, covariance=True)
    np.testing.assert_allclose(given["weight_sigma"], 0.1 / length)
    np.testing.assert_allclose(given["covariance"], (0.1 / length) ** 2)
    np.testing.assert_allclose(given["weight_high"] - given["weight_low"], 2 * 1.959964 * 0.1 / length, rtol=1e-6)
    found = unmix(images, references)
    residual = np.sqrt((residuals(images, found, references) ** 2).sum("energy") / 39)
    # The residual of 40 energies and one weight does not know sigma exactly: Student's t with 39 degrees of freedom.
    np.testing.assert_allclose(found["weight_sigma"][0], residual / length * t.ppf(0.975, 39) / norm.ppf(0.975))


def test_weights_far_from_zero_scatter_by_their_sigma_and_covariance():
    references = spectra(3)
    images = stack(references, np.full((3, 100, 100), 4.0), noise=0.2)
    found = unmix(images, references, sigma=0.2, background="constant", covariance=True)
    flat = (found["weight"].values - 4.0).reshape(3, -1)
    np.testing.assert_allclose(np.cov(flat), found["covariance"].values[:, :, 0, 0], rtol=0.06)
    np.testing.assert_allclose(found["unconstrained"], found["weight"], atol=1e-10)
    assert float(found["chi2_reduced"].mean()) == pytest.approx(1.0, abs=0.01)
    inside = (found["weight_low"] <= 4.0) & (found["weight_high"] >= 4.0)
    assert float(inside.mean()) == pytest.approx(0.95, abs=0.006)


def test_intervals_from_the_residual_alone_hold_the_truth_as_often_even_with_few_energies():
    few = ENERGIES[::5]
    references = spectra(3, few)
    images = stack(references, np.full((3, 120, 120), 6.0), noise=0.2)
    found = unmix(images, references)
    inside = (found["weight_low"] <= 6.0) & (found["weight_high"] >= 6.0)
    assert float(inside.mean()) == pytest.approx(0.95, abs=0.01)


def test_unconstrained_weights_are_ordinary_least_squares():
    references, images = spectra(), stack(spectra(), weights(), noise=0.2)
    found = unmix(images, references, covariance=True)
    expected = np.linalg.lstsq(references.values.T, images.values.reshape(40, -1))[0]
    np.testing.assert_allclose(found["unconstrained"].values.reshape(4, -1), expected, atol=1e-12)
    assert (expected < 0).any()


def test_errors_grow_with_a_misfit_only_when_asked():
    references, images = spectra(), stack(spectra(), weights(), noise=0.2)
    claimed = unmix(images, references, sigma=0.1, covariance=True)
    scaled = unmix(images, references, sigma=0.1, covariance=True, scale_sigma=True)
    growth = scaled["weight_sigma"] / claimed["weight_sigma"]
    assert float((scaled["covariance"] / claimed["covariance"]).mean()) == pytest.approx(4.0, rel=0.05)
    assert 1.8 < float(growth.mean()) < 2.2
    modest = unmix(images, references, sigma=0.5)
    xr.testing.assert_identical(
        modest["weight_sigma"], unmix(images, references, sigma=0.5, scale_sigma=True)["weight_sigma"]
    )


@pytest.mark.parametrize("options", [{}, {"background": "linear"}, {"sigma": "stack", "covariance": True}])
def test_chunks_change_nothing_and_a_lazy_stack_stays_lazy(options, monkeypatch):
    references, images = spectra(), stack(spectra(), weights(shape=(13, 10)), noise=0.1)
    images[3, 2, 5] = np.nan
    options = {**options, **({"sigma": xr.full_like(images, 0.1).fillna(0.1)} if "sigma" in options else {})}
    mask = np.random.default_rng(0).random((13, 10)) < 0.8
    whole = unmix(images, references, mask=mask, **options)
    for chunks in ({"energy": 7, "y": 4, "x": 3}, {"energy": 1}, {"y": 5}):
        monkeypatch.setattr(streaming_module, "CHUNK_BYTES", 40 * 8 * 17)
        lazy = unmix(images.chunk(chunks), references, mask=mask, **options)
        assert all(lazy[name].chunks is not None for name in lazy)
        assert max(max(c) for c in lazy["thickness"].chunks) <= 17
        xr.testing.assert_allclose(lazy.compute(), whole, rtol=1e-12)
        assert list(lazy.attrs) == list(whole.attrs)


def test_blocks_and_threads_change_nothing(monkeypatch):
    references, images = spectra(), stack(spectra(), weights(shape=(30, 40)), noise=0.1)
    whole = unmix(images, references)
    monkeypatch.setattr(streaming_module, "_BLOCK_PIXELS", 113)
    monkeypatch.setattr(streaming_module, "_threads", lambda: 3)
    xr.testing.assert_allclose(unmix(images, references), whole, rtol=1e-12)


def test_a_mask_leaves_out_pixels_and_nothing_else():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    mask = xr.DataArray(weights()[0] > 0, dims=("y", "x"))
    found, whole = unmix(images, references, mask=mask), unmix(images, references)
    np.testing.assert_array_equal(np.isnan(found["weight"][0]), ~mask)
    xr.testing.assert_allclose(found["weight"], whole["weight"].where(mask), rtol=1e-12)
    assert found["n_energies"].values[~mask.values].max() == 0


def test_plain_input_is_understood():
    references, truth = spectra(), weights()
    expected = unmix(stack(references, truth, noise=0.1), references)["weight"]
    bare = stack(references, truth, noise=0.1).values
    without = xr.DataArray(references.values, dims=("component", "energy"))
    apart = {name: references.sel(component=name) for name in references["component"].values}
    turned = stack(references, truth, noise=0.1).transpose("y", "x", "energy")
    for images, given in (
        (bare, references.values),
        (bare, references),
        (bare, without),
        (turned, references.T),
        (turned, apart),
        (turned.isel(energy=slice(None, None, -1)), references),
    ):
        np.testing.assert_allclose(unmix(images, given)["weight"], expected, atol=1e-12)


def test_a_stack_without_energies_takes_those_of_a_mapping_that_agree():
    references, images = spectra(2), stack(spectra(2), weights(2), noise=0.05)
    named = {"a": references[0], "b": references[1]}
    found = unmix(images.values, named)
    np.testing.assert_array_equal(found["weight"], unmix(images, references)["weight"])
    np.testing.assert_array_equal(found["energy"], ENERGIES)
    with pytest.raises(InputError, match="the spectra have different energies. Set those of the stack"):
        unmix(images.values, {"a": references[0], "b": references[1, 3:]})


def test_numbers_that_are_not_real_are_refused():
    with pytest.raises(InputError, match="real numbers are needed, got complex128"):
        unmix(stack(spectra(), weights()) * 1j, spectra())


def test_one_sigma_may_come_as_a_labeled_number_or_from_a_lazy_array():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    expected = unmix(images, references, sigma=0.1)
    xr.testing.assert_equal(unmix(images, references, sigma=xr.DataArray(0.1)), expected)
    lazy = xr.DataArray(np.full(40, 0.1), dims="energy").chunk(energy=7)
    xr.testing.assert_equal(unmix(images, references, sigma=lazy), expected)


def test_any_space_will_do():
    references = spectra()
    one = unmix(stack(references, weights(shape=(3, 4, 5)), noise=0.1), references)
    assert one["weight"].dims == ("component", "z", "y", "x")
    images = stack(references, weights(shape=(3, 4, 5)), noise=0.1)
    line = unmix(images[:, 1, 2, 3], references)
    assert line["weight"].dims == ("component",)
    assert line["thickness"].dims == ()
    np.testing.assert_allclose(line["weight"], one["weight"][:, 1, 2, 3], rtol=1e-9, atol=1e-12)
    lazy = unmix(images[:, 1, 2, 3].chunk(energy=5), references)
    np.testing.assert_allclose(lazy["weight"], line["weight"], rtol=1e-9, atol=1e-12)


def test_fit_and_residual_add_up_to_the_stack():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1) - 0.2
    found = unmix(images, references, background="linear")
    fit, left = fitted(found, references), residuals(images, found, references)
    np.testing.assert_allclose(fit + left, images, atol=1e-14)
    np.testing.assert_allclose(found["r_factor"], (left**2).sum("energy") / (images**2).sum("energy"), rtol=1e-9)
    assert fit.dims == images.dims
    reordered = references.isel(component=[2, 0, 3, 1])
    np.testing.assert_allclose(fitted(found, reordered), fit, atol=1e-14)


def test_explained_variance_is_that_about_the_grand_mean():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1) + 5.0
    images[3, 2, 1] = np.nan
    mask = xr.DataArray(weights()[1] > 0.2, dims=("y", "x"))
    found = unmix(images, references, background="constant")
    left = residuals(images, found, references).where(mask)
    seen = images.where(mask)
    expected = 1 - float((left**2).sum() / ((seen - seen.mean()) ** 2).sum())
    assert explained_variance(images, found, references, mask=mask) == pytest.approx(expected, rel=1e-12)
    lazy = explained_variance(images.chunk(y=4), found, references, mask=mask.values)
    assert lazy == pytest.approx(expected, rel=1e-12)


def test_nothing_is_explained_of_a_stack_that_does_not_vary():
    one = np.array([2.0])
    reference = np.array([[1.0]])
    assert np.isnan(explained_variance(one, unmix(one, reference), reference))
    level = np.full((40, 3), 0.5)
    assert np.isnan(explained_variance(level, unmix(level, spectra().values), spectra().values))


def test_infinite_numbers_count_for_explained_variance_as_little_as_missing_ones():
    images = stack(spectra(), weights(), noise=0.1)
    images[3, 2, 1] = np.inf
    found = unmix(images, spectra())
    seen = images.where(np.isfinite(images))
    assert explained_variance(images, found, spectra()) == explained_variance(seen, found, spectra())


def test_a_stack_in_another_order_of_energies_has_the_same_residual():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    found = unmix(images, references)
    xr.testing.assert_equal(residuals(images[::-1], found, references), residuals(images, found, references))
    expected = explained_variance(images, found, references)
    assert explained_variance(images[::-1], found, references) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="optical_density must have the energies of the stack"):
        residuals(images.assign_coords(energy=ENERGIES + 5.0), found, references)


def test_references_that_depend_on_each_other_are_said_to():
    references = spectra(3)
    double = xr.concat([references, 2 * references[:1].assign_coords(component=["copy"])], "component")
    images = stack(references, weights(3), noise=0.05)
    with pytest.warns(UserWarning, match="weights of phase 0, copy are not determined"):
        found = unmix(images, double)
    assert found.attrs["undetermined"] == ["phase 0", "copy"]
    assert np.isinf(found["weight_sigma"].sel(component=["phase 0", "copy"])).all()
    clean = unmix(images, references)
    np.testing.assert_allclose(found["r_factor"], clean["r_factor"], rtol=1e-9)
    np.testing.assert_allclose(found["weight"].sel(component="phase 1"), clean["weight"][1], atol=1e-10)
    assert np.isfinite(found["weight_sigma"].sel(component="phase 1")).all()
    flat = xr.concat([references, xr.ones_like(references[:1]).assign_coords(component=["flat"])], "component")
    with pytest.warns(UserWarning, match="weights of flat are not determined"):
        unmix(images, flat, background="constant")


def test_one_reference_for_all_energies_has_the_condition_number_one():
    references = spectra(1)
    assert unmix(stack(references, weights(1)), references).attrs["condition_number"] == pytest.approx(1.0)


def test_weights_alone_cost_no_errors():
    references, images = spectra(), stack(spectra(), weights(), noise=0.1)
    found = unmix(images, references, level=None)
    assert "weight_sigma" not in found
    assert "weight_low" not in found
    np.testing.assert_array_equal(found["weight"], unmix(images, references)["weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "lineer"}, "background must be one of .* got 'lineer'. Did you mean 'linear'?"),
        ({"background": ["constant", "slop"]}, "no background term 'slop'. Did you mean 'slope'?"),
        ({"background": ["slope", "slope"]}, "every background term may be given once"),
        ({"sigma": "poisson"}, r"got 'poisson'. For counted photons pass operando.spectral.PoissonNoise"),
        ({"sigma": 0.0}, "sigma must be positive and finite, got 0"),
        ({"sigma": np.ones((40, 2, 2))}, r"of the shape \(40, 9, 11\) of the stack, got \(40, 2, 2\)"),
        ({"mask": np.ones((9, 11))}, r"mask must be bool and of the shape \(9, 11\)"),
        ({"level": 95}, "level must be a probability from 0.5 to below 1, got 95"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(options, message):
    references, images = spectra(), stack(spectra(), weights())
    with pytest.raises(InputError, match=message):
        unmix(images, references, **options)


def test_too_few_energies_and_empty_references_are_refused():
    references, images = spectra(), stack(spectra(), weights())
    with pytest.raises(InputError, match="4 references and 1 background terms need at least 5 energies, got 4"):
        unmix(images[:4], references, background="constant")
    broken = references.copy()
    broken[2] = 0.0
    with pytest.raises(InputError, match="not zero everywhere, got otherwise for phase 2"):
        unmix(images, broken)
    with pytest.raises(InputError, match="lie outside the spectrum"):
        unmix(images.assign_coords(energy=ENERGIES + 20), references)
    with pytest.raises(InputError, match="no energies, and 40 images for the 30 energies"):
        unmix(images.values, references[:, :30])


def test_a_fit_that_is_none_is_refused():
    references, images = spectra(), stack(spectra(), weights())
    with pytest.raises(InputError, match="fitted: unmixed must hold 'weight'"):
        fitted(xr.Dataset(), references)
    with pytest.raises(InputError, match=r"missing \['phase 3'\]"):
        fitted(unmix(images, references), references[:3])
    with pytest.raises(InputError, match="residuals: the stack has the shape"):
        residuals(images[:, :3], unmix(images, references), references)


def test_the_real_iron_stack_gives_what_an_independent_least_squares_gives(data_folder):
    import h5py

    folder = data_folder / "als-stxm-fe2p" / "71214078_FigS4"
    with h5py.File(folder / "71214078_aligned.h5") as file:
        energies, counts, i0 = file["energy_eV"][()], file["counts"][()], file["i0"][:, 1]
    density = xr.DataArray(np.log(i0[:, None, None] / counts), dims=("energy", "y", "x"), coords={"energy": energies})
    density = density - density.sel(energy=energies < 705.0).mean("energy")
    columns = [np.loadtxt(folder / name)[:, 1] for name in ("reduced.r", "oxidized.r")]
    references = xr.DataArray(
        np.array(columns),
        dims=("component", "energy"),
        coords={"component": ["reduced", "oxidized"], "energy": energies},
    )
    rows = (folder / "mask_file.msk").read_text().split("\n")[:125]
    mask = np.array([[letter == "O" for letter in row.ljust(125)[:125]] for row in rows])

    unmixed = unmix(density, references, background="constant", covariance=True)
    assert explained_variance(density, unmixed, references, mask=mask) == pytest.approx(0.947, abs=0.001)
    inside = unmixed["unconstrained"].where(xr.DataArray(mask, dims=("y", "x"))).mean(("y", "x"))
    np.testing.assert_allclose(inside, [0.101, 0.374], atol=0.001)

    spectrum = density.where(xr.DataArray(mask, dims=("y", "x"))).mean(("y", "x"))
    mean = unmix(spectrum, references, background="constant")
    np.testing.assert_allclose(mean["weight"], [0.101, 0.374], atol=0.001)
    assert explained_variance(spectrum, mean, references) == pytest.approx(0.994, abs=0.001)

    # A constant that may not be negative is one more reference: the fit is much worse.
    bounded = xr.concat([references, xr.ones_like(references[:1]).assign_coords(component=["constant"])], "component")
    worse = unmix(density, bounded)
    assert explained_variance(density, worse, bounded, mask=mask) == pytest.approx(0.414, abs=0.001)


def test_explained_variance_refuses_a_mask_of_another_shape_and_of_numbers():
    references = xr.DataArray(np.eye(3)[:2], dims=("component", "energy"))
    stack = xr.DataArray(np.ones((3, 4, 5)), dims=("energy", "y", "x"))
    found = unmix(stack, references)
    for mask in (np.ones((4, 4), bool), np.ones((4, 5))):
        with pytest.raises(InputError, match=r"explained_variance: mask must be bool and of the shape \(4, 5\)"):
            explained_variance(stack, found, references, mask=mask)
