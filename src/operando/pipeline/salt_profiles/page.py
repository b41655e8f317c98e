"""The report of recipe ``salt-profiles``: finished results laid out on one page; nothing is measured here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import report
from operando.core.provenance import versions
from operando.pipeline.layout import laid_out, ledger_section
from operando.pipeline.salt_profiles.settings import SaltProfiles
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder, read_dataset, read_json, read_table

_CITATIONS = (
    "Sand, H. J. S. On the concentration at the electrodes in a solution. Philosophical Magazine 1, 45-79 (1901). "
    "https://doi.org/10.1080/14786440109462590",
    "Chazalviel, J.-N. Electrochemical aspects of the generation of ramified metallic electrodeposits. Physical Review "
    "A 42, 7355-7367 (1990). https://doi.org/10.1103/PhysRevA.42.7355",
    "Ma, Y. et al. Understanding the correlation between lithium dendrite growth and local material properties by "
    "machine learning. J. Electrochem. Soc. 168, 090523 (2021). https://doi.org/10.1149/1945-7111/ac201d",
)


def make_report(task: Task) -> None:
    """Lay out figures, tables and methods."""
    settings = SaltProfiles(**task.parameters["settings"])
    salt, measured = read_dataset(task.path("salt.zarr")), read_dataset(task.path("measured.zarr"))
    cycler, slope = read_table(task.path("cycler.parquet")), read_json(task.path("slope.json"))
    times, ledger = read_table(task.path("times.parquet")), read_table(task.path("ledger.parquet"))
    fits = {"fitted D(c)": read_dataset(task.path("fitted.zarr"))}
    if "supplied.zarr" in task.step.inputs:
        fits = {"supplied D(c)": read_dataset(task.path("supplied.zarr")), **fits}
    simulated = settings.profiles.simulated
    times.attrs["simulated"] = simulated
    hours = measured["t_h"].values
    mark = float(times.loc[times["quantity"] == "transition time", "t"].iloc[0])
    with task.writing("figures") as folder:
        book = FigureFolder(folder)

        def seen() -> report.Section:
            return report.Section(
                "The salt",
                "Concentration of the salt between the electrodes, from the signal of its anion.",
                [
                    book.figure(
                        "map",
                        report.salt_map(
                            salt["concentration"].assign_attrs(simulated=simulated),
                            hours,
                            initial=measured.attrs["initial"],
                            plated=measured.attrs["plated"],
                            mark_h=mark,
                        ),
                        "Left: salt over time and position. Right: means of neighboring profiles. The dotted line in "
                        "time is where the current gave way.",
                    ),
                    book.figure(
                        "balance",
                        report.salt_balance(measured, slope, mark_h=mark),
                        "Left: salt that has gone from the plated electrode to the other, from the integrals of the "
                        "two halves, which no blur changes; the slope is (1 - t+) / (F A c0). Right: change of all of "
                        "the signal, 0 where salt is conserved and the gain steady. Bars are 95 % intervals.",
                    ),
                ],
            )

        def electrodes() -> report.Section:
            bounds = (settings.measure.none_above, settings.measure.full_below)
            return report.Section(
                "At the electrodes",
                _stage_text(measured, bounds),
                [
                    book.figure(
                        "electrodes",
                        report.salt_at_electrodes(measured, fits, bounds=bounds, mark_h=mark),
                        f"Salt at the electrodes: points are straight lines through {settings.measure.over_um:g} µm of "
                        "profile, which the imaging has blurred; lines are what the models have at the very surface, "
                        "with the 95 % interval where the fit is not at its limit.",
                    ),
                    book.figure(
                        "gradients",
                        report.salt_gradients(measured, cycler, mark_h=mark),
                        "Salt gradient at the electrodes (positive: salt rises into the electrolyte), voltage and "
                        "current.",
                    ),
                ],
            )

        def sand() -> report.Section:
            shown = times[times["quantity"] == "time to depletion"]
            items: list[report.FigureItem | report.TableItem] = [
                book.figure(
                    "changes",
                    report.salt_changes(salt.assign_attrs(simulated=simulated), hours, fits, mark_h=mark),
                    "Change of the signal since the first profiles: measured, and by diffusion, blurred as the edges "
                    "are.",
                )
            ]
            if np.isfinite(shown["value"]).any():
                items.append(
                    book.figure(
                        "sand",
                        report.sand_times(times),
                        "Time from the beginning of the current until the plated electrode has no salt. Bars are 95 % "
                        "intervals from the salt displaced per charge; the error of D is not known and not in them.",
                    )
                )
            columns = ["component", "value", "sigma", "unit", "method"]
            items.append(report.TableItem(shown[columns], "The times as numbers.", name="times"))
            return report.Section("Time to depletion against Sand's time", _fit_text(fits), items)

        sections = laid_out(task, [seen, electrodes, sand, lambda: ledger_section(ledger)])
        with task.writing("report.html") as path:
            report.write_page(
                path,
                settings.title,
                sections,
                subtitle=f"Recipe salt-profiles. {settings.credit}".strip(),
                facts=_facts(measured, slope, times, ledger),
                flags=_flags(salt, measured, fits, times, ledger),
                methods=_methods(settings, salt),
                citations=_CITATIONS,
                parameters=task.parameters["settings"],
                provenance=versions(),
                simulated=simulated,
            )


def _facts(measured: xr.Dataset, slope: dict[str, float], times: pd.DataFrame, ledger: pd.DataFrame) -> dict[str, str]:
    found = times[times["quantity"] == "time to depletion"].set_index("component")
    facts = {
        "Profiles": str(measured.sizes["t"]),
        "Electrolyte": report.quantity_text(measured.attrs["thickness_um"], np.nan, "um"),
        "Salt displaced": report.quantity_text(slope["slope"], 1.96 * slope["slope_sigma"], "um mAh-1"),
        "Current gave way after": report.quantity_text(_value(found.loc["voltage"])[0], np.nan, "h"),
    }
    if "Sand, D(c)" in found.index:
        row = found.loc["Sand, D(c)"]
        facts["Sand's time, supplied D(c)"] = _time_text(*_value(row))
    t_plus = ledger[ledger["quantity"] == "transference"]
    if not t_plus.empty:
        facts["Transference"] = report.quantity_text(*_value(t_plus.iloc[0]))
    return facts


def _time_text(value: float, half: float) -> str:
    return "never" if np.isinf(value) else report.quantity_text(value, half, "h")


def _value(row: Any) -> tuple[float, float]:
    return float(row["value"]), 1.96 * float(row["sigma"])


def _stage_text(measured: xr.Dataset, bounds: tuple[float, float]) -> str:
    stage = measured["stage"].sel(electrode="plated").values
    hours, least = measured["t_h"].values, measured["concentration"].sel(electrode="plated") / measured.attrs["initial"]
    lowest = int(np.nanargmin(least.values))
    words = [
        f"At the plated electrode the profiles show at least {100 * float(least[lowest]):.0f} % of the initial salt "
        f"(at {hours[lowest]:.1f} h)."
    ]
    for number, name, bound in ((1, "partial", bounds[0]), (2, "full", bounds[1])):
        first = np.flatnonzero(stage >= number)
        at = f"first shown at {hours[first[0]]:.2f} h" if first.size else "not shown at any time"
        words.append(f"Depletion is {name} below {100 * bound:.0f} %: {at}.")
    return " ".join(words)


def _fit_text(fits: dict[str, xr.Dataset]) -> str:
    words = [
        "Sand's time is that of a flat electrode under an even current; the salt displaced per charge that it needs is "
        "measured, so that neither area nor transference enters."
    ]
    for name, fit in fits.items():
        found = f"With the {name} the profiles are met with chi2 {fit.attrs['chi2']:.2f} per degree of freedom"
        least = float(fit["plated_share"].min())
        words.append(f"{found}; the least share of salt at the plated surface is {100 * least:.0f} %.")
    return " ".join(words)


def _flags(
    salt: xr.Dataset, measured: xr.Dataset, fits: dict[str, xr.Dataset], times: pd.DataFrame, ledger: pd.DataFrame
) -> list[str]:
    flags = []
    blur = float(salt["blur"].max())
    flags.append(
        f"The edges are blurred by {blur:.0f} µm (one standard deviation). What the points at the electrodes show is "
        "an average over about twice that length: less depletion than at the surface."
    )
    found = times[times["quantity"] == "time to depletion"].set_index("component")["value"]
    if not np.isfinite(found["profiles"]):
        flags.append(
            "The profiles do not show full depletion at any time; what is compared is when the current gave way."
        )
    if fits["fitted D(c)"].attrs["at_limit"]:
        flags.append(
            "The fitted D(c) ends where the plated surface runs out of salt: the profiles ask for at least that much "
            "depletion, and this D(c) has no sigmas."
        )
    drift = ledger[ledger["quantity"] == "salt balance drift"].iloc[0]
    if abs(drift["value"]) > 3 * drift["sigma"]:
        flags.append(
            f"All of the signal changes by {100 * drift['value']:.2f} ± {196 * drift['sigma']:.2f} % per hour. Salt "
            "cannot go: the gain drifts, or electrolyte leaves the field of view."
        )
    t_plus = ledger.loc[ledger["quantity"] == "transference", "value"]
    if (t_plus.abs() > 1).any():
        flags.append(
            f"A transference of {t_plus.iloc[0]:.3g} cannot be: check the area, the unit of the current, the "
            "concentration and the field of view."
        )
    if "supplied D(c)" in fits:
        given, free = fits["supplied D(c)"].attrs["chi2"], fits["fitted D(c)"].attrs["chi2"]
        if given > 1.1 * free:
            flags.append(
                f"The supplied D(c) does not give the shape of the profiles (chi2 {given:.2f} against {free:.2f}): "
                "times to depletion that rest on it are wrong by more than their intervals."
            )
    return flags


def _methods(settings: SaltProfiles, salt: xr.Dataset) -> list[str]:
    electrolyte = settings.electrolyte
    methods = [
        "Signal: the background beside the electrolyte is taken off; the mean of the first "
        f"{settings.profiles.use_first} profiles is the initial concentration of {salt.attrs['initial']:.3g} mol/L "
        f"everywhere. Noise, from successive profiles, is {100 * salt.attrs['noise']:.1f} % of the signal in a point, "
        f"and {salt.attrs['correlated_points']:.1f} neighbors err together.",
        "Signs: lithium is plated where salt is lost. A gradient is positive where salt rises from the electrode into "
        "the electrolyte; displaced salt is positive from the plated electrode to the one that dissolves.",
        "Diffusion: finite volumes between flat electrodes with the measured current, constant transference, blurred "
        "by the error functions that the edges are. 'Fitted' finds a factor on D and how it changes with the salt, "
        "s exp(b (c / c0 - 1)).",
    ]
    if electrolyte.eo_per_li is not None:
        methods.append(
            f"EO:Li {electrolyte.eo_per_li:g} is taken as PEO with LiTFSI whose volumes add (39.3 and 141 cm3/mol). "
            "Sand's time from the measured displacement does not depend on it, except through D(c)."
        )
    if electrolyte.diffusivity is not None:
        low, high = sorted(electrolyte.diffusivity.valid)
        methods.append(
            f"The supplied D is a polynomial in {electrolyte.diffusivity.variable}, used between {low:g} and {high:g} "
            "and held constant outside. Where it is extrapolated it decides Sand's time."
        )
    if electrolyte.area_cm2 is None:
        methods.append("The area of the electrodes is not known: no current density and no transference are given.")
    return methods
