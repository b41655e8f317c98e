"""The conformance kit: does a reader keep the contract? For operando's own readers and for anybody's."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.axes import DIMS
from operando.core.errors import FileError, OperandoError
from operando.io.image import open_stored
from operando.io.lazy import FileArray
from operando.io.reader import Reader, StoredImage, Verdict

_LARGE = 2**20


def check_reader(
    reader: Reader,
    path: str | Path,
    *,
    expected: Any = None,
    dataset: str | None = None,
    cuts: int = 8,
) -> None:
    """Check a reader against the contract of :class:`operando.io.Reader` on one good file.

    Parameters
    ----------
    reader : Reader
        The reader to check.
    path : str or Path
        A file, folder or store that it can open; a small one. It is copied before anything is cut off it.
    expected : array-like, optional
        The values, in the order of the file.
    dataset : str, optional
        Which array of a container.
    cuts : int
        How many truncated copies of a file to try.

    Raises
    ------
    AssertionError
        With one sentence that says which part of the contract is broken.

    Notes
    -----
    Checked are: name and suffixes; verdicts with reasons; lazy opening; blocks equal to the whole, in threads
    and after a trip through pickle; a listing that JSON holds; and that truncated, empty and foreign files end
    in a :class:`~operando.core.errors.FileError` of one sentence, never in another error and never in other
    numbers.

    Examples
    --------
    >>> from operando.io import readers, save_image
    >>> from operando.core.axes import labeled_image
    >>> values = np.arange(60, dtype="uint16").reshape(3, 4, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     good = save_image(labeled_image(values), f"{folder}/good.tif")
    ...     check_reader(readers()["tiff"], good, expected=values)
    """
    place = Path(path)
    _check_names(reader)
    _check_verdicts(reader, place)
    stored = reader.open(place, dataset=dataset)
    _check_stored(reader, stored)
    values = _check_values(reader, stored, expected)
    _check_listing(reader, place)
    if place.is_file():
        _check_damage(reader, place, values, dataset, cuts)


def _need(holds: bool, reader: Reader, what: str) -> None:
    if not holds:
        raise AssertionError(f"reader {getattr(reader, 'name', reader)!r}: {what}")


def _check_names(reader: Reader) -> None:
    _need(isinstance(reader, Reader), reader, "must have name, suffixes, can_open, open and datasets.")
    _need(bool(reader.name) and reader.name == reader.name.lower(), reader, "name must be lower case and not empty.")
    good = bool(reader.suffixes) and all(s.startswith(".") and s == s.lower() for s in reader.suffixes)
    _need(good, reader, f"suffixes must be lower case and begin with a dot, got {reader.suffixes}.")


def _check_verdicts(reader: Reader, path: Path) -> None:
    verdict = reader.can_open(path)
    _need(isinstance(verdict, Verdict), reader, f"can_open must return a Verdict, got {type(verdict).__name__}.")
    _need(verdict.ok, reader, f"can_open must say yes to {path.name}, it says: {verdict.reason}")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in ((f"text{reader.suffixes[0]}", b"this is not an image\n"), ("unknown", b"\0\1\2\3" * 9)):
            foreign = Path(folder) / name
            foreign.write_bytes(content)
            _check_no(reader, foreign)
        empty = Path(folder) / f"folder{reader.suffixes[0]}"
        empty.mkdir()
        _check_no(reader, empty)


def _check_no(reader: Reader, path: Path) -> None:
    verdict = reader.can_open(path)
    _need(not verdict.ok, reader, f"can_open must say no to {path.name}, which is not its format.")
    reason = verdict.reason
    _need(bool(reason) and "\n" not in reason, reader, f"a no must come with its reason, got {reason!r}.")
    _need(str(path) not in reason, reader, "a reason must not repeat the path, which the message has already.")


def _check_stored(reader: Reader, stored: StoredImage) -> None:
    _need(isinstance(stored, StoredImage), reader, "open must return a StoredImage.")
    unknown = [dim for dim in stored.dims if dim not in DIMS]
    _need(not unknown, reader, f"dims must be from {', '.join(DIMS)}, got {unknown}.")
    fits = len(stored.dims) == len(stored.array.shape) == len(set(stored.dims))
    _need(fits, reader, f"dims must name each axis once, got {stored.dims} for {stored.array.shape}.")
    for note in stored.notes:
        _need(note.endswith(".") and "\n" not in note, reader, f"a note must be one sentence, got {note!r}.")
    heavy = isinstance(stored.array, np.ndarray) and stored.array.nbytes > _LARGE
    _need(not heavy, reader, "open must not read the values: return a FileArray or a Dask array.")


def _check_values(reader: Reader, stored: StoredImage, expected: Any) -> np.ndarray:
    array = stored.array
    lazy = array.to_dask() if isinstance(array, FileArray) else None
    values = np.asarray(array[...] if lazy is None else lazy.compute(scheduler="synchronous"))
    if expected is not None:
        same = values.shape == np.shape(expected) and np.array_equal(
            values, expected, equal_nan=values.dtype.kind in "fc"
        )
        _need(same, reader, "the values must be the expected ones.")
        _need(values.dtype == np.asarray(expected).dtype, reader, f"the type must be kept, got {values.dtype}.")
    if lazy is None:
        return values
    _need(lazy.dtype == values.dtype and lazy.shape == values.shape, reader, "shape and type must hold before reading.")
    threaded = lazy.rechunk(tuple(max(1, -(-n // 3)) for n in lazy.shape)).compute(scheduler="threads", num_workers=4)
    _need(_same(threaded, values), reader, "blocks read in threads must equal the whole.")
    for box in _boxes(values.shape):
        _need(
            _same(lazy[box].compute(scheduler="synchronous"), values[box]),
            reader,
            f"the box {box} must equal the whole.",
        )
    again = pickle.loads(pickle.dumps(array))
    _need(_same(again[...], values), reader, "the array must read the same after a trip through pickle.")
    return values


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == np.ascontiguousarray(b).tobytes()


def _boxes(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Boxes at both corners and across, also with steps."""
    half = tuple(slice(n // 2, n) for n in shape)
    first = tuple(slice(0, 1) for _ in shape)
    last = tuple(slice(n - 1, n) for n in shape)
    steps = tuple(slice(n // 3, n, 2) for n in shape)
    turned = tuple(slice(None, None, -1) for _ in shape)
    return [half, first, last, steps, turned]


def _check_listing(reader: Reader, path: Path) -> None:
    listed = reader.datasets(path)
    plain = [{"path": d.path, "shape": list(d.shape), "dtype": d.dtype, "role": d.role} for d in listed]
    json.dumps(plain, allow_nan=False)


def _check_damage(reader: Reader, path: Path, values: np.ndarray, dataset: str | None, cuts: int) -> None:
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        for neighbor in path.parent.glob(f"{path.stem}.*"):
            if neighbor.is_file() and neighbor != path:
                shutil.copy(neighbor, folder)
        damaged = Path(folder) / path.name
        for number in range(cuts):
            keep = max(1, size * number // cuts)
            damaged.write_bytes(path.read_bytes()[:keep])
            try:
                found = open_stored(reader, damaged, dataset=dataset).array
                got = found.to_dask().compute() if isinstance(found, FileArray) else np.asarray(found)
            except OperandoError as error:
                one = isinstance(error, FileError) and "\n" not in str(error)
                _need(one, reader, f"a damaged file must be a FileError of one sentence, got {error!r}.")
                continue
            except Exception as error:
                raise AssertionError(
                    f"reader {reader.name!r}: a file cut off after {keep} of {size} bytes must be a FileError, "
                    f"got {error!r}."
                ) from error
            _need(_same(got, values), reader, f"a file cut off after {keep} of {size} bytes gives other numbers.")
