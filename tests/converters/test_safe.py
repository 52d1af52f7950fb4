import dataclasses
import io
import stat
import struct
import time
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest

from converters import safe
from converters.safe import Folder, Zip, open_product, parse_xml
from converters.sensors import read
from kartotek.errors import BrokenProduct, HostileProduct, ProductError, UnknownProduct

NAME = "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400"


def archive(path, entries, compression=zipfile.ZIP_STORED):
    """A zip of (name or ZipInfo, bytes) pairs."""
    with zipfile.ZipFile(path, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile itself only warns of a name that occurs twice
        for name, content in entries:
            file.writestr(name, content)
    return path


def patched(path, old, new):
    """Names in a zip that zipfile would not write: both the directory's and the entry's own are changed."""
    content = path.read_bytes()
    assert len(old) == len(new) and content.count(old) >= 2
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../escaped", "a/../../escaped", "GRANULE/../../escaped", "/etc/passwd", "//etc/passwd", "..", "a/..",
        "C:/windows/x", "C:x", "a\\..\\..\\escaped", "\\\\server\\share\\x", "dir\\file",
    ],
)  # fmt: skip
def test_an_entry_that_leads_out_of_the_archive_is_hostile(tmp_path, name):
    plain = "".join("x" for _ in name)
    path = patched(archive(tmp_path / "x.zip", [(plain, b""), ("MTD_MSIL2A.xml", b"")]), plain.encode(), name.encode())
    with pytest.raises(HostileProduct, match=r"x\.zip"):
        open_product(path)


@pytest.mark.parametrize("name", ["", "/", ".", "./", "./."])
def test_an_entry_without_a_name_is_hostile(tmp_path, name):
    path = archive(tmp_path / "x.zip", [(zipfile.ZipInfo(name), b""), ("MTD_MSIL2A.xml", b"")])
    with pytest.raises(HostileProduct):
        open_product(path)


def test_a_link_in_an_archive_is_hostile(tmp_path):
    link = zipfile.ZipInfo("MTD_MSIL2A.xml")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(HostileProduct, match="link"):
        open_product(archive(tmp_path / "x.zip", [(link, b"/etc/passwd")]))


def test_a_name_that_occurs_twice_is_hostile(tmp_path):
    with pytest.raises(HostileProduct, match="twice"):
        open_product(archive(tmp_path / "x.zip", [("MTD_MSIL2A.xml", b"one"), ("MTD_MSIL2A.xml", b"two")]))


def overlapping(path, count):
    """Entries of one name each that all unpack the same bytes of the file (Fifield's bomb, without quoting)."""
    kernel = zlib.compress(b"\0" * 1_000_000, 9)[2:-4]
    checksum = zlib.crc32(b"\0" * 1_000_000)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, checksum, len(kernel), 1_000_000, 4, 0) + b"aaaa"
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, checksum, len(kernel), 1_000_000,
                    4, 0, 0, 0, 0, 0, 0) + f"{number:04}".encode()
        for number in range(count)
    )  # fmt: skip
    start = len(local) + len(kernel)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    path.write_bytes(local + kernel + directory + end)
    return path


def test_entries_that_overlap_are_hostile(tmp_path):
    """Python 3.11's zipfile reads such a file without a word."""
    path = overlapping(tmp_path / "x.zip", 500)
    assert path.stat().st_size < 32_000 and len(zipfile.ZipFile(path).infolist()) == 500
    with pytest.raises(HostileProduct, match="overlaps"):
        open_product(path)


def test_an_entry_that_can_not_unpack_to_what_it_says_is_hostile(tmp_path):
    path = archive(tmp_path / "x.zip", [("MTD_MSIL2A.xml", b"x" * 1000)])
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 2_000_000_000)
    path.write_bytes(content)
    with pytest.raises(HostileProduct, match="2000000000"):
        open_product(path)


def test_an_archive_that_unpacks_to_too_much_in_all_is_hostile(tmp_path):
    """Each entry alone has a ratio that DEFLATE can reach."""
    path = archive(tmp_path / "x.zip", [(f"{n}.jp2", b"\0" * 4_000_000) for n in range(9)], zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\1\2", at + 1)) > 0:
        content[at + 20 : at + 28] = struct.pack("<II", 4_000_000, 4_290_000_000)
    path.write_bytes(content)
    with pytest.raises(HostileProduct, match="GiB"):
        open_product(path)


def test_an_archive_of_too_many_entries_is_hostile(tmp_path):
    path = archive(tmp_path / "x.zip", [(f"{number}", b"") for number in range(safe.MAX_ENTRIES + 1)])
    with pytest.raises(HostileProduct, match="entries"):
        open_product(path)


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_metadata_that_unpacks_to_too_much_is_hostile_before_it_is_in_memory(tmp_path, packing):
    """A zip of 200 kB whose XML has 200 MB: the ratio is one that a zip may have."""
    size = 3 * safe.MAX_XML
    if packing == "zip":
        path = tmp_path / "x.zip"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
            file.open("MTD_MSIL2A.xml", "w") as entry,
        ):
            for _ in range(size >> 20):
                entry.write(b" " * (1 << 20))
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("GRANULE/L2A/MTD_TL.xml", "<a/>")
    else:
        path = tmp_path / "x.SAFE"
        (path / "GRANULE/L2A").mkdir(parents=True)
        (path / "GRANULE/L2A/MTD_TL.xml").write_text("<a/>")
        with (path / "MTD_MSIL2A.xml").open("wb") as file:
            file.truncate(size)
    tracemalloc.start()
    try:
        begun = time.monotonic()
        with pytest.raises(HostileProduct, match="MTD_MSIL2A"):
            read(path)
        assert time.monotonic() - begun < 1
        assert tracemalloc.get_traced_memory()[1] < 2 * safe.MAX_XML
    finally:
        tracemalloc.stop()


def test_an_encrypted_archive_is_refused_by_name(tmp_path):
    path = archive(tmp_path / "x.zip", [("MTD_MSIL2A.xml", b"x")])
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(BrokenProduct, match="encrypted"):
        open_product(path)


def test_a_truncated_archive_is_broken_and_the_message_says_what_to_do(sample, tmp_path):
    content = sample("zip").read_bytes()
    path = tmp_path / f"{NAME}.zip"
    for length in (4, 1000, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(BrokenProduct, match=r"not a whole zip.*fetch the product again"):
            open_product(path)


def test_damaged_metadata_in_an_archive_is_broken(tmp_path):
    """The packed bytes are wrong, or are not what the checksum says."""
    xml = b"<a>" + bytes(range(97, 123)) * 200 + b"</a>"
    for flipped in (0, 3, 40, -3):
        path = archive(tmp_path / "x.zip", [("MTD_MSIL2A.xml", xml)], zipfile.ZIP_DEFLATED)
        content = bytearray(path.read_bytes())
        start = 30 + len("MTD_MSIL2A.xml")
        packed = zipfile.ZipFile(path).infolist()[0].compress_size
        content[start + flipped % packed] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(BrokenProduct, match="MTD_MSIL2A"):
            open_product(path).read("MTD_MSIL2A.xml")


def test_a_directory_of_a_newer_zip_or_with_broken_names_is_broken(tmp_path):
    for offset, value in ((6, b"\xff\xff"), (8, b"\x00\x08")):  # version needed; the flag that names are UTF-8
        path = archive(tmp_path / "x.zip", [("MTD_MSIL2A.xml", b"x")])
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\1\2")
        content[at + offset : at + offset + 2] = value
        content[at + 46] = 0xFF
        path.write_bytes(content)
        with pytest.raises(BrokenProduct, match=r"x\.zip: not a whole zip"):
            open_product(path)


def test_names_outside_ascii_are_no_harm(tmp_path):
    path = archive(tmp_path / "x.zip", [("Läsmig/åäö.txt", b"x" * 10), ("Läsmig/MTD_MSIL2A.xml", b"<a/>")])
    assert open_product(path).read("MTD_MSIL2A.xml") == b"<a/>"
    # The same in the older encoding, in which a letter is one byte and not two.
    path = archive(tmp_path / "y.zip", [(f"{'x' * 40}{n}", b"") for n in range(5)])
    patched(path, b"x" * 40, b"\x84" * 40)
    assert len(open_product(path).names) == 5


@pytest.mark.parametrize("root", ["", "S2.SAFE/", "outer/S2.SAFE/", "S2.SAFE/S2.SAFE/"])
def test_a_zip_may_have_no_root_folder_or_several(tmp_path, root):
    files = {"MTD_MSIL2A.xml": b"main", "GRANULE/L2A/MTD_TL.xml": b"tile"}
    found = open_product(archive(tmp_path / "x.zip", [(root + name, content) for name, content in files.items()]))
    assert list(found.names) == sorted(files)
    assert {name: found.read(name) for name in found.names} == files
    assert found.size("MTD_MSIL2A.xml") == 4


@pytest.mark.parametrize("around", ["", "S2.SAFE", "outer/S2.SAFE", "S2.SAFE/S2.SAFE"])
def test_a_folder_may_lie_in_others(tmp_path, around):
    root = tmp_path / "given" / around
    (root / "GRANULE/L2A").mkdir(parents=True)
    (root / "MTD_MSIL2A.xml").write_bytes(b"main")
    (root / "GRANULE/L2A/MTD_TL.xml").write_bytes(b"tile")
    (tmp_path / "given/.DS_Store").touch()
    found = open_product(tmp_path / "given")
    assert [name for name in found.names if not name.startswith(".")] == ["GRANULE/L2A/MTD_TL.xml", "MTD_MSIL2A.xml"]
    assert found.read("MTD_MSIL2A.xml") == b"main"


@pytest.mark.parametrize("packing", ["SAFE", "bare", "zip", "bare zip"])
def test_a_product_is_the_same_however_it_is_packed(scenes, sample, packing):
    scene = dataclasses.replace(scenes["33"], pixels=96, packing=packing)
    product, folder = read(sample(scene)), read(sample(dataclasses.replace(scene, packing="SAFE")))
    assert product.id == folder.id == NAME and product.properties == folder.properties
    assert [(layer.name, layer.file) for layer in product.layers] == [
        (layer.name, layer.file) for layer in folder.layers
    ]


def test_the_metadata_file_may_be_given_instead_of_its_folder(sample):
    path = sample("33")
    for name in ("MTD_MSIL2A.xml", "manifest.safe"):
        assert read(path / name).id == read(path).id


def test_the_folder_where_one_stands_has_its_name(sample, monkeypatch):
    monkeypatch.chdir(sample("33"))
    assert open_product(Path()).path == sample("33")
    assert open_product(Path("GRANULE/..")).path == sample("33")


@pytest.mark.parametrize("name", ["MTD_MSIL2A.xml", "GRANULE", "GRANULE/dangling"])
def test_a_link_out_of_a_folder_is_hostile_and_named(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.xml").write_text("<secret/>")
    root = tmp_path / "product"
    root.mkdir()
    (root / "real.xml").write_text("<a/>")
    (root / "inside.xml").symlink_to(root / "real.xml")
    assert list(open_product(root).names) == ["inside.xml", "real.xml"]
    link = root / name
    link.parent.mkdir(exist_ok=True)
    targets = {"MTD_MSIL2A.xml": "elsewhere/secret.xml", "GRANULE": "elsewhere", "GRANULE/dangling": "nothing"}
    link.symlink_to(tmp_path / targets[name])
    with pytest.raises(HostileProduct, match=f"product: {name} is a link that leads out"):
        read(root)


@pytest.mark.parametrize("target", [".", "..", "elsewhere"])
def test_a_folder_that_holds_only_a_link_is_not_followed_out_of_itself(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/MTD_MSIL2A.xml").write_text("<secret/>")
    root = tmp_path / "product"
    root.mkdir()
    (root / "x.SAFE").symlink_to(tmp_path / target if target == "elsewhere" else target)
    with pytest.raises(ProductError):
        read(root)


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<x>&b;</x>"""
DOCTYPES = {
    "entities in entities": BOMB,
    "a file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "an address": b'<!DOCTYPE x SYSTEM "http://example.org/x.dtd"><x/>',
    "plain": b"<!DOCTYPE x><x/>",
    "UTF-16": BOMB.decode().replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"),
    "UTF-16, big end first, without mark": '<?xml version="1.0" encoding="UTF-16BE"?><!DOCTYPE x><x/>'.encode(
        "utf-16-be"
    ),
    "UTF-32": '<?xml version="1.0" encoding="UTF-32"?><!DOCTYPE x><x/>'.encode("utf-32"),
    "EBCDIC": '<?xml version="1.0" encoding="IBM037"?><!DOCTYPE x><x/>'.encode("cp037"),
    "after a comment": b'<!-- x --><!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><x/>',
}


@pytest.mark.parametrize("kind", DOCTYPES)
def test_a_document_type_is_refused_before_it_does_anything(kind):
    begun = time.monotonic()
    # libxml2 may know no such encoding: then it is broken, and read no further either.
    with pytest.raises((HostileProduct, BrokenProduct)):
        parse_xml("MTD.xml", DOCTYPES[kind])
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("kind", [kind for kind in DOCTYPES if kind not in ("UTF-32", "EBCDIC")])
def test_the_message_says_what_is_wrong_with_a_document_type(kind):
    with pytest.raises(HostileProduct, match=r"MTD\.xml: has a DOCTYPE"):
        parse_xml("MTD.xml", DOCTYPES[kind])


def test_an_entity_in_utf_16_is_not_expanded(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    hostile = f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a SYSTEM "{secret}">]><x>&a;</x>'
    with pytest.raises(HostileProduct):
        parse_xml("MTD.xml", hostile.encode("utf-16"))


@pytest.mark.parametrize("content", [b"", b"x", b"<a>", b"<a></b>", b"\0\0\0", b"<a>\xff</a>", b"<a/>" + b"x" * 10])
def test_what_is_no_xml_is_broken_and_named(content):
    with pytest.raises(BrokenProduct, match=r"MTD\.xml"):
        parse_xml("MTD.xml", content)


def test_xml_nested_a_million_deep_is_broken():
    with pytest.raises(BrokenProduct, match=r"MTD\.xml"):
        parse_xml("MTD.xml", b"<a>" * 1_000_000)


def test_what_is_neither_folder_nor_zip_is_said(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"x" * 100)
    with pytest.raises(UnknownProduct, match="neither a folder nor a zip"):
        open_product(tmp_path / "x.tar")
    with pytest.raises(UnknownProduct, match="no such file"):
        open_product(tmp_path / "x.SAFE")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownProduct, match="no sensor"):
        read(tmp_path / "empty")


def test_a_zip_of_another_name_is_a_zip(tmp_path):
    path = archive(tmp_path / "x.SAFE", [("MTD_MSIL2A.xml", b"<a/>")])
    assert isinstance(open_product(path), Zip)
    assert isinstance(open_product(tmp_path), Folder)


def test_the_path_of_a_band_in_a_zip_is_one_that_gdal_opens(sample):
    import rasterio

    layer = next(layer for layer in read(sample("zip")).layers if layer.name == "B09")
    with rasterio.open(layer.href) as file:
        assert file.driver == "JP2OpenJPEG"


def test_an_archive_is_checked_before_any_of_it_is_read(tmp_path):
    """The one bad entry is the last of many."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(100):
            file.writestr(f"{number}.xml", b"x")
        file.writestr("../escaped", b"x")
    path = tmp_path / "x.zip"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(HostileProduct, match="escaped"):
        open_product(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zip"]
