"""How often a sound cell is called failed, and how often a failed one is found: ``electrochemistry.critical_current``.

Voltage traces of cells under steps of rising current with alternating sign: drifting polarization, relaxation after
every switch in either direction, white noise, a random walk, digits of the instrument. Failures are a drop of the
polarization or a noise of several times the usual one, somewhere after the first quarter of a step.

    python benchmarks/bench_critical_current.py
    python benchmarks/bench_critical_current.py --traces 400
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from operando.electrochemistry import critical_current

AREA = 0.2


def trace(random: np.random.Generator, failure: str | None, size: float = 0.0) -> tuple[pd.DataFrame, float, float]:
    """A record, the time of its failure in h and the current density of that step (NaN without)."""
    steps = int(random.integers(4, 13))
    rest = int(random.integers(0, 60)) * int(random.integers(2))
    ohm = float(random.uniform(100, 5000))
    white = 10 ** random.uniform(-3.5, -1.7)
    walk = 10 ** random.uniform(-5, -3.3)
    digit = 10.0 ** int(random.integers(-6, -3))
    growth = float(random.uniform(1.1, 1.6))
    where = int(random.integers(1, steps)) if failure else -1
    amperes, volts = [], []
    row, onset, density = 0, -1, float("nan")
    for k in range(steps):
        rows = int(random.integers(100, 500))
        current = 0.01 * growth**k * (-1) ** k
        t = np.arange(rows)
        shape = 1 + random.uniform(-0.3, 0.3) * t / rows
        shape += random.uniform(-0.3, 0.3) * np.exp(-t / 10 ** random.uniform(0.5, 2))
        spread = white * np.ones(rows)
        if k >= where >= 0:
            at = int(random.uniform(0.25, 0.8) * rows) if k == where else 0
            if k == where:
                onset, density = row + at, abs(current) / AREA
            if failure == "drop":
                shape[at:] *= 1 - size
            else:
                spread[at:] *= size
        noise = spread * random.normal(size=rows) + walk * random.normal(size=rows).cumsum()
        amperes += [current] * rows + [0.0] * rest
        polarization = 1e-3 * ohm * abs(current)
        volts += (np.sign(current) * polarization * (shape + noise)).tolist()
        volts += (polarization * white * random.normal(size=rest)).tolist()
        row += rows + rest
    time = np.arange(len(amperes)) / 60
    record = pd.DataFrame(
        {"time_h": time, "current_ma": amperes, "voltage_v": np.round(np.array(volts) / digit) * digit}
    )
    return record, float(time[onset]) if onset >= 0 else float("nan"), density


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first trace")
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.traces)
    kinds: dict[str, int] = {}
    for number in numbers:
        record, _, _ = trace(np.random.default_rng([1, number]), None)
        kind = critical_current(record, area_cm2=AREA).attrs["kind"]
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"{args.traces} sound cells: {dict(sorted(kinds.items()))}")
    print("\n| failure | too early | missed or late | right step | of the right kind | median delay, rows |")
    print("|---|---|---|---|---|---|")
    for failure, size, name in (
        ("drop", 0.1, "drop by 10 %"), ("drop", 0.2, "drop by 20 %"), ("drop", 0.5, "drop by 50 %"),
        ("drop", 0.9, "drop by 90 %"), ("noise", 5.0, "noise x 5"), ("noise", 10.0, "noise x 10"),
        ("noise", 30.0, "noise x 30"),
    ):  # fmt: skip
        early, late, right, same, delay = 0, 0, 0, 0, []
        for number in numbers:
            record, time, density = trace(np.random.default_rng([2, int(100 * size), number]), failure, size)
            found = critical_current(record, area_cm2=AREA)
            values = found.set_index("quantity")["value"]
            rows = (values["onset time"] - time) * 60
            if abs(values["critical current density"] - density) < 1e-6 * density and rows > -22:
                right, same = right + 1, same + (found.attrs["kind"] == failure)
                delay.append(rows)
            elif values["onset time"] < time:
                early += 1
            else:
                late += 1
        parts = [f"{count / args.traces:.2f}" for count in (early, late, right, same)]
        print(f"| {name} | {' | '.join(parts)} | {np.median(delay) if delay else np.nan:.0f} |", flush=True)


if __name__ == "__main__":
    main()
