"""Real abundances and real spectra through the simulated microscope, and back again."""

import numpy as np
import pytest
import xarray as xr

from operando import io, samples, spectral

NAMES = ("LiFe(II)PO4", "Pyrite", "StainlessSteelNP", "Hematite_NP")


@pytest.fixture(scope="module")
def iron(data_folder) -> tuple[xr.DataArray, xr.DataArray]:
    """Chemical map of a LiFePO4 model sample and Fe K references (Pattammattel and Chu; see the folder's README)."""
    folder = data_folder / "hxn-nanoxanes-fe-lfp"
    if not folder.is_dir():
        pytest.skip(f"the chemical map is not here: {folder} does not exist")
    maps = io.open_image(folder / "chemical_map.tiff").load()
    weight = xr.DataArray(maps.values, dims=("component", "y", "x"), coords={"component": list(NAMES)})
    library = io.open_spectra(folder / "FeLibNov2021.nor")
    energies = np.loadtxt(folder / "energy_list_corr.txt")
    energies = energies[energies >= float(library.energy.min())]
    return weight, spectral.match_energies(library.sel(component=list(NAMES)), energies)


def unmixed(made: xr.Dataset) -> xr.Dataset:
    measured = spectral.normalize(made.counts, made.i0, i0_sigma=made.i0_sigma, dark=made.attrs["dark"])
    return spectral.unmix(measured.optical_density, made.references, sigma=measured.optical_density_sigma)


def test_a_real_chemical_map_is_found_again_within_its_intervals(iron):
    made = samples.stxm_from_maps(*iron, seed=3400, drift_px=0.0, i0_counts=20_000.0)
    found = unmixed(made)
    covered = (found.weight_low <= made.weight) & (made.weight <= found.weight_high)
    assert 0.94 < float(covered.mean()) < 0.99
    for name in NAMES:
        assert 0.93 < float(covered.sel(component=name).mean()) < 0.995
        truth, map_ = made.weight.sel(component=name), found.weight.sel(component=name)
        assert float(xr.corr(truth, map_)) > 0.97
        # Noise, and no more: the largest weights are 0.17 to 0.32.
        assert float(np.sqrt(((map_ - truth) ** 2).mean())) < 0.004


def test_the_real_maps_are_the_truth_of_what_is_simulated(iron):
    weight, references = iron
    made = samples.stxm_from_maps(weight, references, blur_px=0.0, drift_px=0.0)
    np.testing.assert_allclose(made.weight, weight, atol=1e-13)
    summed = (made.weight * made.references).sum("component")
    assert float(abs(summed - made.optical_density).max()) < 1e-14
    assert made.energy.size == 70
