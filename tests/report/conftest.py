"""A small made-up cell and its ledger."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.phases import CELL
from operando.core.quantities import quantity_table

TIMES = [0.0, 2.0, 4.0]


@pytest.fixture(scope="session")
def labels() -> xr.DataArray:
    data = np.zeros((3, 16, 12, 20), dtype=np.uint8)
    data[:, :4] = data[:, 12:] = CELL["electrode"]
    data[1, 4:7] = CELL["deposited"]
    data[1:, 7:11, 4:8, 8:12] = CELL["dendrite"]
    data[2, 12:14, :6] = CELL["redeposited"]
    return labeled_image(data, voxel_size_um=2.0, t=TIMES)


@pytest.fixture(scope="session")
def image(labels: xr.DataArray) -> xr.DataArray:
    gray = np.array([1.0, 0.98, 0.97, 0.97, 0.96, 0.97])[labels.values]
    noise = np.random.default_rng(0).normal(scale=0.01, size=gray.shape)
    return labeled_image((gray + noise).astype(np.float32), voxel_size_um=2.0, t=TIMES, long_name="Gray value")


@pytest.fixture(scope="session")
def current() -> pd.DataFrame:
    return pd.DataFrame({"time_h": [0.0, 2.0, 2.0, 4.0], "current_ma": [0.05, 0.05, -0.05, -0.05]})


@pytest.fixture
def ledger() -> pd.DataFrame:
    volumes = {"electrode": [1.9e6, 1.8e6, 1.85e6], "deposited": [0.0, 2e5, 1e4], "electrolyte": [3e6, 2.9e6, 3e6]}
    rows = [
        {"scan": scan, "t": TIMES[scan], "component": name, "quantity": quantity, "value": value * scale,
         "sigma": 0.01 * value * scale, "unit": unit}
        for name, values in volumes.items()
        for scan, value in enumerate(values)
        for quantity, scale, unit in (("volume", 1.0, "um3"), ("effective thickness", 1e-4, "um"))
    ]  # fmt: skip
    rows += [
        {"scan": scan, "t": TIMES[scan], "component": name, "quantity": "coverage", "value": value, "sigma": 0.01,
         "unit": "1"}
        for name, values in {"electrode": [1, 1, 1], "deposited": [0, 0.9, 0.1]}.items()
        for scan, value in enumerate(values)
    ]  # fmt: skip
    terms = {"plated": (95.0, 30.0), "stripped": (99.0, 98.0), "faraday": (100.0, 100.0), "unaccounted": (5.0, 70.0)}
    rows += [
        {"scan": scan, "t": TIMES[scan], "component": name, "quantity": "balance", "value": values[scan - 1],
         "sigma": 10.0, "unit": "um3"}
        for name, values in terms.items()
        for scan in (1, 2)
    ]  # fmt: skip
    return quantity_table(rows)
