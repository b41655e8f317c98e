"""Files that are missing, empty, wrong, cut, inflated or unreadable: one sentence each, at once."""

import contextlib
import gc
import logging
import random
import struct
import warnings
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from operando.core.axes import labeled_image
from operando.core.errors import FileError, InputError, OperandoError
from operando.io import describe, open_image, save_image

VALUES = np.random.default_rng(0).integers(0, 40, size=(5, 40, 50)).astype("uint16")


def _tiff(path, *, width, height, compression=1, data=b"\0" * 16, bits=8, counts=None, next_page=0):
    """A TIFF of one page, byte by byte, that may lie."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, compression),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(data) if counts is None else counts),
    ]
    ifd = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + ifd + struct.pack("<I", next_page))
    return path


def one_sentence(path, match, **options):
    with pytest.raises(FileError, match=match) as caught:
        open_image(path, **options).compute()
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text or Path(path).name in text
    with pytest.raises(OperandoError):
        about = describe(path)
        raise InputError(about["missing"][0]) if about["missing"] else AssertionError(about)


def test_a_tiff_that_claims_a_million_by_a_million_pixels(tmp_path):
    one_sentence(_tiff(tmp_path / "a.tif", width=10**6, height=10**6), "claims 1000000 x 1000000 pixels")


@pytest.mark.parametrize("compression", [5, 8, 32773, 50000])
def test_a_compressed_tiff_that_claims_a_million_by_a_million_pixels(compression, tmp_path):
    path = _tiff(
        tmp_path / "a.tif", width=10**6, height=10**6, compression=compression, data=zlib.compress(b"\0" * 999)
    )
    one_sentence(path, "claims 1000000 x 1000000 pixels")


def test_a_tiff_whose_bytes_lie_beyond_its_end(tmp_path):
    one_sentence(_tiff(tmp_path / "a.tif", width=100, height=100, counts=10_000), "claims 100 x 100 pixels")


def test_a_tiff_whose_pages_run_in_a_circle(tmp_path):
    one_sentence(_tiff(tmp_path / "a.tif", width=4, height=4, next_page=24), "points back")


def test_a_tiff_whose_next_page_lies_outside(tmp_path):
    one_sentence(_tiff(tmp_path / "a.tif", width=4, height=4, next_page=10**8), "truncated")


def test_a_tiff_page_that_unpacks_to_less_than_it_claims(tmp_path):
    path = _tiff(tmp_path / "a.tif", width=100, height=100, compression=8, data=zlib.compress(b"\1" * 500))
    one_sentence(path, "page 0 cannot be decoded")


def test_a_tiff_page_that_unpacks_to_far_more_than_it_claims(tmp_path):
    path = _tiff(tmp_path / "a.tif", width=10, height=10, compression=8, data=zlib.compress(b"\1" * 10**7))
    one_sentence(path, "page 0 cannot be decoded")


def test_a_tiff_without_bytes_for_a_page_is_not_zeros(tmp_path):
    one_sentence(_tiff(tmp_path / "a.tif", width=4, height=4, compression=8, counts=0), "without bytes|lists segments")


def test_a_cut_stack_is_not_a_shorter_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, compression="zlib", metadata=None)
    raw = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(raw[: len(raw) * 2 // 3])
    one_sentence(tmp_path / "a.tif", "truncated")


@pytest.mark.parametrize("name", ["a.tif", "a.h5", "a.png", "a.raw", "a", "a.unknown"])
def test_text_under_any_name(name, tmp_path):
    (tmp_path / name).write_text("hello, this is a text\n")
    one_sentence(tmp_path / name, "cannot be opened as an image")


@pytest.mark.parametrize("name", ["a.tif", "a.h5", "a.png", "a.raw", "a.xrm"])
def test_an_empty_file_under_any_name(name, tmp_path):
    (tmp_path / name).touch()
    one_sentence(tmp_path / name, "empty")


def test_an_empty_folder_and_a_folder_of_other_things(tmp_path):
    (tmp_path / "empty").mkdir()
    one_sentence(tmp_path / "empty", "it is empty")
    (tmp_path / "empty" / "a.csv").touch()
    one_sentence(tmp_path / "empty", "1 x .csv")


def test_a_path_that_is_not_there_suggests_near_names(tmp_path):
    (tmp_path / "cell_vol.tif").touch()
    with pytest.raises(FileError, match=r"does not exist\. Did you mean 'cell_vol\.tif'"):
        open_image(tmp_path / "cel_vol.tif")
    with pytest.raises(FileError, match="neither does its folder"):
        open_image(tmp_path / "nowhere" / "a.tif")
    with pytest.raises(FileError, match="not a possible path"):
        open_image("a\0b.tif")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    original = Path.open

    def refuse(self, *args, **options):
        if self.name == "a.tif":
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    one_sentence(tmp_path / "a.tif", "Permission denied.*permissions")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.xrm", bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 99, "OLE container is damaged or truncated"),
        ("without_ending", bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 99, "it is an OLE file"),
        ("a.csv", b"time,current\n1,2\n", "a table, not an image"),
        ("a.gif", b"GIF89a" + b"\0" * 99, "a movie"),
        ("a.mpr", b"BIO-LOGIC MODULAR FILE", "a battery cycler's file"),
        ("a.npy", b"\x93NUMPY\1\0", r"labeled_image\(array"),
        ("a.zip", b"PK\3\4", "unpack it first"),
    ],
)
def test_formats_that_are_not_images_say_what_they_are(name, content, expected, tmp_path):
    (tmp_path / name).write_bytes(content)
    one_sentence(tmp_path / name, expected)


def test_an_axis_of_a_trillion_is_refused_before_its_coordinates_are_made(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", shape=(10**12, 4, 4), chunks=(64, 4, 4), dtype="uint8")
    one_sentence(tmp_path / "a.h5", "more than any image has")


def test_a_cut_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = VALUES
    raw = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(raw[: len(raw) // 2])
    one_sentence(tmp_path / "a.h5", "truncated")


def test_a_slice_of_a_folder_that_is_cut_empty_or_text(tmp_path):
    for number in range(3):
        tifffile.imwrite(tmp_path / f"s{number}.tif", VALUES[number])
    good = (tmp_path / "s1.tif").read_bytes()
    for content, expected in (
        (good[:-100], "s1.tif"),
        (b"", "s1.tif: the slice is empty"),
        (b"text", "s1.tif.*header"),
    ):
        (tmp_path / "s1.tif").write_bytes(content)
        with pytest.raises(FileError, match=expected):
            open_image(tmp_path)


def test_a_slice_that_vanishes_after_opening(tmp_path):
    for number in range(3):
        tifffile.imwrite(tmp_path / f"s{number}.tif", VALUES[number])
    image = open_image(tmp_path)
    (tmp_path / "s1.tif").unlink()
    with pytest.raises(FileError, match=r"s1\.tif"):
        image.compute()


def test_nan_is_content_and_not_damage(tmp_path):
    values = np.full((3, 4), np.nan, "float32")
    assert np.isnan(open_image(save_image(labeled_image(values), tmp_path / "a.tif")).values).all()


@pytest.mark.parametrize(
    "name", ["a.tif", "a.h5", "a.raw", "zlib.tif", "lzw.tif", "tile.tif", "imagej.tif", "p.png", "p.jpg"]
)
def test_random_damage_never_ends_in_another_error(name, tmp_path):
    from PIL import Image

    path = tmp_path / name
    if name in ("a.tif", "a.h5", "a.raw"):
        save_image(labeled_image(VALUES, voxel_size_um=2.0), path)
    elif name == "imagej.tif":
        tifffile.imwrite(path, VALUES, imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "um"})
    elif name == "tile.tif":
        tifffile.imwrite(path, VALUES, tile=(16, 16), compression="zstd", bigtiff=True)
    elif name.endswith(".tif"):
        tifffile.imwrite(path, VALUES, compression=path.stem, rowsperstrip=7)
    else:
        Image.fromarray(VALUES[0].astype("uint8")).save(path)
    raw, chance = path.read_bytes(), random.Random(name)
    for _ in range(25):
        damaged = bytearray(raw)
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(len(raw) if chance.random() < 0.5 else min(len(raw), 400))] = chance.randrange(256)
        if chance.random() < 0.3:
            damaged = damaged[: chance.randrange(len(raw))]
        path.write_bytes(damaged)
        with contextlib.suppress(OperandoError):
            image = open_image(path)
            assert image.compute().shape == image.shape


def test_no_warning_log_or_open_file_escapes(tmp_path, capfd, caplog):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, imagej=True)
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    raw[200:260] = b"\xff" * 60
    (tmp_path / "bad.tif").write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.tif", "bad.tif"):
            with contextlib.suppress(OperandoError):
                open_image(tmp_path / name).compute()
        gc.collect()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert len(logging.getLogger("tifffile").handlers) == 1
