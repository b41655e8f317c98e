"""STXM_Control: the grammar of the header, and one text matrix per energy."""

import numpy as np
import pytest

from operando.core.axes import spacing
from operando.core.errors import FileError
from operando.io import describe, open_image, open_stack, readers
from operando.io.conformance import check_reader
from operando.io.stxm_header import parse_header

ENERGIES = [700.0, 701.25, 704.0]
RNG = np.random.default_rng(5)


def axis(name, what, points, unit="um"):
    listed = ", ".join(f"{p:.4f}" for p in points)
    return (
        f'{name} = {{ Name = "{what}"; Unit = "{unit}"; Min = {min(points)}; Max = {max(points)}; Dir = 1;\n'
        f"\t\t\t\tPoints = ({len(points)}, {listed});\n}};\n"
    )


def header(
    *, energies=ENERGIES, x=(2.0, 2.5, 3.0, 3.5, 4.0), y=(-1.0, -0.5, 0.0, 0.5), regions=1, channels=1, unit="um",
    flags="Image Stack",
):  # fmt: skip
    one = "{\n" + axis("PAxis", "Sample X", x, unit) + "\n" + axis("QAxis", "Sample Y", y, unit) + "}"
    named = ",\n".join(f'{{ Name = "counter{c}"; Unit = "{"counts" if c == 0 else "V"}";}}' for c in range(channels))
    return (
        f'\nScanDefinition = {{ Label = "s.hdr"; Type = "NEXAFS Image Scan"; Flags = "{flags}"; Dwell = 1.5; '
        f"Dwell2 = -6.2774386e+066;\n\tRegions = ({regions},\n" + ",\n".join([one] * regions) + ");\n\n\t"
        + (axis("StackAxis", "Energy", energies, "eV") if len(energies) else "")
        + f"\n\tChannels = ({channels},\n{named});\n}};\n"
        ' Time = "2018 November 10 23:57:34"; BeamFeedback = false;\n'
        "Monochromator = { LastPosition = 699.97; };\n Polarization = 0.5;\n"
        'Image000_0 = {Energy = 700.00; Time = "2018 Nov 11 00:03:50"; ZP_dest= -5682.64;};\n'
    )  # fmt: skip


def write_matrix(path, values, *, end="\n", tab=""):
    path.write_bytes("".join("\t".join(f"{v:.6f}" for v in row) + tab + end for row in values).encode())


@pytest.fixture
def scan(tmp_path):
    values = RNG.integers(0, 2000, (3, 4, 5)).astype(float)
    (tmp_path / "s.hdr").write_text(header())
    for number, plane in enumerate(values):
        write_matrix(tmp_path / f"s_a{number:03d}.xim", plane)
    return tmp_path / "s.hdr", values


def test_a_stack_has_its_values_energies_positions_and_dwell(scan):
    path, values = scan
    image = open_image(path)
    assert image.dims == ("energy", "y", "x")
    assert image.dtype == np.float64
    np.testing.assert_array_equal(image.values, values)
    np.testing.assert_array_equal(image.energy, ENERGIES)
    np.testing.assert_array_equal(image.x, [2.0, 2.5, 3.0, 3.5, 4.0])
    np.testing.assert_array_equal(image.y, [-1.0, -0.5, 0.0, 0.5])
    assert (image.energy.attrs["units"], image.y.attrs["units"]) == ("eV", "um")
    assert spacing(image) == {"y": 0.5, "x": 0.5}
    assert image.attrs["units"] == "counts"
    assert image.attrs["channel"] == "counter0"
    assert image.attrs["dwell_ms"] == 1.5
    assert image.attrs["polarization"] == 0.5
    assert image.attrs["start_time"] == "2018-11-10T23:57:34"


def test_the_reader_keeps_the_contract(scan):
    path, values = scan
    check_reader(readers()["stxm"], path, expected=values)
    lone = path.parent / "alone.xim"
    write_matrix(lone, values[0])
    check_reader(readers()["stxm"], lone, expected=values[0], cuts=7)


def test_a_matrix_is_read_when_its_block_is_computed_and_not_before(scan):
    path, values = scan
    image = open_image(path)
    broken = path.parent / "s_a002.xim"
    broken.write_text("not numbers\n")
    np.testing.assert_array_equal(image[:2].values, values[:2])
    with pytest.raises(FileError, match=r"s_a002\.xim: the file has changed since it was opened"):
        image[2].compute()


def test_a_missing_matrix_reads_as_nan_and_is_told(scan):
    path, values = scan
    (path.parent / "s_a001.xim").unlink()
    image = open_image(path)
    assert np.isnan(image[1].values).all()
    np.testing.assert_array_equal(image[::2].values, values[::2])
    assert any("1 of 3 images are missing and read as NaN (number 1)" in s for s in describe(path)["missing"])


def test_matrices_in_a_folder_below_are_found(scan):
    path, values = scan
    below = path.parent / "raw"
    below.mkdir()
    for file in path.parent.glob("*.xim"):
        file.rename(below / file.name)
    np.testing.assert_array_equal(open_image(path).values, values)
    np.testing.assert_array_equal(open_image(below / "s_a002.xim").values, values)
    other = path.parent / "copy"
    other.mkdir()
    (other / "s_a000.xim").write_bytes((below / "s_a000.xim").read_bytes())
    with pytest.raises(FileError, match=r"several folders below it hold its images \(copy, raw\)"):
        open_image(path)


def test_a_header_without_its_images_names_the_first_that_is_expected(scan):
    path, _ = scan
    for file in path.parent.glob("*.xim"):
        file.unlink()
    with pytest.raises(FileError, match=r"s_a000\.xim was looked for beside it and one folder below"):
        open_image(path)


def test_numbers_beyond_the_axis_are_taken_in_order_where_their_count_fits(scan):
    path, values = scan
    for old, new in ((0, 3), (1, 10), (2, 19)):
        (path.parent / f"s_a{old:03d}.xim").rename(path.parent / f"s_a{new:03d}.xim")
    np.testing.assert_array_equal(open_image(path).values, values)
    assert any("numbered 3, 10, 19 on an axis of 3 energies" in s for s in describe(path)["missing"])
    (path.parent / "s_a003.xim").unlink()
    with pytest.raises(FileError, match="the axis has 3 energies, but 2 images are numbered up to 19"):
        open_image(path)


def test_channels_are_listed_and_chosen_by_letter_or_name(tmp_path):
    values = RNG.random((2, 3, 4, 5)).round(6)
    (tmp_path / "s.hdr").write_text(header(channels=2))
    for letter, stack in zip("ab", values, strict=True):
        for number, plane in enumerate(stack):
            write_matrix(tmp_path / f"s_{letter}{number:03d}.xim", plane)
    about = describe(tmp_path / "s.hdr")
    assert [(d["path"], d["role"]) for d in about["datasets"]] == [
        ("a", "channel counter0 (counts)"),
        ("b", "channel counter1 (V)"),
    ]
    assert any("This is 'a' of 2 images" in s for s in about["missing"])
    np.testing.assert_array_equal(open_image(tmp_path / "s.hdr").values, values[0])
    for name in ("b", "counter1"):
        image = open_image(tmp_path / "s.hdr", dataset=name)
        np.testing.assert_array_equal(image.values, values[1])
        assert image.attrs["units"] == "V"
    np.testing.assert_array_equal(open_image(tmp_path / "s_b001.xim").values, values[1])
    with pytest.raises(FileError, match=r"no channel or region 'counter2'. Did you mean 'counter1'"):
        open_image(tmp_path / "s.hdr", dataset="counter2")


def test_regions_are_the_last_digit_of_the_number(tmp_path):
    values = RNG.random((2, 3, 4, 5)).round(6)
    (tmp_path / "s.hdr").write_text(header(regions=2))
    for region in range(2):
        for number, plane in enumerate(values[region]):
            write_matrix(tmp_path / f"s_a{number:03d}{region}.xim", plane)
    assert [d["path"] for d in describe(tmp_path / "s.hdr")["datasets"]] == ["0/a", "1/a"]
    np.testing.assert_array_equal(open_image(tmp_path / "s.hdr").values, values[0])
    np.testing.assert_array_equal(open_image(tmp_path / "s.hdr", dataset="1/a").values, values[1])
    np.testing.assert_array_equal(open_image(tmp_path / "s_a0021.xim").values, values[1])


def test_a_single_image_has_its_energy_beside_it(tmp_path):
    values = RNG.random((4, 5)).round(6)
    (tmp_path / "s.hdr").write_text(header(energies=[853.0], flags="Image"))
    write_matrix(tmp_path / "s_a.xim", values)
    image = open_image(tmp_path / "s.hdr")
    assert image.dims == ("y", "x")
    assert float(image.energy) == 853.0
    np.testing.assert_array_equal(image.values, values)


def test_a_line_scan_has_its_energies_along_the_rows(tmp_path):
    values = RNG.random((4, 3)).round(6)
    text = header(energies=[], flags="Image").replace(
        axis("PAxis", "Sample X", (2.0, 2.5, 3.0, 3.5, 4.0)), axis("PAxis", "Energy", ENERGIES, "eV")
    )
    (tmp_path / "s.hdr").write_text(text)
    write_matrix(tmp_path / "s_a.xim", values)
    image = open_image(tmp_path / "s.hdr")
    assert image.dims == ("energy", "y")
    np.testing.assert_array_equal(image.values, values.T)
    np.testing.assert_array_equal(image.energy, ENERGIES)


def test_windows_line_ends_and_a_tab_at_the_end_of_a_row_are_read(scan):
    path, values = scan
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    for number, plane in enumerate(values):
        write_matrix(path.parent / f"s_a{number:03d}.xim", plane, end="\r\n", tab="\t")
    np.testing.assert_array_equal(open_image(path).values, values)


def test_positions_that_printing_has_rounded_are_put_on_their_even_line(scan):
    path, _ = scan
    path.write_text(header(x=[-0.6180, -0.5908, -0.5636, -0.5365, -0.5093]))
    image = open_image(path)
    assert spacing(image)["x"] == pytest.approx(0.0271750)
    np.testing.assert_allclose(image.x, [-0.6180, -0.5908, -0.5636, -0.5365, -0.5093], atol=6e-5)


def test_positions_that_are_uneven_are_kept_and_told(scan):
    path, _ = scan
    path.write_text(header(x=[0.0, 1.0, 3.0, 4.0, 5.0]))
    np.testing.assert_array_equal(open_image(path).x, [0, 1, 3, 4, 5])
    assert any("positions along x are not even (steps from 1 to 2 um)" in s for s in describe(path)["missing"])


def test_an_axis_that_was_scanned_downward_is_turned_with_its_image(scan):
    path, values = scan
    path.write_text(header(y=[0.5, 0.0, -0.5, -1.0]))
    image = open_image(path)
    np.testing.assert_array_equal(image.y, [-1.0, -0.5, 0.0, 0.5])
    np.testing.assert_array_equal(image.values, values[:, ::-1])
    assert any("scanned downward" in s for s in describe(path)["missing"])


def test_nanometers_come_in_micrometers(scan):
    path, _ = scan
    path.write_text(header(unit="nm", x=[0.0, 50.0, 100.0, 150.0, 200.0]))
    assert spacing(open_image(path))["x"] == pytest.approx(0.05)


def test_a_matrix_without_header_is_in_pixels_and_says_so(tmp_path):
    write_matrix(tmp_path / "old_a007.xim", [[1.0, 2.0], [3.0, 4.0]])
    image = open_image(tmp_path / "old_a007.xim")
    np.testing.assert_array_equal(image.values, [[1, 2], [3, 4]])
    assert image.x.attrs["units"] == "px"
    assert any("no header old_a007.hdr" in s for s in describe(tmp_path / "old_a007.xim")["missing"])


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.97])
def test_a_matrix_that_is_cut_off_is_an_error_when_it_is_computed(keep, scan):
    path, values = scan
    cut = path.parent / "s_a001.xim"
    cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * keep)])
    image = open_image(path)
    np.testing.assert_array_equal(image[0].values, values[0])
    with pytest.raises(FileError, match=r"s_a001\.xim: .*truncated"):
        image[1].compute()


def test_a_header_cut_anywhere_is_an_error_or_changes_nothing(scan):
    path, values = scan
    whole = path.read_bytes()
    refused = 0
    for keep in range(1, len(whole), 7):
        path.write_bytes(whole[:keep])
        try:
            image = open_image(path)
        except FileError:
            refused += 1
        else:
            np.testing.assert_array_equal(image.values, values)
            np.testing.assert_array_equal(image.energy, ENERGIES)
    assert refused > len(whole) / 7 * 0.8


def test_the_grammar_reads_blocks_lists_texts_numbers_and_words():
    text = (
        'A = {};\nB = (2,\n{ x = -1.5e-3; y = true;},\n{ x = .5; t = "a; {b}"; n = { m = -6.2774386e+066 } });\nC= 7;'
    )
    assert parse_header(text) == {
        "A": {},
        "B": [{"x": -1.5e-3, "y": True}, {"x": 0.5, "t": "a; {b}", "n": {"m": -6.2774386e66}}],
        "C": 7.0,
    }
    assert parse_header("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A = { x = 1;\n y 2; };", "line 2 must have '=', got '2'"),
        ("A = (3, 1, 2);", "line 1 must have a list of 3 values, got 2"),
        ("A = (\n{});", "line 2 must have the number of values of the list, got '{'"),
        ("A = { x = 1;", "line 1 must have a name or '}', got the end of the file"),
        ("A = ;", "line 1 must have a number, a text, '{' or '(', got ';'"),
        ("A = { x = 1 y = 2; };", "line 1 must have ';', got 'y'"),
        ('A = "open', "got '\"'"),
        ("A = " + "{ B = " * 200, "at most 32 levels"),
    ],
)
def test_a_damaged_header_tells_its_line_and_what_was_expected(text, message):
    with pytest.raises(FileError) as caught:
        parse_header(text, where="s.hdr")
    assert message in str(caught.value)
    assert str(caught.value).startswith("s.hdr: line ")


def test_a_header_of_another_program_is_not_taken(tmp_path):
    (tmp_path / "envi.hdr").write_text("ENVI\nsamples = 5\nlines = 4\n")
    with pytest.raises(FileError, match="not an STXM_Control header"):
        open_image(tmp_path / "envi.hdr")
    (tmp_path / "half.hdr").write_text('ScanDefinition = { Flags = "Image"; Channels = (1, { Name = "a"; }); };')
    with pytest.raises(FileError, match=r"half\.hdr: the header must define Regions, got NoneType"):
        open_image(tmp_path / "half.hdr")


def test_the_real_scan_equals_the_counts_that_were_taken_from_it(data_folder):
    folder = data_folder / "als-stxm-fe2p/71214078_FigS4"
    image = open_image(folder / "71214078.hdr")
    known = open_image(folder / "71214078_aligned.h5")
    assert image.shape == known.shape == (123, 125, 125)
    for number in (0, 61, 122):
        # The HDF5 holds the printed values rounded to 32 bits.
        np.testing.assert_array_equal(image[number].values.astype(np.float32), known[number].values)
    assert np.isnan(image[1].values).all()
    for dim in ("energy", "y", "x"):
        np.testing.assert_allclose(image[dim], known[dim], rtol=1e-12)
    assert image.attrs["dwell_ms"] == 0.433
    assert spacing(image) == pytest.approx({"y": 0.08, "x": 0.08})
    about = describe(folder / "71214078.hdr")
    assert any("120 of 123 images are missing" in s for s in about["missing"])


def test_the_real_scan_with_odd_numbers_is_taken_in_order(data_folder):
    folder = data_folder / "als-ptycho-stxm-ni-l/cosmic"
    image = open_image(folder / "stxm-scan.hdr")
    assert image.shape == (2, 120, 120)
    np.testing.assert_array_equal(image.energy, [853.0, 857.75])
    assert float(image[0, 0, 0]) == 19447
    assert spacing(image) == pytest.approx({"y": 0.02718, "x": 0.02718}, rel=1e-3)
    with pytest.raises(FileError, match="NS_181111148_a000"):
        open_image(folder / "NS_181111148.hdr")


def test_a_folder_of_a_header_and_its_images_is_one_stack(scan):
    path, values = scan
    stack = open_stack(path.parent)
    assert stack.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(stack.values, values)
