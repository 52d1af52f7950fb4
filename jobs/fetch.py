"""Products in buckets: which there are, and one of them brought here to be converted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from converters.safe import MAX_ENTRIES, MAX_UNPACKED
from kartotek.errors import BrokenProduct, MissingProduct, NotStored, UnsupportedProduct
from kartotek.storage import PIECE, Storage, open_storage

SCHEME = "s3://"
_SAFE = re.compile(r"(.*?\.SAFE)/.*", re.IGNORECASE)


def listed(place: str) -> Iterator[str]:
    """The products at s3://BUCKET/PREFIX, or below it: zips, and what lies below a name that ends with .SAFE.

    Raises StorageError.
    """
    storage, bucket, prefix = opened(place)
    last = ""
    for key in storage.keys(prefix):
        if prefix and key != prefix and not key.startswith(f"{prefix}/"):
            continue  # of another folder, whose name begins as this one's
        safe = _SAFE.fullmatch(key)
        product = safe[1] if safe else key
        if product != last and (safe or key.lower().endswith(".zip")):
            last = product
            yield f"{bucket}/{product}"


def fetch(place: str, folder: Path) -> Path:
    """Bring the product at s3://BUCKET/KEY into a folder; its path there.

    Raises MissingProduct where nothing lies under the key, UnsupportedProduct for more than any product has, and
    StorageError.
    """
    storage, _, key = opened(place)
    name = key.rpartition("/")[2]
    found = keys(storage, key)
    if not found:
        raise gone(place)
    total = sum(storage.size(one) for one in found)
    if len(found) > MAX_ENTRIES or total > MAX_UNPACKED:
        raise UnsupportedProduct(f"{place}: {len(found)} files of {total >> 30} GiB; no product has as much")
    for one in found:
        target = folder / f"{name}{one.removeprefix(key)}"
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(storage, one, target)
    return folder / name


def keys(storage: Storage, key: str) -> list[str]:
    """The objects of a product: a zip's own, or those of a folder; none where nothing lies there."""
    return [key] if _is_file(storage, key) else list(storage.keys(f"{key}/"))


def is_there(place: str) -> bool:
    """Whether anything lies where a product was found."""
    if not place.startswith(SCHEME):
        return os.path.lexists(place)
    storage, _, key = opened(place)
    return _is_file(storage, key) or any(True for _ in storage.keys(f"{key}/"))


def gone(place: str) -> MissingProduct:
    """What to say of a product that was found, and is not there."""
    return MissingProduct(f"{place}: not there any more; was it moved or removed after it was found?")


def _copy(storage: Storage, key: str, target: Path) -> None:
    """One object into a file, in pieces; one that changes meanwhile is no whole product."""
    position, size = 0, storage.size(key)
    with target.open("wb") as file:
        while position < size and (piece := storage.read(key, position, PIECE)):
            position += file.write(piece)
    if position != size:
        raise BrokenProduct(f"{key}: ended after {position} of {size} bytes; was it replaced meanwhile?")


def _is_file(storage: Storage, key: str) -> bool:
    try:
        storage.size(key)
    except NotStored:
        return False
    return True


def opened(place: str) -> tuple[Storage, str, str]:
    """(the bucket, its address, what follows)."""
    bucket, _, rest = place.removeprefix(SCHEME).partition("/")
    return open_storage(f"{SCHEME}{bucket}"), f"{SCHEME}{bucket}", rest.rstrip("/")
