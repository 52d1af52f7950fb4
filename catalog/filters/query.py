"""The STAC query extension, older than CQL2: {"eo:cloud_cover": {"lt": 10}} → a tree of CQL2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from catalog.filters.grammar import Tree
from catalog.queryables import Kind, Queryable, bare
from kartotek.errors import BadRequest

_COMPARISONS = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "startsWith": lambda text: f"{text}%",
    "endsWith": lambda text: f"%{text}",
    "contains": lambda text: f"%{text}%",
}


def used(query: Any) -> set[str]:
    """The names in a query that may be none."""
    return set(query) if isinstance(query, Mapping) else set()


def tree(query: Any, names: Mapping[str, Queryable]) -> Tree:
    """The filter that a query means; `names` are those that may stand in it. Raises BadRequest for what is none."""
    if not isinstance(query, Mapping):
        raise BadRequest('query: a JSON object such as {"eo:cloud_cover": {"lt": 10}}')
    found = [
        _condition(str(name), names.get(bare(str(name))), asked)
        for name, conditions in query.items()
        for asked in _asked(name, conditions)
    ]
    if not found:
        return True
    return found[0] if len(found) == 1 else {"op": "and", "args": found}


def _asked(name: str, conditions: Any) -> list[tuple[str, Any]]:
    if not isinstance(conditions, Mapping):
        raise BadRequest(f'query: {name[:80]}: a JSON object such as {{"lt": 10}}')
    return list(conditions.items())


def _condition(name: str, known: Queryable | None, asked: tuple[str, Any]) -> Tree:
    op, value = asked
    named = {"property": name}
    if op in _COMPARISONS:
        if known is not None and known.kind in (Kind.NUMBER, Kind.INTEGER) and isinstance(value, str):
            with suppress(ValueError):  # older than CQL2, it has clients that write numbers as text
                value = float(value)
        return {"op": _COMPARISONS[op], "args": [named, value]}
    if op == "in" and isinstance(value, list):
        return {"op": "in", "args": [named, value]}
    if op in _PATTERNS and isinstance(value, str):
        return {"op": "like", "args": [named, _PATTERNS[op](literally(value))]}
    there = ", ".join((*_COMPARISONS, *_PATTERNS, "in"))
    raise BadRequest(f"query: {name[:80]}: no operator {str(op)[:40]!r} with such a value; there are {there}")


def literally(text: str) -> str:
    """A text as a pattern of LIKE that only it has.

    >>> literally("50%")
    '50\\\\%'
    """
    return "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in text)
