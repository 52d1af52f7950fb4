"""What stands on either side of a comparison: literals, properties, arithmetic → SQL of a known kind."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from sqlalchemy import ColumnElement, Double, Text, literal

from catalog.dialects import Database, Instant, folding
from catalog.facts import canonical
from catalog.filters.grammar import Tree
from catalog.models import items
from catalog.queryables import Kind, Queryable, bare
from catalog.questions import instant
from kartotek.errors import BadRequest

NUMBERS = (Kind.NUMBER, Kind.INTEGER)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "div": lambda one, other: float(math.trunc(one / other)),
    "^": operator.pow,
}


@dataclass(frozen=True, slots=True)
class Values:
    """How a filter's values become SQL, for one database and the names that may stand in it."""

    database: Database
    names: Mapping[str, Queryable]

    def kind(self, node: Tree) -> Kind:
        """What a value is. Raises BadRequest for what is no value."""
        match node:
            case bool():
                return Kind.BOOLEAN
            case int() | float():
                return Kind.NUMBER
            case str():
                return Kind.TEXT
            case {"property": _}:
                return self.queryable(node).kind
            case {"timestamp": _}:
                return Kind.INSTANT
            case {"date": _}:
                return Kind.DATE
            case {"op": "casei" | "accenti"}:
                return Kind.TEXT
            case {"op": str(op)} if op in _ARITHMETIC:
                return Kind.NUMBER
            case {"op": str(op)} if op not in KNOWN:
                raise BadRequest(f"filter: no function {op[:80]!r}")
            case {"coordinates": _} | {"geometries": _} | {"bbox": _}:
                return Kind.GEOMETRY
            case list():
                return Kind.ARRAY
        raise BadRequest(f"filter: {str(node)[:80]} is no value that can be compared")

    def queryable(self, node: Tree) -> Queryable:
        """What a property names. Raises BadRequest with all names there are."""
        name = node.get("property") if isinstance(node, Mapping) else None
        if not isinstance(name, str):
            raise BadRequest(f"filter: {str(node)[:80]} where a property must stand")
        found = self.names.get(name) or self.names.get(bare(name))
        if found is None:
            raise BadRequest(unknown("filter", name, self.names))
        return found

    def number(self, node: Tree) -> ColumnElement[float]:
        """A number, as the databases' double."""
        match node:
            case {"property": _}:
                found = self.queryable(node)
                self._expect(found, Kind.MIXED, *NUMBERS)
                return found.column if found.column is not None else self.database.number(items.c.facts, found.name)
            case {"op": str(op), "args": [one, other]} if op in _ARITHMETIC:
                if (constant := _constant(node)) is not None:
                    return literal(constant, Double)
                return self.database.arithmetic(op, self.number(one), self.number(other))
            case int() | float() if not isinstance(node, bool):
                return literal(_finite(node), Double)
        raise BadRequest(f"filter: {str(node)[:80]} where a number must stand")

    def text(self, node: Tree) -> ColumnElement[str]:
        """A text, compared by its letters' codes."""
        match node:
            case {"property": _}:
                found = self.queryable(node)
                self._expect(found, Kind.MIXED, Kind.TEXT, Kind.DATE)
                return found.column if found.column is not None else self.database.text(items.c.facts, found.name)
            case {"op": "casei" | "accenti" as op, "args": [inner]}:
                if isinstance(constant := folded(node), str):
                    return literal(constant, Text)
                return (self.database.casei if op == "casei" else self.database.accenti)(self.text(inner))
            case {"date": str()}:
                return literal(day(node).isoformat(), Text)
            case str():
                return literal(_letters(node), Text)
        raise BadRequest(f"filter: {str(node)[:80]} where a text must stand")

    def boolean(self, node: Tree) -> ColumnElement[bool]:
        """A property that is true or false, or one of the two."""
        if isinstance(node, bool):
            return literal(node)
        found = self.queryable(node)
        self._expect(found, Kind.MIXED, Kind.BOOLEAN)
        return found.column if found.column is not None else self.database.boolean(items.c.facts, found.name)

    def instant(self, node: Tree) -> ColumnElement[datetime]:
        """A point in time; of a date, its midnight."""
        match node:
            case {"property": _}:
                found = self.queryable(node)
                self._expect(found, Kind.INSTANT, Kind.DATE)
                if found.column is not None:
                    return found.column
                return self.database.instant(items.c.facts, found.name)
        return literal(moment(node), Instant)

    def _expect(self, found: Queryable, *kinds: Kind) -> None:
        if found.kind not in kinds:
            raise BadRequest(f"filter: {found.name} is {found.kind.value}, and is compared with another kind")


KNOWN = frozenset(
    {
        *("and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "like", "between", "in", "isNull", "casei", "accenti"),
        *("a_contains", "a_containedBy", "a_equals", "a_overlaps", *_ARITHMETIC),
    }
)
"""Operations that are not of places or times, whose names begin with s_ and t_."""


def unknown(where: str, name: str, names: Mapping[str, Queryable]) -> str:
    """What is said of a name that nothing has."""
    return f"{where}: {name[:80]!r} is no queryable; there are {', '.join(sorted(names))}"


def moment(node: Tree) -> datetime:
    """A literal point in time; of a date, its midnight."""
    match node:
        case {"timestamp": str(text)}:
            return _instant(text)
        case {"date": str()}:
            return datetime.combine(day(node), time(), UTC)
        case str() if _DAY.fullmatch(node):
            return moment({"date": node})
        case str():
            return _instant(node)
    raise BadRequest(f"filter: {str(node)[:80]} where a time must stand")


def day(node: Tree) -> date:
    """A literal date."""
    text = node["date"] if isinstance(node, Mapping) else node
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"filter: {str(text)[:40]!r} is no date, such as 2024-06-01") from None


def folded(node: Tree) -> Tree:
    """CASEI and ACCENTI of a literal, done; anything else as it is.

    >>> folded({"op": "accenti", "args": [{"op": "casei", "args": ["ÅRE"]}]})
    'are'
    """
    match node:
        case {"op": "casei", "args": [inner]} if isinstance(text := folded(inner), str):
            return folding.casei(_letters(text))
        case {"op": "accenti", "args": [inner]} if isinstance(text := folded(inner), str):
            return folding.accenti(_letters(text))
    return node


def _instant(text: str) -> datetime:
    try:
        return instant(text)
    except BadRequest as error:
        raise BadRequest(f"filter: {str(error).removeprefix('datetime: ')}") from None


def _constant(node: Tree) -> float | None:
    """Arithmetic of numbers alone, done; None where there is a property in it, or where it has no result."""
    match node:
        case {"op": str(op), "args": [one, other]} if op in _ARITHMETIC:
            left, right = _constant(one), _constant(other)
            if left is None or right is None:
                return None
            try:
                found = _ARITHMETIC[op](left, right)
            except ZeroDivisionError:
                return None
            except (OverflowError, ValueError):
                raise BadRequest("filter: a number too large") from None
            return _finite(found) if isinstance(found, float) else None
        case int() | float() if not isinstance(node, bool):
            return _finite(node)
    return None


def _finite(number: float) -> float:
    """A double; BadRequest for what is beyond them, as JSON may write integers."""
    try:
        if math.isfinite(number):
            return float(number)
    except OverflowError:
        pass
    raise BadRequest("filter: a number too large")


def _letters(text: str) -> str:
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise BadRequest("filter: a zero or half of a surrogate pair in it, which is no character")
    # Facts write points in time in one way; what is no time though it looks like one is in none.
    return canonical(text) or text
