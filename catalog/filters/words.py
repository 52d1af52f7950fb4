"""Free text: words, of which an item has one at least in its title, its description or its keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.filters.grammar import Tree
from catalog.filters.query import literally
from catalog.queryables import Kind, Queryable
from kartotek.errors import BadRequest

MAX_WORDS = 20
_TEXTS = ("title", "description")


def tree(words: Sequence[Any], names: Mapping[str, Queryable]) -> Tree:
    """The filter that words mean: case does not count, and a word may be part of a longer one."""
    if len(words) > MAX_WORDS or not all(isinstance(word, str) for word in words):
        raise BadRequest(f"q: at most {MAX_WORDS} words, with commas between them")
    found: list[Tree] = []
    for word in filter(None, (word.strip() for word in words)):
        for name in _TEXTS:
            if name in names and names[name].kind in (Kind.TEXT, Kind.MIXED):
                folded = {"op": "casei", "args": [{"property": name}]}
                found.append({"op": "like", "args": [folded, {"op": "casei", "args": [f"%{literally(word)}%"]}]})
        if "keywords" in names and names["keywords"].kind in (Kind.ARRAY, Kind.MIXED):
            found.append({"op": "a_contains", "args": [{"property": "keywords"}, [word]]})
    if not found:
        return not any(word.strip() for word in words)
    return found[0] if len(found) == 1 else {"op": "or", "args": found}
