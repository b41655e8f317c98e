"""The text header of STXM_Control (``.hdr``), read by its grammar.

::

    header := entry*
    entry  := name "=" value ";"
    value  := "{" entry* "}" | "(" count ("," value)* ")" | text | number | word
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from operando.core.errors import FileError

_TOKEN = re.compile(
    r'(?P<text>"[^"]*")|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))'
    r"|(?P<word>[A-Za-z_][\w.\-]*)|(?P<mark>[={}();,])|(?P<space>\s+)|(?P<other>.)"
)
# A header is a few levels deep; a damaged one must not exhaust the stack.
_DEEPEST = 32


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def read_header(path: Path) -> dict[str, Any]:
    """Read an STXM_Control header.

    Parameters
    ----------
    path : Path
        The ``.hdr`` file.

    Returns
    -------
    dict
        Blocks as dict, lists as list (without their leading count), numbers as float, ``true`` and ``false`` as
        bool.

    Raises
    ------
    FileError
        Where the text breaks the grammar or a list has not as many values as it says; names the line.
    """
    return parse_header(path.read_bytes().decode("latin-1"), where=str(path))


def parse_header(text: str, *, where: str = "header") -> dict[str, Any]:
    """Parse the text of a header.

    Examples
    --------
    >>> parse_header('Scan = { Dwell = 0.5; Points = (2, 700.0, 701.5); Name = "a"; };')
    {'Scan': {'Dwell': 0.5, 'Points': [700.0, 701.5], 'Name': 'a'}}
    """
    return _Parser(text, where).header()


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._tokens = list(_tokens(text))
        self._at = 0

    def header(self) -> dict[str, Any]:
        return self._entries("end", 0)

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _fail(self, expected: str, token: _Token) -> FileError:
        got = "the end of the file" if token.kind == "end" else repr(token.text[:40])
        return FileError(
            f"{self._where}: line {token.line} must have {expected}, got {got}. "
            "The header is damaged or cut off: copy it again."
        )

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.text != text:
            raise self._fail(repr(text), token)

    def _entries(self, close: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            token = self._next()
            if token.text == close or (close == "end" and token.kind == "end"):
                return found
            if token.text == ";":
                continue
            if token.kind != "word":
                raise self._fail(f"a name{'' if close == 'end' else ' or ' + repr(close)}", token)
            self._expect("=")
            found[token.text] = self._value(depth + 1)
            if self._peek().text != close:
                self._expect(";")

    def _value(self, depth: int) -> Any:
        token = self._next()
        if depth > _DEEPEST:
            raise self._fail(f"at most {_DEEPEST} levels of braces", token)
        if token.kind == "text":
            return token.text[1:-1]
        if token.kind == "number":
            return float(token.text)
        if token.kind == "word":
            return {"true": True, "false": False}.get(token.text.lower(), token.text)
        if token.text == "{":
            return self._entries("}", depth)
        if token.text == "(":
            return self._list(token.line, depth)
        raise self._fail("a number, a text, '{' or '('", token)

    def _list(self, line: int, depth: int) -> list[Any]:
        first = self._next()
        if first.kind != "number":
            raise self._fail("the number of values of the list", first)
        values: list[Any] = []
        while self._peek().text == ",":
            self._next()
            values.append(self._value(depth + 1))
        self._expect(")")
        if len(values) != float(first.text):
            raise FileError(
                f"{self._where}: line {line} must have a list of {first.text} values, got {len(values)}. "
                "The header is damaged: copy it again."
            )
        return values


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind != "space":
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")
    yield _Token("end", "", line)
