"""HDF5 by standard, by path, and by what lies beside a data set."""

import h5py
import numpy as np
import pytest

from operando.core.axes import labeled_image, spacing
from operando.core.errors import FileError, InputError
from operando.io import describe, open_image, save_image

VALUES = np.random.default_rng(0).random((5, 12, 10), dtype="float32")


def test_nexus_is_followed_by_default_signal_and_axes(tmp_path):
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file.attrs["default"] = "scan1"
        entry = file.create_group("scan1")
        entry.attrs.update({"NX_class": "NXentry", "default": "plot"})
        entry["decoy"] = np.zeros((50, 50))
        data = entry.create_group("plot")
        data.attrs.update({"NX_class": "NXdata", "signal": "absorbance", "axes": ["energy", "row", "column"]})
        data["absorbance"] = VALUES
        data["absorbance"].attrs["units"] = "a.u."
        data["energy"] = np.linspace(8.3, 8.4, 5)
        data["energy"].attrs["units"] = "keV"
        for name, step, size in (("row", 2e-6, 12), ("column", 1e-6, 10)):
            data[name] = step * np.arange(size)
            data[name].attrs["units"] = "m"
    image = open_image(tmp_path / "a.nxs")
    assert image.dims == ("energy", "y", "x")
    assert image.name == "absorbance"
    assert image.attrs["units"] == "a.u."
    assert image.energy.attrs["units"] == "eV"
    np.testing.assert_allclose(image.energy, np.linspace(8300, 8400, 5), rtol=1e-12)
    assert spacing(image) == pytest.approx({"y": 2.0, "x": 1.0})
    np.testing.assert_array_equal(image.values, VALUES)


def test_data_exchange_projections_have_their_angles(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("exchange")
        group["data"] = VALUES
        group["data"].attrs.update({"units": "counts", "axes": "theta:y:x"})
        group["data_white"] = VALUES[:2]
        group["data_dark"] = VALUES[:2]
        group["theta"] = np.linspace(0, 180, 5)
    image = open_image(tmp_path / "a.h5")
    assert image.dims == ("angle", "detector_y", "detector_x")
    assert image.attrs["units"] == "counts"
    assert image.angle.attrs["units"] == "deg"
    assert float(image.angle[-1]) == 180
    roles = {d["path"]: d["role"] for d in describe(tmp_path / "a.h5")["datasets"]}
    assert "flat field" in roles["/exchange/data_white"]
    assert open_image(f"{tmp_path / 'a.h5'}#/exchange/data_white").shape == (2, 12, 10)


def test_a_reconstruction_in_data_exchange_is_a_volume(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = VALUES
        file["exchange/data"].attrs["axes"] = "z:y:x"
    assert open_image(tmp_path / "a.h5").dims == ("z", "y", "x")


def test_several_images_are_listed_and_one_is_opened_by_path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/inside/one"] = VALUES
        file["two"] = VALUES[0]
        file["table"] = np.zeros((5, 2))
    with pytest.raises(FileError, match=r"2 images.*/deep/inside/one \(5, 12, 10\) float32.*/two \(12, 10\)"):
        open_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(open_image(f"{tmp_path / 'a.h5'}#deep/inside/one").values, VALUES)
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5", dataset="/two").values, VALUES[0])
    about = describe(tmp_path / "a.h5")
    assert about["shape"] is None
    assert [d["path"] for d in about["datasets"]] == ["/deep/inside/one", "/table", "/two"]


def test_a_wrong_path_suggests_the_nearest(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/volume"] = VALUES
    with pytest.raises(FileError, match="Did you mean '/entry/volume'"):
        open_image(f"{tmp_path / 'a.h5'}#/entry/volum")
    with pytest.raises(FileError, match="is a group"):
        open_image(f"{tmp_path / 'a.h5'}#/entry")
    with pytest.raises(InputError, match="must be the same"):
        open_image(f"{tmp_path / 'a.h5'}#/entry", dataset="/other")


def test_coordinates_beside_a_data_set_are_used_where_their_lengths_match(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["counts"] = VALUES
        file["energy_eV"] = np.arange(700.0, 705.0)
        file["x_um"] = 0.25 * np.arange(10)
        file["y_um"] = 0.5 * np.arange(99)
    image = open_image(tmp_path / "a.h5")
    assert image.dims == ("energy", "y", "x")
    assert image.energy.attrs["units"] == "eV"
    assert image.x.attrs["spacing"] == 0.25
    assert image.y.attrs["units"] == "px"


def test_a_voxel_size_in_the_attributes_is_used(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = VALUES
        file["a"].attrs["voxel_size_um"] = [3.0, 2.0, 1.0]
    assert spacing(open_image(tmp_path / "a.h5")) == {"z": 3.0, "y": 2.0, "x": 1.0}


def test_complex_values_are_kept(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/image_1/data"] = VALUES[0] + 1j * VALUES[1]
        file["cxi_version"] = 160
        file["entry_1/data_1/data"] = VALUES
    image = open_image(tmp_path / "a.cxi")
    assert image.dtype == np.complex64
    np.testing.assert_array_equal(image.values, (VALUES[0] + 1j * VALUES[1]).astype("complex64"))


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": (2, 5, 3)}, {"fletcher32": True}])
def test_blocks_read_in_threads_equal_the_whole(options, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=VALUES, **options)
    image = open_image(tmp_path / "a.h5").chunk({"z": 1, "y": 5})
    np.testing.assert_array_equal(image.compute(scheduler="threads", num_workers=4).values, VALUES)


def test_chunks_that_were_never_written_are_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", shape=(10, 8, 8), chunks=(1, 8, 8), dtype="uint16")
        data[:3] = 5
    assert any("7 of 10 chunks were never written" in s for s in describe(tmp_path / "a.h5")["missing"])


def test_a_virtual_data_set_without_its_source_is_an_error_and_not_zeros(tmp_path):
    layout = h5py.VirtualLayout(shape=(5, 12, 10), dtype="float32")
    layout[:] = h5py.VirtualSource("source.h5", "a", shape=(5, 12, 10))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("a", layout)
    with pytest.raises(FileError, match=r"source\.h5, which is not there"):
        open_image(tmp_path / "a.h5")
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["a"] = VALUES
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5").values, VALUES)


def test_a_file_of_spectra_holds_no_image(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["energy"] = np.arange(9.0)
        file["mu"] = np.arange(9.0)
    with pytest.raises(FileError, match=r"holds no image.*/mu \(9,\)"):
        open_image(tmp_path / "a.h5")


def test_a_written_file_is_plain_nexus_for_others(tmp_path):
    image = labeled_image(VALUES, voxel_size_um=(3, 2, 1), long_name="Attenuation", units="1/cm")
    save_image(image, tmp_path / "a.nxs")
    with h5py.File(tmp_path / "a.nxs", "r") as file:
        group = file["entry/image"]
        assert group.attrs["NX_class"] == "NXdata"
        assert group.attrs["signal"] == "data"
        assert list(group.attrs["axes"]) == ["z", "y", "x"]
        assert group["z"].attrs["units"] == "um"
        np.testing.assert_allclose(group["z"], [0, 3, 6, 9, 12])
        np.testing.assert_array_equal(group["data"], VALUES)


def test_our_file_stripped_of_our_record_still_gives_axes_and_voxel_size(tmp_path):
    save_image(labeled_image(VALUES, voxel_size_um=(3, 2, 1)), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["entry/image/data"].attrs["operando"]
    image = open_image(tmp_path / "a.h5")
    assert image.dims == ("z", "y", "x")
    assert spacing(image) == {"z": 3.0, "y": 2.0, "x": 1.0}
