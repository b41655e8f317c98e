"""What is asked of a fitted model: predictions for bare arrays, the names of its inputs and their limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest

Predictor = Callable[[np.ndarray], np.ndarray]
Limits = tuple[Any, Any]


def read_samples(x: Any, model: Any = None, *, where: str) -> tuple[np.ndarray, list[str]]:
    """Values of the samples as float64, and the names of their columns.

    Parameters
    ----------
    x : DataFrame, DataArray (sample, feature) or array-like, shape (n, features)
        One row per sample.
    model : fitted regressor, optional
        Where it knows the names of its inputs (``feature_names_in_``), those of ``x`` must be the same, in order.

    Returns
    -------
    values : ndarray of float, shape (n, features)
    names : list of str
        Of the columns of ``x``, else those the model knows, else ``x0, x1, ...``.

    Raises
    ------
    InputError
        Where ``x`` is not a table of finite numbers or does not fit the model.

    Examples
    --------
    >>> read_samples(pd.DataFrame({"a": [1, 2]}), where="example")[1]
    ['a']
    """
    named: list[str] | None = None
    if isinstance(x, pd.DataFrame):
        named = [str(name) for name in x.columns]
        words = [name for name, kind in zip(named, x.dtypes, strict=True) if not pd.api.types.is_numeric_dtype(kind)]
        if words:
            raise InputError(
                f"{where}: every column must be a number, got text in {words}. Pass the features only: x[names]."
            )
    elif isinstance(x, xr.DataArray) and x.ndim == 2 and x.dims[1] in x.coords:
        named = [str(name) for name in x.coords[x.dims[1]].values]
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(
            f"{where}: x must have one row per sample and one column per feature, got the shape {values.shape}. "
            "Reshape a single sample with x.reshape(1, -1)."
        )
    if isinstance(x, pd.DataFrame) or named is not None:
        _compare_names(named or [], model, where=where)
    known = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None if known is None else len(known))
    if count is not None and count != values.shape[1]:
        raise InputError(
            f"{where}: the model was fitted on {count} features, got {values.shape[1]} columns. "
            "Pass the columns it was fitted on."
        )
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        label = named[column] if named else f"column {column}"
        raise InputError(
            f"{where}: every feature must be a finite number, got {values[row, column]} in row {row}, {label} "
            f"({int(bad.any(axis=1).sum())} rows in all). Leave these rows out."
        )
    if named is None:
        named = [f"x{i}" for i in range(values.shape[1])] if known is None else [str(name) for name in known]
    return values, named


def _compare_names(named: Sequence[str], model: Any, *, where: str) -> None:
    known = getattr(model, "feature_names_in_", None)
    if known is None:
        return
    known = [str(name) for name in known]
    if list(named) == known:
        return
    missing = [name for name in known if name not in named]
    if missing:
        raise InputError(
            f"{where}: the model was fitted on the columns {known}, missing {missing}. "
            f"{nearest(missing[0], named)} Pass x[list(model.feature_names_in_)]."
        )
    what = "other columns beside" if len(named) > len(known) else "another order of"
    raise InputError(
        f"{where}: the columns must be those the model was fitted on, got {what} {known}: {list(named)}. "
        "Pass x[list(model.feature_names_in_)]."
    )


def predictor(model: Any, *, where: str) -> Predictor:
    """Function from an array (n, features) to predictions (n,), whatever the model is.

    Parameters
    ----------
    model : fitted regressor or function
        An object with ``predict``, or a function of an array (n, features).

    Raises
    ------
    InputError
        Where the model is neither, or is not fitted yet.

    Examples
    --------
    >>> predictor(lambda x: x.sum(axis=1), where="example")(np.ones((2, 3)))
    array([3., 3.])
    """
    if not hasattr(model, "predict"):
        if callable(model):
            return lambda values: _one_each(model(values), len(values), where)
        raise InputError(
            f"{where}: the model must have a predict method or be a function of an array (n, features), "
            f"got {type(model).__name__}. Fit a regressor first, for example operando.dendrites.BayesianNetwork()."
        )
    if hasattr(model, "fit"):
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(model)
        except NotFittedError as error:
            raise InputError(
                f"{where}: the model must be fitted, got a {type(model).__name__} that is not. "
                "Call model.fit(x, y) first."
            ) from error
        except TypeError:
            # Not of scikit-learn: whether it is fitted shows when it predicts.
            pass
    return lambda values: _one_each(model.predict(as_fitted(model, values)), len(values), where)


def _one_each(predicted: Any, count: int, where: str) -> np.ndarray:
    found = np.asarray(predicted, dtype=np.float64)
    if found.size != count:
        raise InputError(
            f"{where}: the model must predict one number per sample, got the shape {found.shape} for {count} samples. "
            "Take one output at a time: lambda values: model.predict(values)[:, 0]."
        )
    return found.reshape(count)


def as_fitted(model: Any, values: np.ndarray) -> Any:
    """Bare values as the model saw its inputs: with column names where it knows them."""
    known = getattr(model, "feature_names_in_", None)
    return values if known is None else pd.DataFrame(values, columns=list(known))


def input_limits(
    model: Any, values: np.ndarray, limits: Limits | None, *, names: Sequence[str], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each input: as given, else the model's own, else the range of ``values``.

    Parameters
    ----------
    limits : (low, high), optional
        Each a number or one per feature.

    Returns
    -------
    low, high : ndarray, shape (features,)

    Raises
    ------
    InputError
        Where limits are not finite, not in order or not one per feature.

    Examples
    --------
    >>> input_limits(None, np.array([[0.0, 1.0], [2.0, 4.0]]), None, names=["a", "b"], where="example")
    (array([0., 1.]), array([2., 4.]))
    """
    count = values.shape[1]
    if limits is None:
        if getattr(model, "scale", False) and hasattr(model, "x_min_"):
            return np.asarray(model.x_min_, dtype=np.float64), np.asarray(model.x_max_, dtype=np.float64)
        return values.min(axis=0), values.max(axis=0)
    try:
        low, high = (np.broadcast_to(np.asarray(part, dtype=np.float64), (count,)).copy() for part in limits)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{where}: limits must be (low, high), each a number or one per feature ({count}), got {limits!r}. "
            "For example limits=(x.min(), x.max())."
        ) from error
    wrong = ~(np.isfinite(low) & np.isfinite(high) & (low < high))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"{where}: limits must be finite with low < high, got {low[first]:g} to {high[first]:g} "
            f"for {names[first]}. Exchange or widen them."
        )
    return low, high
