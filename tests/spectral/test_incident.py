"""I0 from a region, the brightest pixels, a file or flat fields; and the gain of the detector."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.spectral import (
    i0_from_flats,
    i0_from_percentile,
    i0_from_region,
    i0_from_spectrum,
    optical_density,
    photons_per_count,
)

ENERGY = np.linspace(700.0, 720.0, 21)
BEAM = 1000.0 + 10.0 * np.arange(21)


def field(seed=0, size=40, optical_density=1.0, beam=BEAM):
    """Left half open, right half behind a sample."""
    mean = np.tile(beam[:, None, None], (1, size, size))
    mean[:, :, size // 2 :] *= np.exp(-optical_density)
    counts = np.random.default_rng(seed).poisson(mean).astype(np.float32)
    return xr.DataArray(counts, dims=("energy", "y", "x"), coords={"energy": ENERGY})


OPEN = np.zeros((40, 40), dtype=bool)
OPEN[:, :20] = True


def test_i0_of_a_region_is_its_mean_with_the_error_of_counting():
    found = i0_from_region(field(), OPEN)
    np.testing.assert_allclose(found.i0_sigma, np.sqrt(BEAM / 800), rtol=0.15)
    assert np.abs((found.i0 - BEAM) / found.i0_sigma).max() < 4
    assert found.attrs["pixels"] == 800
    assert found.i0.attrs["units"] == "counts"


def test_error_of_i0_is_the_scatter_of_repeated_measurements():
    each = [i0_from_region(field(seed, size=12), OPEN[:12, 14:26]) for seed in range(40)]
    values = xr.concat([one.i0 for one in each], "t")
    sigma = np.mean([one.i0_sigma.values for one in each])
    assert abs(float(values.std("t").mean()) / sigma - 1) < 0.1


def test_a_label_image_is_a_region_and_255_is_none_of_it():
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[:, :10], labels[:, 10:20], labels[:, 39] = 1, 2, 255
    assert i0_from_region(field(), labels).attrs["pixels"] == 800
    assert i0_from_region(field(), labels, label=2).attrs["pixels"] == 400


def test_a_region_on_the_sample_is_refused_as_not_open():
    with pytest.raises(InputError, match=r"the region must be open, but it has .* Choose a region without sample"):
        i0_from_region(field(), ~OPEN)


def test_an_empty_region_is_refused():
    with pytest.raises(InputError, match="at least one pixel with the label 7, got none"):
        i0_from_region(field(), OPEN.astype(np.int32), label=7)
    with pytest.raises(InputError, match="at least one pixel, got none"):
        i0_from_region(field(), np.zeros((40, 40), dtype=bool))


def test_a_dark_region_is_refused():
    with pytest.raises(InputError, match="above the dark counts of 2000"):
        i0_from_region(field(), OPEN, dark=2000.0)


def test_an_image_without_beam_is_refused_by_its_number():
    counts = field()
    counts[5] = 0.0
    with pytest.raises(InputError, match="got 0 in image 5"):
        i0_from_region(counts, OPEN)


def test_a_region_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"must have the shape \(40, 40\) of an image, got \(4, 4\)"):
        i0_from_region(field(), np.ones((4, 4), dtype=bool))


def test_lazy_counts_give_the_same_i0():
    xr.testing.assert_allclose(
        i0_from_region(field().chunk({"y": 9, "energy": 5}), OPEN), i0_from_region(field(), OPEN)
    )


def test_the_brightest_pixels_are_not_chosen_for_their_noise():
    # All of the field is open: every choice of pixels has the same mean.
    found = i0_from_percentile(field(optical_density=0.0), 95)
    score = (found.i0 - BEAM) / found.i0_sigma
    assert abs(float(score.mean())) < 3 / np.sqrt(score.size)
    by_image = np.sort(field(optical_density=0.0).values.reshape(21, -1), axis=1)[:, -80:].mean(axis=1)
    assert ((by_image - BEAM) / np.sqrt(BEAM)).min() > 1.5


def test_the_brightest_pixels_are_those_without_sample():
    region = i0_from_percentile(field(), 75).region
    assert region.values[:, 20:].sum() == 0
    assert 0.5 < region.values[:, :20].mean() < 0.9


def test_pixels_to_choose_from_can_be_given():
    allowed = np.zeros((40, 40), dtype=bool)
    allowed[:, 25:] = True
    found = i0_from_percentile(field(), 50, mask=allowed)
    np.testing.assert_allclose(found.i0, BEAM * np.exp(-1.0), rtol=0.02)


def test_a_single_image_has_brightest_pixels_too():
    found = i0_from_percentile(field()[:1], 60)
    assert found.sizes["energy"] == 1
    assert found.region.values[:, 20:].sum() == 0


def test_a_percentile_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"must be in \[0, 100\), got 100"):
        i0_from_percentile(field(), 100)
    with pytest.raises(InputError, match=r"must be in \[0, 100\), got '95'"):
        i0_from_percentile(field(), percentile="95")


def test_i0_of_a_file_is_interpolated_with_its_error():
    spectrum = xr.DataArray([100.0, 300.0, 200.0], dims="energy", coords={"energy": [700.0, 720.0, 710.0]})
    found = i0_from_spectrum(spectrum, [705.0, 720.0], sigma=[3.0, 5.0, 4.0], scale=2.0)
    np.testing.assert_allclose(found.i0, [300.0, 600.0])
    np.testing.assert_allclose(found.i0_sigma, [5.0, 10.0])


def test_i0_is_not_extrapolated():
    spectrum = xr.DataArray([1.0, 1.0], dims="energy", coords={"energy": [700.0, 710.0]})
    with pytest.raises(InputError, match=r"10 of 21 energies, from 711 to 720 eV.*reaches from 700 to 710 eV"):
        i0_from_spectrum(spectrum, ENERGY)


def test_roughness_of_a_spectrum_tells_its_noise():
    rng = np.random.default_rng(3)
    smooth = 900.0 + 5.0 * (ENERGY - 700.0)
    found = [
        i0_from_spectrum(
            xr.DataArray(smooth + rng.normal(0.0, 2.0, 21), dims="energy", coords={"energy": ENERGY}), ENERGY
        ).i0_sigma.mean()
        for _ in range(50)
    ]
    assert abs(np.mean(found) - 2.0) < 0.15


def test_a_spectrum_that_is_not_positive_is_refused():
    spectrum = xr.DataArray([1.0, 0.0], dims="energy", coords={"energy": [700.0, 710.0]})
    with pytest.raises(InputError, match="finite and positive at every energy, got 0"):
        i0_from_spectrum(spectrum, [705.0])


def test_several_spectra_are_no_i0():
    with pytest.raises(AxesError, match="Select one component"):
        i0_from_spectrum(xr.DataArray(np.ones((2, 3)), dims=("component", "energy")), [700.0])


def test_flat_fields_have_the_error_of_their_scatter():
    flats = xr.DataArray(np.random.default_rng(0).poisson(500.0, size=(4, 2, 60, 60)), dims=("t", "energy", "y", "x"))
    found = i0_from_flats(flats)
    assert found.i0.dims == ("energy", "y", "x")
    assert abs(float(found.i0_sigma.mean()) / float(found.i0.std()) - 1) < 0.03


def test_one_flat_field_has_no_error():
    with pytest.raises(InputError, match="at least two frames are needed"):
        i0_from_flats(xr.DataArray(np.ones((1, 4, 4)), dims=("t", "y", "x")))


@pytest.mark.parametrize("across", ["energy", "space"])
@pytest.mark.parametrize("gain", [1.0, 7.5])
def test_photons_per_count_are_found_from_the_noise(across, gain):
    counts = field(beam=BEAM * gain) / gain
    found = photons_per_count(counts, OPEN, across=across)
    assert abs(float(found) - gain) < 4 * found.attrs["sigma"]
    assert found.attrs["sigma"] < 0.05 * gain


def test_structure_and_changes_of_the_beam_are_no_noise():
    rng = np.random.default_rng(5)
    beam = BEAM * (1 + 0.2 * rng.random(21))
    mean = beam[:, None, None] * (1 + 0.5 * rng.random((40, 40)))
    counts = xr.DataArray(rng.poisson(mean).astype(float), dims=("energy", "y", "x"), coords={"energy": ENERGY})
    found = photons_per_count(counts, np.ones((40, 40), dtype=bool))
    assert abs(float(found) - 1.0) < 0.06


def test_counts_without_noise_have_no_photons_to_count():
    with pytest.raises(InputError, match="must show noise, got none"):
        photons_per_count(np.ones((3, 4, 4)), np.ones((4, 4), dtype=bool))


def test_noise_is_looked_for_across_energy_or_space_only():
    with pytest.raises(InputError, match="Did you mean 'energy'"):
        photons_per_count(field(), OPEN, across="energies")


def test_counts_of_a_real_stack_are_averages_of_about_ten_photons(data_folder):
    import h5py

    with h5py.File(data_folder / "als-stxm-fe2p" / "71214078_FigS4" / "71214078_aligned.h5") as file:
        counts = xr.DataArray(file["counts"][:], dims=("energy", "y", "x"), coords={"energy": file["energy_eV"][:]})
        beam = file["i0"][:, 1]
    i0 = i0_from_percentile(counts, 95)
    # The file's I0 is the same beam, 2.31 times as bright throughout.
    ratio = beam / i0.i0
    assert abs(float(ratio.mean()) - 2.31) < 0.01
    assert float(ratio.std()) < 0.003
    assert 10 < float(photons_per_count(counts, i0.region)) < 13
    # Only the first image was not resampled.
    assert 8 < float(photons_per_count(counts[:1], i0.region)) < 13


def test_i0_of_a_stack_in_kev_is_that_of_its_energies():
    counts = field()
    given = counts.assign_coords(energy=("energy", counts.energy.values / 1000, {"units": "keV"}))
    for found in (i0_from_region(given, OPEN), i0_from_percentile(given)):
        np.testing.assert_allclose(found.energy, counts.energy)
        assert optical_density(given, found).shape == counts.shape


def test_an_error_of_i0_goes_with_its_energies_not_with_its_order():
    energy = np.array([700.0, 705.0, 710.0])
    spectrum = xr.DataArray([100.0, 200.0, 300.0], dims="energy", coords={"energy": energy})
    sigma = xr.DataArray([1.0, 2.0, 3.0], dims="energy", coords={"energy": energy})
    assert i0_from_spectrum(spectrum, energy, sigma=sigma[::-1]).i0_sigma.values.tolist() == [1.0, 2.0, 3.0]


def test_i0_of_a_single_energy_is_a_spectrum_too():
    spectrum = xr.DataArray([100.0], dims="energy", coords={"energy": [700.0]})
    assert i0_from_spectrum(spectrum, [700.0], sigma=[2.0]).i0.item() == 100.0
