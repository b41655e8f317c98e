"""What the pages of all recipes share: their sections one after the other, the steps of the run, the whole ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from operando import report
from operando.core.quantities import interval
from operando.pipeline.step import Task
from operando.pipeline.storage import FigureFolder


def laid_out(task: Task, builders: Sequence[Callable[[], report.Section | None]]) -> list[report.Section]:
    """Build the sections in turn, telling how far it is; what has nothing to show (None) is left out."""
    laid: list[report.Section] = []
    for number, build in enumerate(builders):
        section = build()
        laid += [] if section is None else [section]
        task.progress(number + 1, len(builders) + 1)
    return laid


def workflow_section(task: Task, book: FigureFolder) -> report.Section:
    """The steps of the run, as its parameter ``workflow`` lists them."""
    figure = report.workflow(task.parameters["workflow"])
    item = book.figure("workflow", figure, "The steps of this run and what each wrote.")
    return report.Section("How it was done", "", [item])


def ledger_section(ledger: pd.DataFrame) -> report.Section:
    """Every row of the ledger with its interval."""
    caption = "Every measured number; low and high bound the 95 % interval."
    item = report.TableItem(interval(ledger), caption, name="ledger", collapsed=True)
    return report.Section("The table", "", [item])
