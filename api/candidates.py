"""The items that a tile of a mosaic may be made of, in its order, found anew for whoever asks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import orjson
import shapely
from shapely import Geometry

from api.definitions import Definition
from api.display import Shown
from catalog.access import Reader
from catalog.order import Place
from catalog.store import Catalog, Described
from kartotek import footprints, grids
from kartotek.grids import NATIONAL, Bounds, Grid
from pixels.coverage import reach
from pixels.stack import Candidate, Covering

ITEMS = "X-Kartotek-Items"
"""The header that tells how many items were opened, of how many that touch the place."""
UNREAD = "X-Kartotek-Unread"
"""The header that tells how many of those can't be read, where any can't."""
BESIDE = 0.01
"""Degrees around a polygon in which footprints are looked for, since they are simplified inwards: 400 m at 69 degrees.
"""
SIMPLE = 500
"""Positions of a polygon up to which items are looked for in it, and not in its convex hull."""
CROSSINGS = 100_000
"""Times that two outlines may cross; a hundred times as often takes minutes and gigabytes."""
LOOKED_AT = 1_000
"""Items that touch a tile which are looked at; a year of a place has some 300, a month of a county 200."""
WIDE = 100_000.0
"""Metres of a tile from which on the clearest are told by the cloud cover of whole items: it has few squares less than
they have, and those of many items take their time."""

Thing = TypeVar("Thing", bound=Covering)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be seen in a tile."""

    places: tuple[Place, ...]
    """In the mosaic's order."""
    contents: tuple[bytes, ...]
    """As they are kept."""
    unpack: Callable[[bytes], bytes]
    more: bool
    """Whether there are others still, that are not looked at."""

    @property
    def state(self) -> bytes:
        """Another where any of the items is, or their order."""
        found = hashlib.blake2b(digest_size=16)
        for content in self.contents:
            found.update(hashlib.blake2b(content, digest_size=16).digest())
        return found.digest()

    def version(self, of_code: str, definition: Definition, shown: Shown, most: int) -> str:
        """Names what is made of the items: another name where anything of it differs."""
        kind = hashlib.sha256(definition.kind).hexdigest()
        said = (of_code, self.state.hex(), kind, shown, definition.order, most, self.more)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:32]

    def told(self, opened: Collection[int], unread: Collection[int]) -> dict[str, str]:
        """The headers that tell how many items were opened, and how many of these can't be read."""
        found = {ITEMS: f"{len(opened)} of {'more than ' if self.more else ''}{len(self.places)}"}
        return found | ({UNREAD: str(len(unread))} if unread else {})

    def named(self, numbers: Iterable[int]) -> list[dict[str, str]]:
        """Some of the items, as answers in JSON tell them."""
        return [{"collection": self.places[at].collection, "id": self.places[at].id} for at in numbers]

    def each(self, kind: bytes, made: Callable[[Described], Thing]) -> Iterator[Candidate[Thing]]:
        """The items for whoever puts them together, of each of which `made` gives what is wanted."""
        for number, packed in enumerate(self.contents):
            content = self.unpack(packed)
            outline = footprints.from_geojson(orjson.loads(content)["geometry"])

            yield Candidate(number=number, footprint=outline, open=partial(made, Described(content, kind, bytes)))


NONE = Candidates((), (), bytes, more=False)


def find(catalog: Catalog, reader: Reader, definition: Definition, target: Grid) -> Candidates:
    """The items of a mosaic that touch a tile."""
    return _found(catalog, reader, definition, area(target), _in_national(target))


def within(catalog: Catalog, reader: Reader, definition: Definition, polygon: Geometry) -> Candidates:
    """The items of a mosaic that touch a polygon in longitude and latitude; its hull where it has many positions.

    What lies in a hull and not in the polygon is passed over later.
    """
    if shapely.get_num_coordinates(polygon) > SIMPLE:
        polygon = shapely.convex_hull(polygon)
    # As many positions as tell roughly where it lies, however far it goes.
    bounds = footprints.to_projected(polygon, NATIONAL, spacing=max(0.02, polygon.length / 10_000)).bounds
    ground = Bounds(*bounds) if all(math.isfinite(edge) for edge in bounds) else None
    return _found(catalog, reader, definition, shapely.buffer(polygon, BESIDE, quad_segs=2), ground)


def _found(
    catalog: Catalog, reader: Reader, definition: Definition, around: Geometry, ground: Bounds | None
) -> Candidates:
    """The items that touch what is around some place; `ground` are its bounds in EPSG:3006."""
    if definition.search is None:
        return NONE
    own = definition.search.area
    # Of what the mosaic covers, what is in the tile: so that an item has to touch it there.
    shape = around if own is None else _common(own, around)
    if shape.is_empty:
        return NONE
    page, unpack = catalog.packed(reader, replace(definition.search, area=shape, limit=LOOKED_AT))
    order = list(range(len(page.places)))
    if ground is not None and _wide(ground) <= WIDE and definition.order in ("clearest", "median") and len(order) > 1:
        clear = catalog.clear(reader, page.places, ground)
        # Items without counts keep their order, by cloud cover, after those of which clear ground is known.
        order.sort(key=lambda at: -clear.get((page.places[at].collection, page.places[at].id), -1))
    return Candidates(
        tuple(page.places[at] for at in order),
        tuple(page.items[at] for at in order),
        unpack,
        more=page.next is not None,
    )


def _common(own: Geometry, around: Geometry) -> Geometry:
    """What two places have in common, or somewhat more where that has too many corners."""
    if shapely.get_num_coordinates(own) * shapely.get_num_coordinates(around) > CROSSINGS:
        around = shapely.convex_hull(around)
    return shapely.intersection(own, around)


def area(target: Grid) -> Geometry:
    """A tile in longitude and latitude, and a little around it, since footprints are simplified inwards."""
    bounds, far = target.bounds, reach(target)
    wider = Bounds(bounds.left - far, bounds.bottom - far, bounds.right + far, bounds.top + far)
    found = grids.around(wider, target.crs, "EPSG:4326")
    if not _is_finite(found):
        return shapely.box(-180, -90, 180, 90)
    west, east, south, north = found.left, found.right, max(found.bottom, -90.0), min(found.top, 90.0)
    if west > east:  # it crosses 180 degrees
        return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    return shapely.box(max(west, -180.0), south, min(east, 180.0), north)


def _in_national(target: Grid) -> Bounds | None:
    """A tile's bounds in EPSG:3006; None where they have none there."""
    found = grids.around(target.bounds, target.crs, NATIONAL)
    return found if _is_finite(found) else None


def _is_finite(bounds: Bounds) -> bool:
    return all(map(math.isfinite, (bounds.left, bounds.bottom, bounds.right, bounds.top)))


def _wide(ground: Bounds) -> float:
    return max(ground.right - ground.left, ground.top - ground.bottom)
