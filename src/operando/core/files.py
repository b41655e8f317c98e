"""Results are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operando.core.errors import FileError


@contextmanager
def written_whole(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it there once the block has ended well.

    Works for files and folders. Where the block raises, the temporary is removed and what stood at
    ``path`` stays as it was.

    Raises
    ------
    FileError
        Where ``path`` exists and ``overwrite`` is false, or its folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("done")
    ...     (Path(folder) / "a.txt").read_text()
    'done'
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise FileError(
            f"{target}: the output must not exist yet, but it does. Remove it, or allow it to be replaced "
            "(overwrite=True in Python, --overwrite or --force on the command line)."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{target.parent}: the folder for the output cannot be made ({error.strerror}). Choose another place."
        ) from error
    # The process id keeps two runs apart; the suffix stays last so that writers still see the format.
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    remove(temporary)
    try:
        yield temporary
        if target.is_dir() and not target.is_symlink():
            if not temporary.is_dir():
                raise FileError(f"{target}: is a folder, and a file is to be written there. Choose another name.")
            retired = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(retired)
            temporary.rename(target)
            remove(retired)
        else:
            temporary.replace(target)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Delete a file or folder that may not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what a writer that was killed has left in a folder; nobody else may be writing there."""
    for pattern in (".*.partial*", ".*.old"):
        for path in folder.glob(pattern):
            remove(path)
