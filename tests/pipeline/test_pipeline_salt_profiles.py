"""Recipe ``salt-profiles`` on a made-up cell, and on the real profiles."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.ndimage import gaussian_filter1d

from operando import pipeline
from operando.core.errors import RecipeError
from operando.core.quantities import COLUMNS
from operando.electrochemistry import displacement_rate, salt_diffusion, sand_time

EXAMPLE = Path(__file__).parents[2] / "examples" / "salt-profiles-mri.yaml"
AREA, INITIAL, CURRENT, SHARE, D = 0.8, 1.0, 0.1, 0.3, 2e-12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Profiles of a cell whose transference and diffusivity are known, plated at high y as recorded."""
    root = tmp_path_factory.mktemp("salt")
    hours = np.arange(12) / 6
    rate = displacement_rate(CURRENT / AREA, INITIAL, transference=SHARE)
    found = salt_diffusion(
        3600 * (hours + 1 / 12), thickness_um=800, concentration=INITIAL, diffusivity=D, rate_um_s=rate
    )
    y = 10.0 + 20.0 * np.arange(120)
    random = np.random.default_rng(3010)
    fine = np.arange(0.5, 2400.0)
    inside = (fine > 800) & (fine < 1600)
    for number, share in enumerate(found["concentration"].values):
        blurred = gaussian_filter1d(np.where(inside, np.interp(fine - 800, found["y"], share), 0.0), 30.0)
        profile = 1e5 * np.interp(y, fine, blurred) + 5e3 + 600 * random.normal(size=y.size)
        text = "# SIZE = 120\n" + "\n".join(f"{value:.3f}" for value in profile[::-1])
        (root / f"cell({number:03}).txt").write_text(text)
    table = pd.DataFrame({"time/h": [5.0, 7.5], "I/mA": CURRENT, "U/V": [0.1, 0.3]})
    table.to_csv(root / "record.csv", index=False)
    return root


def recipe(folder, **changes):
    content = {
        "recipe": "salt-profiles",
        "output": str(folder / "run"),
        "profiles": {
            "folder": ".",
            "field_of_view_um": 2400,
            "interval_s": 600,
            "flip": True,
            "use_first": 1,
            "simulated": True,
        },
        "cycler": {
            "file": "record.csv",
            "columns": {"time": ["time/h", "h"], "current": ["I/mA", "mA"], "voltage": ["U/V", "V"]},
        },
        "electrolyte": {
            "concentration_mol_l": INITIAL,
            "area_cm2": AREA,
            "diffusivity": {"coefficients": [D], "valid": [0.1, 2.0]},
        },
    }
    content |= changes
    path = folder / f"{content['output'].rpartition('/')[2]}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def run(folder):
    loaded = pipeline.load(recipe(folder))
    loaded.run(workers=1)
    return loaded


def value(ledger, component, quantity):
    row = ledger[(ledger["component"] == component) & (ledger["quantity"] == quantity) & (ledger["scan"] < 0)]
    return float(row["value"].iloc[0]), float(row["sigma"].iloc[0])


def test_transference_thickness_and_sands_time_are_those_of_the_cell(run):
    ledger = pd.read_parquet(run.folder / "ledger.parquet")
    assert tuple(ledger.columns) == COLUMNS
    found, sigma = value(ledger, "electrolyte", "transference")
    # The first profile is taken as even though current has flowed for five minutes: an offset, not a slope.
    assert abs(found - SHARE) < 3 * sigma
    assert sigma < 0.1
    assert value(ledger, "electrolyte", "thickness")[0] == pytest.approx(800, abs=5)
    sand, spread = value(ledger, "Sand", "time to depletion")
    assert abs(sand - sand_time(CURRENT / AREA, INITIAL, D, transference=SHARE) / 3600) < 3 * spread
    numeric, _ = value(ledger, "Sand, D(c)", "time to depletion")
    assert numeric == pytest.approx(sand, rel=0.1)
    assert np.isnan(value(ledger, "voltage", "time to depletion")[0])


def test_the_supplied_diffusivity_fits_where_it_is_true(run):
    ledger = pd.read_parquet(run.folder / "ledger.parquet")
    assert value(ledger, "supplied D(c)", "chi2")[0] == pytest.approx(1.0, abs=0.2)
    scale, sigma = value(ledger, "fitted D(c)", "diffusivity scale")
    assert abs(np.log(scale)) < 3 * sigma / scale


def test_every_profile_has_its_rows_at_both_electrodes(run):
    ledger = pd.read_parquet(run.folder / "ledger.parquet")
    rows = ledger[ledger["scan"] >= 0]
    assert sorted(rows["scan"].unique()) == list(range(12))
    plated = rows[(rows["component"] == "plated electrode") & (rows["quantity"] == "salt concentration")]
    other = rows[(rows["component"] == "dissolving electrode") & (rows["quantity"] == "salt concentration")]
    assert plated["value"].iloc[-1] < INITIAL < other["value"].iloc[-1]
    assert plated["t"].iloc[0] == pytest.approx(5.0 + 1 / 12)


def test_the_report_is_whole_and_says_that_it_is_simulated(run):
    page = (run.folder / "report.html").read_text()
    assert "simulated" in page
    assert all(name in page for name in ("The salt", "At the electrodes", "Sand", "Methods", "Citations"))
    names = {path.stem for path in (run.folder / "figures").glob("*.png")}
    assert names == {"map", "balance", "electrodes", "gradients", "changes", "sand"}
    assert 'src="http' not in page
    tables = run.summary()["tables"]
    assert len(tables["time to depletion"]) == 5


def test_repeating_the_run_does_nothing(run):
    assert not run.plan().pending


def test_without_diffusivity_and_area_the_profiles_speak_for_themselves(folder):
    path = recipe(
        folder, output=str(folder / "plain"), electrolyte={"concentration_mol_l": INITIAL, "diffusivity": None}
    )
    loaded = pipeline.load(path)
    loaded.run(workers=1)
    ledger = pd.read_parquet(loaded.folder / "ledger.parquet")
    assert "transference" not in set(ledger["quantity"])
    assert set(ledger["component"]) >= {"voltage", "profiles", "Sand, fitted D(c)"}
    assert "Sand, D(c)" not in set(ledger["component"])
    assert "The area of the electrodes is not known" in (loaded.folder / "report.html").read_text()


def test_every_fault_is_reported_at_once(folder):
    content = yaml.safe_load(recipe(folder, output=str(folder / "bad")).read_text())
    content["profiles"]["folder"] = "nowhere"
    content["cycler"]["file"] = "nothing.csv"
    content["electrolyte"]["diffusivity"] = {"coefficients": [1e-12, -2e-12], "valid": [1, 3]}
    content["measure"] = {"none_above": 0.3, "full_below": 0.5}
    (folder / "bad.yaml").write_text(yaml.safe_dump(content))
    faults = pipeline.load(folder / "bad.yaml").faults()
    assert len(faults) == 4
    assert [fault.split(":")[0].split(".")[0] for fault in faults] == ["profiles", "cycler", "electrolyte", "measure"]


def test_clocks_that_do_not_meet_are_a_fault(folder):
    content = yaml.safe_load(recipe(folder, output=str(folder / "late")).read_text())
    content["cycler"]["first_profile_h"] = 100.0
    (folder / "late.yaml").write_text(yaml.safe_dump(content))
    (fault,) = pipeline.load(folder / "late.yaml").faults()
    assert "Correct the clock" in fault


def test_concentration_is_given_one_way(folder):
    path = recipe(folder, electrolyte={"concentration_mol_l": 1.0, "eo_per_li": 10})
    with pytest.raises(RecipeError, match="give either"):
        pipeline.load(path)


def test_the_example_on_real_data_finds_what_its_page_says(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OPERANDO_DATA", str(data_folder))
    if not (data_folder / "li-peo-mri-operando" / "Li_Li").is_dir():
        pytest.skip("the profiles are not here")
    content = yaml.safe_load(EXAMPLE.read_text())
    content["output"] = str(tmp_path / "run")
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(content))
    loaded = pipeline.load(tmp_path / "real.yaml")
    steps = [step for step in loaded.steps() if step.name in ("read", "measure")]
    pipeline.execute(steps, tmp_path / "run", settings={}, recipe="")
    slope = yaml.safe_load((tmp_path / "run" / "slope.json").read_text())
    assert slope["slope"] == pytest.approx(160.9, abs=1)
    assert slope["slope_sigma"] == pytest.approx(5.9, abs=0.5)


def test_a_rest_before_the_current_changes_no_time(run):
    from operando.pipeline.salt_profiles.comparing import depletion_rows
    from operando.pipeline.storage import read_dataset, read_json, read_table

    measured, fitted = read_dataset(run.folder / "measured.zarr"), read_dataset(run.folder / "fitted.zarr")
    record, slope = read_table(run.folder / "cycler.parquet"), read_json(run.folder / "slope.json")
    rest = pd.DataFrame({"time_h": [3.0, 4.999], "current_ma": 0.0, "voltage_v": 0.0})
    # Made to be full at the seventh profile, so that there is a time by the profiles too.
    measured["stage"].loc[{"electrode": "plated", "t": measured["t"][6:]}] = 2
    one, other = (
        depletion_rows(measured, table, slope, D, fitted, D)
        for table in (record, pd.concat([rest, record], ignore_index=True))
    )
    times = one["quantity"] == "time to depletion"
    np.testing.assert_allclose(one.loc[times, "value"], other.loc[times, "value"])
    assert one.loc[times, "value"].iloc[1] == pytest.approx(1 + 1 / 12)


@pytest.mark.parametrize(
    ("section", "change", "match"),
    [
        ("profiles", {"use_first": 12}, "must leave profiles under current"),
        ("profiles", {"count": 3}, "at least four profiles"),
        ("measure", {"over_um": 5.0}, "at least three points"),
        (
            "cycler",
            {"columns": {"time": ["time/h", "h"], "current": ["zero", "mA"], "voltage": ["U/V", "V"]}},
            "got none",
        ),
    ],
)
def test_what_a_run_would_stumble_over_is_found_by_the_check(folder, section, change, match):
    pd.read_csv(folder / "record.csv").assign(zero=0.0).to_csv(folder / "record_zero.csv", index=False)
    content = yaml.safe_load(recipe(folder, output=str(folder / "stumble")).read_text())
    content.setdefault(section, {}).update(change)
    content["cycler"]["file"] = "record_zero.csv"
    (folder / "stumble.yaml").write_text(yaml.safe_dump(content))
    (fault,) = pipeline.load(folder / "stumble.yaml").faults()
    assert match in fault


def test_a_field_of_view_without_background_is_a_fault(folder, tmp_path):
    for path in sorted(folder.glob("cell*.txt")):
        lines = path.read_text().split("\n")[1:]
        (tmp_path / path.name).write_text("\n".join(lines[38:82]))
    pd.read_csv(folder / "record.csv").to_csv(tmp_path / "record.csv", index=False)
    (fault,) = pipeline.load(recipe(tmp_path)).faults()
    assert fault.startswith("profiles")
    assert "Export more of the field of view" in fault


def test_an_area_that_makes_the_transference_absurd_is_flagged(run):
    from operando.pipeline.salt_profiles.page import _flags
    from operando.pipeline.storage import read_dataset, read_table

    salt, measured, fitted = (read_dataset(run.folder / f"{name}.zarr") for name in ("salt", "measured", "fitted"))
    times, ledger = read_table(run.folder / "times.parquet"), read_table(run.folder / "ledger.parquet")
    assert value(ledger, "cell", "current density")[0] == pytest.approx(CURRENT / AREA)
    fits = {"fitted D(c)": fitted}
    assert not [flag for flag in _flags(salt, measured, fits, times, ledger) if "check the area" in flag]
    ledger.loc[ledger["quantity"] == "transference", "value"] = -40.0
    assert [flag for flag in _flags(salt, measured, fits, times, ledger) if "transference of -40 cannot be" in flag]
