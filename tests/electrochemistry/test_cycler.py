import numpy as np
import pandas as pd
import pytest

from operando.core.errors import FileError, InputError, UnitsError
from operando.electrochemistry import charge_between, read_cycler


def _file(tmp_path, text, name="cell.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


# The same three rows (0, 0.5, 1 h; 1.5, 1.5, -0.25 mA; 3.1, 3.2, 3.0 V) as vendors write them.
EXPORTS = {
    "biologic": "EC-Lab ASCII FILE\nNb header lines : 4\n\n"
    "mode\ttime/s\tEwe/V\t<I>/mA\n1\t0\t3.1\t1.5\n1\t1800\t3.2\t1.5\n1\t3600\t3.0\t-0.25\n",
    "biologic, decimal comma": "EC-Lab ASCII FILE\nNb header lines : 3\n"
    "time/s\tEwe/V\tI/mA\n0,000E+00\t3,1E+00\t1,5E+00\n1,8E+03\t3,2\t1,5\n3,6E+03\t3,0\t-2,5E-01\n",
    "arbin": "Data_Point,Test_Time(s),Step_Time(s),Current(A),Voltage(V)\n"
    "1,0,0,0.0015,3.1\n2,1800,1800,0.0015,3.2\n3,3600,0,-0.00025,3.0\n",
    "maccor, sign from state": "Today's Date 01/15/2025\n"
    "Rec#\tTest (Min)\tStep (Min)\tAmps\tVolts\tState\n"
    "1\t0\t0\t0.0015\t3.1\tC\n2\t30\t30\t0.0015\t3.2\tC\n3\t60\t0\t0.00025\t3.0\tD\n",
    "neware": "Step,Status,Time(h:min:s.ms),Total Time,Current(mA),Voltage(V)\n"
    "1,CC_Chg,00:00:00.000,0:00:00,1.5,3.1\n1,CC_Chg,00:30:00.0,0:30:00,1.5,3.2\n2,CC_DChg,00:00:00.0,1:00:00,-0.25,3.0\n",
    "landt": '"TestTime/Sec.";"Current/uA";"Voltage/V"\n0;1500;3,1\n1800;1500;3,2\n3600;-250;3,0\n',
    "bdf": "Test Time / s,Voltage / V,Current / A\n0,3.1,0.0015\n1800,3.2,0.0015\n3600,3.0,-0.00025\n",
    "plain": "time_h;current_mA;voltage_V\n0;1,5;3,1\n0,5;1,5;3,2\n1;-0,25;3,0\n",
    "milliamps in brackets": "Time [min], I [mA], U [V]\n0, 1.5, 3.1\n30, 1.5, 3.2\n60, -0.25, 3.0\n",
}


@pytest.mark.parametrize("vendor", EXPORTS)
def test_exports_of_the_common_vendors_read_the_same(tmp_path, vendor):
    record = read_cycler(_file(tmp_path, EXPORTS[vendor]))
    assert list(record) == ["time_h", "current_ma", "voltage_v"]
    np.testing.assert_allclose(record["time_h"], [0, 0.5, 1])
    np.testing.assert_allclose(record["current_ma"], [1.5, 1.5, -0.25])
    np.testing.assert_allclose(record["voltage_v"], [3.1, 3.2, 3.0])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_and_byte_order_marks_do_not_matter(tmp_path, encoding):
    text = "Zelle: Größe 2\ntime/s,Current (µA),Ewe/V\n0,1500,3.1\n3600,1500,3.2\n"
    record = read_cycler(_file(tmp_path, text, encoding=encoding))
    np.testing.assert_allclose(record["current_ma"], 1.5)


def test_line_ends_of_windows_and_empty_rows_do_not_matter(tmp_path):
    text = "time_s;current_mA\r\n\r\n0;1\r\n3600;2\r\n;\r\n"
    record = read_cycler(_file(tmp_path, text))
    assert record["current_ma"].tolist() == [1.0, 2.0]
    assert record["voltage_v"].isna().all()
    assert record.attrs["dropped"] == 1


def test_total_time_wins_over_the_clock_of_a_step(tmp_path):
    text = "Time/s,Total Time/s,Current/mA\n0,0,1\n10,10,1\n0,20,1\n"
    assert read_cycler(_file(tmp_path, text))["time_h"].tolist() == [0, 10 / 3600, 20 / 3600]


def test_times_may_count_days(tmp_path):
    text = "Test Time,Current/mA\n0d 23:30:00.0,1\n1d 01:00:00.5,1\n"
    np.testing.assert_allclose(read_cycler(_file(tmp_path, text))["time_h"], [23.5, 25 + 0.5 / 3600])


def test_discharge_counted_as_positive_can_be_reversed(tmp_path):
    path = _file(tmp_path, "time_s,current_mA\n0,1\n10,1\n")
    assert read_cycler(path, charging_is_positive=False)["current_ma"].tolist() == [-1, -1]


def test_columns_can_be_named_or_numbered(tmp_path):
    named = _file(tmp_path, "a,b,c\n0,2,9\n60,3,9\n")
    record = read_cycler(named, columns={"time": ("a", "min"), "current": ("b", "A")})
    assert record["time_h"].tolist() == [0, 1]
    assert record["current_ma"].tolist() == [2000, 3000]
    bare = _file(tmp_path, "0 2\n60 3\n", name="bare.txt")
    record = read_cycler(bare, columns={"time": (0, "min"), "current": (1, "mA")})
    assert record["current_ma"].tolist() == [2, 3]
    assert record.attrs["columns"] == {"time": "column 0 [min]", "current": "column 1 [mA]"}


def test_a_missing_column_lists_what_is_there(tmp_path):
    path = _file(tmp_path, "zeit,strom\n0,1\n1,1\n")
    with pytest.raises(InputError, match=r"none for 'time' and 'current' among \['zeit', 'strom'\]"):
        read_cycler(path)
    with pytest.raises(InputError, match="Did you mean 'zeit'"):
        read_cycler(path, columns={"time": ("zeitt", "s"), "current": ("strom", "mA")})
    with pytest.raises(InputError, match="current not named"):
        read_cycler(path, columns={"time": (0, "s")})
    with pytest.raises(InputError, match="Did you mean 'current'"):
        read_cycler(path, columns={"curent": ("strom", "mA")})


def test_a_missing_or_foreign_unit_is_asked_for(tmp_path):
    with pytest.raises(UnitsError, match=r"needs a unit of time, got 'time'"):
        read_cycler(_file(tmp_path, "time,current_mA\n0,1\n1,1\n"))
    with pytest.raises(UnitsError, match=r"needs a unit of current, got 'Current/V'"):
        read_cycler(_file(tmp_path, "time/s,Current/V\n0,1\n1,1\n"))
    with pytest.raises(UnitsError, match="column with a unit of time"):
        read_cycler(_file(tmp_path, "a,b\n0,1\n"), columns={"time": ("a", "mA"), "current": ("b", "mA")})


def test_time_running_backward_is_refused_with_its_row(tmp_path):
    with pytest.raises(InputError, match=r"from 0.5 h to 0.25 h after row 2"):
        read_cycler(_file(tmp_path, "time_h,current_mA\n0,1\n0.5,1\n0.25,1\n"))


def test_a_few_broken_rows_are_dropped_and_many_refused(tmp_path):
    rows = [f"{i},1" for i in range(300)]
    rows[100] = "100,overflow"
    record = read_cycler(_file(tmp_path, "time_s,current_mA\n" + "\n".join(rows)))
    assert len(record) == 299
    assert record.attrs["dropped"] == 1
    rows[::10] = ["0,NaN"] * 30
    with pytest.raises(InputError, match="not in 30 of 300 rows, first in row 1"):
        read_cycler(_file(tmp_path, "time_s,current_mA\n" + "\n".join(rows)))


def test_thousands_separators_are_told_from_decimal_commas(tmp_path):
    text = "time_s;current_mA\n0;1.5\n1,800.0;1.5\n3,600.5;1.5\n"
    np.testing.assert_allclose(read_cycler(_file(tmp_path, text))["time_h"], [0, 0.5, 3600.5 / 3600])
    with pytest.raises(InputError, match="one decimal sign"):
        read_cycler(_file(tmp_path, "time_s;current_mA\n0;1,5\n1;1.25\n"))


def test_files_that_are_no_record_get_one_sentence(tmp_path):
    for name, text, match in [
        ("empty.csv", "", "the file is empty"),
        ("cell.mpr", "BIO-LOGIC MODULAR FILE", "export it as text"),
        ("noise.csv", "\0\1\2", "a binary file"),
        ("prose.txt", "Dear colleague,\nthe current was high.\n", "no header was found"),
        ("header.csv", "time_s,current_mA\n", "no row"),
    ]:
        with pytest.raises(FileError, match=match):
            read_cycler(_file(tmp_path, text, name=name))
    with pytest.raises(FileError, match="No such file"):
        read_cycler(tmp_path / "absent.csv")


def test_real_files_are_read(data_folder):
    folder = data_folder / "echem-cycling"
    simulated = read_cycler(folder / "cellpy_MIT" / "batmo_bdf.csv")
    assert len(simulated) == 21206
    assert simulated["current_ma"].iloc[0] == pytest.approx(-6.055158)  # "discharge", positive in the file
    toy = read_cycler(folder / "navani_MIT" / "test_with_capacity.bdf")
    assert toy["current_ma"].tolist() == [1.0] * 5 + [-1.0] * 5
    maccor = read_cycler(folder / "navani_MIT" / "maccor_example.txt")
    assert maccor["current_ma"].abs().max() == pytest.approx(0.61)
    assert (maccor["current_ma"] < 0).sum() > 10
    with pytest.raises(UnitsError, match="'TestTime'"):
        read_cycler(folder / "cellpy_MIT" / "maccor_002.txt")
    sodium = read_cycler(folder / "cellpy_MIT" / "maccor_002.txt", columns={"time": ("TestTime", "min")})
    # The file's own capacity counter over the last step, 0.00664376 Ah is energy; its step capacity is 0.00225395 Ah.
    last = sodium[sodium["time_h"] >= (3809.841833 - 843.026) / 60]
    moved = np.trapezoid(-last["current_ma"], last["time_h"])
    assert moved == pytest.approx(2.25395, rel=2e-3)
    with pytest.raises(UnitsError, match="'test_time'"):
        read_cycler(folder / "cellpy_MIT" / "custom_data_001.csv")
    named = {"time": ("test_time", "s"), "current": ("current", "mA"), "voltage": ("voltage", "V")}
    assert len(read_cycler(folder / "cellpy_MIT" / "custom_data_001.csv", columns=named)) == 2442
    polarization = read_cycler(
        data_folder / "li-peo-mri-operando" / "Li_Li" / "POL.txt",
        columns={"time": (0, "h"), "voltage": (1, "V"), "current": (2, "mA")},
    )
    assert len(polarization) == 1022
    assert polarization["current_ma"].iloc[0] == 0.09984
    with pytest.raises(FileError, match="Neware binary"):
        read_cycler(folder / "navani_MIT" / "test.ndax")


def _record(time, current):
    return pd.DataFrame({"time_h": np.asarray(time, float), "current_ma": np.asarray(current, float)})


def test_charge_of_a_constant_current_is_current_times_time():
    charge = charge_between(_record([0, 10], [3, 3]), [1, 2, 5.5])
    np.testing.assert_allclose(charge, [np.nan, 3, 10.5])
    np.testing.assert_allclose(charge["sigma"], [np.nan, 0.003, 0.0105])
    assert charge.dims == ("t",)
    assert charge.attrs["units"] == "mAh"


def test_charge_of_a_ramp_is_exact_between_rows():
    ramp = _record([0, 4], [0, 8])  # I = 2 t, Q = t^2
    np.testing.assert_allclose(charge_between(ramp, [0.3, 1.7, 3.9])[1:], [1.7**2 - 0.3**2, 3.9**2 - 1.7**2])


def test_a_step_given_by_two_rows_at_one_time_is_exact():
    step = _record([0, 1, 1, 2], [1, 1, -2, -2])
    np.testing.assert_allclose(charge_between(step, [0, 1, 2])[1:], [1, -2])
    np.testing.assert_allclose(charge_between(step, [0.5, 1.5])[1:], [0.5 - 1.0])


def test_intervals_add_up_and_sigma_counts_both_directions():
    rng = np.random.default_rng(0)
    record = _record(np.sort(rng.uniform(0, 10, 400)), rng.normal(size=400))
    fine, coarse = charge_between(record, np.linspace(1, 9, 9)), charge_between(record, [1, 9])
    assert fine[1:].sum() == pytest.approx(coarse[1].item())
    there_and_back = charge_between(_record([0, 1, 1, 2], [5, 5, -5, -5]), [0, 2], accuracy=0.01)
    assert there_and_back[1] == 0
    assert there_and_back["sigma"][1] == pytest.approx(0.1)


def test_scans_outside_the_record_are_refused_or_rested():
    record = _record([1, 2], [4, 4])
    with pytest.raises(InputError, match=r"within the record \(1 to 2 h\), got a scan at 0 h"):
        charge_between(record, [0, 1.5])
    np.testing.assert_allclose(charge_between(record, [0, 1.5, 3], outside_ma=0)[1:], [2, 2])


def test_gaps_can_be_refused():
    record = _record([0, 1, 5, 6], [1, 1, 1, 1])
    with pytest.raises(InputError, match="got 4 h from 1 to 5 h"):
        charge_between(record, [0, 6], max_gap_h=2)
    assert charge_between(record, [5, 6], max_gap_h=2)[1] == 1


def test_unusable_records_and_times_are_refused():
    with pytest.raises(InputError, match="columns time_h and current_ma"):
        charge_between(pd.DataFrame({"t": [0.0]}), [0, 1])
    with pytest.raises(InputError, match="never run backward"):
        charge_between(_record([0, 2, 1], [1, 1, 1]), [0, 1])
    with pytest.raises(InputError, match="scan times must increase"):
        charge_between(_record([0, 2], [1, 1]), [1, 1])
    with pytest.raises(InputError, match="accuracy"):
        charge_between(_record([0, 2], [1, 1]), [0, 1], accuracy=-1)
