"""Networks on disk: safetensors weights beside a JSON card. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operando.core.errors import FileError, require
from operando.core.files import written_whole
from operando.core.provenance import digest
from operando.learn.networks import NetworkDesign, build_network

CARD = "card.json"
WEIGHTS = "weights.safetensors"
_CARD_LIMIT = 2**24


def save_model(path: str | Path, card: Mapping[str, Any], *, network: Any = None) -> None:
    """Write a folder with ``card.json`` and, where there is a network, ``weights.safetensors``.

    Parameters
    ----------
    path : str or Path
        The folder; what stood there is replaced once the new one is whole.
    card : mapping
        Anything JSON can hold.
    network : torch.nn.Module, optional
    """
    described = dict(card)
    with written_whole(path) as folder:
        folder.mkdir()
        if network is not None:
            save = require("safetensors.torch", extra="learn", purpose="Saving a network").save
            data = save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})
            (folder / WEIGHTS).write_bytes(data)
            described["weights_sha256"] = hashlib.sha256(data).hexdigest()
        (folder / CARD).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_card(path: str | Path, *, kind: str) -> dict[str, Any]:
    """Read the card of a saved segmenter.

    Parameters
    ----------
    path : str or Path
        Folder written by :func:`save_model`.
    kind : str
        What its ``"kind"`` must be.

    Raises
    ------
    FileError
        Where there is no such folder or card, or the card is broken or of another kind.
    """
    folder = Path(path)
    file = folder / CARD
    if not folder.is_dir() or not file.is_file():
        raise FileError(
            f"{folder}: a saved segmenter is a folder with {CARD}, and there is none. "
            "Pass the folder that save() was given."
        )
    try:
        if file.stat().st_size > _CARD_LIMIT:
            raise FileError(f"{file}: a card is at most {_CARD_LIMIT} bytes, got {file.stat().st_size}. Save it again.")
        card = json.loads(file.read_text(encoding="utf-8"))
    except FileError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{file}: the card must be JSON and cannot be read ({error}). Save the model again.") from error
    found = card.get("kind") if isinstance(card, dict) else None
    if found != kind:
        raise FileError(
            f"{file}: the card of a {kind!r} is needed, got the kind {found!r}. Load it with its own class."
        )
    return dict(card)


def load_network(
    path: str | Path,
    design: NetworkDesign,
    *,
    in_channels: int,
    classes: int,
    sha256: str | None = None,
    device: str = "auto",
) -> Any:
    """Build a network and fill it with the weights saved in a folder.

    Parameters
    ----------
    path : str or Path
        Folder written by :func:`save_model`.
    design, in_channels, classes
        As for :func:`operando.learn.build_network`.
    sha256 : str, optional
        Checksum the weights must have.
    device : str

    Returns
    -------
    torch.nn.Module
        In evaluation mode.

    Raises
    ------
    FileError
        Where the weights are absent, truncated, exchanged, or do not fit the design.

    Notes
    -----
    Shapes are compared before any memory is spent on the network, so a card that asks for a huge one
    costs nothing.
    """
    file = Path(path) / WEIGHTS
    library = require("safetensors.torch", extra="learn", purpose="Loading a network")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FileError(f"{file}: the weights cannot be read ({error.strerror}). Save the model again.") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise FileError(
            f"{file}: the weights must be the ones the card describes, but their checksum differs. "
            "The file was cut off or exchanged: copy the whole folder again."
        )
    try:
        state = library.load(data)
    except Exception as error:  # the library's own error class derives from Exception only
        raise FileError(f"{file}: the weights must be a safetensors file ({error}). Save the model again.") from error
    template = build_network(design, in_channels=in_channels, classes=classes, device="meta").state_dict()
    expected = {name: (tuple(value.shape), value.dtype) for name, value in template.items()}
    got = {name: (tuple(value.shape), value.dtype) for name, value in state.items()}
    if expected != got:
        wrong = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
        raise FileError(
            f"{file}: the weights must fit the network on the card, but {len(wrong)} of {len(expected)} arrays differ, "
            f"the first being {wrong[0]!r}. Keep card and weights of one model together."
        )
    network = build_network(design, in_channels=in_channels, classes=classes, device=device)
    network.load_state_dict(state)
    return network.eval()


def card_digest(card: Mapping[str, Any]) -> str:
    """Short fingerprint of a card, to name the model in the provenance of its results."""
    return digest(dict(card))
