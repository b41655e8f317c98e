"""Data on stdout, talk and progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from operando.pipeline.step import Listener, Step


@dataclass
class Options:
    """What the options before the verb say."""

    verbose: bool = False


options = Options()


def complain(text: str) -> None:
    """Print an error on stderr."""
    print(f"operando: {text}", file=sys.stderr)


def say(text: str) -> None:
    """Print talk on stderr."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print JSON on stdout; NaN becomes null, so that any parser takes it."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_table(rows: Sequence[dict[str, Any]], *, title: str = "") -> None:
    """Print rows as aligned columns on stdout, numbers to the right."""
    if title:
        print(title)
    if not rows:
        print("(nothing)")
        return
    names = list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(name), (int, float)) or row.get(name) is None for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, ["-" * width for width in widths], *cells]:
        shown = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(shown).rstrip())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def size(count: float) -> str:
    """Bytes for people.

    Examples
    --------
    >>> size(1536), size(2.5e9)
    ('1.5 kB', '2.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Seconds for people.

    Examples
    --------
    >>> duration(42), duration(150), duration(9000)
    ('42 s', '2 min 30 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Bars(Listener):
    """Progress with time left on a terminal, silence in a pipe."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step_started(self, step: Step) -> None:
        """Open a bar."""
        self._tasks[step.name] = self._progress.add_task(step.title, total=1.0, note="")

    def step_skipped(self, step: Step) -> None:
        """Say that a finished result is used again."""
        task = self._progress.add_task(step.title, total=1.0, completed=1, note="finished before")
        self._progress.stop_task(task)

    def progress(self, step: Step, done: float, total: float, note: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._tasks[step.name], completed=done / max(total, 1e-12), note=note)

    def step_finished(self, step: Step, seconds: float) -> None:
        """Fill the bar."""
        self._progress.update(self._tasks[step.name], completed=1.0, note="")
        self._progress.stop_task(self._tasks[step.name])

    def say(self, text: str) -> None:
        """Print a sentence above the bars, on a terminal."""
        if self._console.is_terminal:
            self._progress.console.print(text, style="dim", highlight=False)
