"""Features that belong together: by what they describe, and at which time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from operando.core.errors import InputError, nearest
from operando.dendrites.features import FEATURE_SETS


def feature_groups(names: Sequence[str], *, by_time: bool = True) -> dict[str, list[str]]:
    """Group the columns of a feature table: slopes, concentration and growth, at each time or at both together.

    Parameters
    ----------
    names : sequence of str
        Columns as :func:`~operando.dendrites.feature_names` gives them; any subset.
    by_time : bool
        One group per kind and time ("slopes previous", "slopes current", ...), else one per kind.

    Returns
    -------
    dict of str to list of str
        Only groups that have columns.

    Raises
    ------
    InputError
        Where a column is none of these features.

    Examples
    --------
    >>> feature_groups(["growth_rate_previous", "slope", "growth_rate"], by_time=False)
    {'slopes': ['slope'], 'growth': ['growth_rate_previous', 'growth_rate']}
    """
    kinds = {name: kind for kind, members in FEATURE_SETS.items() if kind != "all" for name in members}
    known = [name + suffix for name in kinds for suffix in ("", "_previous")]
    groups: dict[str, list[str]] = {}
    for time in ("previous", "current") if by_time else ("both",):
        for kind in dict.fromkeys(kinds.values()):
            groups[f"{kind} {time}" if by_time else kind] = []
    for name in names:
        if name not in known:
            raise InputError(
                f"feature_groups: {name!r} is no feature of Table I, so its group is not known. {nearest(name, known)} "
                "Or pass groups={name: [columns]}."
            )
        plain = name.removesuffix("_previous")
        kind = kinds[plain]
        groups[f"{kind} {'current' if plain == name else 'previous'}" if by_time else kind].append(name)
    return {name: members for name, members in groups.items() if members}


def group_columns(
    names: Sequence[str], groups: Mapping[str, Sequence[str]] | None, *, where: str, cover: bool = False
) -> dict[str, list[int]]:
    """Positions of the columns of each group, checked; ``cover``: each column must be in exactly one of them.

    Examples
    --------
    >>> group_columns(["a", "b", "c"], {"outer": ["a", "c"]}, where="example")
    {'outer': [0, 2]}
    """
    chosen = feature_groups(names) if groups is None else groups
    result = {}
    for group, members in chosen.items():
        unknown = [name for name in members if name not in names]
        if unknown or len(members) == 0:
            raise InputError(
                f"{where}: the group {group!r} must have columns of x, got {list(members)}. "
                + (nearest(str(unknown[0]), names) if unknown else "Leave out empty groups.")
            )
        result[str(group)] = [list(names).index(name) for name in members]
    counts = np.bincount(np.concatenate([[], *result.values()]).astype(int), minlength=len(names))
    if cover and not (counts == 1).all():
        wrong = [name for name, count in zip(names, counts, strict=True) if count != 1]
        raise InputError(
            f"{where}: every column must be in exactly one group, not so for {wrong}. Complete the groups."
        )
    return result
