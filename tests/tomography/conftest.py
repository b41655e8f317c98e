"""A phantom that several tests look at."""

import numpy as np
import pytest
import xarray as xr

from operando import samples


@pytest.fixture(scope="session")
def phantom() -> xr.Dataset:
    """Ten ellipsoids in 6 slices of 96 voxels, the axis 2.3 pixels off the middle; do not change it."""
    return samples.ellipsoids((6, 96, 96), angles=np.linspace(0, 180, 145), rotation_axis=49.8, supersampling=3)


@pytest.fixture(scope="session")
def noisy(phantom) -> xr.DataArray:
    """Its line integrals with a noise of 2 % of the largest."""
    rng = np.random.default_rng(1)
    lines = phantom.projections
    noise = 0.02 * float(lines.max()) * rng.standard_normal(lines.shape)
    return lines.copy(data=(lines.values + noise).astype(np.float32))
