"""Products deleted once they are published: what their items promise is read back first, and they are looked at again.

That a product is to be deleted is noted in the transaction that publishes it. Who dies before it is done leaves that to
the next run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from catalog import documents
from catalog.access import OPERATOR
from catalog.ledger import Deletion, Original
from catalog.store import Catalog
from converters.fingerprint import fingerprint
from converters.safe import open_product
from converters.sensors import recognised
from jobs import fetch, remote
from jobs.verify import checked
from kartotek.errors import (
    BadFile,
    BrokenProduct,
    CatalogError,
    Corrupted,
    NotFound,
    NotStored,
    ProductError,
    StorageError,
    UnknownProduct,
    UnsupportedProduct,
)
from kartotek.product import Files
from kartotek.storage import Storage


def finish(catalog: Catalog, storage: Storage, place: str | None = None) -> list[str]:
    """Delete products that are published and to be deleted: all, or the one at a place.

    A line for each that is not: its item is not whole, the product has changed, or nobody may delete it, and it stays;
    or storage or database are away, and the next run tries again.
    """
    told = []
    for deletion in catalog.ledger.deletions(place):
        note = catalog.ledger.note_original
        try:
            _delete(deletion, catalog, storage, note)
        except (ProductError, BadFile, NotFound, NotStored, Corrupted) as error:
            note(deletion.pk, Original.KEPT)
            told.append(f"not deleted: {error}")
        except (StorageError, CatalogError) as error:
            told.append(f"{deletion.place}: not deleted yet: {error}; the next run tries again")
        except FileNotFoundError:  # another run deletes it too
            note(deletion.pk, Original.DELETED)
        except OSError as error:
            note(deletion.pk, Original.KEPT)
            told.append(f"{deletion.place}: can't be deleted: {error.strerror or error}; do it by hand")
    return told


def check_published(catalog: Catalog, storage: Storage, collection: str, item: str) -> None:
    """Raise NotFound where an item is not in the catalog, BadFile where it lacks bands, Corrupted where its files
    or its JSON do not read back as they should.
    """
    content = catalog.item(OPERATOR, collection, item)
    if documents.CONVERTED not in content or "kartotek:missing" in documents.parsed(content)["properties"]:
        raise BadFile(f"{collection}/{item}: has not all of its bands")
    for key, wrong in checked(storage, catalog, collection, item, content).damaged.items():
        raise Corrupted(f"{key}: {wrong}; convert the product again")


def _delete(deletion: Deletion, catalog: Catalog, storage: Storage, note: Callable[[int, Original], None]) -> None:
    """Check all, and delete."""
    is_here = not deletion.place.startswith(fetch.SCHEME)
    left = _tomb(Path(deletion.place)) if is_here else None
    if left is None or not left.exists():
        there = (_check_here if is_here else _check_in_bucket)(deletion)
        if there:
            check_published(catalog, storage, deletion.collection, deletion.item)
            note(deletion.pk, Original.REMOVING)
            (_remove_here if is_here else _remove_in_bucket)(deletion.place)
    elif left.exists():
        shutil.rmtree(left)
    note(deletion.pk, Original.DELETED)


def _check_here(deletion: Deletion) -> bool:
    """Whether a product is there; raises ProductError where it is none, or not the one that was converted."""
    path = Path(deletion.place)
    if not os.path.lexists(path):
        return False
    if path.is_symlink():
        raise UnsupportedProduct(f"{path}: a link; what it leads to may be somebody else's")
    if not path.is_dir() and path.suffix.lower() != ".zip":
        raise UnsupportedProduct(f"{path}: neither a zip nor a folder, but perhaps a file in one")
    _check_product(open_product(path), deletion.place)
    if fingerprint(path).checksum != deletion.checksum:
        raise BrokenProduct(f"{path}: is not what was converted; was it replaced meanwhile?")
    return True


def _check_in_bucket(deletion: Deletion) -> bool:
    """The same in a bucket, where size alone tells whether it is the one; some of it may be gone already."""
    storage, _, key = fetch.opened(deletion.place)
    keys = fetch.keys(storage, key)
    if keys and (keys == [key] or not deletion.begun):  # a zip is there as a whole, or not at all
        _check_product(remote.look(deletion.place)[0], deletion.place)
        if sum(storage.size(one) for one in keys) != deletion.bytes:
            raise BrokenProduct(f"{deletion.place}: is not what was converted; was it replaced meanwhile?")
    return bool(keys)


def _check_product(files: Files, place: str) -> None:
    """Raise ProductError where files are no product's, or not of one alone."""
    if not recognised(files):
        raise UnknownProduct(f"{place}: no sensor recognises it as a product")
    strange = next((name for name in files.names if name.lower().endswith(".zip") or ".safe/" in name.lower()), None)
    if strange is not None:
        raise UnsupportedProduct(f"{place}: holds {strange}, which is none of its own")


def _remove_here(place: str) -> None:
    """Remove a zip at once; a folder under another name, so that no half of it is ever taken for a product."""
    path = Path(place)
    if path.is_dir():
        left = _tomb(path)
        path.rename(left)
        shutil.rmtree(left)
    else:
        path.unlink()


def _remove_in_bucket(place: str) -> None:
    storage, _, key = fetch.opened(place)
    for one in fetch.keys(storage, key):
        with contextlib.suppress(NotStored):
            storage.delete(one)


def _tomb(path: Path) -> Path:
    """What a folder is called while it is removed; names with a dot are taken for no products."""
    return path.with_name(f".{path.name}.deleted")
