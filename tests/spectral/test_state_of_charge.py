"""Lithium of fields and particles, with random and common errors."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.spectral import PoissonNoise, i0_from_region, lithiation, normalize, state_of_charge, unmix

ENERGY = np.linspace(700.0, 730.0, 61)
NAMES = ["NiO2", "LiNiO2"]
REFERENCES = xr.DataArray(
    np.stack(
        [
            0.2 + np.exp(-(((ENERGY - 712.0) / 2.5) ** 2)) + 0.4 * (ENERGY > 714),
            0.2 + 0.8 * np.exp(-(((ENERGY - 709.5) / 2.5) ** 2)) + 0.4 * (ENERGY > 712),
        ]
    ),
    dims=("component", "energy"),
    coords={"component": NAMES, "energy": ENERGY},
)
X = {"NiO2": 0.0, "LiNiO2": 1.0}


def stack(weights, photons=2000.0, i0_pixels=None, seed=0):
    """Optical density of the weights (component, y, x), its sigma, and the noise for unmix."""
    rng = np.random.default_rng(seed)
    true = np.einsum("cyx,ce->eyx", weights, REFERENCES.values)
    counts = xr.DataArray(
        rng.poisson(photons * np.exp(-true)).astype(float), dims=("energy", "y", "x"), coords={"energy": ENERGY}
    )
    i0, i0_sigma = xr.DataArray(np.full(61, photons), dims="energy", coords={"energy": ENERGY}), None
    if i0_pixels is not None:
        i0 = i0.copy(data=rng.poisson(photons * i0_pixels, 61) / i0_pixels)
        i0_sigma = xr.full_like(i0, np.sqrt(photons / i0_pixels))
    found = normalize(counts, i0, i0_sigma=i0_sigma)
    return found.optical_density, PoissonNoise(i0, i0_sigma)


def uniform(share, shape=(12, 12), thickness=0.8):
    return np.stack([np.full(shape, thickness * (1 - share)), np.full(shape, thickness * share)])


def values(table, component="field"):
    return table[table.component == component].set_index("quantity")


def test_state_of_charge_of_known_weights():
    weights = xr.DataArray([[3.0, 1.0], [1.0, 1.0]], dims=("component", "x"), coords={"component": NAMES})
    unmixed = xr.Dataset({"weight": weights, "weight_sigma": xr.full_like(weights, 0.1)})
    found = values(state_of_charge(unmixed, X, range=(0.2, 1.0)))
    assert found.value["lithiation"] == pytest.approx(2 / 6)
    assert found.value["state_of_charge"] == pytest.approx((1 - 1 / 3) / 0.8)
    assert found.sigma["state_of_charge"] == pytest.approx(found.sigma["lithiation"] / 0.8)
    assert found.n["lithiation"] == 2
    assert np.isnan(found.value["lithiation_sigma_systematic"])
    assert "random errors only" in found.method["lithiation"]


def test_without_a_range_there_is_no_state_of_charge():
    weights = xr.DataArray([[3.0], [1.0]], dims=("component", "x"), coords={"component": NAMES})
    table = state_of_charge(xr.Dataset({"weight": weights, "weight_sigma": 0 * weights}), X)
    assert "state_of_charge" not in set(table.quantity)


def test_masks_thickness_and_labels_choose_the_pixels():
    weights = xr.DataArray(
        [[[1.0, 0.0, 4.0, 0.1]], [[0.0, 1.0, 0.0, 0.0]]], dims=("component", "y", "x"), coords={"component": NAMES}
    )
    unmixed = xr.Dataset({"weight": weights, "weight_sigma": xr.full_like(weights, 0.1)})
    assert values(state_of_charge(unmixed, X, mask=[[True, True, False, False]])).value["lithiation"] == 0.5
    assert values(state_of_charge(unmixed, X, minimum_thickness=0.5)).n["lithiation"] == 3
    labels = xr.DataArray([[1, 1, 2, 0]], dims=("y", "x"))
    table = state_of_charge(unmixed, X, labels=labels)
    assert values(table).n["lithiation"] == 3
    assert values(table, "particle 1").value["lithiation"] == 0.5
    assert values(table, "particle 2").value["lithiation"] == 0.0


def test_phases_that_are_absent_do_not_pull_the_mean_through_the_bound():
    # A pure phase: weights that cannot be negative err upwards only.
    density, noise = stack(uniform(0.0, (40, 40)), photons=500.0)
    fit = unmix(density, REFERENCES, sigma=noise, covariance=True)
    bounded = values(state_of_charge(fit.drop_vars("unconstrained"), X))
    free = values(state_of_charge(fit, X))
    assert bounded.value["lithiation"] > 10 * bounded.sigma["lithiation"]
    assert abs(free.value["lithiation"]) < 4 * free.sigma["lithiation"]
    assert bounded.method["lithiation"].startswith("sum of weights not below zero")
    assert free.method["lithiation"].startswith("sum of weights without bound")


def test_random_errors_are_the_scatter_over_repeated_stacks():
    found = []
    for seed in range(30):
        density, noise = stack(uniform(0.4, (6, 6)), seed=seed)
        fit = unmix(density, REFERENCES, sigma=noise, covariance=True)
        table = values(state_of_charge(fit, X))
        found.append((table.value["lithiation"], table.sigma["lithiation"]))
    mean, sigma = np.array(found).T
    assert np.std(mean) / np.mean(sigma) == pytest.approx(1.0, abs=0.35)
    assert abs(mean.mean() - 0.4) < 4 * sigma.mean() / np.sqrt(30)


def test_errors_of_i0_do_not_average_out_and_are_found():
    score, share = [], []
    for seed in range(30):
        density, noise = stack(uniform(0.4, (20, 20)), i0_pixels=5, seed=seed)
        fit = unmix(density, REFERENCES, sigma=noise, covariance=True)
        table = values(state_of_charge(fit, X, optical_density=density, references=REFERENCES, sigma=noise))
        score.append((table.value["lithiation"] - 0.4) / table.sigma["lithiation"])
        share.append(table.value["lithiation_sigma_systematic"] / table.value["lithiation_sigma_random"])
    assert np.median(share) > 2
    assert 0.6 < np.sqrt(np.mean(np.square(score))) < 1.5
    assert np.mean(np.abs(score) < 1.96) >= 0.85


def test_the_mean_spectrum_gives_the_sum_of_the_fits_without_bound():
    density, _ = stack(np.stack([np.linspace(0.1, 1, 36), np.linspace(0.7, 0.2, 36)]).reshape(2, 6, 6))
    fit = unmix(density, REFERENCES, background="linear", covariance=True)
    by_weights = values(state_of_charge(fit, X))
    by_spectrum = values(state_of_charge(fit, X, optical_density=density, references=REFERENCES))
    assert by_spectrum.value["lithiation"] == pytest.approx(by_weights.value["lithiation"], abs=1e-5)
    assert by_spectrum.method["lithiation"] == "fit of the mean spectrum, jackknife over 16 blocks of energies"


def test_pixels_with_missing_energies_are_no_part_of_the_mean_spectrum():
    density, _ = stack(uniform(0.4))
    holes = density.copy()
    holes[3, :6] = np.nan
    fit = unmix(holes, REFERENCES, covariance=True)
    whole = values(state_of_charge(fit, X, optical_density=holes, references=REFERENCES))
    half = values(
        state_of_charge(
            fit, X, mask=np.arange(12)[:, None] * np.ones(12) >= 6, optical_density=density, references=REFERENCES
        )
    )
    assert whole.value["lithiation"] == pytest.approx(half.value["lithiation"], abs=1e-6)


def test_lazy_stacks_give_the_same():
    density, noise = stack(uniform(0.4))
    fit = unmix(density, REFERENCES, covariance=True)
    given = {"references": REFERENCES, "sigma": noise}
    direct = state_of_charge(fit, X, optical_density=density, **given)
    lazy = state_of_charge(fit, X, optical_density=density.chunk({"y": 5, "energy": 20}), **given)
    np.testing.assert_allclose(lazy.value, direct.value)


def test_fields_of_simulated_stacks_are_within_their_errors():
    from operando.samples import stxm_particle

    score = []
    for seed in (3009, 3010):
        sample = stxm_particle((64, 64), kind="mosaic", seed=seed, missing_phase=False, thick_um=None, drift_px=0.0)
        dark = sample.attrs["dark"]
        found = normalize(sample.counts, sample.i0, i0_sigma=sample.i0_sigma, dark=dark)
        references = sample.references.where(sample.has_reference, drop=True)
        noise = PoissonNoise(sample.i0, sample.i0_sigma, dark=dark)
        fit = unmix(found.optical_density, references, sigma=noise, covariance=True)
        inside = sample.particles.where(~sample.boundary, 0).astype(np.int32)
        table = state_of_charge(
            fit,
            sample.stoichiometry,
            labels=inside,
            optical_density=found.optical_density,
            references=references,
            sigma=noise,
        )
        for name in set(table.component):
            own = inside > 0 if name == "field" else inside == int(name.split()[1])
            weight = sample.weight.where(own).sum(["y", "x"])
            truth = float((weight * sample.stoichiometry).sum() / weight.sum())
            row = values(table, name).loc["lithiation"]
            score.append((row.value - truth) / row.sigma)
            assert abs(row.value - truth) < 0.02
    assert np.mean(np.abs(score) < 1.96) > 0.75


def test_i0_of_a_region_and_state_of_charge_go_together():
    weights = uniform(0.25, (16, 16))
    weights[:, :, :8] = 0.0
    rng = np.random.default_rng(1)
    counts = rng.poisson(5000 * np.exp(-np.einsum("cyx,ce->eyx", weights, REFERENCES.values)))
    counts = xr.DataArray(counts.astype(float), dims=("energy", "y", "x"), coords={"energy": ENERGY})
    open_pixels = np.zeros((16, 16), dtype=bool)
    open_pixels[:, :8] = True
    found = normalize(counts, i0_from_region(counts, open_pixels))
    fit = unmix(found.optical_density, REFERENCES, sigma=found.optical_density_sigma, covariance=True)
    table = values(
        state_of_charge(
            fit,
            X,
            mask=~open_pixels,
            range=(0.0, 1.0),
            optical_density=found.optical_density,
            references=REFERENCES,
            sigma=found.optical_density_sigma,
        )
    )
    assert abs(table.value["state_of_charge"] - 0.75) < 3 * table.sigma["state_of_charge"]


WEIGHTS = xr.DataArray(np.ones((2, 2, 2)), dims=("component", "y", "x"), coords={"component": NAMES})
UNMIXED = xr.Dataset({"weight": WEIGHTS, "weight_sigma": WEIGHTS})
DENSITY = xr.DataArray(np.ones((61, 2, 2)), dims=("energy", "y", "x"), coords={"energy": ENERGY})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"range": (1.0, 1.0)}, "range must be two different x"),
        ({"range": 0.5}, r"range must be \(x_charged, x_discharged\)"),
        ({"minimum_thickness": 5.0}, "at least one pixel must hold more host than 5"),
        ({"optical_density": DENSITY}, "optical_density and references belong together"),
        ({"optical_density": DENSITY[:, :1], "references": REFERENCES}, "must have the pixels of the weights"),
        ({"optical_density": DENSITY, "references": REFERENCES[:1]}, "references must be those of the fit"),
        (
            {"optical_density": DENSITY, "references": REFERENCES, "blocks": 1},
            "blocks must be an integer of at least 2",
        ),
        (
            {"optical_density": DENSITY[:3], "references": REFERENCES, "blocks": 2},
            "2 weights need more than as many energies, got 1. Raise blocks to at most 3",
        ),
        ({"labels": xr.DataArray(np.ones((2, 2)), dims=("y", "x"))}, "labels must be integers"),
        ({"labels": xr.DataArray(np.ones((3, 2), int), dims=("y", "x"))}, "labels must have the shape"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, message):
    with pytest.raises(InputError, match=message):
        state_of_charge(UNMIXED, X, **kwargs)


def test_sigma_goes_with_its_energies_and_may_be_one_number():
    weights = np.array([[0.6, 0.3], [0.2, 0.5]])[:, None]
    density = xr.DataArray(
        np.einsum("ke,kyx->eyx", REFERENCES.values, weights) + 0.01 * np.cos(7 * ENERGY)[:, None, None],
        dims=("energy", "y", "x"),
        coords={"energy": ENERGY},
    )
    fit = unmix(density, REFERENCES)
    sigma = xr.DataArray(np.linspace(0.01, 1, ENERGY.size), dims="energy", coords={"energy": ENERGY})

    def value(**options):
        return state_of_charge(fit, X, references=REFERENCES, **options).value[0]

    assert value(optical_density=density, sigma=sigma) == value(optical_density=density, sigma=sigma[::-1])
    assert value(optical_density=density, sigma=0.1) == pytest.approx(value(optical_density=density), rel=1e-12)
    # As unmix takes it: a stack without energies has those of the fit.
    assert value(optical_density=density.drop_vars("energy")) == value(optical_density=density)


def test_a_series_is_taken_by_its_names_and_any_row_of_numbers_by_its_order():
    weights = xr.DataArray([[3.0], [1.0]], dims=("component", "x"), coords={"component": ["a", "b"]})
    rows = ([0.0, 1.0], (0.0, 1.0), np.array([0.0, 1.0]), pd.Series([0.0, 1.0]), {"a": 0.0, "b": 1.0}.values())
    for given in (*rows, pd.Series({"b": 1.0, "a": 0.0})):
        assert lithiation(weights, given).values.tolist() == [0.25]
