"""A catalog into another database, of either kind: collections, items, squares and the ledger; then both compared.

Nothing is noted of how far it came: what is the same on both sides is left as it is, so that a copy that is ended
anywhere goes on when it is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from catalog import entries
from catalog.access import OPERATOR
from catalog.copies import Held
from catalog.loading import Loaded
from catalog.store import Catalog
from kartotek.errors import BadRequest, NotFound

SQUARES_OF = 20
"""Items whose squares are held in memory at a time; a scene has five hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A batch of items that is in the target."""

    collection: str
    items: Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedProducts:
    """A batch of the ledger that is in the target."""

    products: int
    written: int
    """Those that were not there, or were others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A collection on one side, in what can be compared."""

    description: bytes
    """Its own JSON."""
    private: bool
    items: int
    squares: int
    contents: str
    """SHA-256 of its items' ids and JSON, in the order of the ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A collection on both sides."""

    collection: str
    source: Side
    target: Side

    @property
    def differs(self) -> list[str]:
        """In what the sides differ, by the names of their fields."""
        names = [field.name for field in fields(Side)]
        return [name for name in names if getattr(self.source, name) != getattr(self.target, name)]


def check(source: Catalog, target: Catalog) -> None:
    """Raise BadRequest where both are one database."""
    one, other = source.file, target.file
    if source.place == target.place or (one and other and other.exists() and one.samefile(other)):
        raise BadRequest(f"{target.place}: is SOURCE and TARGET; give another database to copy to")


def collections(source: Catalog, wanted: Sequence[str] | None) -> list[str]:
    """The ids of the collections that are to be copied: all, or those that are wanted. Raises NotFound."""
    there = list(source.collections(OPERATOR))
    for name in sorted(set(wanted or ()) - set(there)):
        raise NotFound(f"no collection {name!r} in {source.place}")
    return [name for name in there if wanted is None or name in wanted]


def copy(source: Catalog, target: Catalog, names: Sequence[str]) -> Iterator[Copied]:
    """Copy collections with their items and the squares of these, and yield each batch that is in."""
    for name in names:
        # Before its items. What is hidden on either side stays hidden: there may be items that are the target's alone.
        private = name in source.private() | target.private()
        target.put_collection(source.collection(OPERATOR, name), private=private)
        for page in source.copies.pages(name):
            yield Copied(collection=name, items=_items(source, target, name, page))


def copy_products(source: Catalog, target: Catalog, names: Sequence[str] | None) -> Iterator[CopiedProducts]:
    """Copy the ledger, or the products of some collections, and yield each batch that is in."""
    for rows in source.copies.products(names):
        yield CopiedProducts(products=len(rows), written=target.copies.put_products(rows))


def compared(
    source: Catalog, target: Catalog, names: Sequence[str], *, seen: Callable[[int], object] = lambda count: None
) -> Iterator[Compared]:
    """Each collection on both sides, read anew. `seen` is called with the number of items of each page."""
    for name in names:
        sides = [_side(catalog, name, seen) for catalog in (source, target)]
        yield Compared(collection=name, source=sides[0], target=sides[1])


def _items(source: Catalog, target: Catalog, name: str, page: Sequence[Held]) -> Loaded:
    """Enter a page's items where they differ, with their squares."""
    ids = [one.id for one in page]
    there = target.copies.held(name, ids)
    others = {one.id for one in page if one.id not in there or there[one.id].content != one.content}
    loaded = Loaded(unchanged=len(page) - len(others))
    if others:
        loaded += target.load([entries.entry(one.content) for one in page if one.id in others])
        there = target.copies.held(name, ids)
    counted = [
        one
        for one in page
        if one.id in there and (one.squares != there[one.id].squares or (one.id in others and one.squares))
    ]
    for start in range(0, len(counted), SQUARES_OF):
        some = counted[start : start + SQUARES_OF]
        rows = source.copies.squares([one.number for one in some])
        target.copies.put_squares({there[one.id].number: rows[one.number] for one in some})
    return loaded


def _side(catalog: Catalog, name: str, seen: Callable[[int], object]) -> Side:
    contents, count, squares = hashlib.sha256(), 0, 0
    for page in catalog.copies.pages(name):
        for one in page:
            for part in (one.id.encode(), one.content):
                contents.update(b"%d:%b" % (len(part), part))
            squares += one.squares
        count += len(page)
        seen(len(page))
    return Side(
        description=catalog.collection(OPERATOR, name), private=name in catalog.private(), items=count,
        squares=squares, contents=contents.hexdigest(),
    )  # fmt: skip
