"""Items that lie on each other: which of them may fill a hole, the first of them at each pixel, or the median of all.

They are given in the order that is wanted, and no more of them are opened than it takes to leave no hole. One whose
files can't be read is passed over, and told of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from kartotek import footprints
from kartotek.errors import BadFile, BadRequest, KartotekError, NotFound, NotStored
from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import filled, render, warp
from pixels.blocks import Blocks
from pixels.coverage import REACH, Coverage, reach
from pixels.warp import Pixels, Source

FINE = REACH / 2
"""Metres of pixels that are narrower than what a footprint may lack."""
_PIXELS = 1 << 14
"""Pixels whose median is computed at a time: few enough for those of all items to stay in the processor's cache."""

_HELD = 96 << 20
"""Bytes of the pixels of items that are read side by side."""
_BYTES = 12
"""That a pixel of a layer takes until it is put in: as it is stored, where it is data, and as a physical value."""
UNREADABLE = (NotStored, NotFound, BadFile)
"""What is raised of an item whose files are not there, damaged, or not as it says. That the storage can't be reached is
no such thing: others would stand where it is seen."""

log = logging.getLogger(__name__)


class Covering(Protocol):
    """What is wanted of an item."""

    @property
    def coverage(self) -> Coverage:
        """Where its layers lie."""


Thing = TypeVar("Thing", bound=Covering)
Origins = NDArray[np.int16]
Channels = tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[Thing]):
    """An item that may have something to show."""

    number: int
    """By which the pixels that come of it are known."""
    footprint: Geometry
    """Longitude and latitude."""
    open: Callable[[], Thing]
    """Gives what is wanted of it. Raises NotFound where it lacks a layer."""
    _outlines: dict[tuple[str, float], tuple[Geometry, tuple[float, ...]]] = field(default_factory=dict)

    def outline(self, crs: str, grown: float) -> tuple[Geometry, tuple[float, ...]]:
        """The footprint in a CRS, grown by units of it, and its left, bottom, right and top."""
        key = crs, grown
        if key not in self._outlines:
            found = shapely.from_wkb(_grown(self.footprint.wkb, crs, grown))
            shapely.prepare(found)
            self._outlines[key] = found, found.bounds
        return self._outlines[key]


@lru_cache(maxsize=4096)
def _grown(footprint: bytes, crs: str, grown: float) -> bytes:
    """A footprint in a CRS, grown by units of it, both as WKB: each thread prepares what is its own.

    The tiles of a level ask for the same ones.
    """
    projected = footprints.to_projected(shapely.from_wkb(footprint), crs)
    found: bytes = shapely.buffer(projected, grown, join_style="mitre").wkb
    return found


@dataclass(frozen=True, slots=True)
class Layers:
    """What is read of an item."""

    sources: Mapping[str, Source]
    shown: tuple[str, ...]
    """The layers among them that are looked at."""
    mask: str | None
    """The one by whose classes pixels are left out."""
    keep: frozenset[int]
    """Those that are not."""

    def read(
        self, blocks: Blocks, target: Grid, holes: NDArray[np.bool_], watch: Stopwatch
    ) -> dict[str, Pixels] | None:
        """The layers' pixels on a target; None, with nothing but the mask read, where that fills no hole."""
        found: dict[str, Pixels] = {}
        if self.mask is not None:
            [masked] = warp.read(blocks, [self.sources[self.mask]], target, watch)
            if not (render.kept(*masked, self.keep) & holes).any():
                return None
            found[self.mask] = masked
        others = [name for name in self.shown if name != self.mask]
        read = warp.read(blocks, [self.sources[name] for name in others], target, watch)
        return found | dict(zip(others, read, strict=True))

    def seen(self, blocks: Blocks, target: Grid, watch: Stopwatch) -> NDArray[np.bool_] | None:
        """Where the mask leaves something; None without one."""
        if self.mask is None:
            return None
        [masked] = warp.read(blocks, [self.sources[self.mask]], target, watch)
        return render.kept(*masked, self.keep)


@dataclass(frozen=True, slots=True)
class Stacked(Generic[Thing]):
    """Several items as one."""

    base: Thing | None
    """What lies at the bottom: of the first item in the order that has something there."""

    channels: Channels | None
    """(rows, columns) each, or with several values a pixel; None where there is nothing at all."""
    source: Origins
    """(rows, columns): the number of the item that each pixel comes from, -1 where there is nothing."""
    opened: tuple[int, ...]
    """Numbers of the items whose files were opened, in that order."""
    unread: tuple[int, ...]
    """Numbers of those among them whose files can't be read."""


@dataclass(frozen=True, slots=True)
class Medians(Generic[Thing]):
    """The medians of layers of several items."""

    base: Thing | None
    """What is wanted of the first of them; None of none."""
    read: Mapping[str, Pixels]
    """By the names of the layers: physical values."""
    sources: Mapping[str, Source]
    """What these are the pixels of."""
    counts: Origins
    """(rows, columns): of how many items each pixel is."""
    opened: tuple[int, ...]
    unread: tuple[int, ...]
    """As of `Stacked`."""


def opened(candidates: Iterable[Candidate[Thing]]) -> list[Candidate[Thing]]:
    """Those that have what is wanted, opened once for all windows. Raises NotFound where none has."""
    found: list[Candidate[Thing]] = []
    wrong: NotFound | None = None
    for candidate in candidates:
        try:
            found.append(replace(candidate, open=partial(_as_it_is, candidate.open())))
        except NotFound as error:
            wrong = wrong or error
    if not found:
        raise wrong or NotFound("no item of the mosaic lies there")
    return found


def coverage(candidates: Sequence[Candidate[Any]], most: int) -> Coverage:
    """Where the layers of all lie, of which `most` are read for one window."""
    things: list[Covering] = [candidate.open() for candidate in candidates]
    return Coverage(
        items=tuple(grids for thing in things for grids in thing.coverage.items),
        footprints=tuple(candidate.footprint for candidate in candidates),
        most=most,
    )


def _as_it_is(thing: Thing) -> Thing:
    return thing


def first(
    blocks: Blocks,
    candidates: Iterable[Candidate[Thing]],
    target: Grid,
    most: int,
    read: Callable[[Thing, NDArray[np.bool_]], tuple[Channels, NDArray[np.bool_]] | None],
    watch: Stopwatch,
) -> Stacked[Thing]:
    """The first item of each pixel: until there is no hole, or `most` items are opened.

    `read` gives an item's channels, to be changed, and where they are all there; None where it fills none of the holes
    it is given.
    Items whose footprints are away from all holes are passed over. Raises NotFound where none of the items has what is
    wanted, BadRequest where they have it in different ways, and what was wrong with the first where none can be read.
    """
    source = np.full(target.shape, -1, np.int16)
    channels: Channels | None = None
    base: Thing | None = None
    opened, unread = list[int](), dict[int, KartotekError]()

    def readable(
        pair: tuple[Candidate[Thing], Thing],
    ) -> tuple[Channels, NDArray[np.bool_]] | KartotekError | None:
        try:
            return read(pair[1], source < 0)
        except UNREADABLE as error:
            return error

    for group in _needed(candidates, target, source):
        for some in _parts(blocks, group[: most - len(opened)], target):
            for (candidate, thing), found in zip(some, blocks.side_by_side(readable, some), strict=True):
                opened.append(candidate.number)
                if found is None:
                    continue
                if isinstance(found, KartotekError):
                    unread[candidate.number] = found
                    continue
                with watch.stage("render"):
                    new, valid = found
                    if channels is None:  # there is nothing to be kept of before
                        channels, base = new, thing
                        source[valid] = candidate.number
                        continue
                    fills = valid & (source < 0)
                    for channel, other in zip(channels, new, strict=True):
                        if channel.shape != other.shape:
                            raise uneven(channel.shape[-1], other.shape[-1])
                        np.copyto(channel, other, where=fills if channel.ndim == 2 else fills[..., None])
                    source[fills] = candidate.number
        if len(opened) == most or (source >= 0).all():
            break
    _tell(unread, len(opened))
    return Stacked(base, channels, source, tuple(opened), tuple(unread))


def _parts(
    blocks: Blocks, group: Sequence[tuple[Candidate[Thing], Thing]], target: Grid
) -> Iterator[Sequence[tuple[Candidate[Thing], Thing]]]:
    """As many of a group at a time as may be held; one after the other where reads don't wait together."""
    start = 0
    while start < len(group):
        layers = max(len(thing.coverage.items[0]) for _, thing in group[start:])
        most = _HELD // (_BYTES * layers * target.rows * target.columns)
        count = max(1, most) if blocks.wait_together else 1
        yield group[start : start + count]
        start += count


def _tell(unread: Mapping[int, KartotekError], opened: int) -> None:
    """Log what can't be read. Raises what was wrong with the first where nothing can."""
    for error in unread.values():
        log.warning("an item is left out of a mosaic: %s", error)
    if unread and len(unread) == opened:
        raise next(iter(unread.values()))


def uneven(one: int, other: int) -> BadRequest:
    """What is told where items can't lie on each other."""
    return BadRequest(f"what is asked for is {one} values of some items and {other} of others; choose other layers")


def usable(candidates: Iterable[Candidate[Thing]], target: Grid) -> Iterator[tuple[Candidate[Thing], Thing]]:
    """Candidates that may have something on a target, and what is wanted of them. Raises as `first`."""
    for some in _needed(candidates, target, np.full(target.shape, -1, np.int16)):
        yield from some


def _needed(
    candidates: Iterable[Candidate[Thing]], target: Grid, source: Origins
) -> Iterator[list[tuple[Candidate[Thing], Thing]]]:
    """Candidates that may fill a hole, in groups: of each group all are needed, whatever the others of it fill.

    That is so of one that may fill a hole which those before it can't, since they end before it. Which others are
    needed shows when those before them are put in.
    """
    wrong: NotFound | None = None
    some, group = False, list[tuple[Candidate[Thing], Thing]]()
    holes = _Holes(target, source)
    for candidate in candidates:
        fills = holes.filled(candidate)
        if fills is None:
            continue
        if group and not (fills & holes.left).any():
            yield group
            group = []
            holes.look(source)
            if holes.filled(candidate) is None:
                continue
        try:
            thing = candidate.open()
        except NotFound as error:
            wrong = wrong or error
            continue
        some = True
        group.append((candidate, thing))
        holes.put(candidate)
    if group:
        yield group
    if wrong is not None and not some:
        raise wrong


class _Holes:
    """The pixels of a target where there is nothing yet."""

    def __init__(self, target: Grid, source: Origins) -> None:
        self._target = target
        self._most = reach(target)
        # Where pixels are wide, what footprints lack of the data is less than one; and all that is opened for the sake
        # of an edge would be opened for the same edge on every date.
        self._may = self._most if target.metres < FINE else -target.resolution
        self._box = footprints.box(target.bounds)
        self._last: tuple[tuple[int, float] | None, NDArray[np.bool_] | None] = None, None
        """What `_inside` gave last: the same candidate is asked about, and then put in."""
        self.look(source)

    def look(self, source: Origins) -> None:
        """Begin anew with the holes that there are now."""
        self._holes = source < 0
        self.left = self._holes.copy()
        """Those that what was put in since can't fill."""

    def filled(self, candidate: Candidate[Any]) -> NDArray[np.bool_] | None:
        """The holes that an item may fill; None for none."""
        found = self._inside(candidate, self._grown(candidate))
        if found is None:
            return None
        found = found & self._holes
        return found if found.any() else None

    def _grown(self, candidate: Candidate[Any]) -> float:
        """How far beyond an item's outline holes are that it may fill; it is inside of the outline where that is less
        than nothing, unless most of the item were an edge then."""
        if self._may < 0:
            inner, whole = (candidate.outline(self._target.crs, far)[0].area for far in (self._may, 0.0))
            if inner < whole / 2:
                return self._target.resolution
        return self._may

    def put(self, candidate: Candidate[Any]) -> None:
        """An item is put in."""
        if self.left.any() and (found := self._inside(candidate, self._most)) is not None:
            self.left &= ~found

    def _inside(self, candidate: Candidate[Any], grown: float) -> NDArray[np.bool_] | None:
        """Pixels whose centres lie in an item's grown outline, not to be changed; None for none."""
        key = candidate.number, grown
        if self._last[0] != key:
            self._last = key, self._rasterized(candidate, grown)
        return self._last[1]

    def _rasterized(self, candidate: Candidate[Any], grown: float) -> NDArray[np.bool_] | None:
        outline, (left, bottom, right, top) = candidate.outline(self._target.crs, grown)
        bounds = self._target.bounds
        if not (left < bounds.right and right > bounds.left and bottom < bounds.top and top > bounds.bottom):
            return None
        if outline.covers(self._box):
            return np.ones(self._target.shape, np.bool_)
        found = filled.inside(outline, self._target)
        return found if found.any() else None


def medians(
    blocks: Blocks,
    candidates: Iterable[Candidate[Thing]],
    target: Grid,
    most: int,
    layers: Callable[[Thing], Layers],
    watch: Stopwatch,
) -> Medians[Thing]:
    """The median of each layer's physical values over `most` items at most that have data there.

    Of an even number of values it is the mean of the middle two. Layer by layer, so that one layer of all items is in
    memory at a time. Raises as `first`, and BadRequest where layers are of classes, which have no median.
    """
    chosen = list(islice(usable(candidates, target), most))
    opened, unread = tuple(candidate.number for candidate, _ in chosen), dict[int, KartotekError]()
    if not chosen:
        return Medians(None, {}, {}, np.zeros(target.shape, np.int16), opened, ())
    items = {candidate.number: layers(thing) for candidate, thing in chosen}
    first = items[opened[0]]
    names = first.shown
    if any(first.sources[name].classes for name in names):
        raise BadRequest("order: classes have no median; newest, oldest or clearest would do")
    for item in items.values():
        if item.shown != names:
            raise uneven(len(names), len(item.shown))
    # The values are physical already.
    sources = {name: replace(first.sources[name], scale=1.0, offset=0.0, nodata=None) for name in names}
    while items:
        try:
            read, counts = _medians(blocks, items, names, target, watch)
            break
        except _Unread as error:
            # Of none of its layers there is to be anything, of which some are put in already.
            unread[error.number] = error.reason
            del items[error.number]
    _tell(unread, len(opened))
    return Medians(chosen[0][1], read, sources, counts, opened, tuple(unread))


class _Unread(Exception):
    """An item whose files can't be read."""

    def __init__(self, number: int, reason: KartotekError) -> None:
        super().__init__(str(reason))
        self.number, self.reason = number, reason


@contextmanager
def _reading(number: int) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise _Unread(number, error) from error


def _medians(
    blocks: Blocks, items: Mapping[int, Layers], names: Sequence[str], target: Grid, watch: Stopwatch
) -> tuple[dict[str, Pixels], Origins]:
    """The median of each layer, and of how many items it is. Raises _Unread."""

    def mask(number: int) -> NDArray[np.bool_] | None:
        with _reading(number):
            return items[number].seen(blocks, target, watch)

    seen = dict(zip(items, blocks.side_by_side(mask, items), strict=True))
    read, counts = {}, np.zeros(target.shape, np.int16)
    for name in names:
        sources = {number: item.sources[name] for number, item in items.items()}
        values, counted = _middle(blocks, sources, seen, target, watch)
        read[name], counts = (values, counted > 0), np.maximum(counts, counted)
    return read, counts


def _middle(
    blocks: Blocks,
    sources: Mapping[int, Source],
    seen: Mapping[int, NDArray[np.bool_] | None],
    target: Grid,
    watch: Stopwatch,
) -> tuple[NDArray[np.float32], Origins]:
    """The median of one layer, 0 where no item has data, and how many have. Raises _Unread."""
    stack = np.empty((len(sources), *target.shape), np.float32)

    def fill(place: int, number: int) -> None:
        source, left = sources[number], seen[number]
        with _reading(number):
            [(numbers, valid)] = warp.read(blocks, [source], target, watch)
        with watch.stage("render"):
            stack[place] = render.physical(numbers, valid if left is None else valid & left, source)

    blocks.side_by_side(lambda pair: fill(*pair), enumerate(sources))
    found = np.zeros(target.shape, np.float32)
    counts = np.zeros(target.shape, np.int16)
    with watch.stage("render"):
        step = max(1, _PIXELS // target.columns)
        for start in range(0, target.rows, step):
            rows = slice(start, start + step)
            part = stack[:, rows]
            missing = np.isnan(part)
            count = len(stack) - missing.sum(axis=0)
            part[missing] = np.inf  # the last
            _sort(part)
            lower, upper = (
                np.take_along_axis(part, np.maximum(at, 0)[None], axis=0)[0] for at in ((count - 1) // 2, count // 2)
            )
            found[rows] = np.where(count > 0, (lower + upper) / 2, 0)
            counts[rows] = count
    return found, counts


def _sort(layers: NDArray[np.float32]) -> None:
    """Sort each pixel's values, the lowest into the first layer.

    All pixels at once, by Batcher's network of odd-even merges (Batcher 1968, as in Knuth 5.2.2M): several times as
    fast as to sort the few values of one pixel after the other.
    """
    spare = np.empty(layers.shape[1:], layers.dtype)
    for one, other in _network(len(layers)):
        np.minimum(layers[one], layers[other], out=spare)
        np.maximum(layers[one], layers[other], out=layers[other])
        layers[one] = spare


@lru_cache
def _network(count: int) -> tuple[tuple[int, int], ...]:
    """Pairs of places to be put in order, one after the other, that sort so many values.

    >>> _network(3)
    ((0, 2), (0, 1), (1, 2))
    """
    found = []
    top = 1 << max(0, (count - 1).bit_length() - 1)
    run = top
    while run:
        far, rest, distance = top, 0, run
        while True:
            found += [(at, at + distance) for at in range(count - distance) if at & run == rest]
            if far == run:
                break
            far, rest, distance = far // 2, run, far - run
        run //= 2
    return tuple(found)
