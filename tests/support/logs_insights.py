"""Evaluates the queries of the template on log lines, by the documented rules of Logs Insights.

It knows the part of the query language that the template uses, and refuses everything else:
``fields``, ``filter``, ``unnest``, ``stats … by``, ``sort`` and ``limit``; comparisons, ``in``,
``and``, ``or``, ``ispresent`` and ``jsonParse``; ``sum``, ``avg``, ``max`` and ``count``.

Source: Amazon CloudWatch Logs User Guide, the pages "CloudWatch Logs Insights language query
syntax", "unnest", "stats", "Boolean, comparison, numeric, datetime, and other functions" and
"Supported logs and discovered fields".
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]

MAX_FIELDS = 200  # that are found in a line of JSON; the rest is in @message alone
TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<period>\d+[a-z]+)|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<name>@?[A-Za-z_][\w]*(?:\.\w+)*)|(?P<sign>>=|<=|!=|[=<>()\[\],*]))"""
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
AGGREGATES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": sum,
    "avg": lambda values: sum(values) / len(values),
    "max": max,
    "count": len,
}


class UnknownSyntax(ValueError):
    """The query uses a part of the language that this module does not know."""


def discovered(message: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a line of JSON, in dot notation, from the first to the last."""

    def flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict | list):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            for key, value in items:
                yield from flat(value, f"{path}.{key}" if path else str(key))
        elif node is not None:
            yield path, node

    try:
        yield from flat(json.loads(message), "")
    except ValueError:
        return


def evaluate(query: str, lines: Sequence[str]) -> list[Row]:
    """Return the rows that *query* makes of *lines*; line n has the timestamp n milliseconds."""
    rows: list[Row] = []
    for number, line in enumerate(lines):
        found = dict(list(discovered(line))[:MAX_FIELDS])
        rows.append(found | {"@message": line, "@timestamp": number})
    for command in query.strip().split("|"):
        verb, _, rest = command.strip().partition(" ")
        if verb not in COMMANDS:
            raise UnknownSyntax(f"unknown command: {command}")
        rows = COMMANDS[verb](rows, _Tokens(rest))
    return rows


class _Tokens:
    """The tokens of one command; a class, because it holds the position."""

    def __init__(self, text: str) -> None:
        self.left: list[tuple[str, str]] = []
        position, text = 0, text.strip()
        while position < len(text):
            found = TOKEN.match(text, position)
            if not found or not found.lastgroup:
                raise UnknownSyntax(f"unknown syntax: {text[position:]}")
            self.left.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    @property
    def next(self) -> str:
        return self.left[0][1] if self.left else ""

    def take(self, *expected: str) -> str:
        if not self.left or (expected and self.next not in expected):
            raise UnknownSyntax(f"expected {expected or 'more'}, found {self.next or 'the end'}")
        return self.left.pop(0)[1]

    def accept(self, *tokens: str) -> bool:
        if self.left and self.next in tokens:
            self.left.pop(0)
            return True
        return False

    def end(self) -> None:
        if self.left:
            raise UnknownSyntax(f"unknown syntax: {self.next}")


Value = Callable[[Row], Any]


def _any_of(tokens: _Tokens) -> Value:
    parts = [_all_of(tokens)]
    while tokens.accept("or"):
        parts.append(_all_of(tokens))
    return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)


def _all_of(tokens: _Tokens) -> Value:
    parts = [_comparison(tokens)]
    while tokens.accept("and"):
        parts.append(_comparison(tokens))
    return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)


def _comparison(tokens: _Tokens) -> Value:
    left = _value(tokens)
    if tokens.accept("in"):
        tokens.take("[")
        choices = [_value(tokens)]
        while tokens.accept(","):
            choices.append(_value(tokens))
        tokens.take("]")
        return lambda row: left(row) in [choice(row) for choice in choices]
    if tokens.next not in COMPARISONS:
        return left
    compare, right = COMPARISONS[tokens.take()], _value(tokens)

    def compared(row: Row) -> bool:
        one, other = left(row), right(row)
        if one is None or other is None or isinstance(one, dict | list):
            return False  # a field that the line does not have; a map or a list
        return compare(one, other)

    return compared


def _value(tokens: _Tokens) -> Value:
    kind = tokens.left[0][0] if tokens.left else ""
    text = tokens.take()
    if kind == "text":
        return lambda row: text[1:-1]
    if kind == "number":
        return lambda row: float(text)
    if kind != "name":
        raise UnknownSyntax(f"unknown syntax: {text}")
    if not tokens.accept("("):
        return lambda row: look_up(row, text)
    argument = tokens.take()
    tokens.take(")")
    if text == "bin":
        return lambda row: 0  # the lines of a test are all of one bin
    if text == "ispresent":
        return lambda row: look_up(row, argument) is not None
    if text == "jsonParse":
        return lambda row: _parsed(look_up(row, argument))
    raise UnknownSyntax(f"unknown function: {text}")


def look_up(row: Mapping[str, Any], path: str) -> Any:
    """Return the field *path* of a row: a field of the line, or a part of a map made in the query.

    Returns None if there is no such field.
    """
    if path in row:
        return row[path]
    name, *parts = path.split(".")
    node = row.get(name)
    for part in parts:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _parsed(text: Any) -> Any:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict | list) else None


def _fields(rows: list[Row], tokens: _Tokens) -> list[Row]:
    made: dict[str, Value] = {}
    while True:
        name, value = tokens.next, _value(tokens)
        made[tokens.take() if tokens.accept("as") else name] = value
        if not tokens.accept(","):
            break
    tokens.end()
    return [row | {name: value(row) for name, value in made.items()} for row in rows]


def _filter(rows: list[Row], tokens: _Tokens) -> list[Row]:
    test = _any_of(tokens)
    tokens.end()
    return [row for row in rows if test(row)]


def _unnest(rows: list[Row], tokens: _Tokens) -> list[Row]:
    source = tokens.take()
    tokens.take("into")
    name = tokens.take()
    tokens.end()
    found = [(row, look_up(row, source)) for row in rows]
    return [
        row | {name: item}
        for row, items in found
        for item in (items if isinstance(items, list) else [items])
    ]


def _stats(rows: list[Row], tokens: _Tokens) -> list[Row]:
    made: dict[str, tuple[str, str]] = {}
    while True:
        function = tokens.take(*AGGREGATES)
        tokens.take("(")
        argument = tokens.take()
        tokens.take(")")
        tokens.take("as")
        made[tokens.take()] = (function, argument)
        if not tokens.accept(","):
            break
    keys: dict[str, Value] = {}
    if tokens.accept("by"):
        while True:
            before = list(tokens.left)
            key = _value(tokens)
            spelled = before[: len(before) - len(tokens.left)]
            keys["".join(text for _, text in spelled)] = key
            if not tokens.accept(","):
                break
    tokens.end()
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(key(row) for key in keys.values()), []).append(row)
    return [
        dict(zip(keys, group, strict=True))
        | {name: _aggregate(function, argument, of) for name, (function, argument) in made.items()}
        for group, of in groups.items()
    ]


def _aggregate(function: str, argument: str, rows: Sequence[Row]) -> Any:
    if argument == "*":
        return AGGREGATES[function](rows)
    values = [value for row in rows if (value := look_up(row, argument)) is not None]
    if any(isinstance(value, dict | list) for value in values):
        raise UnknownSyntax(f"{argument} is a map or a list, which stats does not support")
    return AGGREGATES[function](values) if values else None


def _sort(rows: list[Row], tokens: _Tokens) -> list[Row]:
    name = tokens.take()
    descending = tokens.take("asc", "desc") == "desc"
    tokens.end()
    return sorted(rows, key=lambda row: look_up(row, name), reverse=descending)


def _limit(rows: list[Row], tokens: _Tokens) -> list[Row]:
    most = int(tokens.take())
    tokens.end()
    return rows[:most]


COMMANDS: dict[str, Callable[[list[Row], _Tokens], list[Row]]] = {
    "fields": _fields,
    "filter": _filter,
    "unnest": _unnest,
    "stats": _stats,
    "sort": _sort,
    "limit": _limit,
}
