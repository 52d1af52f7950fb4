"""Map tiles of items: /tiles/{collection}/{item}/{tms}/{z}/{x}/{y}.png, .webp, .jpg, .tif or .npy."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api import caller
from api.display import TileQuery
from api.pictures import Pictures
from api.places import Column, Row, Tms, Zoom, grid_of
from api.routing import Direct
from api.tags import known, of_made
from kartotek.errors import NotFound
from kartotek.stopwatch import Stopwatch
from pixels import encode, render
from pixels.blocks import Blocks

IMMUTABLE = "public, max-age=31536000, immutable"
"""Of a tile whose address names the version of what it shows: that never changes."""
STAGES = ("index", "read", "decode", "warp", "render", "encode")
"""What a tile's time goes to, in the order of its work: asking the catalog and where the blocks lie is the index."""

_TILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind: {} for kind in sorted({kind for kind, _ in encode.PICTURES.values()})},
        "description": "256 or 512 pixels, transparent where there is no data; Server-Timing tells its stages",
    },
    204: {"description": "Nothing is seen, and the request has `empty=204`"},
    304: {"description": "The client has it already"},
}


def router(pictures: Pictures, blocks: Blocks) -> APIRouter:
    """The routes of items' tiles."""
    made = APIRouter(tags=["Tiles"], route_class=Direct)

    @made.get(
        "/tiles/{collection}/{item}/{tms}/{z}/{x}/{y}.{form}",
        summary="A tile of an item: as a render of its collection, bands, an index or a formula show it",
        response_class=Response,
        responses=_TILE,
    )
    def tile(
        request: Request,
        collection: str,
        item: str,
        tms: Tms,
        z: Zoom,
        x: Column,
        y: Row,
        form: Annotated[str, Path(description=f"One of {', '.join(encode.PICTURES)}")],
        given: Annotated[TileQuery, Query()],
    ) -> Response:
        watch = Stopwatch()
        with watch.stage("index"):
            kind, encoded = form_of(form)
            target = grid_of(tms, str(z), str(x), str(y))
            shown = pictures.of_item(caller.reader(request), collection, item, given.shown)
        # The picture is a function of the files (their keys carry hashes), of how they are shown, of the place, and of
        # our own code.
        version = shown.version
        tag = of_made(f"{version} {target} {kind} {given.empty}", kind)
        headers = {"ETag": tag, "Cache-Control": IMMUTABLE if given.v == version else "no-cache"}
        if known(request, headers["ETag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        raster = render.raster(blocks, shown, target, watch)
        if given.empty == "204" and not raster.valid.any():
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
        with watch.stage("encode"):
            content = encoded(raster)
        headers["Server-Timing"] = timing(watch)
        return Response(content, headers=headers, media_type=kind)

    return made


def form_of(name: str) -> Any:
    """(media type, what encodes) of a suffix."""
    try:
        return encode.PICTURES[name]
    except KeyError:
        raise NotFound(f"no tiles end in .{name[:20]}; there are: {', '.join(encode.PICTURES)}") from None


def timing(watch: Stopwatch) -> str:
    """How long each stage took, as the header Server-Timing tells it: in milliseconds.

    >>> watch = Stopwatch()
    >>> watch.seconds |= {"read": 0.002, "index": 0.00049}
    >>> timing(watch)
    'index;dur=0.49, read;dur=2.00'
    """
    return ", ".join(f"{name};dur={1000 * watch.seconds[name]:.2f}" for name in STAGES if name in watch.seconds)
