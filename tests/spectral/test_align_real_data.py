"""Known shifts put into a real stack come back."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from operando.spectral import align


def _moved(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """An image moved by Fourier's shift theorem, independent of the splines under test; its rim is mirrored first."""
    padded = np.pad(image, 32, mode="reflect")
    rows, columns = (np.fft.fftfreq(size) for size in padded.shape)
    phase = np.exp(-2j * np.pi * (rows[:, None] * shift[0] + columns[None, :] * shift[1]))
    return np.asarray(np.fft.ifft2(np.fft.fft2(padded) * phase).real[32:-32, 32:-32])


@pytest.mark.slow
def test_known_shifts_of_a_real_stack_are_recovered(data_folder: Path) -> None:
    with h5py.File(data_folder / "als-stxm-fe2p" / "71214078_FigS4" / "71214078_aligned.h5") as file:
        counts, energy = file["counts"][::3], file["energy_eV"][::3]
    rng = np.random.default_rng(3000)
    shifts = np.cumsum(0.5 * rng.standard_normal((energy.size, 2)), axis=0)
    shifts[20:] += 4.0
    shifts -= shifts.mean(axis=0)
    coords = {"energy": energy}
    as_is = align(xr.DataArray(counts, dims=("energy", "y", "x"), coords=coords))
    put = np.stack([_moved(image, shift) for image, shift in zip(counts, shifts, strict=True)])
    found = align(xr.DataArray(put, dims=("energy", "y", "x"), coords=coords))
    errors = np.stack([found[name] - as_is[name] for name in ("shift_y", "shift_x")], axis=1) - shifts
    assert np.sqrt(np.mean(errors**2)) < 0.03
    assert np.abs(errors).max() < 0.1
    # What was published as aligned is so to a tenth of a pixel.
    assert float(np.abs(as_is.shift_y).max()) < 0.15
    assert float(np.abs(as_is.shift_x).max()) < 0.15
