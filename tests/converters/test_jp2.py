"""Files cut at their tiles, against GDAL."""

import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError

from converters import jp2
from converters.sensors import read

SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"


def cut(path):
    """All pixels, tile by tile."""
    with path.open("rb") as file:
        reads = jp2.reader(file.fileno())
        stream = jp2.parse(reads, os.fstat(file.fileno()).st_size)
        pixels = np.empty((stream.bands, stream.rows, stream.columns), stream.data_type)
        for number in range(stream.count):
            pixels[:, *stream.window(number)] = stream.decode(number, reads)
    return pixels


def by_gdal(path):
    with rasterio.open(path, driver="JP2OpenJPEG") as file:
        return file.read()


@pytest.mark.parametrize("name", ["33", "34", "33 L1C", "33 before", "swath"])
def test_every_band_of_a_sample_is_as_gdal_reads_it(sample, name):
    for layer in read(sample(name), visual=True).layers:
        found, wanted = cut(Path(layer.href)), by_gdal(layer.href)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted), layer.name


def test_every_genuine_image_is_as_gdal_reads_it():
    """Those that are cut: nearly all that there are, by Kakadu and by OpenJPEG, reversible and not."""
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is absent: no genuine images")
    images = [path for path in SHARED.rglob("*") if path.suffix in (".jp2", ".tif") and path.is_file()]
    equal = 0
    for path in images:
        try:
            found = cut(path)
        except jp2.Unusual:
            continue
        wanted = by_gdal(path)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted), path
        equal += 1
    print(f"{equal} of {len(images)}")
    assert equal >= 70


@pytest.fixture(scope="session")
def tiled(sample):
    """An image of four tiles: its bytes, and where its codestream begins."""
    [path] = sample("swath").rglob("*_B02_10m.jp2")
    content = path.read_bytes()
    return content, content.index(b"\xff\x4f\xff\x51")


def parsed(content):
    return jp2.parse(lambda offset, length: content[offset : offset + length], len(content))


def test_the_size_is_what_the_header_says(tiled):
    stream = parsed(tiled[0])
    assert (stream.bands, stream.rows, stream.columns, stream.bits, stream.count) == (1, 1098, 1098, 15, 4)
    assert stream.window(3) == (slice(1024, 1098), slice(1024, 1098))


@pytest.mark.parametrize(
    ("place", "form", "value"),
    [
        (2, ">I", 0xFFFFFFFF),  # columns, behind SIZ's marker, length and capabilities
        (2, ">I", 0),
        (6, ">I", 2**31),  # rows
        (10, ">I", 1),  # the picture's left edge
        (18, ">I", 1),  # the tile's width: a million tiles
        (18, ">I", 0),
        (18, ">I", 2**32 - 1),
        (34, ">H", 16384),  # bands
        (34, ">H", 0),
        (36, ">B", 37),  # bits
        (36, ">B", 0x8E),  # with a sign
        (37, ">B", 2),  # every other column
        (0, ">H", 0x4000),  # HTJ2K
    ],
)
def test_a_header_that_asks_for_much_or_is_unusual_is_left_to_gdal(tiled, place, form, value):
    content, start = tiled
    content = bytearray(content)
    struct.pack_into(form, content, start + 6 + place, value)
    with pytest.raises(jp2.Unusual):
        parsed(bytes(content))


@pytest.mark.parametrize("share", [0, 1e-5, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-7])
def test_a_file_that_ends_early_is_left_to_gdal(tiled, share):
    content = tiled[0]
    with pytest.raises(jp2.Unusual):
        parsed(content[: int(share * len(content))])


def test_millions_of_empty_parts_are_not_listed(tiled):
    """Eight a tile are as many as are looked at."""
    content, _ = tiled
    first = content.index(b"\xff\x90\x00\x0a")
    parts = b"".join(struct.pack(">HHHIBBH", 0xFF90, 10, 0, 14, number % 256, 0, 0xFF93) for number in range(100_000))
    reads = 0

    def counted(offset, length):
        nonlocal reads
        reads += 1
        return made[offset : offset + length]

    made = content[:first] + parts + content[first:]
    with pytest.raises(jp2.Unusual):
        jp2.parse(counted, len(made))
    assert reads < 100


def test_damage_anywhere_gives_gdal_s_pixels_or_is_left_to_gdal(tiled, tmp_path):
    """Bytes changed in headers and data: what is cut all the same has the pixels that GDAL finds."""
    content, start = tiled
    chance = random.Random(4)
    first = content.index(b"\xff\x90\x00\x0a")
    path, kept = tmp_path / "x.jp2", 0
    for _ in range(60):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 3])):
            place = chance.choice([chance.randrange(start, first + 40), chance.randrange(start, len(content))])
            changed[place] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            found = cut(path)
        except jp2.Unusual:
            continue
        try:
            wanted = by_gdal(path)
        except RasterioError:
            continue  # it is GDAL that opens a file first
        kept += 1
        assert np.array_equal(found, wanted)
    assert kept > 10
