"""Blocks of COGs: their pixels, read by range, all that a picture needs at once, and kept decoded for a while.

Other rasters have blocks too, by GDAL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from itertools import groupby
from operator import attrgetter
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple, Protocol, TypeVar

import imagecodecs
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from kartotek import processors
from kartotek.errors import BadFile
from kartotek.grids import BLOCK
from kartotek.stopwatch import Stopwatch
from kartotek.storage import Storage
from pixels import directory, foreign
from pixels.directory import GDAL, Directory
from pixels.once import Once

_DIRECTORIES = 64 << 20
"""Bytes of memory for directories that are kept: some 5000 of bands of a full granule."""
_READERS = 32
"""Reads that are under way at a time; all but waiting is done by those who serve the bytes."""
_ITEMS = 16
"""Items that are read side by side."""
_UNPACK = {
    8: (imagecodecs.deflate_decode, imagecodecs.DeflateError),
    34925: (imagecodecs.lzma_decode, imagecodecs.LzmaError),
}
"""TIFF's number of a compression → what undoes it, and what that raises."""

Given = TypeVar("Given")
Found = TypeVar("Found")


class Kept(Protocol):
    """Where directories are kept between processes: beside the items, so that serving reads no header of a file."""

    def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        """Key → what was put, for those that are kept."""
        ...

    def put(self, packed: Mapping[str, bytes]) -> None:
        """Keep these, if that is possible just now."""
        ...


class Block(NamedTuple):
    """One block of a level of a file."""

    key: str
    level: int
    number: int
    """Counted row by row."""


class Blocks:
    """Reads blocks from a storage; safe to share between threads."""

    def __init__(self, storage: Storage, *, memory: int, kept: Kept | None = None) -> None:
        """`memory` is the most that decoded blocks may take, in bytes."""
        self._storage = storage
        self._kept = kept
        self._foreign = foreign.Files(storage)
        self._blocks: Once[Block, NDArray[Any]] = Once(LRUCache(memory, getsizeof=attrgetter("nbytes")))
        self._directories: Once[str, Directory] = Once(LRUCache(_DIRECTORIES, getsizeof=attrgetter("memory")))
        self._working = 0
        """How many threads make something of blocks."""
        self._lock = Lock()
        # Of their own, since what they do waits for the others.
        self._items = ThreadPoolExecutor(_ITEMS, thread_name_prefix="item")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
        self._decoders = ThreadPoolExecutor(processors.count(), thread_name_prefix="decode")
        # Over a network many read at a time: what comes then is unpacked by so many of them as there are processors,
        # and who has still to ask for bytes comes to it. Where files are near no more are at work anyway.
        self._turns: AbstractContextManager[object] = (
            BoundedSemaphore(processors.count()) if self.wait_together else nullcontext()
        )

    def directory(self, key: str) -> Directory:
        """A file's directory. Raises NotStored, or NotFound where it is no raster that we or GDAL can read."""
        return self.directories([key])[key]

    def directories(self, keys: Collection[str]) -> dict[str, Directory]:
        """Key → the file's directory; those that are not kept anywhere are read from the files, all at once.

        What another thread is reading already is waited for.
        """
        return self._directories.get(keys, self._known)

    def _known(self, keys: Sequence[str]) -> dict[str, Directory]:
        """Directories that nobody has at hand."""
        kept = self._kept.get(keys) if self._kept else {}
        found = {key: directory.unpack(key, packed) for key, packed in kept.items()}
        unknown = [key for key in keys if key not in found]
        read = dict(zip(unknown, self._at_once(self._readers, self._opened, unknown), strict=True))
        ours = {key: file for key, file in read.items() if file.compression != GDAL}
        if ours and self._kept:
            self._kept.put({key: directory.pack(file) for key, file in ours.items()})
        return found | read

    def _opened(self, key: str) -> Directory:
        try:
            return directory.read(key, partial(self._storage.read, key))
        except (directory.Foreign, directory.Short):  # TIFFs may have their directories at the end
            return self._foreign.directory(key)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within it a thread makes something of blocks that it reads; which it may do better if it is the only one."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def read(
        self, wanted: Collection[Block], files: Mapping[str, Directory], watch: Stopwatch
    ) -> dict[Block, NDArray[Any]]:
        """The pixels of blocks, (samples, 512, 512) each; `files` are the directories of their files.

        What is not kept decoded is read, a file's neighbouring blocks in one request where the storage can do that,
        and all files' at once; what another thread is reading already is waited for.
        """
        return self._blocks.get(wanted, lambda mine: self._fetched(mine, files, watch), watch.stage("read"))

    def window(self, file: Directory, level: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels of a level as they lie in the file, (samples, rows, columns); the window must lie inside the level."""
        across = file.levels[level].across
        places = {
            (row, column): Block(file.key, level, row * across + column)
            for row in range(rows.start // BLOCK, -(-rows.stop // BLOCK))
            for column in range(columns.start // BLOCK, -(-columns.stop // BLOCK))
        }
        found = self.read(places.values(), {file.key: file}, Stopwatch())
        result = np.empty((file.samples, rows.stop - rows.start, columns.stop - columns.start), file.data_type)
        for (row, column), block in places.items():
            top, left = max(rows.start, row * BLOCK), max(columns.start, column * BLOCK)
            bottom, right = min(rows.stop, (row + 1) * BLOCK), min(columns.stop, (column + 1) * BLOCK)
            part = np.s_[:, top - row * BLOCK : bottom - row * BLOCK, left - column * BLOCK : right - column * BLOCK]
            result[:, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = found[
                block
            ][part]
        return result

    def _fetched(
        self, mine: Sequence[Block], files: Mapping[str, Directory], watch: Stopwatch
    ) -> dict[Block, NDArray[Any]]:
        """Blocks that nobody has at hand."""
        runs = [list(run) for _, run in groupby(sorted(mine), lambda block: block[:2])]
        levels = [run for run in runs if files[run[0].key].compression != GDAL]
        others = [run for run in runs if files[run[0].key].compression == GDAL]
        with watch.stage("read"):
            # Where GDAL reads it unpacks too.
            by_gdal = self._at_once(self._decoders, lambda run: self._by_gdal(run, files[run[0].key]), others)
            readers = self._readers if self.wait_together else None
            packed = self._at_once(readers, lambda run: self._packed(run, files[run[0].key]), levels)
        ordered = [block for run in levels for block in run]
        with watch.stage("decode"):
            pairs = zip(ordered, (part for parts in packed for part in parts), strict=True)
            pixels = self._decoded([(part, files[block.key]) for block, part in pairs])
        found = dict(zip(ordered, pixels, strict=True))
        for some in by_gdal:
            found |= some
        return found

    def _decoded(self, packed: Sequence[tuple[bytes, Directory]]) -> list[NDArray[Any]]:
        """The pixels of blocks, each with its file's directory."""
        if self._working <= 1:
            return self._at_once(self._decoders, lambda pair: decode(*pair), packed)
        # Others keep the processors busy, and handing over costs more than it brings.
        with self._turns:
            return [decode(*pair) for pair in packed]

    def _packed(self, run: Sequence[Block], file: Directory) -> list[bytes]:
        """Blocks of one level of one file, as they lie there."""
        image = file.levels[run[0].level]
        places = [(int(image.offsets[block.number]), int(image.sizes[block.number])) for block in run]
        return self._storage.ranges(file.key, places)

    def _by_gdal(self, run: Sequence[Block], file: Directory) -> dict[Block, NDArray[Any]]:
        """Blocks of one level of one file that is none of ours; what comes with them is kept."""
        found, wanted, level = dict[Block, NDArray[Any]](), {*run}, run[0].level
        for number, pixels in self._foreign.read(file, level, [block.number for block in run]):
            block = Block(file.key, level, number)
            if block in wanted:
                found[block] = pixels
            else:
                self._blocks.keep(block, pixels)
        return found

    @property
    def wait_together(self) -> bool:
        """Whether reads that are under way at once take no longer than one of them: they wait for a network."""
        return self._storage.remote

    def side_by_side(self, work: Callable[[Given], Found], given: Iterable[Given]) -> list[Found]:
        """What comes of each, in their order: at once where reads wait for a network, so that they wait together."""
        return self._at_once(self._items if self.wait_together else None, work, list(given))

    def _at_once(
        self, pool: ThreadPoolExecutor | None, work: Callable[[Given], Found], given: Sequence[Given]
    ) -> list[Found]:
        """What comes of each, in their order; in this thread where there is but one, or no pool."""
        if pool is None or len(given) <= 1:
            return [work(one) for one in given]
        # One more waits for the network as well in this thread; of those that unpack there are enough.
        here = 0 if pool is self._decoders else 1
        # Each in a copy of the caller's context, so that what is logged says for which request.
        runs = [copy_context().run for _ in given[here:]]
        coming = pool.map(lambda run, one: run(work, one), runs, given[here:])
        return [*map(work, given[:here]), *coming]


def decode(packed: bytes, file: Directory) -> NDArray[Any]:
    """A block's pixels, (samples, 512, 512). Raises BadFile where its bytes are not what was written."""
    size = BLOCK * BLOCK * file.samples * file.data_type.itemsize
    unpack, damaged = _UNPACK[file.compression]
    room: Any = np.empty(size + 1, np.uint8)  # what is longer shows
    try:
        raw = unpack(packed, out=room)
    except damaged as error:
        raise BadFile(f"{file.key}: a block is damaged: {error}") from error
    if len(raw) != size:
        raise BadFile(f"{file.key}: a block unpacks to {len(raw)} bytes, expected {size}")
    block: NDArray[Any] = room[:size].view(file.data_type).reshape(BLOCK, BLOCK, file.samples)
    if file.data_type.kind == "f":
        block = imagecodecs.floatpred_decode(block, axis=-2)
    else:
        imagecodecs.delta_decode(block, axis=-2, out=block)
    return np.ascontiguousarray(np.moveaxis(block, -1, 0))
