"""A product's files, whether they lie in a folder or in a zip; and its XML, read without trust.

Nothing is unpacked: a zip's directory is checked as a whole before any byte of it is read.
"""

from __future__ import annotations

import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from lxml import etree

from kartotek.errors import BrokenProduct, HostileProduct, UnknownProduct
from kartotek.product import Files

MAX_ENTRIES = 20_000
MAX_UNPACKED = 32 * 2**30
"""Bytes of a whole product, unpacked; the largest genuine ones have 8 GiB."""
MAX_RATIO = 1_100
"""Unpacked by packed bytes of one entry; DEFLATE can't exceed 1 032, so more is a lie in the directory."""
MAX_XML = 3 * 2**20
"""Bytes of an XML document; the largest genuine ones have under 2 MB, and its tree takes up to 40 times as much."""
MAX_NAME = 500
"""Letters of a file's path inside a product; genuine ones have up to 250."""
MAX_DEPTH = 32
"""Folders in each other."""
MAX_DIRECTORY = 4 * 2**20
"""Bytes of a zip's directory; genuine ones have some 200 an entry."""


class Folder:
    """A product in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path
        while True:
            inside = [entry for entry in sorted(self._root.iterdir()) if not entry.name.startswith(".")]
            if len(inside) != 1 or inside[0].is_symlink() or not inside[0].is_dir():
                break
            self._root = inside[0]  # a SAFE inside a SAFE, or a folder around one

    @cached_property
    def names(self) -> Sequence[str]:
        """Paths of all files below the root folder. Raises HostileProduct where a link leads out of it."""
        root, found, folders, seen = self._root.resolve(), [], [""], 0
        while folders:
            inside = folders.pop()
            for entry in os.scandir(self._root / inside):
                seen, name = seen + 1, f"{inside}{entry.name}"
                if seen > MAX_ENTRIES or inside.count("/") > MAX_DEPTH:
                    raise UnknownProduct(
                        f"{self.path.name}: more files than any product has, or deeper; give a product"
                    )
                if entry.is_symlink() and not _target(Path(entry.path)).is_relative_to(root):
                    raise HostileProduct(
                        f"{self.path.name}: {name} is a link that leads out of the product; put what it means in its "
                        "place"
                    )
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif entry.is_file():
                    found.append(name)
        return tuple(sorted(found))

    def read(self, name: str) -> bytes:
        """A small file's bytes."""
        _check_small(f"{self.path.name}: {name}", self.size(name))
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise BrokenProduct(f"{self.path.name}: can't read {name}: {error.strerror}") from error

    def size(self, name: str) -> int:
        """A file's size in bytes."""
        return (self._root / name).stat().st_size

    def href(self, name: str) -> str:
        """The file's path."""
        return str(self._root / name)


class _Cautious:
    """A zip to look into: zipfile reads its directory, of whatever size, in one piece before anyone can check it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._size = file.seek(0, os.SEEK_END)
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes, or the rest. Raises HostileProduct where they are more than a directory has."""
        rest = max(0, self._size - self.tell())
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted > MAX_DIRECTORY:
            raise HostileProduct(
                f"{self._path.name}: a directory of {wanted >> 20} MB; at most {MAX_DIRECTORY >> 20} are read"
            )
        return self._file.read(wanted)


class Zip:
    """A product in a zip, with or without a root folder.

    `opened` gives the zip's bytes where they don't lie at the path.
    """

    def __init__(self, path: Path, opened: Callable[[], BinaryIO] | None = None) -> None:
        self.path = path
        self._opened = opened or (lambda: path.open("rb"))
        try:
            with self._opened() as file, zipfile.ZipFile(cast("BinaryIO", _Cautious(path, file))) as archive:
                self._entries = {info.filename: info for info in _checked(path, archive)}
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise BrokenProduct(
                f"{path.name}: not a whole zip ({error}); fetch the product again, or unpack what there is and convert "
                "the folder with --allow-partial"
            ) from error
        self._root = _root(list(self._entries))
        self._place = path.resolve()

    @cached_property
    def names(self) -> Sequence[str]:
        """Paths of all files below the root folder."""
        return tuple(sorted(name.removeprefix(self._root) for name in self._entries))

    def read(self, name: str) -> bytes:
        """A small file's bytes, unpacked; the size that the directory states is the most that is read."""
        info = self._entries[self._root + name]
        _check_small(f"{self.path.name}: {name}", info.file_size)
        try:
            with self._opened() as whole, zipfile.ZipFile(whole) as archive, archive.open(info) as file:
                return file.read(info.file_size)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, zlib.error, lzma.LZMAError) as error:
            raise BrokenProduct(f"{self.path.name}: can't read {name}: {error}") from error

    def size(self, name: str) -> int:
        """A file's size in bytes, unpacked, as the directory states it."""
        return self._entries[self._root + name].file_size

    def href(self, name: str) -> str:
        """GDAL's name of the file inside the zip."""
        return f"/vsizip/{{{self._place}}}/{self._root}{name}"


def open_product(path: Path) -> Files:
    """The files of the product at a path: a folder, a zip, or a metadata file inside a folder.

    Raises UnknownProduct, BrokenProduct or HostileProduct, with the path named.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  "." has no name; a link keeps its own
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise UnknownProduct(f"{path}: no such file or folder")
    if path.suffix.lower() == ".xml" or path.name == "manifest.safe":
        return Folder(path.parent)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return Zip(path)
    raise UnknownProduct(f"{path.name}: neither a folder nor a zip; give the .SAFE folder or the product's zip")


def parse_xml(name: str, content: bytes) -> etree._Element:
    """The root element of an XML document of the agency; `name` is for messages.

    Entities are not expanded, nothing is loaded from elsewhere, and any DOCTYPE is refused, since no genuine product
    has one. Raises HostileProduct or BrokenProduct.
    """
    _check_small(name, len(content))
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise HostileProduct(f"{name}: has a DOCTYPE, which no genuine product has; fetch the product again")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise BrokenProduct(f"{name}: not well-formed XML ({error.msg}); fetch the product again") from error
    if getattr(root.getroottree().docinfo, "doctype", ""):
        raise HostileProduct(f"{name}: has a DOCTYPE, which no genuine product has; fetch the product again")
    return root


def _target(link: Path) -> Path:
    """What a link means in the end; the root of all, which no product has, where it leads in a circle."""
    try:
        return link.resolve()
    except (RuntimeError, OSError):  # before Python 3.13 the former
        return Path("/")


def _check_small(name: str, size: int) -> None:
    """Raise HostileProduct where a file that is read as a whole is larger than any genuine one."""
    if size > MAX_XML:
        raise HostileProduct(f"{name}: {size >> 20} MB of XML; at most {MAX_XML >> 20} MB are read")


def _checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The zip's files; HostileProduct where its directory asks for harm, before anything is read."""
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise HostileProduct(f"{path.name}: {len(infos)} entries; at most {MAX_ENTRIES} are accepted")
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        if len(name) > MAX_NAME or name.count("/") > MAX_DEPTH:
            raise HostileProduct(f"{path.name}: the entry {name[:40]!r}... has {len(name)} letters in its path")
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in parts[0]:
            raise HostileProduct(f"{path.name}: the entry {name!r} leads out of the archive")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise HostileProduct(f"{path.name}: the entry {name!r} is a link")
        if name in seen:
            raise HostileProduct(f"{path.name}: the entry {name!r} occurs twice")
        seen.add(name)
        if info.flag_bits & 0x1:
            raise BrokenProduct(f"{path.name}: the entry {name!r} is encrypted")
        if info.file_size > MAX_RATIO * max(info.compress_size, 1):
            raise HostileProduct(
                f"{path.name}: the entry {name!r} unpacks to {info.file_size} bytes from {info.compress_size}"
            )
    total = sum(info.file_size for info in infos)
    if total > MAX_UNPACKED:
        raise HostileProduct(f"{path.name}: unpacks to {total >> 30} GiB; at most {MAX_UNPACKED >> 30} are accepted")
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise HostileProduct(f"{path.name}: the entry {info.filename!r} overlaps another")
        raw = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        end = info.header_offset + 30 + len(raw) + info.compress_size
    if end > archive.start_dir:
        raise HostileProduct(f"{path.name}: its last entry reaches beyond the place of the directory")
    return [info for info in infos if not info.is_dir()]


def _root(names: list[str]) -> str:
    """The folder that holds the product inside an archive, with a slash at its end; empty where there is none."""
    root = ""
    while True:
        heads = {name.removeprefix(root).partition("/")[::2] for name in names}
        folders = {head for head, rest in heads if rest}
        if len(folders) != 1 or any(not rest for _, rest in heads):
            return root
        root += f"{folders.pop()}/"
