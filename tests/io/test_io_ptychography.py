"""Complex images of CXI, PtyPy and xanespy with their pixel size and energy."""

import h5py
import numpy as np
import pytest

from operando.core.axes import spacing
from operando.io import describe, open_image, save_image

RNG = np.random.default_rng(9)
IMAGE = (RNG.normal(size=(6, 8)) + 1j * RNG.normal(size=(6, 8))).astype("complex64")
EV = 1.602176634e-19


def cxi(path, **fields):
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/image_1/data"] = IMAGE
        for name, value in fields.items():
            file[f"entry_1/{name.replace('__', '/')}"] = value
    return path


def test_the_energy_of_a_cxi_file_comes_in_ev(tmp_path):
    image = open_image(cxi(tmp_path / "a.cxi", instrument_1__source_1__energy=855.9 * EV))
    assert image.dtype == np.complex64
    np.testing.assert_array_equal(image.values, IMAGE)
    assert float(image.energy) == pytest.approx(855.9, rel=1e-8)
    assert image.energy.attrs["units"] == "eV"
    assert image.x.attrs["units"] == "px"


def test_the_pixel_is_wavelength_times_distance_by_the_width_of_the_detector(tmp_path):
    # 1239.84198 eV is 1 nm; 0.1 m away, 0.02 m wide and 0.04 m high: 5 nm and 2.5 nm.
    path = cxi(
        tmp_path / "a.cxi",
        instrument_1__source_1__energy=1239.84198 * EV,
        instrument_1__detector_1__corner_position=[0.01, 0.02, 0.1],
    )
    assert spacing(open_image(path)) == pytest.approx({"y": 0.0025, "x": 0.005}, rel=1e-6)
    assert any("derived from the detector" in s for s in describe(path)["missing"])


def test_the_width_follows_from_pitch_and_number_of_detector_pixels(tmp_path):
    path = cxi(
        tmp_path / "a.cxi",
        instrument_1__source_1__energy=1239.84198 * EV,
        instrument_1__detector_1__distance=0.1,
        instrument_1__detector_1__x_pixel_size=1e-4,
        instrument_1__detector_1__y_pixel_size=1e-4,
        instrument_1__detector_1__data=np.zeros((2, 200, 100), "uint8"),
    )
    assert spacing(open_image(path)) == pytest.approx({"y": 0.005, "x": 0.01}, rel=1e-6)


def test_a_size_that_the_image_states_wins(tmp_path):
    path = cxi(
        tmp_path / "a.cxi",
        instrument_1__source_1__energy=1239.84198 * EV,
        instrument_1__detector_1__corner_position=[0.01, 0.02, 0.1],
        image_1__image_size=[8e-6, 12e-6, 0.0],
    )
    assert spacing(open_image(path)) == pytest.approx({"y": 2.0, "x": 1.0}, rel=1e-6)


def test_a_ptypy_result_has_its_object_pixel_and_energy(tmp_path):
    with h5py.File(tmp_path / "a.ptyr", "w") as file:
        for kind in ("obj", "probe"):
            group = file.create_group(f"content/{kind}/Sscan00G00")
            group["data"] = IMAGE[None] * (1 if kind == "obj" else 2)
            group["_psize"] = [5e-9, 6e-9]
            group["_energy"] = 0.8559
    image = open_image(tmp_path / "a.ptyr")
    assert image.dims == ("y", "x")
    np.testing.assert_array_equal(image.values, IMAGE)
    assert spacing(image) == pytest.approx({"y": 0.005, "x": 0.006})
    assert float(image.energy) == pytest.approx(855.9)
    probe = open_image(tmp_path / "a.ptyr", dataset="/content/probe/Sscan00G00/data")
    np.testing.assert_array_equal(probe.values, IMAGE * 2)


def test_modes_of_a_ptypy_object_are_components(tmp_path):
    with h5py.File(tmp_path / "a.ptyr", "w") as file:
        file["content/obj/S0/data"] = np.stack([IMAGE, IMAGE])
    assert open_image(tmp_path / "a.ptyr").dims == ("component", "y", "x")
    assert any("pixel size is not in the file" in s for s in describe(tmp_path / "a.ptyr")["missing"])


def xanespy(path, *, steps=1, sizes=4.16667):
    with h5py.File(path, "w") as file:
        group = file.create_group("NS/imported")
        group["intensities"] = np.stack([[IMAGE, IMAGE * 2]] * steps)
        group["energies"] = np.float32([[843.907, 847.9065]] * steps)
        group["pixel_sizes"] = np.full((steps, 2), sizes)
        group["pixel_sizes"].attrs["unit"] = "nm"
    return f"{path}#/NS/imported/intensities"


def test_a_frameset_of_xanespy_has_its_neighbors_as_axes(tmp_path):
    image = open_image(xanespy(tmp_path / "a.h5"))
    assert image.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(image.energy, [843.907, 847.9065])
    assert spacing(image) == pytest.approx({"y": 0.00416667, "x": 0.00416667})
    several = open_image(xanespy(tmp_path / "b.h5", steps=3))
    assert several.dims == ("t", "energy", "y", "x")
    named = open_image(f"{tmp_path / 'a.h5'}#/NS/imported/intensities", dims=("t", "energy", "y", "x"))
    assert named.shape == (1, 2, 6, 8)


@pytest.mark.parametrize("suffix", [".nxs", ".zarr"])
def test_a_complex_stack_is_saved_and_comes_back(suffix, tmp_path):
    image = open_image(xanespy(tmp_path / "a.h5"))
    back = open_image(save_image(image, tmp_path / f"b{suffix}"))
    assert back.dtype == np.complex64
    np.testing.assert_array_equal(back.values, image.values)
    np.testing.assert_array_equal(back.energy, image.energy)
    np.testing.assert_array_equal(back.x, image.x)


def test_the_real_files_have_their_pixel_size_and_energies(data_folder):
    folder = data_folder / "als-ptycho-stxm-ni-l"
    image = open_image(folder / "cosmic/ptycho-scan-856eV.cxi")
    assert float(image.energy) == pytest.approx(855.9, abs=0.05)
    assert spacing(image)["x"] == pytest.approx(0.006, rel=0.01)
    for name in ("low", "high"):
        path = folder / f"NS_160406074-{name}-energy_testdata.h5"
        stack = open_image(f"{path}#/NS_160406074/imported/intensities")
        assert (stack.dims, stack.shape, stack.dtype) == (("energy", "y", "x"), (2, 228, 228), np.complex64)
        np.testing.assert_allclose(stack.energy, [843.9, 847.9], atol=0.01)
        assert spacing(stack)["y"] == pytest.approx(0.00416667, rel=1e-5)
