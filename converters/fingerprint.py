"""What a product consists of, as one number: whether two deliveries are the same, and whether one has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from converters.safe import MAX_UNPACKED, Folder, open_product
from kartotek import memory
from kartotek.errors import BrokenProduct, UnsupportedProduct


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A product's bytes, as they lie."""

    checksum: str
    """SHA-256 in hexadecimal: of a zip's bytes; of a folder's list of files, each with its own."""
    bytes: int


def fingerprint(path: Path) -> Fingerprint:
    """Read all bytes of the product at a path, which are then in the system's cache for whoever decodes them.

    A folder's list has a line a file, as sha256sum writes it, in the order of their names. Raises what `open_product`
    does, UnsupportedProduct for more bytes than any product has, and BrokenProduct for a file that can't be read.
    """
    files = open_product(path)
    paths = [files.path]
    if isinstance(files, Folder):
        paths = [Path(files.href(name)) for name in files.names]
    size = sum(path.stat().st_size for path in paths)
    if size > MAX_UNPACKED:
        raise UnsupportedProduct(f"{files.path.name}: {size >> 30} GiB; no product has over {MAX_UNPACKED >> 30}")
    sums = []
    for one in paths:
        try:
            with one.open("rb") as file:
                sums.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            if memory.ran_out(error):
                raise
            raise BrokenProduct(f"{one.name}: can't be read: {error.strerror or error}") from error
    if not isinstance(files, Folder):
        return Fingerprint(checksum=sums[0], bytes=size)
    listing = "".join(f"{found}  {name}\n" for found, name in zip(sums, files.names, strict=True))
    return Fingerprint(checksum=hashlib.sha256(listing.encode()).hexdigest(), bytes=size)
