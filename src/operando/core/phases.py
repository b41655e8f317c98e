"""Label images and what their numbers mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from operando.core.errors import PhaseError, nearest

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

UNLABELED = 255
"""The label of a voxel that nobody has judged; losses and metrics ignore it."""

ROLES = ("electrolyte", "lithium", "void", "solid", "other")

# Roles and colors by name. The colors are Okabe and Ito's, which readers with any common color
# vision deficiency can tell apart; one phase has one color in every figure.
_KNOWN: dict[str, tuple[str, str]] = {
    "electrolyte": ("electrolyte", "#E8E4DA"),
    "background": ("other", "#E8E4DA"),
    "electrode": ("lithium", "#0072B2"),
    "deposited": ("lithium", "#E69F00"),
    "dendrite": ("lithium", "#009E73"),
    "pit": ("void", "#2B2B2B"),
    "redeposited": ("lithium", "#D55E00"),
    "inactive": ("lithium", "#CC79A7"),
    "void": ("void", "#2B2B2B"),
    "pore": ("void", "#2B2B2B"),
    "layer": ("solid", "#0072B2"),
    "collector": ("solid", "#56B4E9"),
    "electrolyte_pore": ("void", "#CC79A7"),
}
_SPARE_COLORS = ("#56B4E9", "#CC79A7", "#F0E442", "#0072B2", "#E69F00", "#009E73", "#D55E00")


@dataclass(frozen=True)
class Phase:
    """One phase: its number in label images, name, color and role."""

    id: int
    name: str
    color: str
    role: str


class PhaseScheme(Mapping[str, int]):
    """Names, numbers, colors and roles of the phases in a label image.

    Parameters
    ----------
    phases : mapping of str to int
        Name to id. Ids are integers from 0 to 254; 255 means unlabeled.
    colors : mapping of str to str, optional
        Hex colors that replace the defaults.
    roles : mapping of str to str, optional
        One of ``electrolyte, lithium, void, solid, other`` per phase. The usual names (electrode,
        deposited, dendrite, redeposited, pit, ...) have theirs already; others are ``other``.

    Raises
    ------
    PhaseError
        Where an id is out of range or used twice, or a name, color or role is unusable.

    Examples
    --------
    >>> phases = PhaseScheme({"electrolyte": 0, "electrode": 1, "pit": 2})
    >>> phases["pit"], phases.name(1), phases.role("pit")
    (2, 'electrode', 'void')
    >>> phases.names_by_role("lithium")
    ('electrode',)
    """

    def __init__(
        self,
        phases: Mapping[str, int],
        *,
        colors: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(phases, Mapping) or not phases:
            raise PhaseError(
                f"PhaseScheme: phases must be a mapping of at least one name to an id, got {phases!r}. "
                'Write for example {"electrolyte": 0, "electrode": 1}.'
            )
        colors, roles = dict(colors or {}), dict(roles or {})
        for given, what in ((colors, "colors"), (roles, "roles")):
            for name in given:
                if name not in phases:
                    raise PhaseError(f"PhaseScheme: {what} names {name!r}, which is no phase. {nearest(name, phases)}")
        spare = iter(_SPARE_COLORS * (1 + len(phases) // len(_SPARE_COLORS)))
        self._phases: dict[str, Phase] = {}
        for name, number in phases.items():
            if not isinstance(name, str) or not name:
                raise PhaseError(f"PhaseScheme: a phase name must be a non-empty string, got {name!r}. Rename it.")
            if not _is_whole(number) or not 0 <= number < UNLABELED:
                raise PhaseError(
                    f"PhaseScheme: the id of {name!r} must be an integer from 0 to {UNLABELED - 1}, got {number!r}. "
                    f"{UNLABELED} is kept for unlabeled voxels."
                )
            role, color = _KNOWN.get(name, ("other", None))
            role = roles.get(name, role)
            if role not in ROLES:
                raise PhaseError(f"PhaseScheme: {name!r} has the unknown role {role!r}. {nearest(role, ROLES)}")
            color = colors.get(name, color) or next(spare)
            self._phases[name] = Phase(int(number), name, color, role)
        by_id: dict[int, str] = {}
        for phase in self._phases.values():
            if phase.id in by_id:
                raise PhaseError(
                    f"PhaseScheme: each id must belong to one phase, got {phase.id} for both "
                    f"{by_id[phase.id]!r} and {phase.name!r}. Give one of them another number."
                )
            by_id[phase.id] = phase.name
        self._by_id = by_id

    def __getitem__(self, name: str) -> int:
        return self.phase(name).id

    def __iter__(self) -> Iterator[str]:
        return iter(self._phases)

    def __len__(self) -> int:
        return len(self._phases)

    def __contains__(self, name: object) -> bool:
        return name in self._phases

    def __repr__(self) -> str:
        return f"PhaseScheme({dict(self)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PhaseScheme) and self._phases == other._phases

    def __hash__(self) -> int:
        return hash(tuple(self._phases.values()))

    def phase(self, name: str) -> Phase:
        """Return the phase of that name, or raise :class:`PhaseError` naming the nearest one."""
        try:
            return self._phases[name]
        except KeyError:
            raise PhaseError(f"PhaseScheme: there is no phase {name!r}. {nearest(str(name), self._phases)}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order given."""
        return tuple(self._phases)

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids in the order of the names."""
        return tuple(phase.id for phase in self._phases.values())

    def name(self, number: int) -> str:
        """Name of the phase with that id."""
        try:
            return self._by_id[int(number)]
        except (KeyError, ValueError, TypeError):
            raise PhaseError(f"PhaseScheme: no phase has the id {number}. Known ids: {sorted(self._by_id)}.") from None

    def color(self, name: str) -> str:
        """Hex color of the phase, the same in every figure."""
        return self.phase(name).color

    def role(self, name: str) -> str:
        """Role of the phase: electrolyte, lithium, void, solid or other."""
        return self.phase(name).role

    def names_by_role(self, role: str) -> tuple[str, ...]:
        """Names of all phases with that role."""
        if role not in ROLES:
            raise PhaseError(f"PhaseScheme: there is no role {role!r}. {nearest(role, ROLES)}")
        return tuple(phase.name for phase in self._phases.values() if phase.role == role)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain form for JSON: name to id, color and role."""
        return {p.name: {"id": p.id, "color": p.color, "role": p.role} for p in self._phases.values()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Mapping[str, Any]]) -> PhaseScheme:
        """Inverse of :meth:`to_dict`."""
        return cls(
            {name: entry["id"] for name, entry in plain.items()},
            colors={name: entry["color"] for name, entry in plain.items()},
            roles={name: entry["role"] for name, entry in plain.items()},
        )

    @classmethod
    def of(cls, phases: PhaseScheme | Mapping[str, int] | Mapping[str, Mapping[str, Any]]) -> PhaseScheme:
        """Return ``phases`` itself, or a scheme made from a plain mapping or from what :meth:`to_dict` gives."""
        if isinstance(phases, PhaseScheme):
            return phases
        if isinstance(phases, Mapping) and phases and all(isinstance(entry, Mapping) for entry in phases.values()):
            return cls.from_dict(cast("Mapping[str, Mapping[str, Any]]", phases))
        return cls(cast("Mapping[str, int]", phases))

    def check(self, labels: xr.DataArray | np.ndarray, *, where: str = "labels") -> None:
        """Raise :class:`PhaseError` where a label image holds an id that is neither a phase nor 255.

        Reads the whole array once, block by block where it is lazy.
        """
        import numpy as np

        from operando.core.blocks import distinct_labels

        present = distinct_labels(labels, where=where)
        unknown = np.setdiff1d(present, [*self.ids, UNLABELED])
        if unknown.size:
            raise PhaseError(
                f"{where}: every label must be one of {dict(self)} or {UNLABELED} (unlabeled), "
                f"got also {unknown.tolist()}. Add these ids to the scheme or relabel the image."
            )


def _is_whole(number: Any) -> bool:
    try:
        return not isinstance(number, bool) and int(number) == number
    except (TypeError, ValueError):
        return False


CELL = PhaseScheme({"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3, "pit": 4, "redeposited": 5})
"""The phases of a lithium | electrolyte | lithium cell under cycling (Huang 2023)."""

CERAMIC_CELL = PhaseScheme({"electrolyte": 0, "electrode": 1, "pore": 2, "collector": 3, "electrolyte_pore": 4})
"""The phases of a lithium | ceramic | lithium cell (Dixit 2020).

``pore`` is in the lithium, ``electrolyte_pore`` in the ceramic."""
