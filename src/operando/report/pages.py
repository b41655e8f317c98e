"""One self-contained HTML page: figures, tables and movies that open offline and ask nothing of the network."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, require
from operando.core.files import written_whole
from operando.report import style, wording


@dataclass(frozen=True, eq=False)
class FigureItem:
    """A picture with its caption.

    Parameters
    ----------
    figure : bytes, ndarray or matplotlib Figure
        PNG, JPEG or WebP bytes as they are; ``uint8`` pixels (height, width, 3); or a figure, rendered at 200 dpi.
    caption : str
        Plain text; what is shown, of what, with which uncertainty.
    alt : str
        What a reader who cannot see the picture should know; default the caption.
    width_mm : float, optional
        Width in print; default that of the figure, or the width of the page.
    """

    figure: Any
    caption: str
    alt: str = ""
    width_mm: float | None = None


@dataclass(frozen=True, eq=False)
class TableItem:
    """A table with its caption, downloadable as CSV.

    Parameters
    ----------
    table : DataFrame
    caption : str
    name : str
        File name of the download, without suffix.
    collapsed : bool
        Folded until the reader opens it, for long tables.
    digits : int
        Significant digits shown; the download has all.
    rows : int
        Rows shown at most; the download has all.
    """

    table: pd.DataFrame
    caption: str
    name: str = "table"
    collapsed: bool = False
    digits: int = 4
    rows: int = 1000


@dataclass(frozen=True, eq=False)
class MovieItem:
    """Frames that the reader plays, with a caption.

    Parameters
    ----------
    frames : sequence of ndarray, uint8, shape (height, width, 3)
    caption : str
    alt : str
    seconds_per_frame : float
    """

    frames: Sequence[np.ndarray]
    caption: str
    alt: str = ""
    seconds_per_frame: float = 0.6


@dataclass(frozen=True, eq=False)
class TextItem:
    """Paragraphs of plain text, parted by blank lines; addresses that begin with https:// become links."""

    text: str


Item = FigureItem | TableItem | MovieItem | TextItem


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page with a heading and an entry in its contents."""

    title: str
    intro: str = ""
    items: Sequence[Item] = field(default_factory=tuple)


def page(
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    facts: Mapping[str, str] | None = None,
    flags: Sequence[str] | None = None,
    methods: Sequence[str] = (),
    citations: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    simulated: bool = False,
) -> str:
    """Put finished figures, tables and movies on one page.

    Parameters
    ----------
    title, subtitle : str
    sections : sequence of Section
        In the order of the page.
    facts : mapping of str to str, optional
        The few numbers a reader wants first, name to text.
    flags : sequence of str, optional
        What the reader must know before trusting a number: each is a line of the box at the top. An empty sequence
        says that nothing was flagged; without it there is no box.
    methods : sequence of str
        A paragraph each.
    citations : sequence of str
        With their DOI as an address; it becomes a link.
    parameters, provenance : mapping, optional
        Every parameter of the run (may be nested), and versions and inputs.
    simulated : bool
        Say in the head of the page that the data are simulated.

    Returns
    -------
    str
        HTML that holds everything it shows: no script, style, font or picture comes from elsewhere, and a content
        security policy in its head keeps it so. All text is escaped.

    Raises
    ------
    InputError
        Where a picture is none, or an item is of an unknown kind.
    MissingDependency
        Where jinja2 is not installed.

    Examples
    --------
    >>> html = page("A cell", [Section("Volumes", items=[TextItem("It <grew>.")])])
    >>> "It &lt;grew&gt;." in html, "http" in html.replace("http-equiv", "")
    (True, False)
    """
    jinja2 = require("jinja2", extra="report", purpose="operando.report.page")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("operando.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["linked"] = _linked
    numbers = {"figure": 0, "table": 0, "movie": 0}
    shown, taken = [], {"methods", "parameters", "provenance", "flags"}
    for section in sections:
        anchor = _anchor(section.title, taken)
        items = [_prepare(item, numbers) for item in section.items]
        shown.append({"title": section.title, "anchor": anchor, "intro": _paragraphs(section.intro), "items": items})
    return str(
        environment.get_template("page.html.j2").render(
            title=title,
            subtitle=subtitle,
            sections=shown,
            facts=dict(facts or {}),
            flags=None if flags is None else list(flags),
            methods=list(methods),
            citations=list(citations),
            parameters=flattened(parameters or {}),
            provenance=flattened(provenance or {}),
            simulated=simulated,
        )
    )


def write_page(path: str | Path, title: str, sections: Sequence[Section], **options: Any) -> Path:
    """Write :func:`page` to a file, whole or not at all.

    Parameters
    ----------
    path : path of the HTML file
    title, sections, **options
        As in :func:`page`.

    Returns
    -------
    Path

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(Path(folder) / "report.html", "A cell", []).name
    'report.html'
    """
    html = page(title, sections, **options)
    target = Path(path)
    with written_whole(target) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return target


def flattened(nested: Mapping[str, Any], *, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and values, for a table of two columns.

    Examples
    --------
    >>> flattened({"a": {"b": 1}, "c": [1, 2], "d": None})
    [('a.b', '1'), ('c', '1, 2'), ('d', 'not set')]
    """
    pairs: list[tuple[str, str]] = []
    for name, value in nested.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            pairs += flattened(value, prefix=f"{key}.")
        elif value is None:
            pairs.append((key, "not set"))
        elif isinstance(value, (list, tuple)):
            plain = all(not isinstance(entry, (Mapping, list, tuple)) for entry in value)
            text = ", ".join(map(str, value)) if plain else json.dumps(value, default=str, ensure_ascii=False)
            pairs.append((key, text or "none"))
        else:
            pairs.append((key, str(value)))
    return pairs


def _prepare(item: Item, numbers: dict[str, int]) -> dict[str, Any]:
    if isinstance(item, FigureItem):
        numbers["figure"] += 1
        address, width_mm = _picture(item.figure)
        return {
            "kind": "figure",
            "number": numbers["figure"],
            "src": address,
            "caption": item.caption,
            "alt": item.alt or item.caption,
            "width_mm": item.width_mm or width_mm,
        }
    if isinstance(item, TableItem):
        numbers["table"] += 1
        return {"kind": "table", "number": numbers["table"], **_table(item)}
    if isinstance(item, MovieItem):
        if len(item.frames) == 0:
            raise InputError("page: a movie needs at least one frame, got none. Leave the MovieItem out.")
        numbers["movie"] += 1
        frames = [_data_address(_jpeg(frame)) for frame in item.frames]
        return {
            "kind": "movie",
            "number": numbers["movie"],
            "frames": frames,
            "caption": item.caption,
            "alt": item.alt or item.caption,
            "milliseconds": round(1000 * item.seconds_per_frame),
            "height": int(np.shape(item.frames[0])[0]),
            "width": int(np.shape(item.frames[0])[1]),
        }
    if isinstance(item, TextItem):
        return {"kind": "text", "paragraphs": _paragraphs(item.text)}
    raise InputError(
        f"page: an item must be a FigureItem, TableItem, MovieItem or TextItem, got {type(item).__name__}. Wrap it."
    )


_MAGIC = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


def _data_address(content: bytes) -> str:
    kind = next((name for magic, name in _MAGIC if content.startswith(magic)), None)
    if kind is None and content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        raise InputError(
            f"page: a picture must be PNG, JPEG, GIF or WebP bytes, got bytes that begin with {content[:8]!r}. "
            "Pass the figure itself or operando.report.png_bytes(figure)."
        )
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _picture(figure: Any) -> tuple[str, float | None]:
    if isinstance(figure, (bytes, bytearray)):
        return _data_address(bytes(figure)), None
    if isinstance(figure, np.ndarray):
        return _data_address(_png(figure)), None
    if hasattr(figure, "savefig"):
        return _data_address(style.png_bytes(figure)), float(figure.get_size_inches()[0]) * 25.4
    raise InputError(
        f"page: a figure must be a matplotlib Figure, pixels or PNG bytes, got {type(figure).__name__}. "
        "Render it first."
    )


def _pixels(pixels: np.ndarray) -> Any:
    image = require("PIL.Image", extra="report", purpose="operando.report.page")
    array = np.asarray(pixels)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4):
        raise InputError(
            f"page: pixels must be uint8 of the shape (height, width, 3), got {array.dtype} {array.shape}. "
            "Scale them to 0-255 first."
        )
    return image.fromarray(np.ascontiguousarray(array))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    _pixels(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # Full chroma resolution: thin colored lines and text fray without it.
    _pixels(pixels).convert("RGB").save(buffer, format="JPEG", quality=86, subsampling=0, optimize=True)
    return buffer.getvalue()


def _table(item: TableItem) -> dict[str, Any]:
    table = item.table
    head = table.head(item.rows)
    columns = [str(name) for name in table.columns]
    return {
        "caption": item.caption,
        "name": re.sub(r"[^\w.-]+", "-", item.name) or "table",
        "collapsed": item.collapsed,
        "columns": columns,
        "numeric": [bool(pd.api.types.is_numeric_dtype(kind)) for kind in table.dtypes],
        "rows": [
            [
                wording.unit_text(str(v)) if name == "unit" else _cell(v, item.digits)
                for name, v in zip(columns, row, strict=True)
            ]
            for row in head.itertuples(index=False, name=None)
        ],
        "total": len(table),
        "csv": table.to_csv(index=False),
    }


def _cell(value: Any, digits: int) -> str:
    """Spell a number with at least that many significant digits, thousands apart, a minus sign for people.

    Examples
    --------
    >>> _cell(-12.3456, 4), _cell(0.00012345, 3), _cell(float("nan"), 4), _cell(7, 4)
    ('−12.35', '0.000123', '', '7')
    >>> _cell(1234567.8, 4).replace("\N{NARROW NO-BREAK SPACE}", " ")
    '1 234 568'
    """
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if np.isnan(number):
            return ""
        size = abs(number)
        if size == 0 or not 1e-3 <= size < 1e9:
            return f"{number:.{digits}g}".replace("-", "−")
        decimals = max(0, digits - 1 - int(np.floor(np.log10(size))))
        return f"{number:,.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "−")
    if value is None or value is pd.NaT:
        return ""
    return str(value)


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _anchor(title: str, taken: set[str]) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
    anchor, count = base, 2
    while anchor in taken:
        anchor, count = f"{base}-{count}", count + 1
    taken.add(anchor)
    return anchor


def _linked(text: str) -> Any:
    """Escape a text and make its https addresses links."""
    safe = require("markupsafe", extra="report", purpose="operando.report.page")
    parts = re.split(r"(https://[^\s<>\"']+[^\s<>\"'.,;)])", str(text))
    out = safe.Markup("")
    for index, part in enumerate(parts):
        out += (
            safe.Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>').format(part)
            if index % 2
            else safe.escape(part)
        )
    return out
