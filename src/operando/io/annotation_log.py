"""The annotation log: who labeled which voxels when, as lines that are only ever appended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import DIMS, SPACE, axis_spacing, require_dims
from operando.core.errors import AxesError, FileError, InputError, PhaseError, UnitsError, nearest
from operando.core.phases import PhaseScheme
from operando.io.reader import check_exists

SUFFIX = ".jsonl"
KIND = "annotation-log"
_VERSION = 1
PLANES: dict[str, str] = {"zx": "y", "zy": "x", "yx": "z"}
"""Plane, by the dims of its rows and columns, and the dim of its normal."""

SERIES = ("t", *SPACE)


@dataclass(frozen=True, eq=False)
class Mark:
    """Voxels of one plane of one scan that are given to a phase, or erased.

    Parameters
    ----------
    phase : str or None
        Name of the phase; None erases what was labeled there before.
    plane : str
        ``"zx"``, ``"zy"`` or ``"yx"``: dims of the rows and of the columns.
    index : int
        Voxel along the plane's normal (y, x or z).
    runs : sequence of (int, int)
        First voxel and length of each run along a row, counted row by row through the plane.
    scan : int
        Position along t; 0 for an image without time.
    tool : str
        How it was drawn: ``point``, ``stroke``, ``polygon``, ``section``, ``import``, ...
    who, when : str
        Set when it is appended; ``when`` is UTC, as in ``2026-01-31T12:00:00.000Z``.
    number : int
        Its line in the log, the first mark being 1; set when it is read.
    """

    phase: str | None
    plane: str
    index: int
    runs: np.ndarray
    scan: int = 0
    tool: str = "section"
    who: str = ""
    when: str = ""
    number: int = 0

    @property
    def voxels(self) -> int:
        """How many voxels it covers."""
        return int(np.asarray(self.runs).reshape(-1, 2)[:, 1].sum())


@dataclass(frozen=True, eq=False)
class AnnotationLog:
    """What a log held when it was read.

    Parameters
    ----------
    path : Path
    dims : tuple of str
        Of the image: ([t], [z], y, x).
    shape : tuple of int
        Voxels along each of them.
    voxel_size : dict of str to (float, str)
        Edge of a voxel along each spatial dim, and its unit (``um`` or ``px``).
    name : str
        Of the image, for people.
    phases : PhaseScheme
    marks : tuple of Mark
        In the order of the file, in which later ones win.
    damaged : tuple of int
        Lines that a writer did not finish. They hold nothing that could be used; all others are whole.
    """

    path: Path
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    voxel_size: dict[str, tuple[float, str]]
    name: str
    phases: PhaseScheme
    marks: tuple[Mark, ...] = ()
    damaged: tuple[int, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Voxels along each of t, z, y and x; 1 where the image has no such dim."""
        own = dict(zip(self.dims, self.shape, strict=True))
        return {dim: own.get(dim, 1) for dim in SERIES}

    def table(self) -> pd.DataFrame:
        """One row per mark: ``number, when, who, scan, phase, plane, index, voxels, tool``; erasing has no phase."""
        names = ("number", "when", "who", "scan", "phase", "plane", "index", "voxels", "tool")
        table = pd.DataFrame([[getattr(mark, name) for name in names] for mark in self.marks], columns=list(names))
        # As text, pandas would turn None into NaN.
        return table.assign(phase=pd.Series([mark.phase for mark in self.marks], dtype=object))

    def __len__(self) -> int:
        return len(self.marks)


def create_log(
    path: str | Path, *, like: xr.DataArray, phases: PhaseScheme | Mapping[str, int], name: str | None = None
) -> AnnotationLog:
    """Begin an annotation log for an image.

    Parameters
    ----------
    path : str or Path
        File to make, usually ``.jsonl``.
    like : DataArray, dims ([t], [z], y, x)
        The image that is labeled. Its shape and voxel size stand in the first line, and the log refuses images of
        another grid.
    phases : PhaseScheme or mapping of str to int
        What may be labeled.
    name : str, optional
        Of the image, for people; default that of ``like`` or of the file it was read from.

    Returns
    -------
    AnnotationLog
        Without marks.

    Raises
    ------
    FileError
        Where the file exists already or cannot be written.
    InputError, AxesError
        Where the image has other dims.

    Examples
    --------
    >>> import tempfile
    >>> image = xr.DataArray(np.zeros((2, 3)), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = create_log(f"{folder}/marks.jsonl", like=image, phases={"electrolyte": 0})
    >>> len(log.marks), dict(log.phases)
    (0, {'electrolyte': 0})
    """
    target, scheme = Path(path), PhaseScheme.of(phases)
    require_dims(like, ("y", "x"), optional=("t", "z"), where="create_log")
    dims = [dim for dim in SERIES if dim in like.dims]
    title = name or str(like.name or Path(str(like.attrs.get("source", ""))).name or "image")
    header = {
        "operando": KIND,
        "version": _VERSION,
        "created": _now(),
        "image": {
            "name": title,
            "dims": dims,
            "shape": [like.sizes[dim] for dim in dims],
            "voxel_size": {dim: list(axis_spacing(like, dim)) for dim in dims if dim in SPACE},
        },
        "phases": scheme.to_dict(),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(_line(header))
    except FileExistsError:
        raise FileError(
            f"{target}: a log must not exist yet to be begun, but it does. Append to it, or choose another name."
        ) from None
    except OSError as error:
        raise FileError(f"{target}: the log cannot be written ({error.strerror}). Check the folder.") from error
    return read_log(target)


def append_marks(
    path: str | Path, marks: Iterable[Mark], *, who: str, when: datetime | str | None = None
) -> AnnotationLog:
    """Append marks to a log; nothing that stands in it is touched.

    Parameters
    ----------
    path : str or Path
        A log that :func:`create_log` began.
    marks : iterable of Mark
        ``who``, ``when`` and ``number`` of these are not looked at.
    who : str
        Who labeled.
    when : datetime or str, optional
        Time of labeling; without a zone it is UTC. Default: now.

    Returns
    -------
    AnnotationLog
        As it stands then, with what others have appended meanwhile.

    Raises
    ------
    InputError, PhaseError
        Where a mark lies outside of the image or names another phase; nothing is written then.
    FileError
        Where the log is not there or cannot be written.

    Notes
    -----
    One write at the end of the file under a lock, so that several people can append to one log. Where the file system
    knows no locks, the operating system still puts each write at the end.
    """
    target = Path(path)
    log = read_log(target)
    if not str(who).strip():
        raise InputError("append_marks: who labeled must be said, got an empty name. Pass who='your name'.")
    stamp = _now() if when is None else _stamp(moment_of(when))
    text = b""
    for mark in marks:
        runs = _checked_runs(mark, log, where="append_marks")
        text += _line(
            {
                "when": stamp,
                "who": str(who),
                "scan": int(mark.scan),
                "phase": mark.phase,
                "plane": mark.plane,
                "index": int(mark.index),
                "tool": mark.tool,
                "runs": runs.ravel().tolist(),
            }
        )
    if text:
        _append(target, text)
    return read_log(target)


def read_log(path: str | Path, *, like: xr.DataArray | None = None) -> AnnotationLog:
    """Read an annotation log.

    Parameters
    ----------
    path : str or Path
    like : DataArray, optional
        The image it must belong to.

    Returns
    -------
    AnnotationLog
        ``damaged`` names lines that were not written to their end; everything else is there.

    Raises
    ------
    FileError
        Where it is no log, of a newer version, or a whole line of it makes no sense.
    AxesError, UnitsError
        Where the log belongs to an image of another shape or voxel size.

    Notes
    -----
    Holds 16 bytes per run of voxels: a stroke has one per row it crosses, a cross-section one per row and border.

    Examples
    --------
    Two voxels from the second on, counted row by row:

    >>> import tempfile
    >>> image = xr.DataArray(np.zeros((2, 3)), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     begun = create_log(f"{folder}/marks.jsonl", like=image, phases={"electrolyte": 0})
    ...     mark = Mark(phase="electrolyte", plane="yx", index=0, runs=np.array([[1, 2]]))
    ...     after = append_marks(begun.path, [mark], who="Ada")
    ...     log = read_log(begun.path, like=image)
    >>> [(one.who, one.phase, one.voxels) for one in log.marks], log.damaged
    ([('Ada', 'electrolyte', 2)], ())
    """
    target = Path(path)
    check_exists(target)
    # What stands behind the last line feed may still be written by somebody else.
    lines = target.read_bytes().split(b"\n")
    header = _parsed(lines[0])
    if not isinstance(header, dict) or header.get("operando") != KIND:
        raise FileError(
            f"{target}: its first line must be the header of an annotation log, got {lines[0][:60]!r}. "
            "Begin a log with operando label import, or give a label image."
        )
    if header.get("version") != _VERSION:
        raise FileError(
            f"{target}: the log must be of version {_VERSION}, got {header.get('version')!r}. Update operando."
        )
    try:
        about = header["image"]
        log = AnnotationLog(
            path=target,
            dims=tuple(map(str, about["dims"])),
            shape=tuple(int(size) for size in about["shape"]),
            voxel_size={str(dim): (float(step), str(unit)) for dim, (step, unit) in about["voxel_size"].items()},
            name=str(about["name"]),
            phases=PhaseScheme.from_dict(header["phases"]),
        )
        if set(log.dims) - set(DIMS) or len(log.dims) != len(log.shape):
            raise ValueError(f"dims {log.dims} of {log.shape}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{target}: the header of the log is damaged ({error}). Restore it from a copy.") from error
    if like is not None:
        check_grid(log, like)
    marks, damaged = [], []
    for number, line in enumerate(lines[1:], start=1):
        if not line.strip():
            continue
        entry = _parsed(line)
        if entry is None:
            damaged.append(number + 1)
            continue
        marks.append(_mark(entry, number, log))
    return replace(log, marks=tuple(marks), damaged=tuple(damaged))


def check_grid(log: AnnotationLog, like: xr.DataArray) -> None:
    """Raise where a log belongs to an image of another shape or voxel size."""
    require_dims(like, ("y", "x"), optional=("t", "z"), where=f"{log.path}")
    sizes = {dim: like.sizes.get(dim, 1) for dim in SERIES}
    if sizes != log.sizes or set(map(str, like.dims)) != set(log.dims):
        raise AxesError(
            f"{log.path}: the log belongs to an image {log.name!r} of {dict(zip(log.dims, log.shape, strict=True))} "
            f"voxels, got one of {dict(like.sizes)}. Give the image that was labeled, or begin another log."
        )
    for dim, (step, unit) in log.voxel_size.items():
        here, own = axis_spacing(like, dim)
        if "px" not in (unit, own) and (unit != own or abs(here - step) > 1e-3 * step):
            raise UnitsError(
                f"{log.path}: the log belongs to an image {log.name!r} with voxels of {step:g} {unit} along {dim}, "
                f"got {here:g} {own}. Give the image that was labeled, or begin another log."
            )


def _checked_runs(mark: Mark, log: AnnotationLog, *, where: str) -> np.ndarray:
    """Runs (n, 2) of a mark that lies inside of the image and labels a phase there is."""
    sizes = log.sizes
    if mark.phase is not None and mark.phase not in log.phases:
        raise PhaseError(
            f"{where}: the phase of a mark must be one of the log's or None, got {mark.phase!r}. "
            f"{nearest(str(mark.phase), log.phases)}"
        )
    if mark.plane not in PLANES:
        raise InputError(f"{where}: there is no plane {mark.plane!r}. {nearest(str(mark.plane), PLANES)}")
    for what, at, size in (("scan", mark.scan, sizes["t"]), ("index", mark.index, sizes[PLANES[mark.plane]])):
        if not 0 <= at < size:
            raise InputError(f"{where}: {what} of a mark must lie from 0 to {size - 1}, got {at}. Count voxels from 0.")
    runs = np.asarray(mark.runs, dtype=np.int64)
    runs = runs.reshape(-1, 2) if runs.size % 2 == 0 else runs
    rows, columns = (sizes[dim] for dim in mark.plane)
    fits = runs.ndim == 2 and bool(
        (runs[:, 0] >= 0).all()
        and (runs[:, 1] >= 1).all()
        and (runs.sum(axis=1) <= rows * columns).all()
        and (runs[:, 0] % columns + runs[:, 1] <= columns).all()
    )
    if not fits:
        raise InputError(
            f"{where}: runs of a mark must be pairs of first voxel and length, each within a row of the plane "
            f"{mark.plane} of {rows} x {columns} voxels, got {runs.tolist()[:4]}. "
            "Use operando.segmentation.mark_mask."
        )
    return runs


def _mark(entry: Any, number: int, log: AnnotationLog) -> Mark:
    try:
        mark = Mark(
            phase=entry["phase"],
            plane=entry["plane"],
            index=int(entry["index"]),
            runs=np.asarray(entry["runs"], dtype=np.int64),
            scan=int(entry["scan"]),
            tool=str(entry.get("tool", "")),
            who=str(entry["who"]),
            when=str(entry["when"]),
            number=number,
        )
        moment_of(mark.when)
        runs = _checked_runs(mark, log, where=f"line {number + 1}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileError(
            f"{log.path}: line {number + 1} is no mark on this image ({type(error).__name__}: {error}). "
            "A log is only appended to: restore it from a copy."
        ) from error
    return replace(mark, runs=runs)


def moment_of(when: datetime | str) -> datetime:
    """A time in UTC, which one without a zone is."""
    try:
        moment = datetime.fromisoformat(when) if isinstance(when, str) else when
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"a time must be like 2026-01-31T12:00:00Z, got {when!r}. Write it so.") from None


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _parsed(line: bytes) -> Any:
    """Value of a line, or None where it is not whole."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _append(path: Path, text: bytes) -> None:
    """Write lines at the end, on a new line even where somebody's last one was not finished."""
    try:
        with path.open("r+b", buffering=0) as checked, _locked(checked):
            size = checked.seek(0, os.SEEK_END)
            checked.seek(max(0, size - 1))
            whole = checked.read(1) == b"\n"
            handle = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                rest = memoryview(text if whole else b"\n" + text)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise FileError(
            f"{path}: the marks cannot be appended ({error.strerror}). Check permissions and free space, and repeat: "
            "a line that was not finished is left out when the log is read."
        ) from error


@contextmanager
def _locked(file: Any) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: O_APPEND alone
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
