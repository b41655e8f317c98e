"""Which rows of a feature table to train on and which to test on: at random as papers do, by frame, by experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest

How = Literal["random", "frame", "experiment"]
SPLITS: tuple[str, ...] = get_args(How)


def split_rows(
    table: pd.DataFrame,
    how: How | str = "frame",
    *,
    test_fraction: float = 0.25,
    repeat: int = 0,
    seed: int = 0,
    gap: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Split the rows of a feature table into training and test rows.

    Parameters
    ----------
    table : DataFrame
        With the columns ``experiment`` and ``frame``, one row per point and time.
    how : {"random", "frame", "experiment"}
        - ``"random"``: rows at random, as in the paper. Points of one frame, a pixel or two apart, come to lie on both
          sides: whatever is smooth along the interface leaks.
        - ``"frame"``: whole frames, some of every experiment.
        - ``"experiment"``: one experiment is tested, all others are trained on.
    test_fraction : float
        Share that is tested, in (0, 1). By frame the frames are dealt out to ``round(1 / test_fraction)`` parts (2 at
        least), one of which is tested. By experiment it is not used.
    repeat : int
        Number of the repeat. By frame, as many repeats as there are parts test every frame once; then the frames are
        dealt anew. By experiment the repeats go through the experiments in order of appearance.
    seed : int
        The same ``(seed, repeat)`` gives the same split.
    gap : int
        By frame only: frames of the same experiment up to ``gap`` before or after a tested one are not trained on.
        Neighboring frames share an image: the growth rates of ``t_i`` and ``t_{i+1}`` share the position at
        ``t_{i+1}`` with opposite signs.

    Returns
    -------
    (train, test) : ndarrays of int64
        Positions (not index labels) of the rows, ascending. Together they are all rows, unless ``gap`` drops some.

    Raises
    ------
    InputError
        For an unknown ``how``, a fraction out of range, fewer than two frames or experiments where these are split, or
        a ``gap`` that leaves nothing to train on.

    Notes
    -----
    A frame is its experiment and its number: frame 3 of two experiments is two frames. What a split can tell: at
    random, how well rows *between* known points of the same image are filled in; by frame, how well a moment of a known
    experiment is told from the others, among which there are later ones; by experiment, what a forecast of the next
    cell is worth.

    Examples
    --------
    >>> table = pd.DataFrame({"experiment": ["a"] * 8, "frame": [1, 1, 2, 2, 3, 3, 4, 4]})
    >>> train, test = split_rows(table, "frame", repeat=0)
    >>> sorted(set(table.frame[train]) & set(table.frame[test])), len(train), len(test)
    ([], 6, 2)
    """
    require_columns("split_rows", table, ("experiment", "frame"))
    if how not in SPLITS:
        raise InputError(
            f"split_rows: how must be one of {', '.join(SPLITS)}, got {how!r}. {nearest(str(how), SPLITS)}"
        )
    if not 0 < test_fraction < 1:
        raise InputError(
            f"split_rows: test_fraction must lie in (0, 1), got {test_fraction:g}. Divide a percentage by 100."
        )
    if repeat < 0 or gap < 0:
        raise InputError(f"split_rows: repeat and gap must not be negative, got repeat={repeat}, gap={gap}.")
    if gap and how != "frame":
        raise InputError(f"split_rows: a gap belongs to a split by frame, got gap={gap} by {how}. Leave it out.")
    if how == "random":
        tested = _random(len(table), test_fraction, repeat, seed)
        kept = ~tested
    elif how == "frame":
        tested, kept = _by_frame(table, test_fraction, repeat, seed, gap)
    else:
        tested = _by_experiment(table, repeat)
        kept = ~tested
    return np.flatnonzero(kept), np.flatnonzero(tested)


def possible_splits(table: pd.DataFrame) -> tuple[str, ...]:
    """Splits that a table allows: by frame from two frames on, by experiment from two experiments on.

    Examples
    --------
    >>> possible_splits(pd.DataFrame({"experiment": ["a", "a"], "frame": [1, 2]}))
    ('random', 'frame')
    """
    require_columns("possible_splits", table, ("experiment", "frame"))
    enough = {"random": True, "frame": frame_numbers(table).max(initial=0) > 0}
    enough["experiment"] = len(table["experiment"].unique()) > 1
    return tuple(how for how in SPLITS if enough[how])


@dataclass(frozen=True)
class Part:
    """One split of one repeat: positions of the rows to train on and to test on."""

    split: str
    repeat: int
    train: np.ndarray
    test: np.ndarray


def split_plan(
    where: str,
    table: pd.DataFrame,
    *,
    splits: Sequence[str] | None,
    repeats: int,
    test_fraction: float,
    gap: int,
    seed: int,
) -> list[Part]:
    """Every split and repeat of a study, checked before anything is trained; None: all splits that the table allows.

    Raises
    ------
    InputError
        As :func:`split_rows`, and for no split, no repeat, or one that is named twice.
    """
    wanted = possible_splits(table) if splits is None else tuple([splits] if isinstance(splits, str) else splits)
    if not wanted or len(set(wanted)) < len(wanted) or repeats < 1:
        raise InputError(
            f"{where}: there must be one repeat and one split at least, each once, got repeats={repeats}, "
            f"splits={wanted!r}. Splits: {', '.join(SPLITS)}."
        )
    return [
        Part(
            how,
            repeat,
            *split_rows(
                table,
                how,
                test_fraction=test_fraction,
                repeat=repeat,
                seed=seed,
                gap=gap if how == "frame" else 0,
            ),
        )
        for how in wanted
        for repeat in range(repeats)
    ]


def usable_rows(where: str, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows whose features and target are all known; ``experiment`` and ``frame`` must be there.

    Raises
    ------
    InputError
        Where a column is missing, or no row is left.
    """
    require_columns(where, table, ("experiment", "frame", *columns))
    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(table[name])]
    known = np.isfinite(table[numbers].to_numpy(float)).all(axis=1)
    if not known.any():
        raise InputError(f"{where}: some rows must have all features and a next growth rate, none of {len(table)} has.")
    return table[known]


def frame_numbers(table: pd.DataFrame) -> np.ndarray:
    """Number the frames of all experiments from 0 in order of appearance: one number per row.

    Examples
    --------
    >>> frame_numbers(pd.DataFrame({"experiment": ["a", "a", "b"], "frame": [1, 2, 1]})).tolist()
    [0, 1, 2]
    """
    return table.groupby(["experiment", "frame"], sort=False, observed=True).ngroup().to_numpy(dtype=np.int64)


def require_columns(where: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that a table has the columns that a function needs.

    Raises
    ------
    InputError
        Where some are missing, or the table has no rows.
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            f"{where}: table must be a DataFrame as growth_features returns it, got {type(table).__name__}."
        )
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"{where}: the table must have the columns {', '.join(columns)}; missing {', '.join(missing)}. "
            "Make it with operando.dendrites.growth_features."
        )
    if table.empty:
        raise InputError(f"{where}: the table must have rows, got none. A series needs three images at least.")


def _random(rows: int, test_fraction: float, repeat: int, seed: int) -> np.ndarray:
    count = round(rows * test_fraction)
    if not 0 < count < rows:
        raise InputError(
            f"split_rows: {test_fraction:g} of {rows} rows leaves nothing to test or to train on. Use more rows."
        )
    tested = np.zeros(rows, bool)
    tested[np.random.default_rng([seed, repeat]).permutation(rows)[:count]] = True
    return tested


def _by_frame(
    table: pd.DataFrame, test_fraction: float, repeat: int, seed: int, gap: int
) -> tuple[np.ndarray, np.ndarray]:
    number = frame_numbers(table)
    total = int(number.max()) + 1
    if total < 2:
        raise InputError("split_rows: a split by frame needs two frames at least, the table has one. Add frames.")
    parts = min(max(2, round(1 / test_fraction)), total)
    deal, part = divmod(repeat, parts)
    rng = np.random.default_rng([seed, deal])
    first = table.groupby(number)[["experiment", "frame"]].first()
    order = np.concatenate([rng.permutation(some) for some in first.groupby("experiment", sort=False).indices.values()])
    chosen = order[part::parts]
    tested = np.isin(number, chosen)
    kept = ~tested
    if gap:
        frames = table["frame"].to_numpy()
        for name, at in first.iloc[chosen].itertuples(index=False):
            kept &= ~((table["experiment"] == name).to_numpy() & (np.abs(frames - at) <= gap))
        if not kept.any():
            raise InputError(
                f"split_rows: a gap of {gap} around {len(chosen)} of {total} frames leaves none to train on. "
                "Use a smaller gap or test_fraction, or more frames."
            )
    return tested, kept


def _by_experiment(table: pd.DataFrame, repeat: int) -> np.ndarray:
    names = table["experiment"].unique()
    if len(names) < 2:
        raise InputError(
            f"split_rows: a split by experiment needs two experiments at least, the table has one ({names[0]!r}). "
            "Add another series, or split by 'frame'."
        )
    return (table["experiment"] == names[repeat % len(names)]).to_numpy()
