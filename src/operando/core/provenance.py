"""Where a result came from, in a form that travels with it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from operando.core.version import VERSION

_PACKAGES = ("numpy", "scipy", "xarray", "dask", "zarr", "torch", "monai", "scikit-image", "connected-components-3d")


def versions() -> dict[str, str]:
    """Versions of operando, Python and what it computes with."""
    found = {"operando": VERSION, "python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def digest(value: Any) -> str:
    """Short stable fingerprint of anything that JSON can hold.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """Fingerprint of a file or folder by name, size and modification time, without reading it."""
    root = Path(path)
    if root.is_dir():
        entries = [
            (str(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns)
            for p in sorted(root.rglob("*"))
            if p.is_file()
        ]
    elif root.exists():
        entries = [(root.name, root.stat().st_size, root.stat().st_mtime_ns)]
    else:
        entries = []
    return digest([str(root.resolve()), entries])


def record(
    function: str, parameters: Mapping[str, Any] | None = None, *, inputs: Mapping[str, str] | None = None
) -> str:
    """One JSON line for ``attrs["provenance"]``: function, parameters, inputs, version.

    Examples
    --------
    >>> json.loads(record("otsu", {"classes": 3}))["function"]
    'otsu'
    """
    entry = {
        "operando": VERSION,
        "function": function,
        "parameters": dict(parameters or {}),
        "inputs": dict(inputs or {}),
    }
    return json.dumps(entry, sort_keys=True, default=str)
