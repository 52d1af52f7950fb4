"""Publishing: the one way in which an item becomes visible.

Files first, each stored under a key that carries its SHA-256, read back and compared; then the item's JSON beside them;
then one transaction. Whoever is interrupted leaves files that nobody sees, never an item whose files are not there.
Meanwhile the item's files are in the hands of whoever publishes: no sweep removes what is not named yet.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import pystac

from catalog import documents
from catalog.access import OPERATOR
from catalog.ledger import Lease, Original, Work
from catalog.store import Catalog
from converters import cog, items
from converters.convert import Converted, files
from jobs import layout, original, record
from jobs.coverage import ground
from jobs.hold import Held, held
from jobs.layout import Place, of_json
from jobs.original import Fate
from jobs.sources import pass_and_zone
from kartotek.errors import BadFile, CatalogError, LostLease, StorageError
from kartotek.product import ID, PRODUCT
from kartotek.stopwatch import Stopwatch
from kartotek.storage import MARKER, Storage
from pixels import directory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became visible."""

    collection: str
    item: str
    replaced: bool
    """Whether an earlier version of the item was there."""
    bytes: int
    """Written."""
    notes: tuple[str, ...]
    """What the user ought to know, such as bands left out."""
    bytes_read: int = 0
    """Of the product; 0 where nobody has read it all."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Stage → seconds."""


def publish(
    converted: Converted,
    storage: Storage,
    catalog: Catalog,
    *,
    lease: Lease | None = None,
    recipe: str = "",
    fate: Fate = Fate.KEEP,
) -> Published:
    """Store what conversion made, check it, and make the item visible.

    Of a product that is leased from the ledger it is noted there, in the transaction that makes the item visible, that
    it is done, by which recipe, what it took, and whether the product is to be deleted. Raises BadFile (a file fails
    its check), StorageError or Corrupted (what was read back differs), LostLease, Busy (somebody else has the item's
    files in hand); nothing is visible then.
    """
    item, collection = converted.item.clone(), converted.collection.id  # a second try finds the files' names again
    if not ID.fullmatch(item.id):
        raise BadFile(f"{item.id!r}: not usable as an id: letters, digits, '.', '-' and '_' only, 200 at most")
    kind = documents.stored(items.document(items.collection(converted.collection)))
    watch, hands = Stopwatch(), ExitStack()
    with hands:
        with watch.stage("publish"):
            hold = hands.enter_context(held(catalog.holds, (collection, item.id)))
            earlier = catalog.find(OPERATOR, collection, item.id)
        total = _store_files(converted, item, storage, watch)
        with watch.stage("publish"):
            if linked := original.linked(converted, catalog, earlier, lease, fate):
                item.add_asset(PRODUCT, linked)
        with watch.stage("store"):
            content = documents.stored(items.document(item))
            beside = of_json(collection, item.id, content)
            if earlier is not None and earlier != content:
                # One that died before it came so far may have left it. `rebuild` takes the newest for the right one.
                hold.check()
                storage.delete(beside.key)
            path = converted.folder / "item.json"
            path.write_bytes(content)
            layout.store(storage, beside, path)
            record.keep(storage, catalog, collection, kind)
        work = _work(converted, lease, watch.seconds, total, recipe, fate)
        with watch.stage("publish"):
            replaced = catalog.publish(
                content,
                collection=kind,
                counted=converted.squares,
                blocks=_blocks(converted, item),
                done=None if lease is None else (lease, work),
                hold=hold.hold,
            )
        if earlier is not None and earlier != content:
            _forget(storage, of_json(collection, item.id, earlier), hold)
        with watch.stage("publish"):
            hands.close()
    if lease is not None:
        with suppress(CatalogError):  # it is published, whether the database can still note this or not
            catalog.ledger.add_timing(lease, "publish", watch.seconds["publish"])
    return Published(
        collection=collection, item=item.id, replaced=replaced, bytes=total, notes=converted.notes,
        bytes_read=work.bytes_read, timings={**work.timings, "publish": watch.seconds["publish"]},
    )  # fmt: skip


def _store_files(converted: Converted, item: pystac.Item, storage: Storage, watch: Stopwatch) -> int:
    """Check, store and read back an item's files, and have its assets point to them; bytes in all."""
    total = 0
    for name, path in files(converted).items():
        if path.suffix == ".tif":
            with watch.stage("check"):
                cog.validate(path)
        place = Place(
            collection=converted.collection.id,
            item=item.id,
            name=name,
            checksum=str(item.assets[name].extra_fields["file:checksum"]).removeprefix("1220"),
            suffix=path.suffix.removeprefix("."),
        )
        with watch.stage("store"):
            layout.store(storage, place, path)
        item.assets[name].href = MARKER + place.key
        total += path.stat().st_size
    return total


def _blocks(converted: Converted, item: pystac.Item) -> dict[str, bytes]:
    """Key → where the blocks lie, of the item's COGs."""
    found = {}
    for name, path in files(converted).items():
        if path.suffix == ".tif":
            key = item.assets[name].href.removeprefix(MARKER)
            with path.open("rb") as file:
                found[key] = directory.pack(directory.read(key, partial(_part, file)))
    return found


def _part(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _forget(storage: Storage, place: Place, hold: Held) -> None:
    """Remove the JSON of an item as it was before; where that fails, a sweep does it."""
    try:
        hold.check()
        storage.delete(place.key)
    except (StorageError, LostLease) as error:
        log.warning("%s: left for `kartotek sweep`: %s", place.key, error)


def _work(
    converted: Converted, lease: Lease | None, timings: Mapping[str, float], written: int, recipe: str, fate: Fate
) -> Work:
    """What the ledger is told."""
    source, whole = converted.source, "kartotek:missing" not in converted.item.properties
    take, zone = pass_and_zone(converted.item.id)
    return Work(
        timings={**converted.timings, **timings, **({"claim": lease.seconds} if lease else {})},
        bytes_read=source.bytes if source else 0,
        bytes_written=written,
        recipe=recipe,
        checksum=source.checksum if source else "",
        take=take,
        zone=zone,
        ground=ground(converted.stated) if whole else None,
        original=Original.DELETING if fate is Fate.DELETE else None,
    )
