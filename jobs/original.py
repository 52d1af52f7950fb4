"""The product itself once it has an item: where clients find it, and what becomes of it."""

from __future__ import annotations

import zipfile
from enum import StrEnum

import orjson
import pystac

from catalog.ledger import Lease
from catalog.store import Catalog
from converters import items
from converters.convert import Converted
from jobs.fetch import SCHEME
from kartotek.product import PRODUCT
from kartotek.storage import PRODUCTS


class Fate(StrEnum):
    """What becomes of a product once it is published."""

    KEEP = "keep"
    """It stays; its item says where it lies if it did so before."""
    LINK = "link"
    """It stays, and its item says where it lies."""
    DELETE = "delete"
    """It is deleted, once what is published has been read back."""


def asset(
    place: str, href: str | None, collection: str, item: str, *, zipped: bool, size: int | None = None,
    checksum: str | None = None,
) -> pystac.Asset:  # fmt: skip
    """The asset of a product as it lies: at `href` where that is said, at its own address in a bucket.

    One on this machine is given out by the server, a folder as a zip that is made on the way: it looks up in the ledger
    where it lies, so that no path of ours is told. Size and checksum are those of a zip.
    """
    if href is None and place.startswith(SCHEME):
        href = place if zipped else f"{place}/"
    if href is None:
        href = f"{PRODUCTS}{collection}/{item}.zip"
    return items.original(href, size=size if zipped else None, checksum=checksum if zipped else None)


def linked(
    converted: Converted, catalog: Catalog, earlier: bytes | None, lease: Lease | None, fate: Fate
) -> pystac.Asset | None:
    """The product's asset in the item that is converted now.

    One that the item had before, whose JSON is `earlier`, stays, unless what it leads to is deleted.
    """
    collection, item, source = converted.collection.id, converted.item.id, converted.source
    own, there = None, _there(earlier)
    if lease is not None and source is not None:
        zipped = lease.place.lower().endswith(".zip") or zipfile.is_zipfile(lease.place)
        own = asset(
            lease.place, lease.href, collection, item, zipped=zipped, size=source.bytes, checksum=source.checksum
        )
    if fate is Fate.LINK and own is not None:
        return own
    if lease is None or own is None or there is None or own.href != there.href or _elsewhere(catalog, lease, own):
        return there
    return None if fate is Fate.DELETE else own


def _elsewhere(catalog: Catalog, lease: Lease, own: pystac.Asset) -> bool:
    """Whether the server, which gives products out by their items' names, has this one at another place too."""
    if not own.href.startswith(PRODUCTS):
        return False
    collection, _, item = own.href.removeprefix(PRODUCTS).removesuffix(".zip").partition("/")
    return any(place != lease.place for place in catalog.ledger.places(collection, item))


def _there(earlier: bytes | None) -> pystac.Asset | None:
    """The product's asset in an item; None where it has none, or there is no item."""
    found = None if earlier is None else orjson.loads(earlier)["assets"].get(PRODUCT)
    return None if found is None else pystac.Asset.from_dict(found)
