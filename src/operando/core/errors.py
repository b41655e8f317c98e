"""The error tree.

Every message reads *where: what must hold, what was got. What to do.* Each class is also the builtin
error that a caller would expect, so ``except ValueError`` keeps working.

::

    OperandoError
    |-- InputError (ValueError)         an argument or array that cannot be used
    |   |-- AxesError                   dims that are missing, unknown or out of order
    |   |-- UnitsError                  a length, time or charge without the unit a result needs
    |   `-- PhaseError                  labels and phase scheme that do not match
    |-- FileError (OSError)             a file that cannot be read or written as asked
    |-- RecipeError (ValueError)        a recipe with faults, all of them listed
    |-- RunError (RuntimeError)         a step of a run that failed
    `-- MissingDependency (ImportError) an optional extra that is not installed
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class OperandoError(Exception):
    """Base of every error that operando raises on purpose."""


class InputError(OperandoError, ValueError):
    """An argument or array that cannot be used as it is."""


class AxesError(InputError):
    """Dimensions that are missing, unknown or out of order."""


class UnitsError(InputError):
    """A quantity without the unit that the result needs."""


class PhaseError(InputError):
    """Labels and a phase scheme that do not match."""


class FileError(OperandoError, OSError):
    """A file that cannot be read or written as asked."""


class RecipeError(OperandoError, ValueError):
    """A recipe with faults; ``faults`` holds every one of them."""

    def __init__(self, faults: Iterable[str], *, where: str = "recipe") -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        heading = f"{where}: {count} fault{'s' if count != 1 else ''}"
        super().__init__("\n".join([heading, *(f"  - {fault}" for fault in self.faults)]))


class RunError(OperandoError, RuntimeError):
    """A step of a run that failed."""


class MissingDependency(OperandoError, ImportError):
    """An optional dependency that is not installed."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant.

    Parameters
    ----------
    word : str
        What was got.
    known : iterable of str
        What would have been understood.

    Returns
    -------
    str
        A clause for the end of an error message.

    Examples
    --------
    >>> nearest("elektrode", ["electrode", "electrolyte"])
    "Did you mean 'electrode'?"
    >>> nearest("xyz", ["electrode", "pit"])
    "Known: 'electrode', 'pit'."
    """
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(map(repr, options))}."


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency or name the line that installs it.

    Parameters
    ----------
    module : str
        Dotted name to import.
    extra : str
        The extra of operando that brings it.
    purpose : str
        What needs it, for the message.

    Raises
    ------
    MissingDependency
        Where the module is not installed.

    Examples
    --------
    >>> require("math", extra="learn", purpose="arithmetic").floor(2.5)
    2
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"{purpose} needs {module!r}, which is not installed. Install it with: pip install 'operando[{extra}]'"
        ) from error
