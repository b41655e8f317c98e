"""Short tables of a finished ``stxm`` run, for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operando.pipeline.storage import read_json, read_table
from operando.pipeline.stxm.lithium import CLEAR


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Phases, lithiation, doubts and the energies to take."""
    ledger = read_table(folder / "ledger.parquet")
    value = {(row["component"], row["quantity"]): row for row in ledger.to_dict("records")}
    names = [name for name, quantity in value if quantity == "mean weight"]
    phases = []
    for name in names:
        share = value.get((name, "phase fraction"), {})
        weight = value[(name, "mean weight")]
        unit = "" if weight["unit"] == "1" else f" [{weight['unit']}]"
        phases.append(
            {
                "phase": name,
                f"mean weight{unit}": weight["value"],
                "fraction": share.get("value"),
                "+-": share.get("sigma"),
            }
        )
    field = [
        {"of": name, "quantity": quantity.replace("_", " "), "value": row["value"], "+-": row["sigma"]}
        for name in ("field", CLEAR)
        for quantity in ("lithiation", "state_of_charge", "explained variance")
        if (row := value.get((name, quantity))) is not None
    ]
    doubts = [
        {"share of the sample": quantity.removeprefix("flagged, ").replace("_", " "), "value": row["value"]}
        for (name, quantity), row in value.items()
        if name == "field" and (quantity.startswith("flagged") or quantity == "ambiguous")
    ]
    chosen = read_json(folder / "energies.json")["chosen"]
    return {
        "phases (+- one sigma)": phases,
        "field": field,
        "doubt": doubts,
        f"best {len(chosen)} energies": [{"eV": round(float(energy), 3)} for energy in chosen],
    }
