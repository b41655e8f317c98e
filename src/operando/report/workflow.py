"""The steps of a run as boxes and arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from operando.core.errors import InputError
from operando.report import style, wording

_GAP_MM = 6.0
_LINE_MM = 3.15
_PAD_MM = 1.8
_NUMBER_MM = 4.2
_FILLS = ("#E6F0F7", "#FBEFD9")


@style.styled
def workflow(
    record: Sequence[Mapping[str, Any]],
    *,
    iterations: Sequence[Mapping[str, Any]] = (),
    columns: int = 4,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw the steps of a run, and the iterations of training, as boxes and arrows (Huang 2023, Fig. 2a, b).

    Parameters
    ----------
    record : sequence of mappings
        Steps in their order: ``title`` (or else ``name``) and optionally ``detail``, a sentence or two.
    iterations : sequence of mappings, optional
        Rounds of training, likewise: a second panel.
    columns : int
        Boxes in a row.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure
        Rows are read from left to right; the height follows from the text.

    Raises
    ------
    InputError
        Where there is no step, or a step has neither title nor name.

    Examples
    --------
    >>> figure = workflow([{"title": "Register", "detail": "6 parameters"}, {"name": "segment"}])
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    ['1', 'Register', '6 parameters', '2', 'Segment']
    """
    parts = [part for part in (record, iterations) if part]
    if not record:
        raise InputError("workflow: at least one step is needed, got none. Pass mappings with a title.")
    if columns < 1:
        raise InputError(f"workflow: columns must be at least 1, got {columns}.")
    count = min(columns, max(len(part) for part in parts))
    box = (width_mm - 8 - (count - 1) * _GAP_MM) / count
    texts = [[_texts(step, box) for step in part] for part in parts]
    heights = [_height(part, count) for part in texts]
    figure = style.new_figure(width_mm, sum(heights) + 3 * len(parts) + 2)
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for index, (ax, part, height) in enumerate(zip(axes, texts, heights, strict=True)):
        ax.set(xlim=(-4, width_mm - 4), ylim=(-height + 2, 4))
        ax.set_axis_off()
        _draw(ax, part, box, count, fill=_FILLS[index])
        if len(parts) > 1:
            ax.text(-4, 1.2, "ab"[index], fontsize=9, fontweight="bold", va="bottom")
    return figure


def _texts(step: Mapping[str, Any], box: float) -> tuple[list[str], list[str]]:
    title = str(step.get("title") or step.get("name") or "").strip()
    if not title:
        raise InputError(f"workflow: every step needs a title or a name, got {dict(step)}. Add one.")
    heading = wording.wrapped(title[:1].upper() + title[1:], box - 2 * _PAD_MM - _NUMBER_MM, bold=True)
    return heading, wording.wrapped(str(step.get("detail") or ""), box - 2 * _PAD_MM, size=7)


def _row_heights(part: Sequence[tuple[list[str], list[str]]], count: int) -> list[float]:
    lines = [len(title) * 1.12 + len(detail) for title, detail in part]
    return [2 * _PAD_MM + _LINE_MM * max(lines[i : i + count]) for i in range(0, len(lines), count)]


def _height(part: Sequence[tuple[list[str], list[str]]], count: int) -> float:
    rows = _row_heights(part, count)
    return sum(rows) + _GAP_MM * (len(rows) - 1) + 6


def _draw(ax: Any, part: Sequence[tuple[list[str], list[str]]], box: float, count: int, *, fill: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    rows = _row_heights(part, count)
    top = 0.0
    for line, tall in enumerate(rows):
        for column in range(count):
            index = line * count + column
            if index >= len(part):
                break
            x = column * (box + _GAP_MM)
            ax.add_patch(
                FancyBboxPatch(
                    (x, top - tall),
                    box,
                    tall,
                    boxstyle="round,pad=0,rounding_size=1.2",
                    facecolor=fill,
                    edgecolor=style.MUTED,
                    linewidth=0.6,
                )
            )
            title, detail = part[index]
            look: dict[str, Any] = {"va": "top", "linespacing": 1.15}
            ax.text(x + _PAD_MM, top - _PAD_MM, str(index + 1), fontweight="bold", color=style.MUTED, **look)
            ax.text(x + _PAD_MM + _NUMBER_MM, top - _PAD_MM, "\n".join(title), fontweight="bold", **look)
            if detail:
                below = top - _PAD_MM - len(title) * 1.12 * _LINE_MM - 0.5
                ax.text(x + _PAD_MM, below, "\n".join(detail), fontsize=7, **look)
            if index + 1 < len(part):
                if column + 1 < count:
                    _arrow(ax, [(x + box, top - tall / 2), (x + box + _GAP_MM, top - tall / 2)])
                else:
                    # On to the next row: down into the gap, along it, and into the first box.
                    gap = top - tall - _GAP_MM / 2
                    middle = box / 2
                    _arrow(
                        ax, [(x + middle, top - tall), (x + middle, gap), (middle, gap), (middle, gap - _GAP_MM / 2)]
                    )
        top -= tall + _GAP_MM


def _arrow(ax: Any, points: Sequence[tuple[float, float]]) -> None:
    for start, end in pairwise(points[:-1]):
        ax.plot(*zip(start, end, strict=True), color=style.INK, lw=0.9, solid_capstyle="round", clip_on=False)
    ax.annotate(
        "",
        xy=points[-1],
        xytext=points[-2],
        arrowprops={
            "arrowstyle": "-|>",
            "color": style.INK,
            "lw": 0.9,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 7,
        },
    )
