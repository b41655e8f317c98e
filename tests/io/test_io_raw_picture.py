"""Raw values with a sidecar, and pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from operando.core.axes import spacing
from operando.core.errors import FileError
from operando.io import describe, open_image

VALUES = np.random.default_rng(0).integers(0, 2000, size=(4, 6, 5)).astype("uint16")


def _raw(folder, values=VALUES, *, order="<", before=0, **about):
    (folder / "a.raw").write_bytes(b"\0" * before + values.astype(values.dtype.newbyteorder(order)).tobytes())
    (folder / "a.json").write_text(json.dumps({"shape": values.shape, "dtype": values.dtype.name, **about}))
    return folder / "a.raw"


@pytest.mark.parametrize(("order", "word"), [("<", "little"), (">", "big")])
@pytest.mark.parametrize("before", [0, 13])
def test_byte_order_and_offset_are_kept(order, word, before, tmp_path):
    path = _raw(tmp_path, order=order, before=before, offset=before, byte_order=word, voxel_size_um=[3, 2, 1])
    image = open_image(path)
    assert spacing(image) == {"z": 3.0, "y": 2.0, "x": 1.0}
    np.testing.assert_array_equal(image.values, VALUES)
    assert image.dtype == np.uint16


def test_a_size_that_does_not_fit_names_both_numbers(tmp_path):
    path = _raw(tmp_path, shape=(4, 6, 6))
    with pytest.raises(FileError, match=r"4 x 6 x 6 values of uint16 take 288 bytes, but the file has 240"):
        open_image(path)


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"shape": [4, -6, 5]}, "shape must be"),
        ({"shape": "all"}, "shape must be"),
        ({"dtype": "object"}, "dtype must be"),
        ({"dtype": "unit16"}, "dtype must be"),
        ({"byte_order": "middle"}, "byte_order must be"),
        ({"voxel_size_um": -1}, "voxel_size_um one positive"),
        ({"voxel_size_um": "small"}, "must be numbers"),
        ({"dims": ["y", "x"]}, "dims must name"),
        ({"offset": -5}, "offset must not"),
    ],
)
def test_a_wrong_sidecar_says_what_is_wrong(about, expected, tmp_path):
    path = _raw(tmp_path, **about)
    with pytest.raises(FileError, match=expected):
        open_image(path)


def test_raw_values_without_a_sidecar_say_what_to_write(tmp_path):
    (tmp_path / "scan.raw").write_bytes(b"\0" * 240)
    with pytest.raises(FileError, match=r'write scan\.json beside it, such as \{"shape".*240 bytes'):
        open_image(tmp_path / "scan.raw")


def test_a_broken_sidecar_is_one_sentence(tmp_path):
    path = _raw(tmp_path)
    (tmp_path / "a.json").write_text("{shape: ")
    with pytest.raises(FileError, match="not valid JSON"):
        open_image(path)


@pytest.mark.parametrize("named", ["a.vol", "a.mhd"])
def test_sidecars_of_other_programs_are_read(named, tmp_path):
    values = VALUES.astype("float32")
    (tmp_path / "a.vol").write_bytes(values.astype("<f4").tobytes())
    if named == "a.vol":
        (tmp_path / "a.vol.info").write_text(
            "! PyHST_SLAVE VOLUME INFO FILE\nNUM_X = 5\nNUM_Y = 6\nNUM_Z = 4\nvoxelSize = 1.330000\n"
            "BYTEORDER = LOWBYTEFIRST\n"
        )
    else:
        (tmp_path / "a.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 5 6 4\nElementSpacing = 0.1 0.1 0.2\n"
            "ElementType = MET_FLOAT\nElementDataFile = a.vol\n"
        )
    image = open_image(tmp_path / named)
    assert image.shape == (4, 6, 5)
    np.testing.assert_array_equal(image.values, values)
    if named == "a.vol":
        assert spacing(image)["x"] == 1.33
    else:
        assert any("without a unit" in s for s in describe(tmp_path / named)["missing"])


def test_a_metaimage_with_its_values_inside_is_read(tmp_path):
    head = b"NDims = 2\nDimSize = 5 6\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(head + VALUES[0].astype("<u2").tobytes())
    np.testing.assert_array_equal(open_image(tmp_path / "a.mha").values, VALUES[0])


@pytest.mark.parametrize(("mode", "dtype"), [("L", "uint8"), ("I;16", "uint16"), ("1", "bool")])
def test_gray_pictures_are_planes(mode, dtype, tmp_path):
    values = (VALUES[0] % 2 if mode == "1" else VALUES[0] % 256).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png", voxel_size_um=0.5)
    assert image.dims == ("y", "x")
    assert image.dtype == dtype
    np.testing.assert_array_equal(image.values, values)


def test_color_pictures_have_a_channel_dim(tmp_path):
    values = np.random.default_rng(1).integers(0, 255, (6, 5, 3), dtype="uint8")
    Image.fromarray(values).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png")
    assert image.dims == ("channel", "y", "x")
    np.testing.assert_array_equal(image.sel(channel="green").values, values[..., 1])


def test_a_picture_without_its_end_is_an_error_when_it_is_computed(tmp_path):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 50), dtype="uint8")).save(tmp_path / "a.png")
    raw = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(raw[: len(raw) // 2])
    image = open_image(tmp_path / "a.png")
    with pytest.raises(FileError, match="damaged"):
        image.compute()


def test_a_picture_that_claims_too_much_is_refused(tmp_path):
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0" * 9)
    with pytest.raises(FileError, match="claims 12000 x 12000 pixels|damaged"):
        open_image(tmp_path / "a.png")
