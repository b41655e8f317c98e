import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError, UnitsError
from operando.electrochemistry import charge_of_volume, lithium_volume

UM3_PER_MAH = 1e12 / (3860 * 0.534)


def test_one_mah_per_square_centimeter_is_4_8514_um():
    assert lithium_volume(1.0) / 1e8 == pytest.approx(4.8514, abs=5e-5)


def test_a_segment_of_huang_is_8_350e6_um3_in_the_region_of_interest():
    # 1.5 mA/cm2 for 10 min over 1707 x 2280 voxels of 1.33 um.
    area_cm2 = 1707 * 2280 * 1.33**2 * 1e-8
    assert lithium_volume(1.5 * area_cm2 / 6) == pytest.approx(8.350e6, rel=1e-4)


def test_molar_volume_gives_the_same_within_half_a_permille():
    faraday_mah = 96485.33 / 3.6
    assert lithium_volume(faraday_mah) / 1e12 == pytest.approx(12.998, rel=5e-4)


@pytest.mark.parametrize("value", [0.0, -2.5, np.array([1.0, -3.0])])
def test_charge_and_volume_are_inverse_and_keep_sign(value):
    np.testing.assert_allclose(charge_of_volume(lithium_volume(value)), value, rtol=1e-14)
    assert np.all(np.sign(lithium_volume(value)) == np.sign(value))


def test_an_array_keeps_coordinates_and_changes_unit():
    charge = xr.DataArray([1.0, 2.0], dims="t", coords={"t": [0.0, 0.5]}, attrs={"units": "mAh"})
    volume = lithium_volume(charge)
    assert volume.attrs["units"] == "um3"
    assert volume["t"].values.tolist() == [0.0, 0.5]
    np.testing.assert_allclose(volume, UM3_PER_MAH * np.array([1.0, 2.0]))


def test_an_array_in_coulombs_is_converted():
    charge = xr.DataArray([3.6], dims="t", attrs={"units": "C"})
    np.testing.assert_allclose(lithium_volume(charge), UM3_PER_MAH)
    with pytest.raises(UnitsError, match="charge"):
        lithium_volume(charge.assign_attrs(units="V"))


def test_constants_can_be_replaced_and_are_checked():
    assert lithium_volume(1.0, specific_capacity_mah_g=1000.0, density_g_cm3=1.0) == pytest.approx(1e9)
    with pytest.raises(InputError, match=r"density_g_cm3 must be a positive number, got 0"):
        lithium_volume(1.0, density_g_cm3=0)
    with pytest.raises(InputError, match="specific_capacity_mah_g"):
        charge_of_volume(1.0, specific_capacity_mah_g=float("nan"))
