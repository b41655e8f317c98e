"""Recipes on disk: YAML in, checked settings out, every fault at once."""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from operando.core.errors import FileError, OperandoError, RecipeError, nearest

T = TypeVar("T")


class Settings(BaseModel):
    """Base of every part of a recipe: unknown keys are faults, not silence."""

    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is a fault."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a recipe file as a plain mapping.

    Raises
    ------
    FileError
        Where the file is not there or is not text.
    RecipeError
        Where it is not YAML, with the line, or not a mapping.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileError(
            f"{source}: there is no such recipe. Make one with: operando new cell-ct {source.name}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(
            f"{source}: the recipe cannot be read as text ({reason}). Name a YAML file, such as run.yaml."
        ) from error
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(
            [f"{place}{problem}. Indent with spaces and quote text that holds ': '."], where=str(source)
        ) from error
    if not isinstance(content, dict):
        raise RecipeError(
            [f"a recipe is a mapping of keys to values, got {type(content).__name__}. Begin with 'recipe: cell-ct'."],
            where=str(source),
        )
    return content


def validate(model: type[Settings], content: Mapping[str, Any], *, where: str) -> Any:
    """Check a mapping against a settings model and report every fault with its path.

    Raises
    ------
    RecipeError
        Its ``faults`` name the key, what must hold, what was got and, for an unknown key, the nearest.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RecipeError([_fault(model, item) for item in error.errors()], where=where) from None


def _fault(model: type[Settings], item: Any) -> str:
    location = [part for part in item["loc"] if not str(part).startswith(("function-", "list[", "dict["))]
    key = ".".join(map(str, location))
    if item["type"] == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        known = owner.model_fields if owner else {}
        return f"{key}: unknown key. {nearest(str(location[-1]), known)}"
    if item["type"] == "missing":
        return f"{key}: is needed but missing. Add it; `operando new` writes a commented template."
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message else message
    got = item.get("input")
    if item["type"] == "value_error" and isinstance(got, Mapping):
        # The fault of several keys together: the sentence names them, all keys would bury it.
        return f"{key}: {message.rstrip('.')}." if key else f"{message.rstrip('.')}."
    shown = repr(got) if len(repr(got)) < 80 else repr(got)[:77] + "..."
    return f"{key}: {message.rstrip('.')}, got {shown}."


def _model_at(model: type[Settings], location: list[Any]) -> type[Settings] | None:
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", None)
        if fields is None:
            return None
        if part not in fields:
            continue
        current = _settings_in(fields[part].annotation)
    return current if isinstance(current, type) and issubclass(current, Settings) else None


def _settings_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, tuple, typing.Annotated):
        for part in typing.get_args(annotation):
            found = _settings_in(part)
            if found is not None:
                return found
    return None


class Faults(list[str]):
    """Sentences about what is wrong, collected so that all of them can be said at once."""

    def attempt(self, key: str, function: Callable[[], T]) -> T | None:
        """Return what ``function`` returns, or note under ``key`` why it could not."""
        try:
            return function()
        except OperandoError as error:
            text = str(error)
            self.append(text if text.startswith(key) else f"{key}: {text}")
            return None


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def resolve(path: str, base: Path) -> Path:
    """Make a path of a recipe absolute: ``${NAME:-default}`` is filled in, relative means beside the recipe.

    Examples
    --------
    >>> str(resolve("${NOT_SET_ANYWHERE:-data}/a.tif", Path("/cell")))
    '/cell/data/a.tif'
    """
    text = _VARIABLE.sub(lambda m: os.environ.get(m.group(1)) or (m.group(2) or ""), path)
    dataset = ""
    if "#" in text:
        text, _, dataset = text.partition("#")
    full = Path(os.path.normpath(base / Path(text).expanduser()))
    return Path(f"{full}#{dataset}") if dataset else full


def template(model: type[Settings], *, heading: str, given: Mapping[str, Any]) -> str:
    """A commented YAML template: every key with its meaning and default.

    Parameters
    ----------
    model : type of Settings
        Fields with descriptions.
    heading : str
        Comment at the top.
    given : mapping
        Values to write in place of defaults, nested as in the recipe.
    """
    lines = [f"# {line}".rstrip() for line in heading.strip().splitlines()] + [""]
    lines += _template_lines(model, given, 0)
    return "\n".join(lines) + "\n"


def _template_lines(model: type[Settings], given: Mapping[str, Any], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in model.model_fields.items():
        description = field.description or ""
        nested = _settings_in(field.annotation)
        value = given[name] if name in given else field.get_default(call_default_factory=True)
        if nested is not None and isinstance(value, (Settings, Mapping)):
            yield from ("" for _ in range(depth == 0))
            if description:
                yield f"{pad}# {description}"
            yield f"{pad}{name}:"
            inner = given.get(name, {})
            yield from _template_lines(nested, inner if isinstance(inner, Mapping) else {}, depth + 1)
            continue
        if isinstance(value, Settings):
            value = value.model_dump()
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()
        comment = f"  # {description}" if description else ""
        line = f"{pad}{name}: {text}{comment}"
        if len(line) > 118 and description:
            yield f"{pad}# {description}"
            line = f"{pad}{name}: {text}"
        yield line
