"""Products as the agency delivered them, where they lie on this machine: /products/{collection}/{item}.zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import caller
from api.files import PIECE, part
from api.tags import known
from catalog.access import PUBLIC
from catalog.store import Catalog
from converters.safe import Folder
from kartotek.errors import NotFound
from kartotek.storage import MEDIA_TYPES, PRODUCTS

ZIP = MEDIA_TYPES[".zip"]


def router(catalog: Catalog) -> APIRouter:
    """The routes of products. Where one lies is what the ledger says of an item that the caller may see."""
    made = APIRouter(tags=["Files"])

    @made.head("/products/{collection}/{item}.zip", include_in_schema=False)
    @made.get(
        "/products/{collection}/{item}.zip",
        summary="The product of an item as the agency delivered it; of a folder, a zip that is made on the way",
        response_class=Response,
        responses={
            200: {"content": {ZIP: {}}, "description": "The product"},
            206: {"content": {ZIP: {}}, "description": "A range of its bytes"},
            304: {"description": "The client has it already"},
        },
    )
    def product(request: Request, collection: str, item: str) -> Response:
        reader = caller.reader(request)
        path = _place(catalog, catalog.item(reader, collection, item), collection, item)
        headers = {
            "Cache-Control": f"{'public' if reader == PUBLIC else 'private'}, no-cache",
            "Content-Disposition": f'attachment; filename="{item}.zip"',
        }
        if path.is_dir():
            found = iter(()) if request.method == "HEAD" else _zipped(Folder(path), item)
            return StreamingResponse(found, headers=headers, media_type=ZIP)
        stated = path.stat()
        headers |= {"Accept-Ranges": "bytes", "ETag": f'"{stated.st_mtime_ns:x}-{stated.st_size:x}"'}
        if known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return part(request, partial(_read, path), stated.st_size, headers, ZIP)

    return made


def _place(catalog: Catalog, content: bytes, collection: str, item: str) -> Path:
    """Where the product of an item lies. Raises NotFound where it says that it lies elsewhere, or it is gone."""
    if f'"href":"{PRODUCTS}{collection}/{item}.zip"'.encode() in content:
        for place in catalog.ledger.places(collection, item):
            if (path := Path(place)).exists():
                return path
    raise NotFound(f"no product of item {item!r} in collection {collection!r}")


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


class _Sink(io.RawIOBase):
    """What a zip is written into: gives what has come since it was last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, piece: bytes, /) -> int:  # type: ignore[override]
        """Keep some bytes."""
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        """What has come."""
        found, self._pieces = b"".join(self._pieces), []
        return found


def _zipped(files: Folder, item: str) -> Iterator[bytes]:
    """A folder's files as a zip of a .SAFE folder, stored as they are: the images are compressed already."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in files.names:
            info = zipfile.ZipInfo(f"{item}.SAFE/{name}")
            info.file_size = files.size(name)
            with archive.open(info, "w") as target, Path(files.href(name)).open("rb") as source:
                while piece := source.read(PIECE):
                    target.write(piece)
                    yield sink.taken()
    yield sink.taken()
