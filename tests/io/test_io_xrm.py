"""X-ray microscope files (OLE): written here from the container's specification, and the real ones."""

import itertools
import struct

import numpy as np
import pytest

from operando.core.axes import spacing
from operando.core.errors import FileError
from operando.io import describe, open_image, readers
from operando.io.conformance import check_reader

RNG = np.random.default_rng(11)
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
CODES = {"uint8": 3, "uint16": 5, "float32": 10}


def write_ole(path, streams):
    """Smallest OLE container: sectors of 512 bytes, mini sectors of 64 for streams below 4096 bytes."""
    entries = [["Root Entry", 5, FREE, 0, b""]]
    children = {"": []}
    for name in streams:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            key = "/".join(parts[:depth])
            if key not in children:
                children["/".join(parts[: depth - 1])].append((len(entries), parts[depth - 1]))
                children[key] = []
                leaf = depth == len(parts)
                entries.append([parts[depth - 1], 2 if leaf else 1, END, 0, streams[name] if leaf else b""])
    sectors, fat, mini, minifat = [], [], b"", []

    def store(data):
        count = -(-len(data) // 512)
        first = len(sectors)
        sectors.extend(data[512 * i : 512 * (i + 1)].ljust(512, b"\0") for i in range(count))
        fat.extend([*(first + i + 1 for i in range(count - 1)), END])
        return first

    for entry in entries[1:]:
        data = entry[4]
        entry[3] = len(data)
        if len(data) >= 4096:
            entry[2] = store(data)
        elif data:
            count = -(-len(data) // 64)
            entry[2] = len(minifat)
            minifat.extend([*(entry[2] + i + 1 for i in range(count - 1)), END])
            mini += data.ljust(64 * count, b"\0")
    entries[0][2:4] = [store(mini), len(mini)]
    first_minifat = store(struct.pack(f"<{len(minifat)}I", *minifat).ljust(-(-len(minifat) // 128) * 512, b"\xff"))
    right, child = [FREE] * len(entries), [FREE] * len(entries)
    index = {"": 0}
    for key, members in children.items():
        for number, name in members:
            index[f"{key}/{name}".lstrip("/")] = number
    for key, members in children.items():
        ordered = sorted(members, key=lambda m: (len(m[1]), m[1].upper()))
        if ordered:
            child[index[key]] = ordered[0][0]
            for (before, _), (after, _) in itertools.pairwise(ordered):
                right[before] = after
    raw = b""
    for at, (name, kind, start, size, _) in enumerate(entries):
        text = name.encode("utf-16-le") + b"\0\0"
        raw += text.ljust(64, b"\0") + struct.pack("<HBB3I", len(text), kind, 1, FREE, right[at], child[at])
        raw += bytes(36) + struct.pack("<IQ", start, size)
    first_directory = store(raw.ljust(-(-len(raw) // 512) * 512, b"\0"))
    tables = 1
    while tables * 128 < len(fat) + tables:
        tables += 1
    assert tables <= 109
    places = [len(sectors) + i for i in range(tables)]
    fat.extend([FAT] * tables)
    packed = struct.pack(f"<{len(fat)}I", *fat).ljust(tables * 512, b"\xff")
    sectors.extend(packed[512 * i : 512 * (i + 1)] for i in range(tables))
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16)
    head += struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6) + struct.pack("<5I", 0, tables, first_directory, 0, 4096)
    head += struct.pack("<4I", first_minifat, -(-len(minifat) // 128), END, 0)
    head += struct.pack("<109I", *places, *([FREE] * (109 - tables)))
    path.write_bytes(head + b"".join(sectors))
    return path


def microscope(path, images, *, energies=(), angles=(), pixel=0.0312, planned=None, reference=None, **more):
    images = np.asarray(images)
    floats = {"Energy": energies, "Angles": angles, "ExpTimes": [2.5] * len(images), "PixelSize": [pixel]}
    whole = {
        "ImageWidth": images.shape[2], "ImageHeight": images.shape[1], "NoOfImages": planned or len(images),
        "DataType": more.pop("code", CODES[str(images.dtype)]), **more,
    }  # fmt: skip
    streams = {f"ImageInfo/{name}": struct.pack("<i", value) for name, value in whole.items()}
    streams |= {f"ImageInfo/{name}": np.asarray(values, "<f4").tobytes() for name, values in floats.items()}
    streams["ImageInfo/Date"] = b"05/29/16 15:30:52".ljust(40, b"\0")
    for number, image in enumerate(images):
        streams[f"ImageData{1 + number // 100}/Image{1 + number}"] = image.tobytes()
    if reference is not None:
        streams["ReferenceData/Image"] = reference.tobytes()
        streams["ReferenceData/ExpTime"] = struct.pack("<f", 40.0)
    return write_ole(path, streams)


FRAMES = RNG.integers(0, 60000, (3, 40, 60)).astype("uint16")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_series_over_energy_is_a_stack(dtype, tmp_path):
    values = (RNG.random((3, 70, 60)) * 200).astype(dtype)
    image = open_image(microscope(tmp_path / "a.txrm", values, energies=[8333.0, 8350.5, 8400.25]))
    assert image.dims == ("energy", "y", "x")
    assert image.dtype == values.dtype
    np.testing.assert_array_equal(image.values, values)
    np.testing.assert_array_equal(image.energy, [8333.0, 8350.5, 8400.25])
    assert spacing(image) == pytest.approx({"y": 0.0312, "x": 0.0312}, rel=1e-12)
    assert image.attrs["units"] == "counts"
    assert image.attrs["exposure_s"] == 2.5
    assert image.attrs["start_time"] == "05/29/16 15:30:52"


def test_the_reader_keeps_the_contract(tmp_path):
    path = microscope(tmp_path / "a.txrm", FRAMES, energies=[1.0, 2.0, 3.0])
    check_reader(readers()["xrm"], path, expected=FRAMES)


def test_a_series_over_angles_is_one_of_projections(tmp_path):
    path = microscope(tmp_path / "a.txrm", FRAMES, energies=[9200.0, 0.0, 0.0, 0.0], angles=[-10.0, 0.0, 10.0])
    image = open_image(path)
    assert image.dims == ("angle", "detector_y", "detector_x")
    np.testing.assert_array_equal(image.angle, [-10, 0, 10])
    assert float(image.energy) == 9200.0
    assert image.detector_x.attrs["units"] == "um"


def test_frames_that_nothing_tells_apart_are_a_series_in_time(tmp_path):
    path = microscope(tmp_path / "a.txrm", FRAMES, energies=[853.0] * 3, angles=[1.0] * 3)
    assert open_image(path).dims == ("t", "y", "x")
    assert any("taken as a series in time" in s for s in describe(path)["missing"])


def test_a_single_image_has_its_energy_and_angle_beside_it(tmp_path):
    image = open_image(microscope(tmp_path / "a.xrm", FRAMES[:1], energies=[7191.046], angles=[-0.06]))
    assert image.dims == ("y", "x")
    assert float(image.energy) == 7191.046
    assert float(image.angle) == -0.06
    np.testing.assert_array_equal(image.values, FRAMES[0])


def test_the_flat_field_in_the_file_is_listed_and_opened(tmp_path):
    flat = RNG.random((40, 60)).astype("float32")
    path = microscope(tmp_path / "a.xrm", FRAMES[:1], reference=flat)
    roles = {d["path"]: (d["role"], d["dtype"]) for d in describe(path)["datasets"]}
    assert roles == {"ImageData": ("image", "uint16"), "ReferenceData": ("flat field", "float32")}
    opened = open_image(path, dataset="ReferenceData")
    np.testing.assert_array_equal(opened.values, flat)
    assert spacing(opened)["x"] == pytest.approx(0.0312)
    assert opened.attrs["exposure_s"] == 40.0
    assert any("The flat field is in the file" in s for s in describe(path)["missing"])
    with pytest.raises(FileError, match="dataset must be 'ImageData'"):
        open_image(path, dataset="Dark")


def test_an_interrupted_series_gives_the_images_that_are_there(tmp_path):
    path = microscope(tmp_path / "a.txrm", FRAMES, energies=[1.0, 2.0, 3.0, 4.0, 5.0], planned=5)
    assert open_image(path).shape == (3, 40, 60)
    assert any("3 of 5 planned images are there" in s for s in describe(path)["missing"])


def test_more_than_a_hundred_images_go_on_in_the_next_folder(tmp_path):
    values = np.arange(102 * 6, dtype="uint16").reshape(102, 2, 3)
    image = open_image(microscope(tmp_path / "a.txrm", values, angles=np.arange(102.0)))
    np.testing.assert_array_equal(image.values, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": 7}, "values of type number 7 are not known"),
        ({"ImageWidth": 0}, "ImageInfo/ImageWidth must be a positive number, got 0"),
        ({"ImageWidth": 61}, "Image1 must have 4880 bytes for 40 x 61 values"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change, message, tmp_path):
    with pytest.raises(FileError, match=message):
        open_image(microscope(tmp_path / "a.xrm", FRAMES[:1], **change))


def test_a_container_of_another_program_is_refused(tmp_path):
    path = write_ole(tmp_path / "a.doc", {"WordDocument/text": b"x" * 5000})
    with pytest.raises(FileError, match="OLE file"):
        open_image(path)
    with pytest.raises(FileError, match="ImageInfo/ImageWidth must be a positive number, got nothing"):
        open_image(path.rename(tmp_path / "a.xrm"))


def test_the_real_files_are_what_their_readme_says(data_folder):
    chip = data_folder / "zeiss-xrm-reader-samples/test_chip00.xrm"
    image = open_image(chip)
    assert (image.dims, image.shape, image.dtype) == (("y", "x"), (512, 512), np.uint16)
    assert float(image.energy) == pytest.approx(7191.046, abs=1e-3)
    assert spacing(image)["x"] == pytest.approx(0.0779, abs=1e-4)
    ratio = open_image(chip, dataset="ReferenceData").astype(float).mean() / image.astype(float).mean()
    assert 2 < float(ratio) < 20  # the chip absorbs most of the beam
    series = open_image(data_folder / "zeiss-xrm-reader-samples/txrm_test_chip_tomo.txrm")
    assert series.shape == (7, 256, 256)
    assert float(series.energy) == pytest.approx(9200.0, abs=0.1)
    assert float(series.detector_x[1]) == pytest.approx(0.1558, abs=1e-4)
    frame = open_image(data_folder / "nca-txm-ni-k/rep01_20161456_ssrl-test-data_08354.0_eV_001of003.xrm")
    cropped = open_image(
        data_folder / "nca-txm-ni-k/ssrl_nca_frames_crop512.h5",
        dataset="rep01_20161456_ssrl-test-data_08354.0_eV_001of003",
    )
    np.testing.assert_array_equal(frame[256:768, 256:768].values, cropped.values)
    assert spacing(frame)["x"] == pytest.approx(0.0312, rel=1e-6)
