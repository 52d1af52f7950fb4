"""Items' JSON as it lies in the database: packed by zstd, with what a collection's items have in common left out.

A dictionary is trained of a collection's own items once it has some, so that 13 kB become 1.4 and nothing of a private
collection is in another's. Each item is two frames, one after the other, with its assets and what follows them in the
second, so that who wants none of that unpacks the first alone; before them stands how long the first is. JSON that was
stored before lies there as it is.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence

import orjson
import zstandard
from sqlalchemy import Connection, bindparam, select, update
from zstandard import ZstdCompressionDict, ZstdCompressor, ZstdDecompressor

from catalog import dialects, documents
from catalog.addresses import AT_REST, Addresses
from catalog.models import dictionaries, items
from kartotek.errors import CatalogError

TRAINED_ON = 200
"""Items of a collection that its dictionary is trained of, when it has so many."""
DICTIONARY = 32 * 1024
"""Bytes; more make items no smaller."""
LEVEL = 3
_LENGTH = 4
"""Bytes that tell how long the first frame is. None starts with `{`: an item is smaller than two gigabytes."""
NUMBERS = range(1 << 15, 1 << 31)
"""Dictionaries' numbers: what zstd leaves to its users."""


class Contents:
    """Packs and unpacks. Safe to share between threads."""

    def __init__(self, load: Callable[[int], bytes | None]) -> None:
        self._load = load  # a dictionary by its number
        self._dictionaries: dict[int, ZstdCompressionDict] = {}
        self._mine = threading.local()  # zstandard's objects are one thread's at a time

    def dictionary(self, connection: Connection, collection: str) -> int:
        """The number of a collection's dictionary; 0 where it has none yet."""
        # Asked each time: an item that is packed by a dictionary that is gone is lost.
        mine = select(dictionaries.c.id).where(dictionaries.c.collection == collection)
        return connection.scalar(mine) or 0

    def packed(self, number: int, content: bytes, head: int) -> bytes:
        """An item's JSON packed by a dictionary; `head` is how much of it stands before the assets."""
        return _joined(self._compressor(number), (content[:head], content[head:]))

    def whole(self, stored: bytes, addresses: Addresses = AT_REST) -> bytes:
        """An item's JSON, with these addresses of files."""
        if stored.startswith(b"{"):
            return addresses.outward(stored)
        first, second = _apart(stored)
        return addresses.long(self._unpacked(first) + self._unpacked(second) if second else self._unpacked(first))

    def head(self, stored: bytes, addresses: Addresses = AT_REST) -> bytes:
        """The same without its assets and what follows them, or with them where they are not apart."""
        if stored.startswith(b"{"):
            return addresses.outward(stored)
        first, second = _apart(stored)
        head = self._unpacked(first)
        return addresses.long(head.removesuffix(b",") + b"}" if second else head)

    def train(self, connection: Connection, collection: str) -> None:
        """Make a collection's dictionary, if it has none and items enough, and pack by it those that there are."""
        if self.dictionary(connection, collection):
            return
        mine = select(items.c.pk, items.c.content).where(items.c.collection == collection).order_by(items.c.pk)
        some = connection.execute(mine.limit(TRAINED_ON)).all()
        if len(some) < TRAINED_ON or not self._train(
            connection, collection, [self._parts(row.content) for row in some]
        ):
            return
        compressor = self._compressor(self.dictionary(connection, collection))
        put = update(items).where(items.c.pk == bindparam("row"))
        packed = [{"row": row.pk, "content": _joined(compressor, self._parts(row.content))} for row in some]
        connection.execute(put, packed)

    def train_of(self, connection: Connection, collection: str, given: Sequence[tuple[bytes, int]]) -> None:
        """The same of items that are about to be entered, each with how much of it stands before the assets."""
        if len(given) >= TRAINED_ON and not self.dictionary(connection, collection):
            some = given[:: len(given) // TRAINED_ON][:TRAINED_ON]
            self._train(connection, collection, [(content[:head], content[head:]) for content, head in some])

    def _train(self, connection: Connection, collection: str, apart: Sequence[tuple[bytes, bytes]]) -> bool:
        """Make a collection's dictionary; whether it was made here."""
        samples: list[bytes | bytearray | memoryview] = [AT_REST.short(part) for both in apart for part in both if part]
        # At random, so that none is given twice, whatever was removed meanwhile: who has one of it keeps it.
        number = NUMBERS[secrets.randbelow(len(NUMBERS))]
        made = zstandard.train_dictionary(DICTIONARY, samples, dict_id=number)
        row = {"id": number, "collection": collection, "content": made.as_bytes()}
        # Of two that train at once, one does.
        adding = dialects.of(connection).insert(dictionaries).values(row).on_conflict_do_nothing()
        if connection.execute(adding.returning(dictionaries.c.id)).first() is None:
            return False
        self._dictionaries[number] = made  # other connections don't see it yet
        return True

    def _parts(self, stored: bytes) -> tuple[bytes, bytes]:
        whole = self.whole(stored)
        head = documents.head(orjson.loads(whole), whole)
        return whole[:head], whole[head:]

    def _unpacked(self, frame: bytes) -> bytes:
        return self._decompressor(zstandard.get_frame_parameters(frame).dict_id).decompress(frame)

    def _compressor(self, number: int) -> ZstdCompressor:
        found: dict[int, ZstdCompressor] = self._mine.__dict__.setdefault("compressors", {})
        if number not in found:
            found[number] = ZstdCompressor(level=LEVEL, dict_data=self._dictionary(number))
        return found[number]

    def _decompressor(self, number: int) -> ZstdDecompressor:
        found: dict[int, ZstdDecompressor] = self._mine.__dict__.setdefault("decompressors", {})
        if number not in found:
            found[number] = ZstdDecompressor(dict_data=self._dictionary(number))
        return found[number]

    def _dictionary(self, number: int) -> ZstdCompressionDict | None:
        """A dictionary by its number; None for 0, which is none."""
        if number == 0:
            return None
        if number not in self._dictionaries:
            if (content := self._load(number)) is None:
                raise CatalogError(f"the dictionary {number} is gone, by which items are packed")
            self._dictionaries[number] = ZstdCompressionDict(content)
        return self._dictionaries[number]


def _joined(compressor: ZstdCompressor, parts: tuple[bytes, bytes]) -> bytes:
    first, second = (compressor.compress(AT_REST.short(part)) if part else b"" for part in parts)
    return len(first).to_bytes(_LENGTH, "big") + first + second


def _apart(stored: bytes) -> tuple[bytes, bytes]:
    end = _LENGTH + int.from_bytes(stored[:_LENGTH], "big")
    return stored[_LENGTH:end], stored[end:]
