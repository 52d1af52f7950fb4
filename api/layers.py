"""Layers of map services: each render of a collection that has items, and each registered mosaic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from catalog.access import Reader
from catalog.store import Catalog
from catalog.tally import Tally
from pixels import style

MOSAIC = "mosaic"
"""What the name of a mosaic's layer begins with."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is told of a layer."""

    name: str
    title: str
    bounds: tuple[float, ...] | None
    """West, south, east, north in degrees."""
    start: str | None
    end: str | None
    """RFC 3339."""


def of_collections(catalog: Catalog, reader: Reader) -> list[Layer]:
    """Those of all collections that a reader may see."""
    tallies, found = catalog.summaries(reader), []
    for name, content in catalog.collections(reader).items():
        kind = orjson.loads(content)
        found += [_of_render(kind, render, tallies.get(name)) for render in kind.get("renders") or {}]
    return [layer for layer in found if layer is not None]


def of_collection(catalog: Catalog, reader: Reader, name: str, render: str | None) -> Layer | None:
    """That of a render of a collection, of the usual one unless it is named; None of a collection without items.

    Raises NotFound.
    """
    kind = orjson.loads(catalog.collection(reader, name))
    render = style.usual(kind) if render is None else render
    style.of_render(kind, render)
    return _of_render(kind, render, catalog.summaries(reader, [name]).get(name))


def _of_render(kind: Mapping[str, Any], render: str, tally: Tally | None) -> Layer | None:
    if tally is None or not tally.count:
        return None
    said, name = (kind["renders"][render] or {}), kind["id"]
    title = f"{kind.get('title') or name}: {said.get('title') or render}"
    return Layer(f"{name}:{render}", title, tally.bounds, tally.start, tally.end)


def of_mosaics(catalog: Catalog, reader: Reader, most: int) -> list[Layer]:
    """Those of registered mosaics that a reader may see; of no more than so many."""
    tallies = catalog.summaries(reader)
    # Those that the reader may not see take no place among them.
    found = (_of_mosaic(name, orjson.loads(content), tallies) for name, content in catalog.mosaics.each())
    return list(islice((layer for layer in found if layer is not None), most))


def _of_mosaic(name: str, said: Mapping[str, Any], tallies: Mapping[str, Tally]) -> Layer | None:
    # A mosaic of what the reader may not see is none.
    if not all(one in tallies for one in said["collections"]):
        return None
    of = tallies[said["collections"][0]]
    bounds = tuple(said["bbox"]) if len(said.get("bbox") or ()) == 4 else of.bounds
    title = f"Mosaic {name}: {said['order']} of {', '.join(said['collections'])}"
    return Layer(f"{MOSAIC}:{name}", title, bounds, of.start, of.end)
