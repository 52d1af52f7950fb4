"""The names that a search may use: of the typed columns, and of whatever else the items of collections hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from catalog.filters.grammar import Tree
from catalog.queryables import TYPED, Queryable, bare
from catalog.tally import Fact, Tally


def used(tree: Tree) -> set[str]:
    """The properties that a filter names."""
    if isinstance(tree, list):
        return set().union(*map(used, tree))
    if not isinstance(tree, Mapping):
        return set()
    if isinstance(name := tree.get("property"), str):
        return {name}
    return set().union(*map(used, tree.values())) if "coordinates" not in tree else set()


def typed(names: Iterable[str]) -> bool:
    """Whether all of some names are of typed columns, so that nothing needs to be looked up."""
    return all(name in TYPED or bare(name) in TYPED for name in names)


def queryables(tallies: Collection[Tally]) -> dict[str, Queryable]:
    """Name → what may be asked of it, in any of some collections."""
    facts: dict[str, Fact] = {}
    for one in tallies:
        for name, fact in one.facts.items():
            facts[name] = facts.get(name, Fact()) + fact
    found = dict(TYPED)
    for name, fact in facts.items():
        kind, column = fact.kind, None
        if name in TYPED:
            kind, column = TYPED[name].kind, TYPED[name].column
        values = None if fact.values is None else tuple(sorted(fact.values, key=_order))
        found[name] = Queryable(
            name=name, kind=kind, column=column, held=True, values=values, minimum=fact.least, maximum=fact.most
        )
    return found


def _order(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value
