"""Spectra back to references: named where they are, unexplained where they are not."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import nnls

from operando.core.errors import InputError
from operando.samples import stxm_particle, stxm_references
from operando.spectral import cluster, match_spectra, normalize


def spectrum(references, **shares):
    names = list(shares)
    return (references.sel(component=names) * xr.DataArray(list(shares.values()), dims="component")).sum("component")


def test_a_pure_spectrum_is_its_reference_and_a_mixture_names_its_shares():
    references = stxm_references()
    table = match_spectra(
        {"one": 0.2 * spectrum(references, delta=1.0), "two": spectrum(references, alpha=0.3, gamma=0.1)}, references
    )
    chosen = table[table["rank"] == 1].set_index("spectrum")
    assert chosen.loc["one", "combination"] == ("delta",)
    assert chosen.loc["one", "weights"][0] == pytest.approx(0.2)
    assert chosen.loc["two", "combination"] == ("alpha", "gamma")
    assert chosen.loc["two", "shares"] == pytest.approx((0.75, 0.25))
    assert chosen["verdict"].tolist() == [
        "explained within 1 % by delta",
        "explained within 1 % by alpha 0.75 + gamma 0.25",
    ]


def test_a_spectrum_that_no_reference_explains_is_said_to_be_so_and_where():
    references = stxm_references(["alpha", "epsilon", "delta", "gamma", "omega"])
    table = match_spectra(spectrum(references, omega=0.2), references[:4])
    first = table.iloc[0]
    assert not first["explained"]
    assert first["verdict"].startswith("no reference explains it (R-factor 0.0")
    # Omega's vanadium peak lies lower than that of any other phase.
    residual = spectrum(references, omega=0.2) - sum(
        weight * references.sel(component=name, drop=True)
        for name, weight in zip(first["combination"], first["weights"], strict=True)
    )
    assert first["residual_peak_ev"] == float(residual.energy[int(np.abs(residual.values).argmax())])


def test_the_best_fit_is_the_non_negative_least_squares_fit():
    random = np.random.default_rng(0)
    references = xr.DataArray(
        random.random((5, 20)), dims=("component", "energy"), coords={"energy": 700.0 + np.arange(20)}
    )
    for seed in range(10, 15):
        values = np.random.default_rng(seed).random(20)
        measured = references[0].copy(data=values).drop_vars("component", errors="ignore")
        table = match_spectra(measured, references, max_components=5, systematic=1e-6)
        weights, norm = nnls(references.values.T, values)
        assert table["r_factor"][0] == pytest.approx(norm**2 / (values**2).sum())
        assert sorted(table["weights"][0]) == pytest.approx(sorted(weights[weights > 0]))


def test_noise_within_its_sigma_is_explained_and_beyond_it_is_not():
    references = stxm_references()
    random = np.random.default_rng(1)
    clean = spectrum(references, alpha=0.1, delta=0.1)
    noisy = clean + 0.02 * random.normal(size=clean.sizes["energy"])
    honest = match_spectra(noisy, references, sigma=0.02, systematic=0.0)
    assert honest["explained"][0]
    assert honest["chi2_reduced"][0] == pytest.approx(1.0, abs=0.4)
    assert "within noise" in honest["verdict"][0]
    proud = match_spectra(noisy, references, sigma=0.005, systematic=0.0)
    assert not proud["explained"][0]


def test_a_constant_is_not_a_phase():
    references = stxm_references()
    shifted = spectrum(references, gamma=0.2) - 0.3
    assert not match_spectra(shifted, references)["explained"][0]
    table = match_spectra(shifted, references, background="constant")
    assert table["combination"][0] == ("gamma",)
    assert table["weights"][0][0] == pytest.approx(0.2)


@pytest.mark.parametrize(("kind", "seed"), [("core-shell", 3000), ("wavefront", 3001)])
def test_the_cluster_of_a_phase_without_reference_is_named_unexplained(kind, seed):
    made = stxm_particle(kind=kind, seed=seed, drift_px=0.0, thick_um=None)
    density = normalize(made["counts"], made["i0"], dark=made.attrs["dark"])["optical_density"]
    mask = ~made["boundary"]
    groups = cluster(density, 6, mask=mask)
    known = made["references"].isel(component=made["has_reference"].values)
    table = match_spectra(groups, known)
    table = table[table["rank"] == 1].reset_index(drop=True)
    weight = made["weight"].values
    share = weight[-1] / np.maximum(weight.sum(axis=0), 1e-9)
    held = np.array([share[groups["label"].values == k].mean() for k in range(6)])
    worst = int(held.argmax())
    assert held[worst] > 0.6
    assert not table.loc[worst, "explained"]
    assert table["r_factor"].argmax() == worst
    assert table.loc[held < 0.01, "explained"].all()


def test_alternatives_follow_the_chosen():
    references = stxm_references()
    table = match_spectra(spectrum(references, alpha=0.1), references, alternatives=2)
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["combination"][0] == ("alpha",)
    assert len(set(table["combination"])) == 3


def test_match_errors_name_what_is_wrong():
    references = stxm_references()
    outside = references[0].assign_coords(energy=references.energy + 100)
    with pytest.raises(InputError, match="Nothing is extrapolated"):
        match_spectra(outside, references)
    with pytest.raises(InputError, match="max_components must be a whole number from 1 up, got 0"):
        match_spectra(references, references, max_components=0)
    with pytest.raises(InputError, match="need a coordinate 'energy'"):
        match_spectra(references.drop_vars("energy"), references)
    many = xr.concat([references] * 40, dim="component").assign_coords(component=[str(k) for k in range(160)])
    with pytest.raises(InputError, match="too many"):
        match_spectra(references, many)


def test_sigma_goes_with_its_energies_not_with_its_order():
    references = stxm_references()
    measured = spectrum(references, alpha=1.0)
    sigma = measured.copy(data=np.linspace(0.01, 1.0, measured.size))
    one, other = (match_spectra(measured, references, sigma=each) for each in (sigma, sigma[::-1]))
    assert one["chi2_reduced"].tolist() == other["chi2_reduced"].tolist()


def test_a_spectrum_of_zeros_is_refused():
    references = stxm_references()
    with pytest.raises(InputError, match="is zero at every energy"):
        match_spectra(spectrum(references, alpha=0.0), references)
