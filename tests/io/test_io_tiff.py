"""TIFF in the dresses in which other programs write it."""

import numpy as np
import pytest
import tifffile

from operando.core.axes import labeled_image, spacing
from operando.core.errors import AxesError, FileError, InputError, UnitsError
from operando.io import describe, open_image, save_image
from operando.io.tiff import natural_key

VALUES = np.random.default_rng(0).integers(0, 2000, size=(6, 30, 20)).astype("uint16")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}, {"predictor": True}])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_way_of_storing_pages_gives_the_same_values(compression, layout, byteorder, tmp_path):
    if layout.get("predictor") and compression in (None, "packbits"):
        layout = {}
    tifffile.imwrite(tmp_path / "a.tif", VALUES, compression=compression, byteorder=byteorder, **layout)
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("z", "y", "x")
    np.testing.assert_array_equal(image.values, VALUES)
    np.testing.assert_array_equal(image[1:3, 5:28:3, ::-2].values, VALUES[1:3, 5:28:3, ::-2])


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "uint32", "int64", "float16", "float32", "float64"]
)
def test_every_type_of_values_is_kept(dtype, tmp_path):
    values = VALUES.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    image = open_image(tmp_path / "a.tif")
    assert image.dtype == dtype
    np.testing.assert_array_equal(image.values, values)


def test_pages_written_one_by_one_are_one_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as writer:
        for page in VALUES:
            writer.write(page, contiguous=False, metadata=None, compression="zlib")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").values, VALUES)


def test_imagej_voxel_size_and_axes_are_used(tmp_path):
    values = VALUES.reshape(2, 3, 30, 20)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        imagej=True,
        resolution=(1 / 0.65, 1 / 1.3),
        metadata={"axes": "TZYX", "spacing": 2.5, "unit": "um", "finterval": 1800.0},
    )
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("t", "z", "y", "x")
    assert spacing(image) == pytest.approx({"z": 2.5, "y": 1.3, "x": 0.65}, rel=1e-6)
    np.testing.assert_allclose(image.t, [0, 0.5])
    assert image.t.attrs["units"] == "h"
    np.testing.assert_array_equal(image.values, values)


@pytest.mark.parametrize("unit", ["micron", "\\u00B5m", "um", "microns"])
def test_imagej_spells_micrometers_in_many_ways(unit, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES[0], imagej=True, resolution=(2, 2), metadata={"unit": unit})
    assert spacing(open_image(tmp_path / "a.tif")) == pytest.approx({"y": 0.5, "x": 0.5})


def test_imagej_channels_after_slices_come_in_canonical_order(tmp_path):
    values = np.arange(2 * 3 * 4 * 5, dtype="uint8").reshape(2, 3, 4, 5)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "ZCYX"})
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("channel", "z", "y", "x")
    np.testing.assert_array_equal(image.values, values.transpose(1, 0, 2, 3))


def test_imagej_without_slice_distance_leaves_z_unknown_and_says_so(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "um"})
    image = open_image(tmp_path / "a.tif")
    assert image.z.attrs["units"] == "px"
    assert image.x.attrs["units"] == "um"
    assert any("between slices" in sentence for sentence in describe(tmp_path / "a.tif")["missing"])
    with pytest.raises(UnitsError, match="'z'"):
        spacing(image)


def test_ome_sizes_units_and_channels_are_used(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        VALUES.reshape(2, 3, 30, 20),
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 650,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.65,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 0.002,
            "PhysicalSizeZUnit": "mm",
            "Channel": {"Name": ["absorption", "phase"]},
        },
    )
    image = open_image(tmp_path / "a.ome.tif")
    assert image.dims == ("channel", "z", "y", "x")
    assert spacing(image) == pytest.approx({"z": 2.0, "y": 0.65, "x": 0.65})
    assert image.channel.values.tolist() == ["absorption", "phase"]


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((72, 72), "INCH", None),
        ((96, 96), "INCH", None),
        ((1, 1), "NONE", None),
        ((118.11, 118.11), "CENTIMETER", None),
    ],
)
def test_the_defaults_of_drawing_programs_are_no_calibration(resolution, unit, expected, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES[0], resolution=resolution, resolutionunit=unit, metadata=None)
    assert open_image(tmp_path / "a.tif").x.attrs["units"] == "px"


def test_a_real_resolution_in_pixels_per_centimeter_is_used(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES[0], resolution=(1e4 / 1.33, 1e4 / 2.66), resolutionunit="CENTIMETER")
    assert spacing(open_image(tmp_path / "a.tif")) == pytest.approx({"y": 2.66, "x": 1.33}, rel=1e-6)


def test_color_samples_become_a_channel_in_front(tmp_path):
    values = np.random.default_rng(1).integers(0, 255, (12, 10, 3), dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", compression="zlib")
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("channel", "y", "x")
    np.testing.assert_array_equal(image.values, np.moveaxis(values, -1, 0))


def test_a_written_stack_is_read_by_other_programs_with_its_voxel_size(tmp_path):
    image = labeled_image(VALUES, voxel_size_um=(3, 2, 1.5), name="cell")
    save_image(image, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tif.asarray(), VALUES)
        text = tif.ome_metadata
    assert 'PhysicalSizeZ="3.0"' in text
    assert 'PhysicalSizeY="2.0"' in text
    assert 'PhysicalSizeX="1.5"' in text


def test_the_voxel_size_given_replaces_the_one_stored(tmp_path):
    path = save_image(labeled_image(VALUES, voxel_size_um=1.0), tmp_path / "a.tif")
    assert spacing(open_image(path, voxel_size_um=33.97))["z"] == 33.97
    assert spacing(open_image(path, voxel_size_um=(3, 2, 1))) == {"z": 3.0, "y": 2.0, "x": 1.0}
    with pytest.raises(UnitsError, match="one per spatial dim"):
        open_image(path, voxel_size_um=(1, 2))


def test_dims_given_in_the_order_of_the_file_are_brought_into_ours(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    image = open_image(tmp_path / "a.tif", dims=("x", "z", "y"))
    assert image.dims == ("z", "y", "x")
    np.testing.assert_array_equal(image.values, VALUES.transpose(1, 2, 0))
    with pytest.raises(AxesError, match=r"Did you mean 'z'|must be from"):
        open_image(tmp_path / "a.tif", dims=("zz", "y", "x"))
    with pytest.raises(AxesError, match="each of the 3 axes"):
        open_image(tmp_path / "a.tif", dims=("y", "x"))


def test_slices_of_a_folder_are_sorted_as_people_count(tmp_path):
    for number in (1, 2, 9, 10, 11):
        tifffile.imwrite(tmp_path / f"slice_{number}.tif", np.full((6, 5), number, "uint8"))
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "._slice_1.tif").write_bytes(b"left by a Mac")
    image = open_image(tmp_path, voxel_size_um=2.0)
    assert image.shape == (5, 6, 5)
    assert image[:, 0, 0].values.tolist() == [1, 2, 9, 10, 11]
    assert natural_key("a10") > natural_key("a9")


def test_a_jump_in_the_numbers_of_slices_is_told(tmp_path):
    for number in (1, 2, 3, 7, 8):
        tifffile.imwrite(tmp_path / f"s{number:04d}.tif", np.zeros((6, 5), "uint8"))
    assert any("jump from 3 to 7" in sentence for sentence in describe(tmp_path)["missing"])


def test_the_odd_slice_of_a_folder_is_named(tmp_path):
    for number in range(4):
        tifffile.imwrite(tmp_path / f"s{number}.tif", np.zeros((6, 5 + (number == 2)), "uint8"))
    with pytest.raises(FileError, match=r"s2\.tif.*6 x 6 uint8.*s0\.tif is 6 x 5"):
        open_image(tmp_path)


def test_a_slice_of_another_type_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "s0.tif", np.zeros((6, 5), "uint8"))
    tifffile.imwrite(tmp_path / "s1.tif", np.zeros((6, 5), "uint16"))
    with pytest.raises(FileError, match=r"s1\.tif.*uint16"):
        open_image(tmp_path)


def test_opening_reads_no_pixels_and_a_slice_reads_only_its_page(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, compression="zlib")
    from operando.io.tiff import TiffPages

    read = []
    original = TiffPages._read_page
    monkeypatch.setattr(TiffPages, "_read_page", lambda self, n, inner: read.append(n) or original(self, n, inner))
    image = open_image(tmp_path / "a.tif")
    describe(tmp_path / "a.tif")
    assert read == []
    image.isel(z=2).compute()
    assert read == [2]


def test_only_the_strips_that_are_needed_are_decoded(tmp_path):
    values = np.arange(64 * 8, dtype="uint16").reshape(1, 64, 8)
    tifffile.imwrite(tmp_path / "a.tif", values, compression="zlib", rowsperstrip=8, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offset = tif.pages[0].dataoffsets[6]
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    raw[offset : offset + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.tif").write_bytes(raw)
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.isel(y=slice(3, 48)).values, values[0, 3:48])
    with pytest.raises(FileError, match="page 0 cannot be decoded"):
        image.isel(y=50).compute()


def test_several_images_in_one_file_are_listed_and_can_be_chosen(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((4, 6), "uint8"), metadata=None)
        writer.write(np.ones((5, 7), "uint8"), metadata=None)
    with pytest.raises(FileError, match=r"page 1 is 5 x 7 and page 0 is 4 x 6.*dataset='0'"):
        open_image(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif", dataset="1").shape == (5, 7)
    assert [d["shape"] for d in describe(tmp_path / "a.tif")["datasets"]] == [[4, 6], [5, 7]]
    with pytest.raises(InputError, match="number of one"):
        open_image(tmp_path / "a.tif", dataset="7")


def test_a_large_imagej_stack_with_one_header_is_read_whole(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, imagej=True, truncate=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 1
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").values, VALUES)
    raw = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(raw[:-2000])
    with pytest.raises(FileError, match="Pages are missing"):
        open_image(tmp_path / "a.tif")
