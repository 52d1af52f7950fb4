import random
import shutil
import struct
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import orjson
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from catalog.access import PUBLIC
from catalog.search import MAX_LIMIT, Search
from converters import cog
from converters.profiles import Profile
from kartotek import processors, tiff
from kartotek.errors import BadFile, NotFound, NotStored
from kartotek.grids import BLOCK, Grid
from kartotek.grids import levels as levels_of
from kartotek.product import Kind, Layer, LayerType
from kartotek.storage import MARKER, FolderStorage
from pixels.blocks import _UNPACK, Blocks, decode
from pixels.directory import parse


class Counted(FolderStorage):
    """A folder that counts what is read of it."""

    def __init__(self, root):
        super().__init__(root)
        self.reads = 0

    def read(self, key, start=0, length=None):
        self.reads += 1
        return super().read(key, start, length)

    def ranges(self, key, places):
        self.reads += len(places)
        return super().ranges(key, places)


@pytest.fixture(scope="module")
def keys(demo):
    """Keys of COGs: each layer of three items, 8 and 16 bits, of 10, 20 and 60 m."""
    found = demo.catalog.search(PUBLIC, Search(limit=MAX_LIMIT)).items
    chosen = [orjson.loads(content) for content in (found[0], found[1], found[-1])]
    return [
        asset["href"].removeprefix(MARKER)
        for item in chosen
        for asset in item["assets"].values()
        if asset["href"].endswith(".tif")
    ]


@pytest.fixture(scope="module")
def large(keys):
    """The key of a COG of several blocks."""
    return next(key for key in keys if "/B02." in key)


@pytest.fixture
def storage(demo):
    return Counted(demo.local.root)


def levels(path):
    with rasterio.open(path) as file:
        return 1 + len(file.overviews(1))


def opened(path, level):
    return rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {}))


def test_windows_of_any_place_and_level_equal_what_gdal_reads(storage, keys):
    blocks = Blocks(storage, memory=64 << 20)
    chance = random.Random(1)
    seen = 0
    for key in keys:
        path = storage.root / key
        file = blocks.directory(key)
        assert len(file.levels) == levels(path)
        for level, image in enumerate(file.levels):
            with opened(path, level) as oracle:
                assert (image.columns, image.rows) == (oracle.width, oracle.height)
                assert (file.samples, file.data_type) == (oracle.count, oracle.dtypes[0])
                windows = [
                    (0, image.rows, 0, image.columns),
                    (image.rows - 1, image.rows, image.columns - 1, image.columns),
                ]
                for _ in range(6):
                    rows = sorted(chance.sample(range(image.rows + 1), 2))
                    columns = sorted(chance.sample(range(image.columns + 1), 2))
                    windows.append((*rows, *columns))
                for top, bottom, left, right in windows:
                    got = blocks.window(file, level, slice(top, bottom), slice(left, right))
                    wanted = oracle.read(window=Window(left, top, right - left, bottom - top))
                    np.testing.assert_array_equal(got, wanted)
                    seen += 1
    assert seen > 500


def test_one_block_is_one_read_and_is_read_once(storage, large):
    blocks = Blocks(storage, memory=64 << 20)
    file = blocks.directory(large)
    assert storage.reads == 1  # the directory, of all levels
    assert blocks.directory(large) is file and storage.reads == 1
    blocks.window(file, 0, slice(10, 20), slice(10, 20))
    assert storage.reads == 2
    blocks.window(file, 0, slice(0, BLOCK), slice(0, BLOCK))
    assert storage.reads == 2
    blocks.window(file, 0, slice(BLOCK - 1, BLOCK + 1), slice(BLOCK - 1, BLOCK + 1))
    assert storage.reads == 5


def everything(blocks, keys):
    for key in keys:
        file = blocks.directory(key)
        image = file.levels[0]
        blocks.window(file, 0, slice(0, image.rows), slice(0, image.columns))


def held(blocks):
    """Bytes of the decoded blocks that are kept."""
    return sum(block.nbytes for block in blocks._blocks._kept.values())


@pytest.mark.parametrize("memory", [0, 100_000, 3 << 20])
def test_decoded_blocks_take_no_more_memory_than_allowed(storage, keys, memory):
    blocks = Blocks(storage, memory=memory)
    everything(blocks, keys[:12])
    assert held(blocks) <= memory
    # A block that is larger than all that is allowed is read each time, and right.
    reads = storage.reads
    file = blocks.directory(keys[0])
    for _ in range(2):
        got = blocks.window(file, 0, slice(0, 5), slice(0, 5))
    with rasterio.open(storage.root / keys[0]) as oracle:
        np.testing.assert_array_equal(got, oracle.read(window=Window(0, 0, 5, 5)))
    if memory < 500_000:
        assert storage.reads == reads + 2


def test_threads_that_read_at_once_get_what_one_gets(storage, keys):
    blocks = Blocks(storage, memory=2 << 20)  # so small that blocks go while others come
    alone = {}
    for key in keys[:6]:
        with rasterio.open(storage.root / key) as oracle:
            alone[key] = oracle.read()
    start = threading.Barrier(8)

    def read(seed):
        chance = random.Random(seed)
        start.wait()
        for _ in range(40):
            key = chance.choice(keys[:6])
            file = blocks.directory(key)
            rows = sorted(chance.sample(range(file.levels[0].rows), 2))
            columns = sorted(chance.sample(range(file.levels[0].columns), 2))
            got = blocks.window(file, 0, slice(*rows), slice(*columns))
            np.testing.assert_array_equal(got, alone[key][:, slice(*rows), slice(*columns)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


@pytest.mark.parametrize("far", [False, True])
def test_over_a_network_as_many_unpack_at_a_time_as_there_are_processors(demo, keys, monkeypatch, far):
    """Near, each who is at work unpacks what it has read, in its own thread; who is alone does so by all processors."""
    lock, now, names, at_once = threading.Lock(), set(), set(), []

    class Storage(FolderStorage):
        def ranges(self, key, places):
            found = super().ranges(key, places)
            if storage.together:
                storage.together.wait()
            return found

    def unpack(packed, out):
        with lock:
            now.add(threading.get_ident())
            names.add(threading.current_thread().name.partition("_")[0])
            at_once.append(len(now))
        time.sleep(0.05)  # for the others to come
        with lock:
            now.remove(threading.get_ident())
        return imagecodecs.deflate_decode(packed, out=out)

    storage = Storage(demo.local.root)
    storage.remote, storage.together = far, threading.Barrier(6, timeout=30)
    blocks = Blocks(storage, memory=64 << 20)
    monkeypatch.setitem(_UNPACK, 8, (unpack, imagecodecs.DeflateError))

    def one(key):
        with blocks.at_work():
            blocks.window(blocks.directory(key), 0, slice(0, 1), slice(0, 1))

    with ThreadPoolExecutor(6, thread_name_prefix="mine") as threads:
        list(threads.map(one, keys[:6]))
    assert max(at_once) == (min(6, processors.count()) if far else 6)
    assert names == {"mine"}
    storage.together = None
    file = next(file for file in map(blocks.directory, keys[6:]) if file.levels[0].columns > BLOCK)
    blocks.window(file, 0, slice(0, BLOCK), slice(0, BLOCK + 1))
    assert names == {"mine", "decode"}


def test_a_directory_that_many_ask_for_is_read_once_and_its_error_told_to_all(demo, keys):
    class Slow(Counted):
        def read(self, key, start=0, length=None):
            time.sleep(0.05)  # so that all ask before the first has it
            return super().read(key, start, length)

    storage = Slow(demo.local.root)
    blocks = Blocks(storage, memory=0)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(blocks.directories, [keys[:4], keys[2:6]] * 4))
    assert storage.reads == 6
    assert all({**found[0], **found[1]}[key] is file for one in found for key, file in one.items())
    for _ in range(2):  # nothing of a failure is kept
        with ThreadPoolExecutor(8) as pool:
            told = [pool.submit(blocks.directories, ["nothing.tif", keys[7]]) for _ in range(8)]
            assert all(isinstance(one.exception(), NotStored) for one in told)
    assert blocks.directory(keys[7]).key == keys[7]


@pytest.mark.parametrize(
    "content",
    [b"", b"II", b"II*\0", b"II*\0\x08", b"II*\0\x08\0\0\0", b"II*\0\0\0\0\0", b"MM\0*", b"\x89PNG", b"\0" * 100],
)
def test_what_is_hardly_a_file_is_refused(content):
    with pytest.raises(BadFile, match="some key"):
        parse("some key", content)


def flat(folder, blocks):
    """A COG of as many blocks in each direction, each level of a number of its own; gives the levels."""
    grid = Grid(crs="EPSG:3006", left=0, top=7_000_000, resolution=10, columns=BLOCK * blocks, rows=BLOCK * blocks)
    kind = LayerType(name="VV", kind=Kind.MEASUREMENT, resolution=10, title="", data_type="uint8", nodata=0, unit="dB")
    levels = [
        np.broadcast_to(np.uint8(level + 1), (1, grid.rows >> level, grid.columns >> level))
        for level in range(levels_of(grid.columns, grid.rows) + 1)
    ]
    cog.write(folder / "flat.tif", levels, grid, Layer(type=kind, file="", href="", grid=grid))
    return levels


def test_a_directory_of_any_length_is_read(tmp_path):
    """A scene of Sentinel-1 at 10 m has more than 4000 blocks, and as many offsets and sizes."""
    pixels = flat(tmp_path, 60)
    storage = Counted(tmp_path)
    file = Blocks(storage, memory=0).directory("flat.tif")
    assert min(file.levels[0].offsets) > 32_768 and storage.reads <= 3
    assert [(image.rows, image.columns) for image in file.levels] == [level.shape[1:] for level in pixels]
    for level, image in enumerate(file.levels):
        last = image.rows - 1, image.columns - 1
        for row, column in ((0, 0), last):
            found = Blocks(storage, memory=0).window(file, level, slice(row, row + 1), slice(column, column + 1))
            assert found.tolist() == [[[level + 1]]]


def test_kept_directories_take_no_more_memory_than_is_set_aside(tmp_path):
    """Of 10 000 files of a full granule they took a gigabyte, as whole numbers of Python."""
    flat(tmp_path, 22)
    content = (tmp_path / "flat.tif").read_bytes()[:32_768]
    tracemalloc.start()
    kept = [parse(f"{number}.tif", content) for number in range(50)]
    taken = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    assert taken <= 1.2 * kept[0].memory < 12_000
    blocks = Blocks(FolderStorage(tmp_path), memory=0)
    (tmp_path / "head.tif").write_bytes(content)
    assert blocks.directory("head.tif") is blocks.directory("head.tif")
    assert blocks._directories._kept.currsize == kept[0].memory and blocks._directories._kept.maxsize <= 64 << 20


def test_a_file_that_ends_in_its_directory_is_refused(tmp_path):
    flat(tmp_path, 60)
    content = (tmp_path / "flat.tif").read_bytes()
    storage = Counted(tmp_path)
    for length in (100, 32_768, 36_000):
        (tmp_path / "cut.tif").write_bytes(content[:length])
        blocks = Blocks(storage, memory=0)
        with pytest.raises(NotFound, match=r"cut\.tif"):
            blocks.window(blocks.directory("cut.tif"), 0, slice(0, 1), slice(0, 1))


def test_no_more_is_read_of_a_file_whose_directory_would_be_huge(tmp_path):
    (tmp_path / "far.tif").write_bytes(struct.pack("<2sHI", b"II", 42, 1 << 31) + b" " * 100_000)
    storage = Counted(tmp_path)
    with pytest.raises(NotFound, match=r"far\.tif"):
        Blocks(storage, memory=0).directory("far.tif")
    assert storage.reads <= 5


def test_a_directory_that_leads_back_to_itself_is_refused(storage, keys):
    head = bytearray(storage.read(keys[0], 0, 32_768))
    (first,) = struct.unpack_from("<I", head, 4)
    (count,) = struct.unpack_from("<H", head, first)
    struct.pack_into("<I", head, first + 2 + 12 * count, first)
    with pytest.raises(BadFile):
        parse("circle", bytes(head))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_head_with_changed_bytes_is_read_or_refused(demo, keys, data):
    head = bytearray(demo.storage.read(keys[0], 0, 4096))
    for place in data.draw(st.lists(st.integers(0, 900), min_size=1, max_size=8)):
        head[place] = data.draw(st.integers(0, 255))
    try:
        file = parse("changed", bytes(head))
    except BadFile as error:
        assert "changed" in str(error)
    else:
        assert file.levels


@pytest.mark.parametrize("samples", [2, 300, 70_000, 100_000_000, 2**32 - 1])
def test_samples_that_are_said_to_be_there_take_no_memory(samples):
    """Of a file of 200 bytes."""
    tags = [
        (284, tiff.SHORT, [1]),
        (277, tiff.LONG, [samples]),
        *(tag for tag in tiff.numbers(np.dtype("uint16"), 1) if tag[0] != 277),
    ]
    tags += [*tiff.image((BLOCK, BLOCK), (BLOCK, BLOCK), 8), *tiff.blocks([200], [50])]
    tracemalloc.start()
    with pytest.raises(BadFile, match="samples"):
        parse("some key", struct.pack("<2sHI", b"II", 42, 8) + tiff.directory(tags, 8, last=True))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20


def test_blocks_larger_than_memory_is_set_aside_for_are_not_ours():
    tags = [
        (284, tiff.SHORT, [1]),
        *tiff.numbers(np.dtype("uint16"), 1000),
        *tiff.image((BLOCK, BLOCK), (BLOCK, BLOCK), 8),
    ]
    head = struct.pack("<2sHI", b"II", 42, 8) + tiff.directory([*tags, *tiff.blocks([200], [50])], 8, last=True)
    with pytest.raises(BadFile, match="1000 samples of 16 bits"):
        parse("some key", head)


def test_a_key_under_which_nothing_lies_is_told(storage):
    with pytest.raises(NotStored):
        Blocks(storage, memory=0).directory("no/such.tif")


def test_a_block_whose_bytes_were_changed_is_refused(storage, keys, tmp_path):
    """Blocks carry a checksum (zlib's): a flipped bit at rest never becomes a picture."""
    path = tmp_path / "changed.tif"
    shutil.copy(storage.root / keys[0], path)
    file = Blocks(FolderStorage(tmp_path), memory=0).directory("changed.tif")
    content = bytearray(path.read_bytes())
    chance = random.Random(1)
    for _ in range(30):
        changed = bytearray(content)
        image = file.levels[0]
        changed[image.offsets[0] + chance.randrange(image.sizes[0])] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(BadFile, match=r"changed\.tif"):
            Blocks(FolderStorage(tmp_path), memory=0).window(file, 0, slice(0, 5), slice(0, 5))


def test_damaged_blocks_of_lzma_are_refused(tmp_path):
    pixels = np.arange(BLOCK * BLOCK, dtype=np.uint16).reshape(1, BLOCK, BLOCK)
    file = parse("x", _compact(tmp_path, pixels))
    packed = cog.encode(pixels, Profile.COMPACT)
    assert np.array_equal(decode(packed, file), pixels)
    changed = packed[:200] + bytes([packed[200] ^ 1]) + packed[201:]
    longer = cog.encode(np.tile(pixels, (2, 1, 1)), Profile.COMPACT)  # of twice the bytes
    for bad in (b"", packed[: len(packed) // 2], changed, b"\0" * 100, longer):
        with pytest.raises(BadFile, match="x: a block"):
            decode(bad, file)


def _compact(folder, pixels):
    """A COG of one block, packed by LZMA."""
    grid = Grid(crs="EPSG:3006", left=0, top=7_000_000, resolution=10, columns=BLOCK, rows=BLOCK)
    kind = LayerType(name="VV", kind=Kind.MEASUREMENT, resolution=10, title="", data_type="uint16", nodata=0)
    place = folder / "x.tif"
    cog.write(place, [pixels], grid, Layer(type=kind, file="", href="", grid=grid), profile=Profile.COMPACT)
    return place.read_bytes()
