"""A collection's record in the storage: its JSON and whether it is private, for a catalog that is built anew."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson

from catalog.access import OPERATOR
from catalog.store import Catalog
from jobs.hold import held
from kartotek.errors import NotStored
from kartotek.storage import Storage, digest

_KEY = re.compile(r"[^/]+/collection\.([0-9a-f]{64})\.json")


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a collection."""

    content: bytes
    """Its JSON."""
    private: bool


def keep(storage: Storage, catalog: Catalog, collection: str, content: bytes) -> None:
    """See to it that a collection's record has this JSON, before anything is published by which the catalog has it."""
    try:
        storage.size(_key(collection, _record(catalog, collection, content)))
    except NotStored:
        with held(catalog.holds, (collection, "")):
            _replace(storage, collection, _record(catalog, collection, content))


def set_private(storage: Storage, catalog: Catalog, collection: str, *, private: bool) -> None:
    """Hide a collection from outsiders, or show it; a crash in between leaves a record that hides it.

    Raises NotFound.
    """
    content = catalog.collection(OPERATOR, collection)
    with held(catalog.holds, (collection, "")):
        if private:
            _write(storage, collection, Record(content, private=True))
        catalog.put_collection(content, private=private)
        _replace(storage, collection, Record(content, private=private))


def read(storage: Storage, collection: str) -> Record | None:
    """A collection's record; of several, which a crash may leave, the newest, and private if any of them is."""
    keys = sorted(_keys(storage, collection), key=storage.modified)
    found = [orjson.loads(storage.read(key)) for key in keys if digest(storage, key)[0] in key]
    if not found:
        return None
    return Record(orjson.dumps(found[-1]["collection"]), private=any(one["private"] for one in found))


def _replace(storage: Storage, collection: str, record: Record) -> None:
    """Write a record, and remove the earlier ones."""
    _write(storage, collection, record)
    for key in _keys(storage, collection):
        if key != _key(collection, record):
            storage.delete(key)


def _record(catalog: Catalog, collection: str, content: bytes) -> Record:
    return Record(content, private=collection in catalog.private())


def _key(collection: str, record: Record) -> str:
    return f"{collection}/collection.{hashlib.sha256(_text(record)).hexdigest()}.json"


def _keys(storage: Storage, collection: str) -> list[str]:
    return [key for key in storage.keys(f"{collection}/collection.") if _KEY.fullmatch(key)]


def _text(record: Record) -> bytes:
    return orjson.dumps({"private": record.private, "collection": orjson.Fragment(record.content)})


def _write(storage: Storage, collection: str, record: Record) -> None:
    with tempfile.NamedTemporaryFile(prefix="kartotek-", suffix=".json") as file:
        file.write(_text(record))
        file.flush()
        storage.create(_key(collection, record), Path(file.name))
