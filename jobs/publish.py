"""Publishing: the one way in which an item becomes visible.

Files first, each stored under a key that carries its SHA-256, read back and compared; then the item's JSON beside them;
then one transaction. Whoever is interrupted leaves files that nobody sees, never an item whose files are not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog import documents
from catalog.ledger import Lease, Original, Work
from catalog.store import Catalog
from converters import cog, items
from converters.convert import Converted, files
from jobs import original
from jobs.coverage import ground
from jobs.original import Fate
from jobs.sources import granule
from kartotek.errors import BadFile, Corrupted
from kartotek.product import ID, PRODUCT
from kartotek.stopwatch import Stopwatch
from kartotek.storage import MARKER, Storage, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became visible."""

    collection: str
    item: str
    replaced: bool
    """Whether an earlier version of the item was there."""
    bytes: int
    notes: tuple[str, ...]
    """What the user ought to know, such as bands left out."""


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
    its check), StorageError or Corrupted (what was read back differs), LostLease; nothing is visible then.
    """
    item, collection = converted.item.clone(), converted.collection.id  # a second try finds the files' names again
    if not ID.fullmatch(item.id):
        raise BadFile(f"{item.id!r}: not usable as an id: letters, digits, '.', '-' and '_' only, 200 at most")
    total, watch = 0, Stopwatch()
    with watch.stage("store"):
        for name, path in files(converted).items():
            if path.suffix == ".tif":
                cog.validate(path)
            checksum = str(item.assets[name].extra_fields["file:checksum"]).removeprefix("1220")
            key = f"{collection}/{item.id}/{name}.{checksum}{path.suffix}"
            store(storage, key, path, checksum)
            item.assets[name].href = MARKER + key
            total += path.stat().st_size
        if linked := original.linked(converted, catalog, lease, fate):
            item.add_asset(PRODUCT, linked)
        content = documents.stored(item.to_dict(include_self_link=False, transform_hrefs=False))
        checksum = hashlib.sha256(content).hexdigest()
        path = converted.folder / "item.json"
        path.write_bytes(content)
        store(storage, f"{collection}/{item.id}/item.{checksum}.json", path, checksum)
    kind = items.collection(converted.collection)
    with watch.stage("publish"):
        replaced = catalog.publish(
            content,
            collection=documents.stored(kind.to_dict(include_self_link=False, transform_hrefs=False)),
            counted=converted.squares,
            done=None if lease is None else (lease, _work(converted, watch.seconds, total, recipe, fate)),
        )
    if lease is not None:
        catalog.ledger.add_timing(lease, "publish", watch.seconds["publish"])
    return Published(collection=collection, item=item.id, replaced=replaced, bytes=total, notes=converted.notes)


def _work(converted: Converted, timings: Mapping[str, float], written: int, recipe: str, fate: Fate) -> Work:
    """What the ledger is told."""
    source, whole = converted.source, "kartotek:missing" not in converted.item.properties
    take, zone = granule(converted.item.id)
    return Work(
        timings={**converted.timings, **timings},
        bytes_read=source.bytes if source else 0,
        bytes_written=written,
        recipe=recipe,
        checksum=source.checksum if source else "",
        take=take,
        zone=zone,
        ground=ground(converted.stated) if whole else None,
        original=Original.DELETING if fate is Fate.DELETE else None,
    )


def store(storage: Storage, key: str, path: Path, checksum: str) -> None:
    """Store a file under a key, read it back, and raise Corrupted where it is not what was written."""
    storage.create(key, path)
    size = path.stat().st_size
    found, length = digest(storage, key)
    if (found, length) != (checksum, size):
        raise Corrupted(
            f"{key}: read back {length} bytes with SHA-256 {found[:12]}, written {size} with {checksum[:12]}; remove "
            "the object and convert the product again"
        )
