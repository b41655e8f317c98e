"""Projections with flats and darks from Data Exchange and NXtomo files."""

import dask.array as da
import h5py
import numpy as np
import pytest

from operando import samples
from operando.core.errors import FileError, InputError
from operando.io import open_projections
from operando.io.lazy import untouched
from operando.tomography import reconstruct

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 1000, (9, 4, 6)).astype(np.uint16)
KEYS = [2, 1, 0, 0, 3, 0, 0, 1, 2]


def data_exchange(path, **more):
    with h5py.File(path, "w") as file:
        group = file.create_group("exchange")
        group["data"] = FRAMES[:5]
        group["data_white"] = FRAMES[5:8]
        group["data_dark"] = FRAMES[8:]
        group["theta"] = np.linspace(0, 180, 5)
        for name, value in more.items():
            del group[name]
            if value is not None:
                group[name] = value
    return path


def nxtomo(path, *, unit="degree", keys=KEYS):
    with h5py.File(path, "w") as file:
        detector = file.create_group("entry1/tomo_entry/instrument/detector")
        detector.create_dataset("data", data=FRAMES, chunks=(1, 4, 6))
        detector["image_key"] = keys
        detector["x_pixel_size"] = 6.5e-6
        angle = file.create_dataset("entry1/tomo_entry/sample/rotation_angle", data=10.0 * np.arange(9))
        angle.attrs["units"] = unit
        file["entry1/tomo_entry/data/image_key"] = h5py.SoftLink("/entry1/tomo_entry/instrument/detector/image_key")
        file["entry1/tomo_entry/data/data"] = h5py.SoftLink("/entry1/tomo_entry/instrument/detector/data")
    return path


def test_data_exchange_gives_projections_angles_flats_and_darks(tmp_path):
    scan = open_projections(data_exchange(tmp_path / "a.h5"))
    assert scan.projections.dims == ("angle", "detector_y", "detector_x")
    assert isinstance(scan.projections.data, da.Array)
    np.testing.assert_array_equal(scan.projections, FRAMES[:5])
    np.testing.assert_array_equal(scan.flat, FRAMES[5:8])
    np.testing.assert_array_equal(scan.dark, FRAMES[8:])
    np.testing.assert_allclose(scan.angle, [0, 45, 90, 135, 180])
    assert scan.angle.attrs["units"] == "deg"
    assert scan.detector_x.attrs["units"] == "px"
    assert scan.attrs["notes"] == ["The size of a pixel at the sample is not stored: pass pixel_size_um."]


def test_nxtomo_frames_are_told_apart_by_their_key(tmp_path):
    scan = open_projections(nxtomo(tmp_path / "a.nxs"), pixel_size_um=1.33)
    np.testing.assert_array_equal(scan.projections, FRAMES[[2, 3, 5, 6]])
    np.testing.assert_array_equal(scan.flat, FRAMES[[1, 7]])
    np.testing.assert_array_equal(scan.dark, FRAMES[[0, 8]])
    np.testing.assert_allclose(scan.angle, [20, 30, 50, 60])
    assert scan.taken_at.values.tolist() == [0, 4]
    assert scan.attrs["notes"] == ["1 of 9 frames are marked as invalid and were left out."]
    assert scan.detector_y.attrs["spacing"] == 1.33


def test_radians_become_degrees(tmp_path):
    scan = open_projections(nxtomo(tmp_path / "a.nxs", unit="rad"))
    np.testing.assert_allclose(scan.angle, np.rad2deg([20, 30, 50, 60]))


def test_the_pixel_of_the_camera_is_not_that_of_the_sample(tmp_path):
    path = nxtomo(tmp_path / "a.nxs")
    assert open_projections(path).detector_x.attrs["units"] == "px"
    with h5py.File(path, "a") as file:
        for axis, size in (("x", 0.65), ("y", 0.7)):
            node = file.create_dataset(f"entry1/tomo_entry/instrument/detector/{axis}_sample_pixel_size", data=size)
            node.attrs["units"] = "um"
    scan = open_projections(path)
    assert (scan.detector_y.attrs["spacing"], scan.detector_x.attrs["spacing"]) == (0.7, 0.65)


def test_any_box_of_the_selected_frames_can_be_read_from_the_file_alone(tmp_path):
    scan = open_projections(nxtomo(tmp_path / "a.nxs"))
    chosen = FRAMES[[2, 3, 5, 6]]
    source = untouched(scan.projections.data)
    np.testing.assert_array_equal(source[:, 1:3], chosen[:, 1:3])
    np.testing.assert_array_equal(source[1:3, :, 2:5], chosen[1:3, :, 2:5])
    np.testing.assert_array_equal(scan.projections[::2].values, chosen[::2])


def test_missing_angles_can_be_given(tmp_path):
    path = data_exchange(tmp_path / "a.h5", theta=None)
    with pytest.raises(FileError, match=r"no angle for its 5 projections.*angles=np.linspace\(0, 180, 5\)"):
        open_projections(path)
    np.testing.assert_allclose(open_projections(path, angles=range(5)).angle, range(5))
    with pytest.raises(InputError, match=r"one per projection, got \(4,\) for 5"):
        open_projections(path, angles=range(4))


def test_a_scan_on_disk_is_reconstructed_as_one_in_memory(tmp_path):
    made = samples.ellipsoids((5, 32, 32), angles=np.arange(0, 180, 4.0), supersampling=1)
    scan = samples.projections(made.projections, dead_pixels=2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = scan.projections.values
        file["exchange/data_white"] = scan.flat.values
        file["exchange/data_dark"] = scan.dark.values
        file["exchange/theta"] = scan.angle.values
    opened = open_projections(tmp_path / "a.h5", pixel_size_um=1.33)
    flat = opened.flat.assign_coords(taken_at=("flat_frame", scan.taken_at.values))
    lazy = reconstruct(opened.projections, flat=flat, dark=opened.dark, rotation_axis=15.5, rows=2)
    assert isinstance(lazy.data, da.Array)
    whole = reconstruct(scan.projections, flat=scan.flat, dark=scan.dark, rotation_axis=15.5)
    np.testing.assert_allclose(lazy.values, whole.values, atol=1e-6)


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        open_projections(tmp_path / "none.h5")
    (tmp_path / "a.txt").write_text("no projections here")
    with pytest.raises(FileError, match=r"HDF5 \(Data Exchange or NXtomo\)"):
        open_projections(tmp_path / "a.txt")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["volume"] = FRAMES
    with pytest.raises(FileError, match=r"the file holds /volume \(9, 4, 6\).*open_image"):
        open_projections(tmp_path / "b.h5")
    with pytest.raises(FileError, match="4 angles for 5 projections"):
        open_projections(data_exchange(tmp_path / "c.h5", theta=np.arange(4.0)))
    with pytest.raises(FileError, match=r"flat frames must be as large.*another region"):
        open_projections(data_exchange(tmp_path / "d.h5", data_white=FRAMES[:2, :3]))
    with pytest.raises(FileError, match="got 8 keys"):
        open_projections(nxtomo(tmp_path / "e.nxs", keys=KEYS[:8]))
    with pytest.raises(FileError, match=r"no frame is a projection.*\[1, 2\]"):
        open_projections(nxtomo(tmp_path / "f.nxs", keys=[1, 2] * 4 + [1]))
    with pytest.raises(FileError, match="degrees or radians, got 'um'"):
        open_projections(nxtomo(tmp_path / "g.nxs", unit="um"))
    with pytest.raises(InputError, match="pixel_size_um must be positive"):
        open_projections(data_exchange(tmp_path / "h.h5"), pixel_size_um=0)
