"""What numbers and cut-outs are asked of: an item, or a mosaic; each as far as whoever asks may know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from shapely.geometry.base import BaseGeometry

from api import candidates, definitions
from api.candidates import Candidates
from api.display import Shown
from api.kept import Kept, size_of
from api.pictures import Pictures
from api.wanted import Wanted
from catalog.access import Reader
from catalog.store import Catalog, Described
from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import mosaic, numbers, render, stack
from pixels.blocks import Blocks
from pixels.composite import Composite
from pixels.coverage import Coverage
from pixels.field import Field, effort
from pixels.numbers import Numbers
from pixels.render import Picture, Raster


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers that are asked for."""

    field: Field
    version: str
    """Another one wherever the numbers may be others."""
    told: Callable[[], Mapping[str, str]]
    """Headers that tell of them, once they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture that is asked for."""

    coverage: Coverage
    draw: Callable[[Grid, Stopwatch], Raster | None]
    """Gives it on a grid; None where nothing is seen."""
    effort: float
    """How many times as long as to read the layers it takes to draw it."""
    version: str
    told: Callable[[], Mapping[str, str]]


class Subject(Protocol):
    """An item or a mosaic; its methods raise NotFound and BadRequest."""

    name: Mapping[str, Any]
    """As answers in JSON say it."""

    def measures(self, wanted: Wanted, area: BaseGeometry) -> Measures:
        """The numbers of an area in longitude and latitude."""

    def drawing(self, shown: Shown, area: BaseGeometry) -> Drawing:
        """Its picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """By what subjects are found, put together and read."""

    catalog: Catalog
    blocks: Blocks
    pictures: Pictures
    figures: Kept[Wanted, Numbers]

    @classmethod
    def of(cls, catalog: Catalog, blocks: Blocks, pictures: Pictures) -> Means:
        """Those of a server."""
        figures: Kept[Wanted, Numbers] = Kept(_numbers, lambda made: size_of(value.of for value in made.values))
        return cls(catalog=catalog, blocks=blocks, pictures=pictures, figures=figures)


def _numbers(described: Described, wanted: Wanted) -> Numbers:
    style, names = wanted.numbers(orjson.loads(described.collection))
    return numbers.of_item(orjson.loads(described.item), style, names)


class Item:
    """An item. Raises NotFound."""

    def __init__(self, means: Means, reader: Reader, collection: str, item: str) -> None:
        self._means = means
        self._described = means.catalog.described(reader, collection, item)
        self.name: Mapping[str, Any] = {"collection": collection, "item": item}

    def numbers(self, wanted: Wanted) -> Numbers:
        """Its numbers, wherever they are asked for."""
        return self._means.figures.of(self._described, wanted.wanted)

    def measures(self, wanted: Wanted, area: BaseGeometry) -> Measures:
        """The same."""
        found = self.numbers(wanted)
        return Measures(field=found, version=found.version, told=dict)

    def drawing(self, shown: Shown, area: BaseGeometry) -> Drawing:
        """The picture as its tiles have it."""
        found = self._means.pictures.of(self._described, shown.shown)

        def draw(window: Grid, watch: Stopwatch) -> Raster:
            return render.raster(self._means.blocks, found, window, watch)

        heavy = effort(found.style.values, found.coverage)
        return Drawing(coverage=found.coverage, draw=draw, effort=heavy, version=found.version, told=dict)


class Mosaic:
    """A registered mosaic, narrowed to a time. Raises NotFound and BadRequest."""

    def __init__(self, means: Means, reader: Reader, mosaic: str, datetime: str | None, most: int) -> None:
        """`most` is how many items are opened at most for some pixels."""
        self._means, self._reader = means, reader
        self._definition = definitions.read(means.catalog, reader, mosaic, datetime)
        self._most = self._definition.most(most)
        self.name: Mapping[str, Any] = {"mosaic": mosaic}

    def composite(self, wanted: Wanted, area: BaseGeometry) -> tuple[Composite, Candidates]:
        """The numbers of the items in an area, and the items."""
        found = candidates.within(self._means.catalog, self._reader, self._definition, area)
        asked = self._definition.shown(wanted).wanted
        asked.numbers(orjson.loads(self._definition.kind))  # what is wrong with it is told where there are no items too

        def of_item(described: Described) -> Numbers:
            return self._means.figures.of(described, asked)

        each = found.each(self._definition.kind, of_item)
        return Composite(each, most=self._most, median=self._definition.median), found

    def measures(self, wanted: Wanted, area: BaseGeometry) -> Measures:
        """The numbers of the items there."""
        made, found = self.composite(wanted, area)
        version = self._version(numbers.VERSION, found, wanted)
        return Measures(field=made, version=version, told=lambda: found.told(made.opened, made.unread))

    def drawing(self, shown: Shown, area: BaseGeometry) -> Drawing:
        """The picture as its tiles have it."""
        found = candidates.within(self._means.catalog, self._reader, self._definition, area)
        wanted = self._definition.shown(shown)
        wanted.style(orjson.loads(self._definition.kind))  # what is wrong with it is told where there are no items too

        def picture(described: Described) -> Picture:
            return self._means.pictures.of(described, wanted)

        each = stack.opened(found.each(self._definition.kind, picture))
        opened, unread = dict[int, None](), dict[int, None]()

        def draw(window: Grid, watch: Stopwatch) -> Raster | None:
            made = mosaic.composed(self._means.blocks, each, window, self._most, watch, median=self._definition.median)
            opened.update(dict.fromkeys(made.opened))
            unread.update(dict.fromkeys(made.unread))
            return made.raster

        coverage = stack.coverage(each, self._most)
        return Drawing(
            coverage=coverage,
            draw=draw,
            effort=effort(each[0].open().style.values, coverage, median=self._definition.median),
            version=self._version(render.VERSION, found, shown),
            told=lambda: found.told(opened, unread),
        )

    def _version(self, of_code: str, found: Candidates, wanted: Wanted) -> str:
        return found.version(of_code, self._definition, self._definition.shown(wanted), self._most)
