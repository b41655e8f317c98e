"""Series of one-dimensional profiles, one text file each, as NMR imaging of a working cell exports them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import FileError, InputError

_NUMBER = re.compile(r"\((\d+)\)\s*$|(\d+)\s*$")
_SIZE = re.compile(r"SIZE\s*=\s*(\d+)")
_SHOWN = 5


def open_profiles(
    folder: str | Path,
    *,
    field_of_view_um: float,
    interval_s: float,
    flip: bool = False,
    count: int | None = None,
) -> xr.DataArray:
    """Read a folder of profiles along the normal of the electrodes, one numbered text file per time.

    Parameters
    ----------
    folder : path
        Files such as ``profile(007).txt`` or ``profile_007.txt``: one number per line, lines that begin with ``#`` are
        the header (Bruker TopSpin writes one with ``SIZE = 256``). Files whose name does not end with a number are not
        read, so that a record of the voltage may lie beside them.
    field_of_view_um : float
        Length that all points of a profile cover together, in um.
    interval_s : float
        From the beginning of one profile to that of the next, in s. **The number in the name counts time**: a missing
        number is a missing time, not a shorter series.
    flip : bool
        Turn the profiles round, so that the first point becomes the last.
    count : int, optional
        Read the first so many files only.

    Returns
    -------
    DataArray of float64, dims (t, y), units "1"
        Signal. ``t`` is the beginning of each profile in s, 0 at the first; ``y`` runs along the normal, centers of
        the points in um, 0 at the outer edge of the first point. The coordinate ``number`` (t) is that of the file.
        ``attrs``: ``interval_s``, ``missing_numbers``, ``flipped``.

    Raises
    ------
    FileError
        Where the folder is none, has no numbered file, or files hold no profile; every such file is named.
    InputError
        Where field of view, interval or count are not positive.

    Notes
    -----
    Nothing is computed: no baseline is taken off, and a spectrum in magnitude mode stays one. Memory: all profiles, at
    once (94 profiles of 256 points are 190 kB).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number in (1, 3):
    ...         text = "# SIZE = 2\\n" + f"{number}.0\\n0.5\\n"
    ...         _ = Path(folder, f"cell({number:03}).txt").write_text(text)
    ...     profiles = open_profiles(folder, field_of_view_um=8.0, interval_s=60.0)
    >>> profiles.t.values.tolist(), profiles.y.values.tolist(), profiles.values.tolist()
    ([0.0, 120.0], [2.0, 6.0], [[1.0, 0.5], [3.0, 0.5]])
    """
    where = "open_profiles"
    for name, value in (("field_of_view_um", field_of_view_um), ("interval_s", interval_s)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{where}: {name} must be a positive number, got {value!r}. Correct it.")
    if count is not None and count < 1:
        raise InputError(f"{where}: count must be at least 1, got {count!r}. Leave it out to read all files.")
    files = numbered_files(folder)[:count]
    numbers = np.array([number for number, _ in files])
    profiles: list[np.ndarray] = []
    faults: list[str] = []
    for _, path in files:
        try:
            profiles.append(_profile(path))
        except FileError as error:
            faults.append(str(error))
    if not faults:
        usual = int(np.median([len(profile) for profile in profiles]))
        faults = [
            f"{path.name}: {len(profile)} points where the others have {usual}"
            for (_, path), profile in zip(files, profiles, strict=True)
            if len(profile) != usual
        ]
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise FileError(
            f"{where}: every profile must be a column of numbers of one length, in {folder} {len(faults)} of "
            f"{len(files)} are not: {'; '.join(faults[:_SHOWN])}{more}. Export these again, or move them elsewhere."
        )
    values = np.stack(profiles)
    step = field_of_view_um / values.shape[1]
    image = labeled_image(
        values[:, ::-1] if flip else values,
        dims=("t", "y"),
        voxel_size_um=step,
        origin_um=(step / 2,),
        t=(numbers - numbers[0]) * interval_s,
        time_units="s",
        name="profiles",
        long_name="Signal",
        attrs={
            "interval_s": float(interval_s),
            "missing_numbers": np.setdiff1d(np.arange(numbers[0], numbers[-1] + 1), numbers).tolist(),
            "flipped": bool(flip),
        },
    )
    return image.assign_coords(number=("t", numbers))


def numbered_files(folder: str | Path) -> list[tuple[int, Path]]:
    """The numbers and paths of the profiles of a folder, in the order of their numbers.

    Raises
    ------
    FileError
        Where the folder is none, no file carries a number, or two carry the same one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a(010).txt", "a(9).txt", "POL.txt"):
    ...         _ = Path(folder, name).write_text("1")
    ...     [(number, path.name) for number, path in numbered_files(folder)]
    [(9, 'a(9).txt'), (10, 'a(010).txt')]
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileError(f"{root}: a folder of profiles is needed, and there is none. Correct the path.")
    found: dict[int, Path] = {}
    for path in sorted(root.glob("*.txt")):
        match = _NUMBER.search(path.stem)
        if match is None:
            continue
        number = int(match[1] or match[2])
        if number in found:
            raise FileError(
                f"{root}: every number must stand once, {number} is that of {found[number].name} and of {path.name}. "
                "Keep one series in a folder."
            )
        found[number] = path
    if not found:
        raise FileError(
            f"{root}: profiles named like cell(007).txt or cell_007.txt are needed, got none among "
            f"{len(list(root.iterdir()))} files. Number the files in the order of time."
        )
    return sorted(found.items())


def _profile(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8", errors="strict").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path.name}: cannot be read as text ({error})") from error
    header = "\n".join(line for line in lines if line.startswith("#"))
    body = [(row, line.strip()) for row, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    values = np.empty(len(body))
    for point, (row, text) in enumerate(body):
        try:
            values[point] = float(text)
        except ValueError as error:
            raise FileError(f"{path.name}: line {row} is {text[:30]!r} and not one number") from error
    size = _SIZE.search(header)
    if not values.size:
        raise FileError(f"{path.name}: no number")
    if not np.isfinite(values).all():
        raise FileError(f"{path.name}: {values.size} numbers, not all of them finite")
    if size is not None and int(size[1]) != values.size:
        raise FileError(f"{path.name}: {values.size} numbers where its header says {size[1]}")
    return values
