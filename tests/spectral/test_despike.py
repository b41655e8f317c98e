"""Spikes: found, counted, and told from peaks."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.spectral import despike, optical_density


def noisy(seed=0, shape=(20, 30, 30)):
    values = np.random.default_rng(seed).poisson(400.0, size=shape).astype(float)
    return xr.DataArray(values, dims=("energy", "y", "x"), coords={"energy": np.linspace(700.0, 720.0, shape[0])})


def with_spikes(stack, height, seed=1):
    """One spike in every square of five pixels, so that none hides another."""
    y, x = (part.ravel() for part in np.mgrid[2:30:5, 2:30:5])
    e = np.random.default_rng(seed).integers(0, stack.shape[0], y.size)
    spiked = stack.copy(deep=True)
    spiked.values[e, y, x] += height
    return spiked, (e, y, x)


def test_high_spikes_are_taken_out_and_nothing_else():
    spiked, at = with_spikes(noisy(), 600.0)
    found = despike(spiked)
    gone = np.isnan(found.values)
    assert gone[at].mean() > 0.95
    assert found.attrs["spikes"] == gone.sum()
    expected = np.zeros(gone.shape, dtype=bool)
    expected[at] = True
    assert (gone & ~expected).sum() == 0
    np.testing.assert_array_equal(found.values[~gone], spiked.values[~gone])


def test_holes_are_spikes_too():
    spiked, at = with_spikes(noisy(), -390.0)
    assert np.isnan(despike(spiked).values[at]).mean() > 0.95


def test_spikes_are_filled_only_where_asked():
    spiked = noisy()
    spiked.values[5, 10, 10] = 5000.0
    filled = despike(spiked, fill=True)
    assert not filled.isnull().any()
    assert filled.values[5, 10, 10] == pytest.approx(0.5 * (spiked.values[4, 10, 10] + spiked.values[6, 10, 10]))
    assert filled.attrs["spikes"] == 1


def test_the_first_and_last_energies_are_watched():
    for end in (0, -1):
        spiked = noisy()
        spiked.values[end, 10, 10] = 5000.0
        found = despike(spiked)
        assert np.isnan(found.values[end, 10, 10])
        assert found.attrs["spikes"] == 1


def test_energies_out_of_order_are_sorted():
    spiked, at = with_spikes(noisy(), 600.0)
    order = np.random.default_rng(3).permutation(20)
    mixed = despike(spiked[order])
    np.testing.assert_array_equal(np.argsort(order), np.argsort(mixed.energy.values))
    assert np.isnan(mixed[np.argsort(order)].values[at]).mean() > 0.95


def test_the_white_line_of_particles_is_no_spike():
    from operando.samples import stxm_particle

    sample = stxm_particle((64, 64), seed=3006)
    density = optical_density(sample.counts, sample.i0, dark=sample.attrs["dark"])
    assert despike(sample.counts).attrs["spikes"] <= 2e-5 * density.size
    assert despike(density).attrs["spikes"] <= 2e-5 * density.size


def test_chunks_change_nothing():
    spiked, _ = with_spikes(noisy(), 600.0)
    lazy = despike(spiked.chunk({"y": 8, "x": 13, "energy": 7}))
    assert lazy.chunks is not None
    assert lazy.attrs["spikes"] == "not counted: the stack is lazy"
    np.testing.assert_array_equal(lazy.values, despike(spiked).values)


def test_what_is_missing_stays_missing_and_is_not_counted():
    stack = noisy()
    stack.values[3, 4, 5] = np.nan
    found = despike(stack)
    assert found.attrs["spikes"] == 0
    assert np.isnan(found.values).sum() == 1


def test_integers_become_floats():
    assert despike(noisy().astype(np.uint16)).dtype == np.float32


@pytest.mark.parametrize(
    ("stack", "kwargs", "error", "message"),
    [
        (np.ones((2, 4, 4)), {}, InputError, "at least three energies are needed to tell a spike, got 2"),
        (np.ones((3, 4, 4)), {"threshold": 0.0}, InputError, "threshold must be positive, got 0.0"),
        (np.ones((3, 2, 4, 4)), {}, InputError, "one section at a time"),
        (xr.DataArray(np.ones((3, 4)), dims=("y", "x")), {}, AxesError, "must have the dims"),
    ],
)
def test_what_cannot_be_used_is_refused(stack, kwargs, error, message):
    with pytest.raises(error, match=message):
        despike(stack, **kwargs)


def test_values_beside_a_missing_one_are_no_spikes_where_the_spectrum_bends():
    # A sharp peak in every pixel: the neighbors of a gap cannot be told from a line that is not known.
    stack = noisy()
    stack[9] += 500.0
    stack[10, 15, 15] = np.nan
    found = despike(stack)
    assert found.attrs["spikes"] == 0
    np.testing.assert_array_equal(np.isnan(found), np.isnan(stack))
    assert np.isnan(despike(stack, fill=True)[10, 15, 15])
