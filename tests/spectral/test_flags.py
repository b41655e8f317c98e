"""Pixels where a map must not be believed."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import InputError
from operando.spectral import PoissonNoise, flags, flags_residual, normalize, unmix

ENERGY = np.linspace(510.0, 530.0, 41)


def line(center, width=1.2):
    return np.exp(-0.5 * ((ENERGY - center) / width) ** 2)


REFERENCES = xr.DataArray(
    [line(515) + 0.2, line(520) + 0.2, line(525) + 0.2],
    dims=("component", "energy"),
    coords={"component": ["a", "b", "c"], "energy": ENERGY},
)
KNOWN = REFERENCES[:2]


def stack(weight, sigma=0.01, seed=0, extra=None):
    """A stack of a and b (component, y, x) with noise, and what unmix makes of it."""
    rng = np.random.default_rng(seed)
    weight = np.asarray(weight, dtype=float)
    clean = np.einsum("ce,c...->e...", KNOWN.values, weight)
    if extra is not None:
        clean = extra(clean)
    dims = ("energy", "z", "y", "x")
    dims = ("energy", *dims[5 - clean.ndim :]) if clean.ndim > 1 else ("energy",)
    return xr.DataArray(clean + sigma * rng.standard_normal(clean.shape), dims=dims, coords={"energy": ENERGY})


def flagged(data, *, fit_sigma=0.01, **options):
    sigma = options.pop("sigma", fit_sigma)
    return flags(data, KNOWN, unmix(data, KNOWN, sigma=fit_sigma), sigma=sigma, **options)


def share(flag, truth, among=None):
    """Precision and recall."""
    flag, truth = np.asarray(flag), np.asarray(truth)
    if among is not None:
        flag, truth = flag[among], truth[among]
    return (flag & truth).sum() / max(flag.sum(), 1), (flag & truth).sum() / max(truth.sum(), 1)


def smooth(shape=(24, 24), seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    one = 0.5 + 0.3 * np.sin(x / 20 + rng.random()) * np.cos(y / 25)
    return np.stack([one, 1.0 - one])


def test_a_sample_that_the_references_describe_is_not_flagged():
    found = flagged(stack(smooth()))
    assert found.missing_reference.values.sum() <= 2
    assert not found.thick.any()
    assert not found.boundary.any()
    assert found.attrs["noise_scale"] == pytest.approx(1.0, abs=0.05)
    assert (found.missing_spectrum == 0).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("sigma", [None, 0.01, PoissonNoise(np.full(41, 1e4))])
def test_rounding_is_no_structure(kind, sigma):
    data = stack(smooth(), sigma=0.0).astype(kind)
    found = flags(data, KNOWN, unmix(data, KNOWN, sigma=sigma), sigma=sigma)
    assert not found.missing_reference.any()
    inside = np.zeros((24, 24), dtype=bool)
    inside[5:9, 5:9] = True
    more = data + (1e-3 * inside * line(525)[:, None, None]).astype(kind)
    found = flags(more, KNOWN, unmix(more, KNOWN, sigma=sigma), sigma=sigma)
    np.testing.assert_array_equal(found.missing_reference, inside)


def test_a_phase_without_a_reference_is_found_and_its_spectrum_returned():
    inside = np.zeros((24, 24), dtype=bool)
    inside[5:11, 8:18] = True
    more = 0.15 * inside * REFERENCES.values[2][:, None, None]
    found = flagged(stack(smooth(), extra=lambda clean: clean + more))
    assert share(found.missing_reference, inside) == pytest.approx((1.0, 1.0), abs=0.03)
    assert float(found.missing_spectrum.idxmax()) == pytest.approx(525.0, abs=0.5)
    assert float(found.missing_spectrum.max()) == 1.0


def test_a_faint_phase_is_found_by_what_the_clear_pixels_have_in_common():
    inside = np.zeros((30, 30), dtype=bool)
    inside[10:20, 10:20] = True
    amount = np.where(inside, np.linspace(0.02, 0.12, 30)[None], 0.0)
    more = amount * line(525)[:, None, None]
    found = flagged(stack(smooth((30, 30)), extra=lambda clean: clean + more))
    precision, recall = share(found.missing_reference, inside)
    assert precision > 0.95
    assert recall > 0.9


def test_false_discoveries_stay_at_the_rate_asked_for():
    inside = np.zeros((60, 60), dtype=bool)
    inside[20:40, 20:40] = True
    more = 0.05 * inside * line(525)[:, None, None]
    found = flagged(stack(smooth((60, 60)), extra=lambda clean: clean + more), false_discovery_rate=0.1)
    wrong = (found.missing_reference.values & ~inside).sum() / found.missing_reference.values.sum()
    assert 0.005 < wrong < 0.15


def test_half_a_pixel_of_a_particle_and_half_of_nothing_is_a_boundary():
    fine = np.zeros((2, 32, 96))
    fine[0, :, 30:66] = 1.0
    fine[1, :, 42:66] = 0.8

    def probe(clean):
        passed = np.exp(-clean).reshape(41, 32, 32, 3).mean(axis=3)
        return -np.log(passed)

    data = stack(fine, sigma=0.005, extra=probe)
    found = flagged(data, fit_sigma=0.005)
    edges = np.zeros(32, dtype=bool)
    edges[[9, 10, 13, 14, 21, 22]] = True
    assert found.boundary.values[:, ~edges].mean() < 0.05
    assert found.boundary.values[:, edges].mean() > 0.6


def test_a_wider_probe_flags_more():
    data = stack(smooth() * np.linspace(0.2, 2.5, 24))
    wide, narrow = flagged(data, probe_px=2.0), flagged(data, probe_px=1.0)
    assert wide.partial_volume.values == pytest.approx(4 * narrow.partial_volume.values)
    assert wide.boundary.sum() > narrow.boundary.sum()
    assert wide.attrs["probe_px"] == pytest.approx(2.0)


def test_partial_volume_is_the_squared_gradient_of_the_fitted_density():
    slope = np.linspace(0.0, 2.0, 21)
    weight = np.stack([np.broadcast_to(slope, (20, 21)), np.zeros((20, 21))])
    found = flagged(stack(weight, sigma=1e-4), fit_sigma=1e-4, probe_px=1.0)
    # 0.1 of a spectrum with the height 1.2 per pixel: half of 1.5 times its square
    assert found.partial_volume.values[:, 1:-1] == pytest.approx(0.75 * 0.12**2, rel=0.02)
    assert found.partial_volume.values[:, -1] == pytest.approx(0.375 * 0.12**2, rel=0.02)


def test_a_limit_of_the_density_and_saturated_values_make_thick():
    weight = smooth() * np.linspace(0.2, 3.0, 24)
    data = stack(weight)
    highest = np.einsum("ce,cyx->eyx", KNOWN.values, weight).max(axis=0)
    found = flagged(data, od_limit=1.0, probe_px=0.0)
    clear = np.abs(highest - 1.0) > 0.02
    assert (found.thick.values == (highest > 1.0))[clear].all()
    saturated = (data > 1.5).rename(None)
    assert (flagged(data, saturated=saturated).thick == saturated.any("energy")).all()
    image = saturated.any("energy")
    assert (flagged(data, saturated=image).thick == image).all()


def test_a_limit_or_sigma_for_each_energy_is_taken_by_its_energies():
    data = stack(smooth() * np.linspace(0.2, 3.0, 24))
    ramp = xr.DataArray(np.linspace(0.2, 2.0, 41), dims="energy", coords={"energy": ENERGY})
    xr.testing.assert_equal(flagged(data, od_limit=ramp[::-1]), flagged(data, od_limit=ramp))
    sigma = 0.01 * ramp
    xr.testing.assert_equal(flagged(data, sigma=sigma[::-1]), flagged(data, sigma=sigma))


@pytest.mark.parametrize("fraction", [0.01, 0.05])
def test_light_that_is_not_absorbed_is_measured_from_the_shape_of_the_lines(fraction):
    weight = smooth((32, 32)) * np.linspace(0.5, 4.0, 32)[:, None]

    def stray(clean):
        return -np.log((1 - fraction) * np.exp(-clean) + fraction)

    data = stack(weight, sigma=0.005, extra=stray)
    found = flagged(data, fit_sigma=0.005, probe_px=0.0)
    assert found.attrs["stray_fraction"] == pytest.approx(fraction, rel=0.3)
    clean = np.einsum("ce,cyx->eyx", KNOWN.values, weight)
    truth = (clean - stray(clean)).max(axis=0) > 0.05
    precision, recall = share(found.thick, truth)
    assert precision > 0.9
    assert recall > 0.85


def test_without_sigma_the_noise_is_that_of_the_residual():
    inside = np.zeros((24, 24), dtype=bool)
    inside[5:9, 5:9] = True
    data = stack(smooth(), extra=lambda clean: clean + 0.2 * inside * line(525)[:, None, None])
    found = flags(data, KNOWN, unmix(data, KNOWN))
    assert share(found.missing_reference, inside) == pytest.approx((1.0, 1.0), abs=0.07)


def test_without_sigma_noise_grows_with_the_density_as_that_of_counts():
    weight = smooth((32, 32)) * np.linspace(0.3, 3.0, 32)
    clean = np.einsum("ce,cyx->eyx", KNOWN.values, weight)
    counts = np.random.default_rng(0).poisson(4e3 * np.exp(-clean))
    data = xr.DataArray(np.log(4e3 / counts), dims=("energy", "y", "x"), coords={"energy": ENERGY})
    found = flags(data, KNOWN, unmix(data, KNOWN), probe_px=0.0)
    assert found.missing_reference.values.mean() < 0.01
    assert found.attrs["noise_scale"] == pytest.approx(1 / np.sqrt(4e3), rel=0.05)


def test_a_reference_that_is_wrong_everywhere_is_a_note_and_no_flag():
    data = stack(smooth(), extra=lambda clean: clean * (1 + 0.1 * np.sin(ENERGY))[:, None, None])
    found = flagged(data)
    assert found.missing_reference.mean() < 0.3
    assert found.attrs["noise_scale"] > 1.3
    assert any("references, energies, I0 or alignment are off everywhere" in note for note in found.attrs["notes"])


def test_missing_values_are_left_out_and_missing_pixels_are_not_flagged():
    data = stack(smooth())
    data[3, 4, 5] = np.nan
    data[:, 7, 8] = np.nan
    found = flagged(data)
    assert np.isnan(found.partial_volume.values[7, 8])
    assert not (found.boundary | found.missing_reference)[7, 8]
    assert np.isfinite(found.structure.values[4, 5])
    assert np.isfinite(found.partial_volume.values[7, 7])


@pytest.mark.parametrize("shape", [(), (30,), (5, 6, 7)])
def test_any_space_dims_will_do(shape):
    weight = np.ones((2, *shape))
    found = flagged(stack(weight))
    assert found.boundary.shape == shape
    assert not found.missing_reference.any()


def test_blocks_and_lazy_stacks_change_nothing(monkeypatch):
    inside = np.zeros((24, 24), dtype=bool)
    inside[5:11, 8:18] = True
    data = stack(smooth(), extra=lambda clean: clean + 0.1 * inside * line(525)[:, None, None])
    fit = unmix(data, KNOWN, sigma=0.01)
    whole = flags(data, KNOWN, fit, sigma=0.01)
    monkeypatch.setattr(flags_residual, "_BLOCK_PIXELS", 50)
    monkeypatch.setattr(flags_residual, "_SLAB_BYTES", 8 * 41 * 130)
    lazy = data.copy(data=da.from_array(data.values, chunks=(10, 7, 24)))
    noise = xr.full_like(data, 0.01)
    parts = flags(lazy, KNOWN, fit, sigma=noise)
    xr.testing.assert_allclose(parts, whole)


def test_a_background_counts_as_explained():
    data = stack(smooth()) + 0.3 + 0.01 * (xr.DataArray(ENERGY, dims="energy") - 520)
    fit = unmix(data, KNOWN, sigma=0.01, background="linear")
    found = flags(data, KNOWN, fit, sigma=0.01, background="linear")
    assert found.missing_reference.sum() <= 2
    with pytest.raises(InputError, match=r"unmixed must hold the background terms \['constant', 'scattering'\]"):
        flags(data, KNOWN, fit, sigma=0.01, background="scattering")


def test_arguments_out_of_range_are_refused():
    data = stack(smooth())
    with pytest.raises(InputError, match="false_discovery_rate between 0 and 1"):
        flagged(data, false_discovery_rate=0.0)
    with pytest.raises(InputError, match="probe_px must be zero or more pixels, got -1"):
        flagged(data, probe_px=-1)
    with pytest.raises(InputError, match="saturated must be bool"):
        flagged(data, saturated=data)
    with pytest.raises(InputError, match="od_limit must be one optical density or one per energy"):
        flagged(data, od_limit=[1.0, 2.0])


@pytest.mark.parametrize("kind", ["core-shell", "mosaic"])
def test_flags_find_the_truth_of_the_sample(kind):
    sample = samples.stxm_particle((64, 64), kind=kind, seed=3100, drift_px=0.0)
    made = normalize(sample.counts, sample.i0, i0_sigma=sample.i0_sigma, dark=sample.attrs["dark"])
    references = sample.references[sample.has_reference.values]
    noise = PoissonNoise(sample.i0, i0_sigma=sample.i0_sigma, dark=sample.attrs["dark"])
    fit = unmix(made.optical_density, references, sigma=noise)
    found = flags(made.optical_density, references, fit, sigma=noise)
    valid = np.isfinite(fit.thickness.values)
    least = {"boundary": (0.8, 0.75), "thick": (0.9, 0.8), "missing_reference": (0.9, 0.7)}
    for name, (precision, recall) in least.items():
        reached = share(found[name], sample[name], valid)
        assert reached[0] > precision, name
        assert reached[1] > recall, name
    assert found.attrs["simulated"]
