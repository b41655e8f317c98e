"""The registry, the contract, and the kit that checks it."""

import json
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

from operando.core.axes import labeled_image
from operando.core.errors import FileError, InputError
from operando.io import Dataset, Reader, StoredImage, Verdict, describe, open_image, readers, save_image
from operando.io import reader as registry
from operando.io.conformance import check_reader
from operando.io.lazy import FileArray

VALUES = np.random.default_rng(0).integers(0, 200, size=(6, 12, 10)).astype("uint16")


@pytest.mark.parametrize(
    ("name", "file"),
    [("tiff", "a.tif"), ("hdf5", "a.h5"), ("raw", "a.raw"), ("ome-zarr", "a.zarr"), ("picture", "a.png")],
)
def test_each_reader_keeps_the_contract(name, file, tmp_path):
    if name == "picture":
        Image.fromarray(VALUES[0].astype("uint8")).save(tmp_path / file)
        check_reader(readers()[name], tmp_path / file, expected=VALUES[0].astype("uint8"))
    else:
        path = save_image(labeled_image(VALUES, voxel_size_um=2.0), tmp_path / file)
        check_reader(readers()[name], path, expected=VALUES)


class PgmValues(FileArray):
    def __init__(self, path, shape, offset):
        self.offset = offset
        super().__init__(path, shape, "uint8", chunks=shape)

    def read(self, region):
        return np.frombuffer(self.path.read_bytes(), "uint8", offset=self.offset).reshape(self.shape)[region]


class PgmReader:
    """A format of somebody else, in twenty lines."""

    name = "pgm"
    suffixes = (".pgm",)

    def can_open(self, path):
        if path.is_file() and path.read_bytes()[:2] == b"P5":
            return Verdict(True)
        return Verdict(False, "it does not begin with P5")

    def open(self, path, *, dataset=None):
        head = path.read_bytes()[:64].split(maxsplit=4)
        if len(head) < 4:
            raise FileError(f"{path}: the header is cut off.")
        width, height = int(head[1]), int(head[2])
        offset = path.stat().st_size - width * height
        if offset < 9:
            raise FileError(f"{path}: the file is truncated.")
        return StoredImage(PgmValues(path, (height, width), offset), ("y", "x"))

    def datasets(self, path):
        return []


@pytest.fixture
def pgm(tmp_path):
    values = np.arange(20, dtype="uint8").reshape(4, 5)
    (tmp_path / "a.pgm").write_bytes(b"P5 5 4 255\n" + values.tobytes())
    return tmp_path / "a.pgm", values


def test_a_reader_of_somebody_else_is_found_by_entry_point(pgm, monkeypatch):
    path, values = pgm
    entry = metadata.EntryPoint("pgm", f"{__name__}:PgmReader", registry.GROUP)
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: PgmReader)
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [entry])
    registry.readers.cache_clear()
    try:
        assert isinstance(registry.readers()["pgm"], Reader)
        np.testing.assert_array_equal(open_image(path).values, values)
        assert describe(path)["reader"] == "pgm"
    finally:
        monkeypatch.undo()
        registry.readers.cache_clear()


def test_the_kit_accepts_a_good_reader(pgm):
    path, values = pgm
    check_reader(PgmReader(), path, expected=values)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"suffixes": ("PGM",)}, "suffixes"),
        ({"name": "PGM"}, "name must be lower case"),
        ({"can_open": lambda self, path: Verdict(True)}, "must say no"),
        ({"can_open": lambda self, path: Verdict(path.name == "a.pgm")}, "with its reason"),
        ({"open": lambda self, path, dataset=None: StoredImage(np.zeros((4, 5)), ("row", "x"))}, "dims must be"),
        ({"open": lambda self, path, dataset=None: StoredImage(np.zeros((4, 5)), ("y", "x"))}, "expected ones"),
        ({"datasets": lambda self, path: [Dataset("a", (1,), "u1"), 3]}, None),
    ],
)
def test_the_kit_names_the_broken_part(pgm, change, expected):
    path, values = pgm
    broken = type("Broken", (PgmReader,), change)()
    with pytest.raises((AssertionError, AttributeError), match=expected):
        check_reader(broken, path, expected=values)


def test_the_kit_finds_a_reader_that_gives_zeros_for_a_cut_file(pgm):
    class Zeros(PgmReader):
        def open(self, path, *, dataset=None):
            values = np.zeros(20, "uint8")
            got = np.frombuffer(path.read_bytes()[11:], "uint8")
            values[: got.size] = got
            return StoredImage(values.reshape(4, 5), ("y", "x"))

    path, values = pgm
    with pytest.raises(AssertionError, match="other numbers"):
        check_reader(Zeros(), path, expected=values)


def test_an_entry_point_that_cannot_be_loaded_is_named(monkeypatch):
    entry = metadata.EntryPoint("bad", "no_such_package.module:Reader", registry.GROUP)
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [entry])
    registry.readers.cache_clear()
    try:
        with pytest.raises(InputError, match=r"bad = no_such_package\.module:Reader"):
            registry.readers()
    finally:
        monkeypatch.undo()
        registry.readers.cache_clear()


def test_a_reader_can_be_named(tmp_path):
    path = save_image(labeled_image(VALUES), tmp_path / "a.tif")
    assert open_image(path, reader="tiff").shape == VALUES.shape
    with pytest.raises(FileError, match="the reader 'hdf5' cannot open it, because it does not begin with"):
        open_image(path, reader="hdf5")
    with pytest.raises(InputError, match="Did you mean 'tiff'"):
        open_image(path, reader="tif")


def test_the_content_decides_and_not_the_ending(tmp_path):
    path = save_image(labeled_image(VALUES), tmp_path / "a.tif")
    path.rename(tmp_path / "a.png")
    assert describe(tmp_path / "a.png")["reader"] == "tiff"


@pytest.mark.parametrize("suffix", [".tif", ".h5", ".raw", ".zarr"])
def test_a_description_is_complete_and_json(suffix, tmp_path):
    image = labeled_image(VALUES[None].repeat(2, 0), voxel_size_um=(3, 2, 1), t=[0, 2.5], units="counts")
    about = describe(save_image(image, tmp_path / f"a{suffix}"))
    assert json.loads(json.dumps(about)) == about
    assert about["dims"] == ["t", "z", "y", "x"]
    assert about["shape"] == [2, 6, 12, 10]
    assert about["dtype"] == "uint16"
    assert about["units"] == "counts"
    assert about["voxel_size"] == {"z": 3.0, "y": 2.0, "x": 1.0}
    assert about["extent_um"] == {"z": 18.0, "y": 24.0, "x": 10.0}
    assert about["bytes"] == 2 * 6 * 12 * 10 * 2
    assert about["t"] == {"n": 2, "first": 0.0, "last": 2.5, "units": "h"}
    assert about["missing"] == []


def test_what_is_missing_is_said_in_sentences(tmp_path):
    about = describe(save_image(labeled_image(VALUES[None]), tmp_path / "a.zarr"))
    assert about["missing"] == [
        "The voxel size is not stored: pass voxel_size_um.",
        "The times of the scans are not stored: set image['t'] in hours.",
    ]


def test_an_opened_image_knows_where_it_came_from(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    image = open_image(tmp_path / "a.tif", voxel_size_um=2.0)
    assert image.attrs["source"] == str(tmp_path / "a.tif")
    record = json.loads(image.attrs["provenance"])
    assert record["function"] == "operando.io.open_image"
    assert record["parameters"]["voxel_size_um"] == 2.0
    again = open_image(save_image(image, tmp_path / "a.zarr"))
    assert json.loads(again.attrs["provenance"]) == record


def test_importing_io_loads_no_file_library():
    import subprocess
    import sys

    code = (
        "import sys, operando.io; bad = {'tifffile', 'h5py', 'zarr', 'PIL', 'dask', 'scipy'} & set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
