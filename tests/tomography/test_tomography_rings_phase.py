"""Ring removal and phase retrieval."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import InputError, UnitsError
from operando.tomography import detector_coords, minus_log, paganin, reconstruct, remove_rings

DIMS = ("angle", "detector_y", "detector_x")


@pytest.fixture(scope="module")
def ringed():
    made = samples.ellipsoids((2, 128, 128), angles=np.linspace(0, 180, 181), supersampling=2)
    stripes = 0.1 * np.random.default_rng(0).standard_normal(made.projections.shape[1:])
    return made.volume, made.projections, (made.projections + stripes).astype(np.float32)


@pytest.mark.parametrize("method", ["sorting", "large"])
def test_rings_go_and_the_sample_stays(ringed, method):
    truth, clean, stripes = ringed

    def error(lines):
        inner = np.s_[:, 32:96, 32:96]
        volume = reconstruct(lines, rotation_axis=63.5, filter="hann").values[inner]
        return float(np.sqrt(np.mean((volume - truth.values[inner]) ** 2)))

    removed = remove_rings(stripes, method=method)
    assert error(removed) < 0.6 * error(stripes)
    assert error(remove_rings(clean, method=method)) < 1.7 * error(clean)


def test_a_dead_pixel_is_interpolated():
    lines = np.random.default_rng(0).normal(1.0, 0.01, (90, 1, 80)).astype(np.float32)
    lines[:, 0, 40] = np.random.default_rng(1).normal(0.0, 3.0, 90)
    removed = remove_rings(xr.DataArray(lines, dims=DIMS), method="dead")
    assert abs(float(removed[:, 0, 40].mean()) - 1.0) < 0.05
    np.testing.assert_array_equal(removed[:, 0, :30], lines[:, 0, :30])


def test_a_lazy_scan_stays_lazy_and_gives_the_same(ringed):
    lazy = remove_rings(ringed[2].chunk(angle=50), rows=1)
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_array_equal(lazy.values, remove_rings(ringed[2]).values)


def test_reconstruct_removes_rings_where_asked(ringed):
    by_hand = reconstruct(remove_rings(ringed[2]), rotation_axis=63.5, filter="hann")
    asked = reconstruct(ringed[2], rotation_axis=63.5, filter="hann", rings="sorting")
    np.testing.assert_allclose(asked.values, by_hand.values, atol=1e-7)


def test_ring_errors_say_what_to_do(ringed):
    with pytest.raises(InputError, match="Did you mean 'sorting'"):
        remove_rings(ringed[2], method="sort")
    with pytest.raises(InputError, match="threshold must be above 1"):
        remove_rings(ringed[2], threshold=0.5)
    with pytest.raises(InputError, match="at least 8 angles"):
        remove_rings(ringed[2].isel(angle=slice(0, 4)))


def propagated(thickness_um, *, attenuation, delta, distance_um, step):
    """Intensity at a distance by the transport of intensity, for a thin sample of one material."""
    mirrored = np.block([[thickness_um, thickness_um[:, ::-1]], [thickness_um[::-1], thickness_um[::-1, ::-1]]])
    contact = np.exp(-attenuation * mirrored)
    squares = [(2 * np.pi * np.fft.fftfreq(n, step)) ** 2 for n in mirrored.shape]
    spectrum = np.fft.fft2(contact) * (1 + distance_um * delta / attenuation * (squares[0][:, None] + squares[1]))
    ny, nx = thickness_um.shape
    return np.fft.ifft2(spectrum).real[:ny, :nx]


def test_the_thickness_of_one_material_is_retrieved():
    """A ball of radius 40 um, at 20 keV and 0.2 m: what propagation did is undone exactly."""
    energy, distance, step, attenuation, ratio = 20.0, 200.0, 2.0, 5e-4, 800.0
    wavelength = 1.2398419843e-3 / energy
    delta = ratio * attenuation * wavelength / (4 * np.pi)
    at = (np.arange(64) - 31.5) * step
    thickness = 2 * np.sqrt(np.clip(40.0**2 - at[:, None] ** 2 - at**2, 0, None))
    intensity = propagated(thickness, attenuation=attenuation, delta=delta, distance_um=1e3 * distance, step=step)
    # The edge of the ball is bright and dark: there is a phase to retrieve.
    assert np.abs(intensity - np.exp(-attenuation * thickness)).max() > 0.02
    image = detector_coords(xr.DataArray(intensity[None], dims=DIMS), pixel_size_um=step)
    retrieved = minus_log(paganin(image, energy_kev=energy, distance_mm=distance, delta_beta=ratio)) / attenuation
    np.testing.assert_allclose(retrieved[0], thickness, atol=0.05)


def test_phase_retrieval_keeps_the_mean_and_lazy_gives_the_same():
    values = np.random.default_rng(0).random((5, 12, 16))
    image = detector_coords(xr.DataArray(values, dims=DIMS), pixel_size_um=1.0)
    settings = {"energy_kev": 27.5, "distance_mm": 100.0, "delta_beta": 500.0}
    eager = paganin(image, **settings)
    lazy = paganin(image.chunk(angle=2, detector_y=5), **settings)
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_allclose(lazy.values, eager.values, rtol=1e-6)
    np.testing.assert_allclose(eager.mean(DIMS[1:]), values.mean(axis=(1, 2)), rtol=1e-5)
    assert float(eager.std()) < 0.5 * values.std()


def test_phase_errors_say_what_to_do():
    image = xr.DataArray(np.ones((1, 4, 4)), dims=DIMS)
    with pytest.raises(UnitsError, match=r"detector_x is in px.*detector_coords"):
        paganin(image, energy_kev=20, distance_mm=10, delta_beta=100)
    with pytest.raises(InputError, match="distance_mm must be positive"):
        paganin(image, energy_kev=20, distance_mm=0, delta_beta=100)
    with pytest.raises(UnitsError, match="pixel_size_um must be positive"):
        detector_coords(image, pixel_size_um=-1)
