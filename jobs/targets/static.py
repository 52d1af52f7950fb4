"""A static catalogue: files in folders that name each other by relative links, for any server of files.

`catalog.json`, `{collection}/collection.json` and `{collection}/{item}/{item}.json`, as the best practices of STAC have
it; no links `self`, so that the folder may lie anywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from catalog import documents
from jobs.targets import ItemsOf, whole

ROOT, COLLECTION = "catalog.json", "collection.json"
JSON, GEOJSON = "application/json", "application/geo+json"
_PLAIN = re.compile(r"[A-Za-z0-9_+=@,-][A-Za-z0-9_+=@,.-]{0,199}", re.ASCII)


class Static:
    """A folder."""

    def __init__(self, folder: Path, title: str) -> None:
        self._folder, self._title = folder, title

    def write(self, collections: Mapping[str, bytes], items: ItemsOf) -> int:
        """Write a file an item, and its collection's line by line beside them; the root last."""
        with whole.folder(self._folder, last=ROOT) as folder:
            size = 0
            for name, content in collections.items():
                size += _collection(folder / file_name(name), content, items(name))
            return size + (folder / ROOT).write_bytes(self._root(collections))

    def _root(self, collections: Mapping[str, bytes]) -> bytes:
        children = [_link("child", f"./{file_name(name)}/{COLLECTION}") for name in collections]
        document = {
            "type": "Catalog",
            "stac_version": "1.1.0",
            "id": "kartotek",
            "title": self._title,
            "description": f"Items of {len(collections)} collections, as they were when they were exported",
            "links": [_link("root", f"./{ROOT}"), *children],
        }
        return orjson.dumps(document)


def file_name(name: str) -> str:
    """What a file of an id is called: as the id, or, where a path or a URL takes that for something else, by its hash.

    >>> file_name("S2B_MSIL2A_20240601"), file_name("../etc")
    ('S2B_MSIL2A_20240601', '___etc-f7f9121fdb53d8de')
    """
    if _PLAIN.fullmatch(name) and name.lower() not in (ROOT, COLLECTION):
        return name
    letters = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]
    return f"{letters}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _collection(folder: Path, content: bytes, items: Iterator[tuple[str, bytes]]) -> int:
    """Write a collection and its items; how many bytes."""
    folder.mkdir()
    own = documents.written([_link("root", f"../{ROOT}"), _link("parent", f"../{ROOT}")])
    above = documents.written(
        [
            _link("root", f"../../{ROOT}"),
            _link("parent", f"../{COLLECTION}"),
            _link("collection", f"../{COLLECTION}"),
        ]
    )
    with (folder / COLLECTION).open("wb") as file:
        # Its links stay open for those of the items, of which there may be more than memory holds.
        size = file.write(documents.linked(content, own)[:-2])
        for name, item in items:
            below = file_name(name)
            (folder / below).mkdir()
            size += (folder / below / f"{below}.json").write_bytes(documents.linked(item, above))
            size += file.write(b"," + orjson.dumps(_link("item", f"./{below}/{below}.json", GEOJSON)))
        return size + file.write(b"]}")


def _link(rel: str, href: str, kind: str = JSON) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": kind}
