"""Counts to optical density: the formula, its gaps, its error and its limits."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.spectral import normalize, optical_density

ENERGY = np.array([700.0, 705.0, 710.0])


def stack(values, **attrs):
    return xr.DataArray(np.asarray(values), dims=("energy", "y", "x"), coords={"energy": ENERGY}, attrs=attrs)


def poisson(mean, seed=0, shape=(3, 100, 100)):
    return stack(np.random.default_rng(seed).poisson(mean, size=shape).astype(float))


def test_optical_density_is_the_logarithm_of_i0_over_counts_less_dark():
    counts = stack(np.full((3, 1, 1), 30.0))
    i0 = xr.DataArray([110.0, 210.0, 410.0], dims="energy", coords={"energy": ENERGY})
    found = optical_density(counts, i0, dark=10.0)
    np.testing.assert_allclose(found[:, 0, 0], np.log([5.0, 10.0, 20.0]))
    assert found.attrs["units"] == "1"


def test_i0_may_be_a_number_a_spectrum_an_image_or_a_stack():
    counts = stack(np.full((3, 2, 4), 50.0))
    expected = np.full((3, 2, 4), np.log(2.0))
    for i0 in (100.0, np.full(3, 100.0), np.full((2, 4), 100.0), np.full((3, 2, 4), 100.0)):
        np.testing.assert_allclose(optical_density(counts, i0), expected)
    flat = xr.DataArray(np.full((4, 2), 100.0), dims=("x", "y"))
    np.testing.assert_allclose(optical_density(counts, flat), expected)


def test_plain_arrays_and_single_images_will_do():
    assert optical_density(np.full((3, 2, 2), 50.0), np.full(3, 100.0)).dims == ("energy", "y", "x")
    image = xr.DataArray(np.full((2, 2), 50.0), dims=("y", "x"))
    np.testing.assert_allclose(optical_density(image, 100.0), np.log(2.0))


def test_dims_of_any_order_give_energy_first():
    counts = stack(np.arange(1.0, 25.0).reshape(3, 2, 4))
    turned = optical_density(counts.transpose("x", "energy", "y"), 100.0)
    np.testing.assert_array_equal(turned, optical_density(counts, 100.0))
    assert turned.dims == ("energy", "y", "x")


def test_i0_in_another_order_of_energies_is_put_in_that_of_the_stack():
    counts = stack(np.ones((3, 1, 1)))
    i0 = xr.DataArray(np.exp([3.0, 1.0, 2.0]), dims="energy", coords={"energy": [710.0, 700.0, 705.0]})
    np.testing.assert_allclose(optical_density(counts, i0)[:, 0, 0], [1.0, 2.0, 3.0])


def test_i0_at_other_energies_is_refused_with_the_remedy():
    i0 = xr.DataArray(np.ones(3), dims="energy", coords={"energy": [700.0, 705.0, 711.0]})
    with pytest.raises(InputError, match=r"nearest to 710 eV is 711 eV.*i0_from_spectrum"):
        optical_density(stack(np.ones((3, 1, 1))), i0)


def test_energies_that_differ_by_rounding_are_the_same():
    counts = stack(np.ones((3, 1, 1))).assign_coords(energy=np.float32(ENERGY + 0.123).astype(float))
    i0 = xr.DataArray(np.full(3, np.e), dims="energy", coords={"energy": ENERGY + 0.123})
    assert optical_density(counts, i0).notnull().all()


def test_counts_at_or_below_dark_are_nan_and_counted_never_clipped():
    counts = stack([[[10.0, 5.0, 60.0]]] * 3)
    found = optical_density(counts, 110.0, dark=10.0)
    assert found.isnull().sum() == 6
    np.testing.assert_allclose(found[0, 0, 2], np.log(2.0))
    assert found.attrs["notes"] == ["6 of 9 values are NaN: 6 with counts or I0 not above the dark counts"]


def test_what_was_missing_before_is_told_from_what_is_dark():
    counts = stack([[[np.nan, 5.0, 60.0]]] * 3)
    assert (
        "3 with counts or I0 not above the dark counts, 3 missing before"
        in (optical_density(counts, 110.0, dark=10.0).attrs["notes"][0])
    )


def test_negative_optical_density_is_kept():
    np.testing.assert_allclose(optical_density(stack(np.full((3, 1, 1), 200.0)), 100.0), -np.log(2.0))


def test_i0_below_the_dark_counts_is_refused():
    with pytest.raises(InputError, match=r"I0 must be above the dark counts, got at most 5 against a dark level of 10"):
        optical_density(stack(np.ones((3, 1, 1))), 5.0, dark=10.0)


@pytest.mark.parametrize("i0", [np.ones(4), np.ones((5, 5))])
def test_i0_of_a_shape_that_does_not_fit_is_refused(i0):
    with pytest.raises(InputError, match="must be a number or have the shape"):
        optical_density(stack(np.ones((3, 2, 2))), i0)


def test_repeated_flat_fields_are_to_be_averaged_first():
    flats = xr.DataArray(np.ones((5, 2, 2)), dims=("t", "y", "x"))
    with pytest.raises(InputError, match=r"Average it over them first: i0.mean\('t'\)"):
        optical_density(stack(np.ones((3, 2, 2))), flats)


def test_precision_follows_the_counts():
    assert optical_density(stack(np.ones((3, 1, 1), dtype=np.uint16)), 2.0).dtype == np.float32
    assert optical_density(stack(np.ones((3, 1, 1), dtype=np.int64)), 2.0).dtype == np.float64
    assert optical_density(stack(np.ones((3, 1, 1), dtype=np.float32)), 2.0).dtype == np.float32


def test_lazy_stacks_stay_lazy_and_agree():
    counts = poisson(200.0, shape=(3, 20, 30))
    kwargs = {"dark": 3.0, "dead_time_us": 0.2, "dwell_ms": 1.0, "stray_fraction": 0.01}
    whole = normalize(counts, 1000.0, i0_sigma=10.0, **kwargs)
    lazy = normalize(counts.chunk({"y": 7, "energy": 1}), 1000.0, i0_sigma=10.0, **kwargs)
    assert all(lazy[name].chunks for name in ("optical_density", "optical_density_sigma", "saturated", "bad_count"))
    xr.testing.assert_allclose(lazy.compute(), whole)


def test_sigma_is_the_scatter_of_poisson_counts():
    found = normalize(poisson(400.0), 1600.0)
    scatter = float(found.optical_density.std())
    assert abs(float(found.optical_density_sigma.mean()) / scatter - 1) < 0.02


def test_error_of_i0_adds_in_quadrature():
    found = normalize(stack(np.full((3, 1, 1), 400.0)), 1600.0, i0_sigma=np.full(3, 80.0))
    np.testing.assert_allclose(found.optical_density_sigma, np.hypot(1 / 20, 1 / 20))


def test_i0_as_a_dataset_brings_its_error():
    i0 = xr.Dataset({"i0": ("energy", np.full(3, 1600.0)), "i0_sigma": ("energy", np.full(3, 80.0))})
    found = normalize(stack(np.full((3, 1, 1), 400.0)), i0)
    np.testing.assert_allclose(found.optical_density_sigma, np.hypot(1 / 20, 1 / 20))


def test_dark_counts_make_the_error_larger_and_are_part_of_the_noise():
    found = normalize(stack(np.full((3, 1, 1), 500.0)), 1700.0, dark=100.0, dark_sigma=0.0)
    np.testing.assert_allclose(found.optical_density_sigma, np.sqrt(500.0) / 400.0)
    single = normalize(stack(np.full((3, 1, 1), 500.0)), 1700.0, dark=100.0)
    np.testing.assert_allclose(single.optical_density_sigma, np.sqrt(600.0) / 400.0)


def test_ten_photons_per_count_make_the_error_a_third():
    counts = stack(np.full((3, 1, 1), 400.0))
    one, ten = normalize(counts, 1600.0), normalize(counts, 1600.0, photons_per_count=10.0)
    np.testing.assert_allclose(one.optical_density_sigma / ten.optical_density_sigma, np.sqrt(10.0))


def test_dead_time_is_corrected_in_counts_and_in_i0():
    true, share = np.array([100.0, 800.0]), 0.5e-3
    measured = true / (1 + true * share)
    found = normalize(stack(np.full((3, 1, 1), measured[0])), measured[1], dead_time_us=0.5, dwell_ms=1.0)
    np.testing.assert_allclose(found.optical_density, np.log(8.0))
    assert "corrected for a dead time of 0.5 us per photon (non-paralyzable)" in found.attrs["notes"]


def test_sigma_behind_a_dead_time_is_the_scatter_of_such_a_counter():
    # 1,000 photons per dwell on average, dead for 0.3 of the mean time between two.
    rng, dead, dwell = np.random.default_rng(1), 0.3e-3, 1.0
    gaps = rng.exponential(1e-3, size=(3000, 1200)) + dead
    arrivals = np.cumsum(gaps, axis=1) - dead
    counts = (arrivals < dwell).sum(axis=1).astype(float)
    values = stack(counts.reshape(3, 50, 20))
    found = normalize(values, 4000.0 / (1 + 4000.0 * dead), dead_time_us=0.3, dwell_ms=1.0)
    assert abs(float(found.optical_density.mean()) - np.log(4.0)) < 0.002
    assert abs(float(found.optical_density_sigma.mean()) / float(found.optical_density.std()) - 1) < 0.05


def test_counts_that_the_counter_cannot_have_reached_are_refused():
    with pytest.raises(InputError, match=r"busy after 1000 counts per dwell, but counts reach 2000.*us and ms"):
        normalize(stack(np.full((3, 1, 1), 2000.0)), 3000.0, dead_time_us=1.0, dwell_ms=1.0)


def test_a_dead_time_without_a_dwell_is_refused():
    with pytest.raises(InputError, match="needs the dwell per pixel in ms, got None"):
        normalize(stack(np.ones((3, 1, 1))), 3.0, dead_time_us=1.0)


def test_stray_light_is_flagged_where_it_shifts_the_optical_density_by_the_tolerance():
    stray, tolerance = 0.02, 0.1
    true = np.linspace(0.1, 4.0, 400)
    seen = -np.log((1 - stray) * np.exp(-true) + stray)
    wrong = true - seen > tolerance
    counts = xr.DataArray((1e6 * np.exp(-seen))[None, None], dims=("energy", "y", "x"), coords={"energy": [700.0]})
    found = normalize(counts, 1e6, stray_fraction=stray, tolerance=tolerance)
    np.testing.assert_array_equal(found.saturated[0, 0], wrong)
    assert found.optical_density_max.item() == pytest.approx(np.log((1 - 0.98 * np.exp(-0.1)) / 0.02))


def test_an_uncertain_dark_level_is_flagged_where_it_shifts_the_optical_density_by_the_tolerance():
    counts = stack([[[10.0 + 4.0, 10.0 + 11.0, 200.0]]] * 3)
    found = normalize(counts, 1010.0, dark=10.0, dark_sigma=0.5, tolerance=0.05)
    # 0.5 counts of doubt are 5 % of 10 net counts.
    assert found.saturated[0, 0].values.tolist() == [True, False, False]
    np.testing.assert_allclose(found.optical_density_max, np.log(0.05 * 1000.0 / 0.5))


def test_what_is_too_dark_for_a_value_is_saturated_and_what_is_missing_is_not():
    found = normalize(stack([[[5.0, np.nan, 60.0]]] * 3), 110.0, dark=10.0, dark_sigma=0.0)
    assert found.saturated[0, 0].values.tolist() == [True, False, False]
    assert found.bad_count.values.tolist() == [[3, 3, 0]]


def test_without_dark_counts_or_stray_light_nothing_is_saturated():
    found = normalize(stack(np.full((3, 1, 1), 1.0)), 1e9)
    assert not found.saturated.any()
    assert np.isinf(found.optical_density_max).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stray_fraction": 1.0}, "Divide a percentage by 100"),
        ({"tolerance": 0.0}, "tolerance positive"),
        ({"photons_per_count": -1.0}, "photons_per_count must be positive, got -1.0"),
        ({"dead_time_us": -1.0}, "dead_time_us must not be negative"),
    ],
)
def test_parameters_out_of_range_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        normalize(stack(np.ones((3, 1, 1))), 3.0, **wrong)


def test_what_is_simulated_stays_labeled_simulated():
    found = normalize(stack(np.ones((3, 1, 1)), simulated=True), 3.0)
    assert found.attrs["simulated"] is True
    assert found.optical_density.attrs["simulated"] is True


def test_the_bias_of_the_logarithm_is_half_the_relative_variance():
    found = optical_density(poisson(100.0, shape=(3, 300, 300)), 100.0)
    assert abs(float(found.mean()) - 1 / 200) < 3 * 0.1 / np.sqrt(found.size)


def test_optical_density_of_a_simulated_stack_is_the_true_one_within_its_error():
    from operando.samples import stxm_particle

    sample = stxm_particle((48, 48), seed=3005, drift_px=0.0, stray=0.0)
    found = normalize(sample.counts, sample.i0, i0_sigma=sample.i0_sigma, dark=sample.attrs["dark"], dark_sigma=0.0)
    inside = ~sample.boundary & ~sample.thick
    score = ((found.optical_density - sample.optical_density) / found.optical_density_sigma).where(inside)
    assert abs(float(score.std()) - 1) < 0.05
    assert abs(float(score.mean())) < 0.05


def test_optical_density_of_a_real_stack_is_finite_and_its_pre_edge_is_that_of_the_file(data_folder):
    import h5py

    with h5py.File(data_folder / "als-stxm-fe2p" / "71214078_FigS4" / "71214078_aligned.h5") as file:
        energy, counts, i0 = file["energy_eV"][:], file["counts"][:], file["i0"][:]
    values = xr.DataArray(counts, dims=("energy", "y", "x"), coords={"energy": energy})
    beam = xr.DataArray(i0[:, 1], dims="energy", coords={"energy": i0[:, 0]})
    found = optical_density(values, beam)
    np.testing.assert_allclose(found, np.log(i0[:, 1, None, None] / counts), rtol=2e-5)
    assert found.attrs["notes"] == []


def test_flat_fields_of_a_real_full_field_microscope_show_the_white_line(data_folder):
    import h5py

    from operando.spectral import i0_from_flats

    path = data_folder / "nca-txm-ni-k" / "ssrl_nca_frames_crop512.h5"
    if not path.exists():
        pytest.skip(f"{path} is not in this copy of the data")
    with h5py.File(path) as file:
        frames = {
            (kind, energy): np.stack([file[n][:] for n in sorted(file) if energy in n and ("_ref_" in n) == kind])
            for kind in (True, False)
            for energy in ("08324", "08354")
        }
    dims, energies = ("energy", "y", "x"), {"energy": [8324.0, 8354.0]}
    flats = xr.DataArray(np.stack([frames[True, e] for e in ("08324", "08354")], axis=1), dims=("t", *dims))
    counts = np.stack([frames[False, e].mean(axis=0) for e in ("08324", "08354")])
    i0 = i0_from_flats(flats.assign_coords(energies))
    found = normalize(xr.DataArray(counts, dims=dims, coords=energies), i0)
    assert int(found.bad_count.max()) == 0
    step = found.optical_density[1] - found.optical_density[0]
    assert float(step.quantile(0.99)) > 0.7
    # Beside the particles nothing changes from energy to energy.
    assert abs(float(step.quantile(0.25))) < 0.1


def test_infinite_counts_are_missing_and_counted():
    counts = stack(np.full((3, 1, 2), 50.0))
    counts[1, 0, 0] = np.inf
    found = normalize(counts, 100.0)
    assert np.isnan(found.optical_density[1, 0, 0])
    assert found.bad_count.values.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("counts", "i0", "message"),
    [
        (stack(np.full((3, 1, 1), 1 + 1j)), 2.0, "counts must be real numbers, got complex128"),
        (stack(np.ones((3, 1, 1))), "flat.tif", "i0 must be numbers, got <U8"),
        (stack(np.ones((3, 1, 1)))[:0], 2.0, "counts must hold values"),
    ],
)
def test_what_are_no_counts_is_refused_by_name(counts, i0, message):
    with pytest.raises(InputError, match=message):
        optical_density(counts, i0)


def test_the_dark_level_of_averaged_counts_is_known_as_well_as_they_are():
    # Ten photons per count: 1000 photons of dark level, and 5000 with the sample.
    found = normalize(stack(np.full((3, 1, 1), 500.0)), 1000.0, dark=100.0, photons_per_count=10.0)
    np.testing.assert_allclose(found.optical_density_sigma, np.sqrt(5000 + 1000) / 4000, rtol=1e-12)
