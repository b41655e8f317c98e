"""A small cell made by other means than operando.samples, so that nothing is fitted to one simulator."""

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.phases import CELL

GRAY = {"electrolyte": 1.0, "electrode": 0.98, "deposited": 0.966, "dendrite": 0.966, "pit": 0.95, "redeposited": 0.966}


def slab_cell(shape=(64, 64, 64), *, scans=4, seed=0, noise=0.01, blur=0.7, drift=0.002, scale=1.0) -> xr.Dataset:
    """Flat slabs with a bumpy deposit, tubes for dendrites, pits, and a patchy redeposit; z is normal."""
    rng = np.random.default_rng(seed)
    nz, ny, nx = shape
    z = np.arange(nz)[:, None, None]
    low, high = nz // 4, nz - nz // 4

    def bumps(width: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.normal(size=(ny, nx)), width, mode="wrap")
        return (field - field.mean()) / field.std()

    deposit, pits, patch = bumps(5), bumps(4), bumps(4)
    electrode_low, electrode_high = low + 0.6 * bumps(10), high + 0.6 * bumps(10)
    tubes = []
    for _ in range(max(3, ny * nx // 700)):
        length = rng.uniform(0.25, 0.6) * (high - low)
        path = np.cumsum(rng.normal(scale=0.5, size=(int(length), 2)), axis=0) + rng.uniform((0, 0), (ny, nx))
        tubes.append((path, rng.uniform(1.6, 3.2)))
    labels = np.zeros((scans, *shape), np.uint8)
    image = np.empty((scans, *shape), np.float32)
    for scan in range(scans):
        fraction = scan / max(scans - 1, 1)
        charge, discharge = min(1.0, 2 * fraction), max(0.0, 2 * fraction - 1)
        out = labels[scan]
        if charge:
            for path, radius in tubes:
                for step, (y, x) in enumerate(path[: max(2, int(charge * len(path)))]):
                    yy, xx = np.ogrid[:ny, :nx]
                    distance = ((yy - y + ny / 2) % ny - ny / 2) ** 2 + ((xx - x + nx / 2) % nx - nx / 2) ** 2
                    out[min(low + step, nz - 1)][distance <= radius**2] = CELL["dendrite"]
        height = np.clip((4 + 2.5 * deposit) * charge * (1 - 0.6 * discharge), 0, None)
        out[(z >= electrode_low) & (z < electrode_low + height)] = CELL["deposited"]
        depth = np.clip((2 + 3 * pits) * charge, 0, nz // 8)
        out[(z >= electrode_high) & (z < electrode_high + depth)] = CELL["pit"]
        filled = np.clip(4 * discharge + 2 * patch * discharge, 0, None)
        redeposited = (z < electrode_high + depth) & (z >= electrode_high + depth - filled) & (discharge > 0)
        out[redeposited] = CELL["redeposited"]
        out[z < electrode_low] = CELL["electrode"]
        out[z >= electrode_high + depth] = CELL["electrode"]
        levels = np.array([GRAY[name] for name in CELL], np.float32)
        clean = ndimage.gaussian_filter(levels[out], blur) if blur else levels[out]
        clean = clean - 0.6 * ndimage.laplace(ndimage.gaussian_filter(clean, 1.0)) if blur else clean
        shading = 0.003 * np.cos(np.pi * np.arange(nx) / nx + scan)
        image[scan] = clean + shading + drift * rng.normal() + noise * rng.normal(size=shape)
    return xr.Dataset(
        {
            "image": labeled_image(scale * image, voxel_size_um=1.33, t=np.arange(scans)),
            "labels": labeled_image(labels, voxel_size_um=1.33, t=np.arange(scans)),
        }
    )


@pytest.fixture(scope="session")
def cell() -> xr.Dataset:
    return slab_cell((40, 48, 48), scans=4, seed=5)


@pytest.fixture(scope="session")
def make_cell():
    """Makes cells of other shapes and seeds."""
    return slab_cell
