"""S7: every hostile product is refused before anything of it is unpacked, within a second and 512 MB."""

import multiprocessing
import os
import random
import re
import resource
import shutil
import stat
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import pytest
import rasterio

from converters import sensors
from converters.convert import Recipe, convert
from jobs import worker
from kartotek.errors import ProductError

SECONDS = 1.0
MEGABYTES = 512

NAME = "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE"
HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def entry(
    name, content=b"<a/>", *, method=0, size=None, packed=None, flags=0, mode=stat.S_IFREG | 0o644, at=None, local=None
):
    """One entry of a zip, of which the directory may say what it likes: sizes, place, mode, another name inside."""
    raw = zlib.compress(content, 9)[2:-4] if method == 8 else content
    return {
        "name": name if isinstance(name, bytes) else name.encode(), "content": raw, "crc": zlib.crc32(content),
        "method": method, "size": len(content) if size is None else size,
        "packed": len(raw) if packed is None else packed, "flags": flags, "mode": mode, "at": at, "local": local,
    }  # fmt: skip


def forged(path, entries, *, count=None, comment=b""):
    """A zip of such entries; `count` is what its end says of their number."""
    body, directory = bytearray(), bytearray()
    for one in entries:
        start = len(body) if one["at"] is None else one["at"]
        name = one["name"]
        if one["at"] is None:
            local = name if one["local"] is None else one["local"]
            body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, one["flags"], one["method"], 0, 33, one["crc"],
                                one["packed"], one["size"], len(local), 0) + local + one["content"]  # fmt: skip
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0x0314, 20, one["flags"], one["method"], 0, 33, one["crc"], one["packed"],
            one["size"], len(name), 0, 0, 0, 0, one["mode"] << 16, start,
        ) + name  # fmt: skip
    number = min(0xFFFF, len(entries) if count is None else count)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, number, number, len(directory), len(body), len(comment)) + comment
    path.write_bytes(body + directory + end)
    return path


def in_zip(*entries, **more):
    """A product of which the zip is hostile."""
    return lambda folder, _: forged(folder / f"{NAME}.zip", [*entries, entry("MTD_MSIL2A.xml")], **more)


def metadata(change, which="MTD_MSIL2A.xml"):
    """A product of which a metadata file is hostile: `change` makes it of the genuine one."""

    def made(folder, sample):
        path = folder / sample.name
        shutil.copytree(sample, path)
        [file] = path.rglob(which)
        file.write_bytes(change(file.read_bytes()))
        return path

    return made


def band(change, which="*_B01_60m.jp2"):
    """A product of which a band is hostile: `change` makes it of the genuine one, or writes it."""

    def made(folder, sample):
        path = folder / sample.name
        shutil.copytree(sample, path)
        [file] = path.rglob(which)
        change(file)
        return path

    return made


def doctype(text):
    """Metadata with a document type."""
    return lambda content: HEAD + text + b"<a>&e;</a>"


LAUGHS = b"<!DOCTYPE a [<!ENTITY a 'ha'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (letter, b"&%c;" % (letter - 1) * 10) for letter in range(ord("b"), ord("k"))
) + b"<!ENTITY e '&j;'>]>"  # fmt: skip


def patched_size(width, height):
    """A JP2 whose headers, the file's and the codestream's, lie about its size."""

    def change(file):
        content = bytearray(file.read_bytes())
        at = content.index(b"ihdr") + 4
        content[at : at + 8] = struct.pack(">II", height, width)
        at = content.index(b"\xff\x4f\xff\x51") + 8
        content[at : at + 8] = struct.pack(">II", width, height)
        file.write_bytes(content)

    return change


def sparse_tiff(width, height):
    """A TIFF of a few bytes whose header tells of many pixels, called JP2."""

    def change(file):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"width": width, "height": height, "count": 1, "dtype": "uint16", "SPARSE_OK": True}
            rasterio.open(file.with_suffix(".tif"), "w", driver="GTiff", tiled=True, **options).close()
        file.with_suffix(".tif").rename(file)

    return change


def many_entries(folder, _):
    """A directory of 300 000 entries, which says that there are 5."""
    return forged(folder / "x.zip", [entry(b"%06d" % number, b"") for number in range(300_000)], count=5)


def zip64_directory(folder, _):
    """A directory that says it has 60 GB."""
    path = forged(folder / "x.zip", [entry("MTD_MSIL2A.xml")])
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 60 << 30, start)
    place = struct.pack("<4sIQI", b"PK\6\7", 0, len(content) - 22, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(content[:-22] + record + place + end)
    return path


def bomb(megabytes):
    """Metadata of so many MB of spaces, well packed."""
    return entry("MTD_MSIL2A.xml", b" " * (megabytes << 20), method=8)


def overlapping(folder, _):
    """Five hundred entries that unpack the same bytes."""
    first = entry("0000", b"\0" * 1_000_000, method=8)
    others = [first | {"name": b"%04d" % number, "at": 0} for number in range(1, 500)]
    return forged(folder / "x.zip", [first, *others])


def links(target):
    """A folder whose metadata is a link."""

    def made(folder, sample):
        path = folder / sample.name
        shutil.copytree(sample, path)
        (path / "MTD_MSIL2A.xml").unlink()
        (path / "MTD_MSIL2A.xml").symlink_to(target)
        return path

    return made


def many_files(path):
    """A folder of more files than any product has."""
    path.mkdir()
    for number in range(30_000):
        (path / f"{number}.xml").touch()
    return path


def deep(path):
    """Folders in each other; the bottom has a file."""
    bottom = path.joinpath(*["a", "b"] * 200)
    bottom.mkdir(parents=True)
    (bottom / "x.xml").touch()
    (path / "y").touch()
    return path


def pipe(folder, sample):
    """A folder whose metadata is a pipe that nobody writes to."""
    path = folder / sample.name
    shutil.copytree(sample, path)
    (path / "MTD_MSIL2A.xml").unlink()
    os.mkfifo(path / "MTD_MSIL2A.xml")
    return path


def ring(count):
    """A footprint that crosses itself everywhere."""
    chance = random.Random(1)
    text = " ".join(f"{chance.uniform(56, 60):.4f} {chance.uniform(12, 18):.4f}" for _ in range(count))
    return lambda content: re.sub(rb"(?<=<EXT_POS_LIST>)[^<]*", text.encode(), content)


def many_granules(folder, _):
    """Twenty thousand granules in one product."""
    names = [f"{NAME}/GRANULE/L2A_{number}/MTD_TL.xml" for number in range(19_000)]
    return forged(folder / "x.zip", [entry(f"{NAME}/MTD_MSIL2A.xml"), *(entry(name) for name in names)])


HOSTILE = {
    # Paths
    **{
        f"zip: {name!r}": in_zip(entry(name))
        for name in (
            "../escaped", "a/../../escaped", "/etc/passwd", "//etc/passwd", "..", "a/..", "C:/windows/x", "C:x",
            "a\\..\\..\\escaped", "\\\\server\\share\\x", "", "/", ".", b"GRANULE/\xff\xfe/../../x",
        )
    },
    "zip: a link": in_zip(entry("link", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)),
    "zip: a link to a folder": in_zip(entry("GRANULE", b"/", mode=stat.S_IFLNK | 0o777), entry("GRANULE/x")),
    "zip: a name twice": in_zip(entry("MTD_MSIL2A.xml", b"<b/>")),
    "zip: another name inside": in_zip(entry("GRANULE/x/MTD_TL.xml", local=b"/../../etc/passwd123")),
    "folder: a link to a file outside": links("/etc/passwd"),
    "folder: a link to memory": links("/dev/zero"),
    "folder: a link to itself": links("MTD_MSIL2A.xml"),
    "folder: a pipe": pipe,
    # Sizes
    "zip: entries that overlap": overlapping,
    "zip: an entry in another": in_zip(entry("a", b"x" * 500), entry("b", at=40, size=100, packed=100)),
    "zip: an entry beyond the end": in_zip(entry("b", at=1 << 30, size=100, packed=100)),
    "zip: a size that can't be": in_zip(entry("a", b"x" * 1000, method=8, size=2_000_000_000)),
    "zip: too much in all": lambda folder, _: forged(folder / "x.zip", [
        entry(f"{n}", b"\0" * 4_000_000, size=4_290_000_000) for n in range(9)
    ]),
    "zip: 300 000 entries": many_entries,
    "zip: twenty thousand granules": many_granules,
    "zip: a directory of 60 GB": zip64_directory,
    "zip: metadata of 300 MB": lambda folder, _: forged(
        folder / "x.zip", [bomb(300), entry("GRANULE/L2A_x/MTD_TL.xml")]
    ),
    "zip: metadata of 60 MB": lambda folder, _: forged(folder / "x.zip", [bomb(60), entry("GRANULE/L2A_x/MTD_TL.xml")]),
    "zip: metadata that is longer than it says": lambda folder, _: forged(
        folder / "x.zip", [bomb(300) | {"size": 1000}, entry("GRANULE/L2A_x/MTD_TL.xml")]
    ),
    "zip: encrypted": in_zip(entry("GRANULE/x", flags=1)),
    "zip: packed in a way that nobody has": in_zip(entry("GRANULE/L2A_x/MTD_TL.xml", method=97)),
    # XML
    "xml: an entity of a file": metadata(doctype(b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>')),
    "xml: an entity of an address": metadata(doctype(b'<!DOCTYPE a [<!ENTITY e SYSTEM "http://127.0.0.1:9/">]>')),
    "xml: a document type elsewhere": metadata(doctype(b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">')),
    "xml: a parameter entity": metadata(doctype(b'<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>')),
    "xml: a billion laughs": metadata(doctype(LAUGHS)),
    "xml: one entity many times": metadata(
        lambda _: HEAD + b"<!DOCTYPE a [<!ENTITY e '" + b"x" * 100_000 + b"'>]><a>" + b"&e;" * 100_000 + b"</a>"
    ),
    "xml: laughs in UTF-16": metadata(lambda _: (LAUGHS + b"<a>&e;</a>").decode().encode("utf-16")),
    "xml: laughs in UTF-7": metadata(
        lambda _: b'<?xml version="1.0" encoding="UTF-7"?>+ADw-!DOCTYPE a+AD4-<a/>'
    ),
    "xml: included from elsewhere": metadata(
        lambda _: b'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></a>'
    ),
    "xml: millions of elements": metadata(lambda _: b"<a>" + b"<b/>" * 15_000_000 + b"</a>"),
    "xml: as many as are read": metadata(lambda _: b"<a>" + b"<b/>" * ((3 << 18) - 2) + b"</a>"),
    "xml: nested a million deep": metadata(lambda _: b"<a>" * 1_000_000),
    "xml: 200 000 attributes": metadata(
        lambda _: b"<a " + b" ".join(b'a%d=""' % number for number in range(200_000)) + b"/>"
    ),
    "xml: as many namespaces": metadata(
        lambda _: b"<a " + b" ".join(b'xmlns:a%d="x"' % number for number in range(100_000)) + b"/>"
    ),
    "xml: a name of 2 MB": metadata(lambda _: b"<" + b"a" * (2 << 20) + b"/>"),
    "xml: a footprint of half a million corners": metadata(
        lambda content: content.replace(b"<EXT_POS_LIST>", b"<EXT_POS_LIST>" + b"1 2 " * 500_000)
    ),
    "xml: a ring of random corners": metadata(ring(1_000)),
    "xml: a ring of many random corners": metadata(ring(6_000)),
    "zip: names of many folders": in_zip(*(entry("a/" * 20_000 + f"{number}") for number in range(50))),
    "folder: 30 000 files": lambda folder, _: many_files(folder / "x.SAFE"),
    "folder: 400 folders in each other": lambda folder, _: deep(folder / "x.SAFE"),
    "xml: numbers of a million digits": metadata(
        lambda content: content.replace(b"<NROWS>", b"<NROWS>" + b"9" * 1_000_000), "MTD_TL.xml"
    ),
    "xml: a granule of a million pixels": metadata(
        lambda content: content.replace(b"<NROWS>", b"<NROWS>1000").replace(b"<NCOLS>", b"<NCOLS>1000"), "MTD_TL.xml"
    ),
    # Headers of bands
    "jp2: four billion pixels wide": band(patched_size(2**32 - 1, 2**32 - 1)),
    "jp2: 60 000 x 60 000 pixels": band(patched_size(60_000, 60_000)),
    "tiff: 60 000 x 60 000 pixels, none of them there": band(sparse_tiff(60_000, 60_000)),
    "tiff: finer than it may be": band(sparse_tiff(20_000, 20_000)),
    "vrt: of a file elsewhere": band(lambda file: file.write_text(
        '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        "<SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )),
    "jp2: an address": band(lambda file: file.write_text("/vsicurl/http://127.0.0.1:9/x.jp2")),
    "jp2: /dev/zero": band(lambda file: (file.unlink(), file.symlink_to("/dev/zero"))),
}  # fmt: skip


REASONS = {
    r"zip: (b?'|\")": "leads out of the archive",
    "zip: a link": "is a link",
    "zip: a name twice": "occurs twice",
    "zip: another name inside": "File name in directory .* and header .* differ",
    "folder: a link": "is a link that leads out of the product",
    "folder: a pipe": "MTD_MSIL2A.xml is missing",
    "zip: (entries that overlap|an entry in another)": "overlaps another",
    "zip: an entry beyond the end": "reaches beyond",
    "zip: a size that can't be": "unpacks to 2000000000 bytes from",
    "zip: too much in all": "unpacks to 35 GiB; at most 32",
    "zip: 300 000 entries": "a directory of 14 MB; at most 4",
    "zip: twenty thousand granules": "19000 granules in one product",
    "zip: a directory of 60 GB": "Bad offset for central directory",
    "(zip: metadata of|xml: millions)": r"MTD_MSIL2A\.xml: \d+ MB of XML; at most 3 MB",
    "zip: metadata that is longer": "Bad CRC-32",
    "zip: encrypted": "is encrypted",
    "zip: packed in a way": "compression method is not supported",
    "xml: (an entity|a document type|a parameter|a billion|one entity|laughs)": "has a DOCTYPE",
    "xml: (included|as many|200 000)": "no PROCESSING_LEVEL in it",
    "xml: nested": "Excessive depth",
    "xml: a name": "Name too long",
    "xml: a ring": r"EXT_POS_LIST is no ring: a ring of \d000 positions that crosses itself",
    "zip: names of many": "letters in its path",
    "folder: .*00": "more files than any product has, or deeper",
    "xml: a footprint": "EXT_POS_LIST has 2000129 letters; at most 100000",
    "xml: numbers": "no whole Tile_Geocoding",
    "xml: a granule": "NROWS is 100032, not within 1 and 10980",
    "jp2: .* pixels": "opj_read_header",
    "tiff: 60 000": "60000 x 60000 pixels",
    "tiff: finer": "20000 x 20000 pixels of 0.096 m at .* but the metadata says 32 x 32",
    "(vrt|jp2: an address)": "not recognized as being in a supported file format",
    "jp2: /dev/zero": "is a link that leads out of the product",
}
"""Kinds → what is said of them."""


def attempt(path, connection):
    """Read and convert a product as a worker does, and tell what it cost: (error, CPU seconds, MB, files made)."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    error = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            convert(sensors.read(path), Path(folder), Recipe())
        except Exception as raised:
            error = raised
        left = len(list(Path(folder).iterdir()))
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    connection.send((error, seconds, after.ru_maxrss / 1024, left))


@pytest.fixture(scope="module")
def small(scenes, tmp_path_factory):
    """The smallest whole product."""
    worker.warm_up()
    from dataclasses import replace

    from converters import samples

    return samples.write(replace(scenes["33"], pixels=192), tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_product_is_refused_before_anything_is_unpacked_at_little_cost(kind, small, tmp_path):
    path = HOSTILE[kind](tmp_path, small)
    processes = multiprocessing.get_context("forkserver")
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=attempt, args=(path, theirs))
    process.start()
    theirs.close()
    assert ours.poll(60), "it hangs"
    error, seconds, megabytes, left = ours.recv()
    process.join()
    print(f"{kind}: {seconds:.2f} s, {megabytes:.0f} MB: {type(error).__name__}: {error}")
    assert isinstance(error, ProductError), error
    assert path.name in str(error) and "\n" not in str(error)
    [reason] = [words for kinds, words in REASONS.items() if re.match(kinds, kind)]
    assert re.search(reason, str(error)), error
    assert left == 0
    assert seconds < SECONDS and megabytes < MEGABYTES, (seconds, megabytes)
