"""Simulated spectro-tomography: projections follow from the volume."""

import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import InputError


@pytest.fixture(scope="module", params=["core-shell", "wavefront", "mosaic"])
def scan(request) -> xr.Dataset:
    return samples.stxm_tomography((12, 24, 24), n_angles=8, n_particles=3, kind=request.param, seed=3200)


def test_the_dataset_holds_what_is_promised(scan):
    beam, volume = ("energy", "angle", "detector_y", "detector_x"), ("z", "y", "x")
    dims = {
        "projections": beam,
        "optical_density": beam,
        "weight": ("component", *volume),
        "particles": volume,
        "lithiation": volume,
        "references": ("component", "energy"),
        "i0": ("energy",),
        "rotation_axis": (),
    }
    assert {name: scan[name].dims for name in dims} == dims
    assert scan.angle.values.tolist() == [0.0, 22.5, 45.0, 67.5, 90.0, 112.5, 135.0, 157.5]
    assert scan.angle.attrs["units"] == "deg"
    assert float(scan.rotation_axis) == 11.5
    assert (scan.weight.attrs["units"], scan.references.attrs["units"]) == ("1", "um-1")
    assert scan.attrs["simulated"] is True


def test_shares_of_a_voxel_add_up_to_what_is_filled(scan):
    total = scan.weight.sum("component")
    assert float(scan.weight.min()) >= 0
    assert float(total.max()) <= 1 + 1e-12
    np.testing.assert_array_equal(scan.particles > 0, total >= 0.5 - 1e-12)
    content = (scan.weight * scan.stoichiometry).sum("component") / total
    xr.testing.assert_allclose(scan.lithiation, content.where(scan.particles > 0))


def test_projections_at_a_right_angle_are_sums_along_the_rays(scan):
    absorption = (scan.weight * scan.references).sum("component") * 0.02
    ahead = scan.optical_density.sel(angle=0.0).values
    # At 0 degrees rays run along y and x is seen as it is, at 90 degrees along x and y is seen mirrored.
    expected = absorption.sum("y").transpose("energy", "z", "x").values
    np.testing.assert_allclose(ahead, expected, atol=2e-6)
    aside = scan.optical_density.sel(angle=90.0).values
    expected = absorption.sum("x").transpose("energy", "z", "y").values[:, :, ::-1]
    np.testing.assert_allclose(aside, expected, atol=2e-6)


def test_every_angle_shows_the_same_amount(scan):
    amount = scan.optical_density.sum(("detector_y", "detector_x"))
    np.testing.assert_allclose(amount, np.broadcast_to(amount.isel(angle=[0]), amount.shape), rtol=1e-5)


def test_counts_scatter_about_the_transmission():
    made = samples.stxm_tomography((12, 24, 24), n_angles=20, n_particles=3, seed=3201, i0_counts=1e4)
    light = (made.i0 - made.attrs["dark"]) * np.exp(-made.optical_density)
    # Averaged transmission is larger than that of the averaged optical density, by little.
    score = (made.projections - light - made.attrs["dark"]) / np.sqrt(light + made.attrs["dark"])
    assert 0 <= float(score.mean()) < 0.2
    assert 0.95 < float(score.std()) < 1.2


def test_angles_may_be_given():
    made = samples.stxm_tomography((8, 16, 16), angles=[-10.0, 25.0], n_particles=1, energies=[518.5])
    assert made.angle.values.tolist() == [-10.0, 25.0]
    assert made.projections.shape == (1, 2, 8, 16)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    first, again, other = (samples.stxm_tomography((8, 16, 16), n_angles=2, seed=s) for s in (3202, 3202, 3203))
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first.projections, other.projections)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"shape": (32, 48, 40)}, "y and x alike"),
        ({"kind": "core shell"}, "Did you mean 'core-shell'"),
        ({"angles": []}, "at least one finite angle"),
        ({"n_angles": 0}, "at least one finite angle"),
        ({"voxel_um": 0.0}, "'voxel_um': 0.0"),
        ({"phases": ["beta"]}, "no phase 'beta'"),
    ],
)
def test_what_cannot_be_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        samples.stxm_tomography(**words)
