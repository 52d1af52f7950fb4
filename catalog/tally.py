"""What a collection's items are, summed up: how many, where, when, and what their facts hold.

Tallies add up, so that a writer notes its own without a look at what others have, and without a lock on anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely

from catalog import facts
from catalog.facts import time_text
from catalog.queryables import TYPED, Kind, joined

MAX_VALUES = 50
"""Different values of one fact that are told one by one."""
MAX_LETTERS = 80
"""Of a value that is told."""
MAX_FACTS = 500
"""Different facts of one collection; the others can't be searched by."""

Bounds = tuple[float, float, float, float]

_COLUMNS = tuple(
    (name, str(one.column.key))
    for name, one in TYPED.items()
    if one.column is not None and name not in ("id", "collection", "geometry", "datetime")
)
"""The properties that have a column: name and column."""
_RANGED = frozenset({Kind.INSTANT, Kind.DATE, Kind.INTEGER, Kind.NUMBER})


@dataclass(frozen=True, slots=True)
class Fact:
    """What the values of one property are."""

    kinds: frozenset[Kind] = frozenset()
    values: frozenset[str | float | bool] | None = frozenset()
    """All of them, or of its members where it is an array; None where they are too many."""
    least: str | float | None = None
    most: str | float | None = None

    @property
    def kind(self) -> Kind:
        """Of all of them together."""
        return joined(self.kinds)

    def __add__(self, other: Fact) -> Fact:
        values = None if self.values is None or other.values is None else self.values | other.values
        ends = [one for one in (self.least, other.least, self.most, other.most) if one is not None]
        # Of one kind only, since texts and numbers have no order in common.
        alike = len({isinstance(one, str) for one in ends}) == 1
        return Fact(
            self.kinds | other.kinds,
            values if values is not None and len(values) <= MAX_VALUES else None,
            min(ends) if alike else None,
            max(ends) if alike else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Items summed up."""

    count: int = 0
    bounds: Bounds | None = None
    """West, south, east, north in degrees."""
    start: str | None = None
    end: str | None = None
    """The first and the last instant, as facts are written."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    removed: bool = False
    """Whether items went: then where, when and what may be less than is said here."""

    def __add__(self, other: Tally) -> Tally:
        both = dict(self.facts)
        for name, fact in other.facts.items():
            if name in both or len(both) < MAX_FACTS:
                both[name] = both.get(name, Fact()) + fact
        return Tally(
            count=self.count + other.count,
            bounds=_around(self.bounds, other.bounds),
            start=min((one for one in (self.start, other.start) if one), default=None),
            end=max((one for one in (self.end, other.end) if one), default=None),
            facts=both,
            removed=self.removed or other.removed,
        )


EMPTY = Tally()


def of_rows(rows: Sequence[Mapping[str, Any]]) -> Tally:
    """Items, one or more, by their rows in the table."""
    if not rows:
        return EMPTY
    held = defaultdict[str, list[Any]](list)
    for row in rows:
        for name, value in row["facts"].items():
            held[name].append(value)
    for name, column in _COLUMNS:
        held[name] = [row[column] for row in rows if row[column] is not None]
    found = {name: _fact(values) for name, values in held.items()}
    bounds = shapely.bounds([row["footprint"] for row in rows])
    return Tally(
        count=len(rows),
        bounds=(*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()),
        start=time_text(min(row["start"] for row in rows)),
        end=time_text(max(row["end"] for row in rows)),
        facts={name: fact for name, fact in found.items() if fact.kinds},
    )


def together(tallies: Iterable[Tally]) -> Tally:
    """All of them."""
    return sum(tallies, EMPTY)


def written(tally: Tally) -> dict[str, Any]:
    """As JSON that is stored."""
    return {
        "count": tally.count,
        "bounds": tally.bounds,
        "start": tally.start,
        "end": tally.end,
        "removed": tally.removed,
        "facts": {
            name: [
                sorted(fact.kinds),
                None if fact.values is None else sorted(fact.values, key=str),
                fact.least,
                fact.most,
            ]
            for name, fact in sorted(tally.facts.items())
        },
    }


def read(stored: Mapping[str, Any]) -> Tally:
    """From what is stored."""
    return Tally(
        count=stored["count"],
        bounds=None if stored["bounds"] is None else tuple(stored["bounds"]),
        start=stored["start"],
        end=stored["end"],
        removed=stored["removed"],
        facts={
            name: Fact(frozenset(map(Kind, kinds)), None if values is None else frozenset(values), least, most)
            for name, (kinds, values, least, most) in stored["facts"].items()
        },
    )


def _fact(values: Sequence[Any]) -> Fact:
    """What some values of one property are."""
    if set(map(type, values)) == {float}:  # as most are, and none of them needs a look by itself
        return Fact(frozenset({Kind.NUMBER}), None, min(values), max(values))
    members: set[str | float | bool] | None = set()
    kinds: set[Kind] = set()
    ends: list[Any] = []
    # Each value once, an array as a tuple; true and 1 are not the same.
    for _, value in {(type(one), tuple(one) if isinstance(one, list) else one) for one in values}:
        kind = facts.kind(value)
        if kind is None:
            continue
        kinds.add(kind)
        if kind in _RANGED:
            ends.append(value)
        if members is not None:
            few = kind not in (Kind.INSTANT, Kind.NUMBER)
            members |= set(value) if isinstance(value, tuple) else {value}
            if not few or len(members) > MAX_VALUES:
                members = None
    if members is not None and any(isinstance(one, str) and len(one) > MAX_LETTERS for one in members):
        members = None
    # Texts and numbers have no order in common.
    alike = len({isinstance(one, str) for one in ends}) == 1
    return Fact(
        frozenset(kinds),
        None if members is None else frozenset(members),
        min(ends) if alike else None,
        max(ends) if alike else None,
    )


def _around(one: Bounds | None, other: Bounds | None) -> Bounds | None:
    if one is None or other is None:
        return one or other
    return (min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]))
