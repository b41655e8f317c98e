"""Principal components against NumPy, lazy against eager, and pixels with gaps."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.spectral import components


def low_rank(rank=3, energies=40, y=20, x=30, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    values = np.einsum("ke,kyx->eyx", random.normal(size=(rank, energies)), random.random((rank, y, x)))
    values += noise * random.normal(size=values.shape)
    return xr.DataArray(
        values, dims=("energy", "y", "x"), coords={"energy": 500 + 0.5 * np.arange(energies)}, attrs={"units": "1"}
    )


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("method", ["covariance", "svd", "randomized"])
def test_components_are_those_of_the_singular_value_decomposition(method, center):
    stack = low_rank(noise=0.05)
    rows = stack.values.reshape(40, -1).T
    rows = rows - center * rows.mean(axis=0)
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    found = components(stack, n=3, method=method, center=center)
    # The sketch meets components that stand far above the noise to three digits or better, not exactly.
    loose = 1e-3 if method == "randomized" else 1e-9
    np.testing.assert_allclose(found["variance"], singular[:3] ** 2 / len(rows), rtol=loose)
    np.testing.assert_allclose(found["explained"], (singular**2)[:3] / (singular**2).sum(), rtol=loose)
    for k in range(3):
        sign = np.sign(found["spectrum"].values[k] @ right[k])
        np.testing.assert_allclose(found["spectrum"].values[k], sign * right[k], atol=30 * loose)
        np.testing.assert_allclose(found["score"].values[k].ravel(), sign * left[:, k] * singular[k], atol=100 * loose)


def test_scores_and_spectra_rebuild_a_stack_of_that_rank():
    stack = low_rank(rank=3)
    found = components(stack, n=3, center=True)
    rebuilt = found["score"].transpose("component", "y", "x").values
    rebuilt = np.einsum("kyx,ke->eyx", rebuilt, found["spectrum"].values) + found["mean"].values[:, None, None]
    np.testing.assert_allclose(rebuilt, stack.values, atol=1e-10)


def test_spectra_are_orthonormal_and_their_largest_value_is_positive():
    spectra = components(low_rank(noise=0.1), n=6)["spectrum"].values
    np.testing.assert_allclose(spectra @ spectra.T, np.eye(6), atol=1e-12)
    assert (np.take_along_axis(spectra, np.abs(spectra).argmax(1)[:, None], 1) > 0).all()


@pytest.mark.parametrize("method", ["covariance", "randomized"])
@pytest.mark.parametrize("chunks", [(1, 20, 30), (40, 7, 8), (13, 20, 5)])
def test_a_lazy_stack_gives_what_the_same_numbers_in_memory_give(chunks, method):
    stack = low_rank(noise=0.1)
    lazy = stack.copy(data=da.from_array(stack.values, chunks=chunks))
    expected, found = (components(each, n=4, method=method) for each in (stack, lazy))
    for name in ("score", "spectrum", "variance"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-9)


def test_a_pixel_with_gaps_gets_the_scores_of_the_energies_it_has():
    stack = low_rank()
    whole = components(stack, n=3)
    gaps = stack.copy(deep=True)
    gaps[5:15, 3, 4] = np.nan
    gaps[:, 0, 0] = np.nan
    gaps[2:, 1, 1] = np.nan
    found = components(gaps, n=3)
    # Three components span the stack whichever pixels they come from; the gaps are filled exactly.
    rebuilt = found["score"].values[:, 3, 4] @ found["spectrum"].values
    np.testing.assert_allclose(rebuilt, stack.values[:, 3, 4], atol=1e-8)
    assert np.isnan(found["score"].values[:, 0, 0]).all()
    assert np.isnan(found["score"].values[:, 1, 1]).all()
    assert found.attrs["pixels"] == whole.attrs["pixels"] - 3


def test_the_mask_decides_which_pixels_count():
    stack = low_rank()
    mask = np.zeros((20, 30), dtype=bool)
    mask[:10] = True
    expected = components(stack[:, :10], n=2)
    found = components(stack, n=2, mask=mask)
    np.testing.assert_allclose(found["variance"], expected["variance"])
    np.testing.assert_allclose(found["score"][:, :10], expected["score"])
    assert np.isnan(found["score"][:, 10:]).all()


def test_a_plain_array_a_line_of_pixels_and_other_orders_of_dims_work():
    stack = low_rank()
    expected = components(stack, n=2)["spectrum"].values
    np.testing.assert_allclose(components(stack.values, n=2)["spectrum"], expected)
    np.testing.assert_allclose(components(stack.transpose("x", "y", "energy"), n=2)["spectrum"], expected)
    deep = stack.expand_dims(z=1).transpose("energy", "z", "y", "x")
    assert components(deep, n=2)["score"].dims == ("component", "z", "y", "x")


def test_errors_name_what_is_wrong():
    stack = low_rank()
    with pytest.raises(InputError, match="Did you mean 'covariance'"):
        components(stack, method="covarianse")
    with pytest.raises(InputError, match="n must be a whole number from 1 to 40, got 41"):
        components(stack, n=41)
    with pytest.raises(InputError, match="needs the number of components"):
        components(stack, method="randomized")
    with pytest.raises(AxesError, match="dims"):
        components(stack.rename(energy="t"))
    with pytest.raises(InputError, match=r"mask must be bool and of the shape \(20, 30\)"):
        components(stack, mask=np.ones((20, 30)))
    with pytest.raises(InputError, match=r"1 of 40 images are NaN everywhere, the first at 502 eV"):
        components(stack.where(stack.energy != 502.0))
    with pytest.raises(InputError, match="the mask leaves no pixel"):
        components(stack, mask=np.zeros((20, 30), dtype=bool))
    with pytest.raises(InputError, match=r"Take abs"):
        components(stack.astype(complex))
