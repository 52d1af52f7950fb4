"""Many items at once: a batch a transaction, a few statements a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from catalog import dialects, documents, entries, slack, summaries, tally
from catalog.contents import Contents
from catalog.entries import Entry
from catalog.models import changes, collections, dictionaries, items, rings, slacks, squares
from catalog.models import summaries as summaries_table
from catalog.tally import Tally
from kartotek.errors import NotFound

BATCH = 1_000
"""Items of a transaction, where the caller has no reason for another number."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of items."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.added + self.replaced + self.unchanged

    def __add__(self, other: Loaded) -> Loaded:
        return Loaded(self.added + other.added, self.replaced + other.replaced, self.unchanged + other.unchanged)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Items on their way in, with all that can be done of it before anybody is kept waiting by a transaction."""

    entries: Mapping[tuple[str, str], Entry]
    """By collection and id; of several of one id the last."""
    packed: Mapping[tuple[str, str], bytes]
    dictionaries: Mapping[str, int]
    """Collection → the dictionary that its items are packed by."""
    tallies: Mapping[str, Tally]
    """Collection → what all of them are together."""


def prepare(connection: Connection, contents: Contents, given: Sequence[Entry]) -> Prepared:
    """Pack items and sum them up."""
    unique = {(one.collection, str(one.row["id"])): one for one in given}
    names = sorted({one.collection for one in given})
    numbers = {name: contents.dictionary(connection, name) for name in names}
    packed = {key: contents.packed(numbers[key[0]], one.content, one.head) for key, one in unique.items()}
    tallies = {name: tally.of_rows([one.row for one in unique.values() if one.collection == name]) for name in names}
    return Prepared(unique, packed, numbers, tallies)


def load(connection: Connection, contents: Contents, given: Prepared, *, keep: bool = False) -> tuple[Loaded, set[str]]:
    """Enter items, in the place of those that are there unless these are to be kept; and the collections whose changes
    are to be folded.
    """
    names = set(given.dictionaries)
    known = set(connection.scalars(select(collections.c.id).where(collections.c.id.in_(names))))
    if names - known:
        raise NotFound(f"no collection {min(names - known)!r}")
    unique = given.entries
    there = _there(connection, list(unique))
    before = {key: contents.whole(packed) for key, (_, packed) in there.items()}
    wanted = {key: one for key, one in unique.items() if key not in before or not (keep or before[key] == one.content)}
    if not wanted:
        return Loaded(unchanged=len(unique)), set()
    slack.note(connection, [one.row for one in wanted.values()])
    rows = _rows(connection, contents, given, wanted)
    written = dialects.of(connection).write_items(connection, items, rows, new=not there)
    numbered = [(pk, new, one) for (pk, new), one in zip(written, wanted.values(), strict=True)]
    entries.places(connection, [(pk, one) for pk, _, one in numbered])
    _forget_squares(connection, [(pk, one) for pk, new, one in numbered if not new], before)
    new = sum(is_new for _, is_new, _ in numbered)
    whole = new == len(unique)
    added = given.tallies if whole else entries.adds((one, is_new) for _, is_new, one in numbered)
    return Loaded(new, len(wanted) - new, len(unique) - len(wanted)), summaries.note(connection, added)


def _rows(
    connection: Connection, contents: Contents, given: Prepared, wanted: Mapping[tuple[str, str], Entry]
) -> list[dict[str, Any]]:
    """Items' rows; packed anew where their collection has another dictionary meanwhile, or gets its first one here."""
    numbers = {}
    for name, before in given.dictionaries.items():
        if not before:
            mine = [(one.content, one.head) for (collection, _), one in wanted.items() if collection == name]
            contents.train_of(connection, name, mine)
        numbers[name] = contents.dictionary(connection, name)
    return [
        {
            **one.row,
            "content": given.packed[key]
            if numbers[key[0]] == given.dictionaries[key[0]]
            else contents.packed(numbers[key[0]], one.content, one.head),
        }
        for key, one in wanted.items()
    ]


def _there(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, bytes]]:
    """Collection and id → number and JSON, of those that there are."""
    found: dict[tuple[str, str], tuple[int, bytes]] = {}
    for collection in sorted({collection for collection, _ in keys}):
        names = [name for of, name in keys if of == collection]
        mine = select(items.c.pk, items.c.id, items.c.content)
        rows = connection.execute(mine.where(items.c.collection == collection, items.c.id.in_(names)))
        found |= {(collection, name): (pk, content) for pk, name, content in rows}
    return found


def _forget_squares(
    connection: Connection, replaced: Sequence[tuple[int, Entry]], before: Mapping[tuple[str, str], bytes]
) -> None:
    """Remove what was counted of items whose pixels are others now: those that name other squares than before."""
    gone = []
    for pk, one in replaced:
        earlier = before.get((one.collection, str(one.row["id"])))
        if earlier is None or entries.squares_of(documents.parsed(earlier)) != one.squares:
            gone.append(pk)
    if gone:
        connection.execute(delete(squares).where(squares.c.item.in_(gone)))


def remove(connection: Connection, numbers: Sequence[int]) -> None:
    """Take items out, with all that is known of them."""
    dialects.of(connection).unindex_places(connection, numbers)
    connection.execute(delete(rings).where(rings.c.item.in_(numbers)))
    connection.execute(delete(items).where(items.c.pk.in_(numbers)))


def remove_collection(connection: Connection, name: str) -> None:
    """Take a collection out, with its items and all that is known of them."""
    numbers = list(connection.scalars(select(items.c.pk).where(items.c.collection == name)))
    for start in range(0, len(numbers), BATCH):
        remove(connection, numbers[start : start + BATCH])
    for table in (changes, summaries_table, dictionaries, slacks):
        connection.execute(delete(table).where(table.c.collection == name))
    connection.execute(delete(collections).where(collections.c.id == name))
