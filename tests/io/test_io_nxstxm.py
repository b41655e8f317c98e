"""Stacks over energy in HDF5 and Zarr: NXstxm of others, our own that come back identical, Data Exchange."""

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operando.core.axes import labeled_image, spacing
from operando.io import describe, open_image, save_image

RNG = np.random.default_rng(3)
VALUES = RNG.random((4, 3, 5)).astype("float32")
ENERGIES = np.array([700.0, 701.25, 701.5, 710.0])
Y = -1.0 + 0.2 * np.arange(3)
X = 7.0 + 0.1 * np.arange(5)


def text(value):
    return np.array([value], dtype="S")


def write_nxstxm(path, *, units="um", energy_units="eV", old=False, counters=("counter0",), entries=1, signal=VALUES):
    """A file as facilities write it: definition, instrument, counters; ``old`` without ``signal`` and ``axes``."""
    with h5py.File(path, "w") as file:
        for number in range(1, entries + 1):
            entry = file.create_group(f"entry{number}")
            entry.attrs["NX_class"] = "NXentry"
            entry["definition"] = text("NXstxm")
            entry["start_time"] = text("2021-05-06T07:08:09")
            entry["title"] = text("a scan")
            control = entry.create_group("control")
            control.attrs["NX_class"] = "NXmonitor"
            control["data"] = np.full(signal.shape, 500.0)
            for index, name in enumerate(counters):
                group = entry.create_group(name)
                group.attrs["NX_class"] = "NXdata"
                group["data"] = signal + index
                group["stxm_scan_type"] = text("sample image stack")
                group["count_time"] = np.full(4, 0.002)
                for at, (field, points, unit) in enumerate(
                    (("energy", ENERGIES, energy_units), ("sample_y", Y, units), ("sample_x", X, units))
                ):
                    group[field] = points / (1e3 if unit == "keV" else 1)
                    if unit:
                        group[field].attrs["units"] = unit
                    if old:
                        group[field].attrs["axis"] = at + 1
                if old:
                    group["data"].attrs["signal"] = 1
                else:
                    group.attrs["signal"] = "data"
                    group.attrs["axes"] = np.array(["energy", "sample_y", "sample_x"], dtype="S")
    return path


@pytest.mark.parametrize("options", [{}, {"old": True}, {"energy_units": "keV"}, {"energy_units": ""}, {"units": "nm"}])
def test_an_nxstxm_file_comes_with_its_axes_in_our_units(options, tmp_path):
    image = open_image(write_nxstxm(tmp_path / "a.hdf5", **options))
    scale = 1e-3 if options.get("units") == "nm" else 1.0
    assert image.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(image.values, VALUES)
    np.testing.assert_allclose(image.energy, ENERGIES, rtol=1e-12)
    np.testing.assert_allclose(image.y, Y * scale, rtol=1e-12)
    assert image.energy.attrs["units"] == "eV"
    assert spacing(image) == pytest.approx({"y": 0.2 * scale, "x": 0.1 * scale})
    assert image.attrs["units"] == "counts"
    assert image.attrs["dwell_ms"] == 2.0
    assert image.attrs["start_time"] == "2021-05-06T07:08:09"


def test_positions_without_unit_are_micrometers_and_told(tmp_path):
    path = write_nxstxm(tmp_path / "a.hdf5", units="")
    assert spacing(open_image(path)) == pytest.approx({"y": 0.2, "x": 0.1})
    assert any("sample_x have no unit: they were taken as um" in s for s in describe(path)["missing"])


def test_counters_regions_and_control_are_listed_and_opened(tmp_path):
    path = write_nxstxm(tmp_path / "a.hdf5", counters=("counter0", "counter1"), entries=2)
    about = describe(path)
    roles = {d["path"]: d["role"] for d in about["datasets"]}
    assert roles["/entry1/counter1/data"] == "NXstxm: counter"
    assert roles["/entry2/control/data"] == "NXstxm: control (for normalization)"
    assert any("This is /entry1/counter0/data; the file also has /entry1/counter1/data" in s for s in about["missing"])
    other = open_image(path, dataset="/entry2/counter1/data")
    np.testing.assert_array_equal(other.values, VALUES + 1)
    control = open_image(path, dataset="/entry1/control/data")
    assert control.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(control.energy, ENERGIES)
    with h5py.File(path, "a") as file:
        del file["entry1/control/data"]
        file["entry1/control/data"] = np.arange(4.0)
    spectrum = open_image(path, dataset="/entry1/control/data")
    assert spectrum.dims == ("energy",)
    np.testing.assert_array_equal(spectrum.energy, ENERGIES)


def test_rows_that_go_downward_are_turned(tmp_path):
    path = write_nxstxm(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        file["entry1/counter0/sample_y"][...] = Y[::-1]
    image = open_image(path)
    np.testing.assert_allclose(image.y, Y)
    np.testing.assert_array_equal(image.values, VALUES[:, ::-1])
    assert any("Positions along y decrease" in s for s in describe(path)["missing"])


@st.composite
def stacks(draw):
    dims = draw(st.sampled_from([("energy", "y", "x"), ("energy", "y", "x"), ("energy", "z", "y", "x")]))
    shape = tuple(draw(st.integers(1, 7)) for _ in dims)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = np.dtype(draw(st.sampled_from(["uint16", "int32", "float32", "float64", "complex64", "complex128"])))
    values = rng.normal(size=shape) * 100
    if dtype.kind == "c":
        values = values + 1j * rng.normal(size=shape)
    values = values.astype(dtype) if dtype.kind != "u" else np.abs(values).astype(dtype)
    if dtype.kind in "fc":
        values.flat[0] = np.nan
        values.flat[-1] = np.inf
    energies = 700 + np.cumsum(rng.uniform(0.01, 3, shape[0]))
    if draw(st.booleans()):
        energies = rng.permutation(energies)
    calibrated = draw(st.booleans())
    image = labeled_image(
        values,
        dims=dims,
        voxel_size_um=[draw(st.floats(1e-3, 50)) for _ in dims[1:]] if calibrated else None,
        origin_um=[draw(st.floats(-5e3, 5e3)) for _ in dims[1:]] if calibrated else None,
        coords={
            "energy": ("energy", energies, {"units": "eV", "long_name": "Photon energy"}),
            "frames": ("energy", rng.integers(1, 9, shape[0]), {"units": "1"}),
        },
        units="counts",
        name=draw(st.sampled_from(["counts", "optical_density", None])),
        attrs={"dwell_ms": 1.5, "start_time": "2020-01-01T00:00:00", "dark": 0.25, "notes": ["a", "b"]},
    )
    return image.chunk({"energy": 2}) if draw(st.booleans()) else image


@pytest.mark.parametrize("suffix", [".nxs", ".h5", ".zarr"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=stacks())
def test_a_stack_comes_back_identical(image, suffix, tmp_path):
    back = open_image(save_image(image, tmp_path / f"stack{suffix}", overwrite=True))
    assert back.dims == image.dims
    assert back.dtype == image.dtype
    assert back.name == image.name
    assert back.values.tobytes() == image.values.tobytes()
    assert set(back.coords) == set(image.coords)
    for name, coordinate in image.coords.items():
        assert back[name].dtype == coordinate.dtype
        np.testing.assert_array_equal(back[name].values, coordinate.values)
        assert back[name].attrs == coordinate.attrs
    for key, value in image.attrs.items():
        assert back.attrs[key] == value


def test_a_bare_stack_without_attributes_or_positions_comes_back(tmp_path):
    import xarray as xr

    bare = xr.DataArray(VALUES, dims=("energy", "y", "x"), coords={"energy": ENERGIES})
    for suffix in (".nxs", ".zarr"):
        back = open_image(save_image(bare, tmp_path / f"bare{suffix}"))
        np.testing.assert_array_equal(back.values, VALUES)
        np.testing.assert_array_equal(back.energy, ENERGIES)
        assert back.x.attrs["units"] == "px"


def test_what_we_write_is_a_whole_nxstxm_entry(tmp_path):
    stack = labeled_image(
        VALUES, dims=("energy", "y", "x"), voxel_size_um=(0.2, 0.1), origin_um=(-1.0, 7.0),
        coords={"energy": ("energy", ENERGIES, {"units": "eV"})}, units="counts",
        attrs={"dwell_ms": 2.0, "start_time": "2021-05-06T07:08:09"},
    )  # fmt: skip
    with h5py.File(save_image(stack, tmp_path / "a.nxs"), "r") as file:
        assert file.attrs["default"] == "entry"
        entry = file["entry"]
        classes = {name: node.attrs["NX_class"] for name, node in entry.items() if isinstance(node, h5py.Group)}
        assert classes == {"image": "NXdata", "instrument": "NXinstrument", "sample": "NXsample"}
        assert entry["definition"][0] == b"NXstxm"
        assert entry["start_time"][0] == b"2021-05-06T07:08:09"
        assert {"title", "end_time"} <= set(entry)
        instrument = entry["instrument"]
        kinds = {name: node.attrs["NX_class"] for name, node in instrument.items()}
        assert kinds == {"source": "NXsource", "monochromator": "NXmonochromator", "detector": "NXdetector"}
        assert {"type", "name", "probe"} <= set(instrument["source"])
        assert instrument["source/probe"][0] == b"x-ray"
        np.testing.assert_array_equal(instrument["monochromator/energy"], ENERGIES)
        assert instrument["detector/data"] == entry["image/data"]
        assert "rotation_angle" in entry["sample"]
        data = entry["image"]
        assert data["stxm_scan_type"][0] == b"sample image stack"
        assert [a.decode() for a in data.attrs["axes"]] == ["energy", "sample_y", "sample_x"]
        np.testing.assert_array_equal(data["energy"], ENERGIES)
        np.testing.assert_allclose(data["sample_x"], X)
        assert data["sample_x"].attrs["units"] == "um"
        np.testing.assert_allclose(data["count_time"], 0.002)


def test_our_nxstxm_without_our_record_still_gives_everything_that_nxstxm_holds(tmp_path):
    stack = labeled_image(
        VALUES, dims=("energy", "y", "x"), voxel_size_um=(0.2, 0.1),
        coords={"energy": ("energy", ENERGIES, {"units": "eV", "long_name": "Photon energy"})}, units="counts",
        attrs={"dwell_ms": 2.0},
    )  # fmt: skip
    path = save_image(stack, tmp_path / "a.nxs")
    with h5py.File(path, "a") as file:
        del file["entry/image/data"].attrs["operando"]
    back = open_image(path)
    assert back.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(back.values, VALUES)
    np.testing.assert_array_equal(back.energy, ENERGIES)
    assert spacing(back) == pytest.approx({"y": 0.2, "x": 0.1})
    assert back.attrs["dwell_ms"] == 2.0


def test_whole_energies_are_written_as_nxstxm_asks_and_come_back_whole(tmp_path):
    image = labeled_image(VALUES, dims=("energy", "y", "x"), coords={"energy": ("energy", [700, 701, 702, 710])})
    path = save_image(image, tmp_path / "a.nxs")
    with h5py.File(path, "r") as file:
        assert file["entry/image/energy"].dtype == np.float64
    assert open_image(path).energy.dtype == np.int64


@pytest.mark.parametrize("dims", [("energy",), ("energy", "x"), ("energy", "y")])
def test_spectra_and_line_scans_are_nxstxm_too(dims, tmp_path):
    values = VALUES[tuple(slice(None) if d in dims else 0 for d in ("energy", "y", "x"))]
    image = labeled_image(values, dims=dims, coords={"energy": ("energy", ENERGIES, {"units": "eV"})})
    path = save_image(image, tmp_path / "a.nxs")
    back = open_image(path)
    assert back.dims == dims
    np.testing.assert_array_equal(back.values, values)
    with h5py.File(path, "r") as file:
        kind = file["entry/image/stxm_scan_type"][0].decode()
        assert kind == ("sample point spectrum" if dims == ("energy",) else "sample line spectrum")
        assert {"energy", "sample_x", "sample_y"} <= set(file["entry/image"])


@pytest.mark.parametrize("order", ["exy", "xye", "yxe", "eyx"])
@pytest.mark.parametrize("named", [True, False])
def test_data_exchange_tells_its_energies_by_name_or_by_length(order, named, tmp_path):
    letters = {"e": ("energy", ENERGIES), "y": ("y", Y), "x": ("x", X)}
    values = np.transpose(VALUES, ["eyx".index(c) for c in order])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = values
        for name, points in letters.values():
            file[f"exchange/{name}"] = points
            file[f"exchange/{name}"].attrs["units"] = "eV" if name == "energy" else "um"
        if named:
            file["exchange/data"].attrs["axes"] = ":".join(letters[c][0] for c in order)
    image = open_image(tmp_path / "a.h5")
    assert image.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(image.values, VALUES)
    np.testing.assert_array_equal(image.energy, ENERGIES)
    assert spacing(image) == pytest.approx({"y": 0.2, "x": 0.1})


def test_a_stack_of_mantis_is_read_in_its_order(tmp_path):
    # As MANTiS 3.3 writes it: x, y, energy; energies in "ev"; positions without unit.
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_group("spectromicroscopy")
        file["exchange/data"] = VALUES.transpose(2, 1, 0)
        file["exchange/data"].attrs.update({"axes": "x:y:energy", "signal": 1})
        file["exchange/energy"] = ENERGIES.astype("float32")
        file["exchange/energy"].attrs["units"] = "ev"
        file["exchange/x"], file["exchange/y"] = X.astype("float32"), Y.astype("float32")
    image = open_image(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(image.values, VALUES)
    np.testing.assert_array_equal(image.energy, ENERGIES)
    np.testing.assert_allclose(image.x, X, rtol=1e-6)
    assert spacing(image) == pytest.approx({"y": 0.2, "x": 0.1})


def test_axes_that_leave_out_the_energy_are_completed(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["exchange/data"] = VALUES.transpose(2, 1, 0)
        file["exchange/data"].attrs["axes"] = "x:y"
        file["exchange/energy"] = ENERGIES
    np.testing.assert_array_equal(open_image(tmp_path / "a.hdf5").values, VALUES)


def test_energies_in_kev_are_brought_to_ev_and_bare_ones_are_told(tmp_path):
    for unit in ("keV", ""):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["exchange/data"] = VALUES
            file["exchange/energies"] = [8.333, 8.34, 8.35, 8.4]
            if unit:
                file["exchange/energies"].attrs["units"] = unit
        assert open_image(tmp_path / "a.h5").energy.values.tolist() == [8333.0, 8340.0, 8350.0, 8400.0]
        told = any("they were taken as keV" in s for s in describe(tmp_path / "a.h5")["missing"])
        assert told == (unit == "")


def test_the_lithium_edge_is_not_mistaken_for_kilovolts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = VALUES
        file["exchange/energy"] = [54.0, 55.0, 56.5, 60.0]
    assert open_image(tmp_path / "a.h5").energy.values.tolist() == [54.0, 55.0, 56.5, 60.0]


def test_projections_with_angles_stay_projections_beside_an_energy(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = VALUES
        file["exchange/theta"] = [0.0, 60.0, 120.0, 180.0]
        file["exchange/energy"] = [8333.0]
    image = open_image(tmp_path / "a.h5")
    assert image.dims == ("angle", "detector_y", "detector_x")
    assert float(image.energy) == 8333.0


def test_a_stack_without_energies_says_how_to_give_them(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stack"] = VALUES
        file["stack"].attrs["axes"] = "energy,y,x"
    assert any("open_stack(path, energies=...)" in s for s in describe(tmp_path / "a.h5")["missing"])


def test_a_single_image_tells_its_energy_though_it_is_no_axis(tmp_path):
    with h5py.File(write_nxstxm(tmp_path / "a.hdf5"), "r+") as file:
        group = file["entry1/counter0"]
        del group["data"], group["energy"]
        group["data"], group["energy"] = VALUES[0], 708.5
        group.attrs["axes"] = np.array(["sample_y", "sample_x"], dtype="S")
    image = open_image(tmp_path / "a.hdf5")
    assert image.dims == ("y", "x")
    assert float(image.energy) == 708.5
    assert image.energy.attrs["units"] == "eV"
