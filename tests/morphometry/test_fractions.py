"""Fractions of phases and their intervals."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError, PhaseError
from operando.morphometry import phase_fractions

PHASES = {"matrix": 0, "grain": 1}


def image(array, dims=("y", "x")):
    return xr.DataArray(np.asarray(array, np.uint8), dims=dims)


def test_fractions_are_shares_of_the_labeled_voxels():
    labels = np.zeros((10, 10), np.uint8)
    labels[:3], labels[9] = 1, 255
    found = phase_fractions(image(labels), PHASES)
    np.testing.assert_allclose(found.fraction, [60 / 90, 30 / 90])
    assert found.voxels.values.tolist() == [60, 30]


def test_the_border_of_a_disk_is_as_long_as_its_circumference():
    rows, columns = np.ogrid[:401, :401]
    disk = ((rows - 200) ** 2 + (columns - 200) ** 2 <= 150**2).astype(np.uint8)
    found = phase_fractions(image(disk), PHASES, border_voxels=1.0)
    assert float(found.border[1]) * disk.size == pytest.approx(2 * np.pi * 150, rel=0.01)


def test_the_border_of_a_ball_is_as_large_as_its_surface():
    grid = np.mgrid[:81, :81, :81] - 40
    ball = ((grid**2).sum(axis=0) <= 30**2).astype(np.uint8)
    found = phase_fractions(image(ball, ("z", "y", "x")), PHASES, border_voxels=1.0)
    assert float(found.border[1]) * ball.size == pytest.approx(4 * np.pi * 30**2, rel=0.02)


def test_a_border_with_unlabeled_voxels_is_none():
    labels = np.full((6, 6), 255, np.uint8)
    labels[2:4, 2:4] = 1
    assert phase_fractions(image(labels), PHASES).border.values.tolist() == [0, 0]


def test_sigma_adds_its_parts_in_quadrature():
    labels = image([[0, 0, 1, 1]] * 4)
    other = image([[0, 1, 1, 1]] * 4)
    probability = xr.DataArray(np.stack([np.full((4, 4), 0.3), np.full((4, 4), 0.7)]), dims=("phase", "y", "x"))
    found = phase_fractions(labels, PHASES, probability=probability.assign_coords(phase=list(PHASES)), other=other)
    np.testing.assert_allclose(found.choice, 0.25)
    np.testing.assert_allclose(found.doubt, 0.2)
    np.testing.assert_allclose(found.sigma**2, found.border**2 + 0.25**2 + 0.2**2)


def test_blocks_and_chunks_change_nothing(monkeypatch):
    labels = image(np.random.default_rng(0).integers(0, 2, (9, 30, 40)), ("z", "y", "x"))
    whole = phase_fractions(labels, PHASES)
    monkeypatch.setattr("operando.morphometry.fractions._BLOCK", (4, 7, 11))
    lazy = labels.copy(data=da.from_array(labels.values, chunks=13))
    xr.testing.assert_identical(phase_fractions(lazy, PHASES), whole)


def test_what_does_not_fit_is_refused():
    labels = image(np.zeros((4, 4)))
    with pytest.raises(AxesError, match="phase_fractions"):
        phase_fractions(labels.expand_dims("t"), PHASES)
    with pytest.raises(PhaseError, match="must be one of"):
        phase_fractions(image(np.full((4, 4), 9)), PHASES)
    with pytest.raises(InputError, match="at least one voxel must be labeled"):
        phase_fractions(image(np.full((4, 4), 255)), PHASES)
    with pytest.raises(InputError, match="other must have the shape"):
        phase_fractions(labels, PHASES, other=image(np.zeros((5, 4))))
