"""Map tiles of items: /tiles/{collection}/{item}/{tms}/{z}/{x}/{y}.png."""

from __future__ import annotations

import hashlib
from typing import Annotated

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api import caller
from api.tags import known
from catalog.store import Catalog
from kartotek import grids
from kartotek.errors import NotFound
from pixels import encode, render
from pixels.blocks import Blocks


def router(catalog: Catalog, blocks: Blocks) -> APIRouter:
    """The routes of tiles."""
    made = APIRouter(tags=["Tiles"])

    @made.get(
        "/tiles/{collection}/{item}/{tms}/{z}/{x}/{y}.png",
        summary="A tile of an item: in true colour, else as its collection's first render shows it",
        response_class=Response,
        responses={
            200: {"content": {"image/png": {}}, "description": "256 or 512 pixels, transparent without data"},
            304: {"description": "The client has it already"},
        },
    )
    def tile(
        request: Request,
        collection: str,
        item: str,
        tms: Annotated[str, Path(description=f"One of {', '.join(grids.tile_matrix_sets())}")],
        z: Annotated[int, Path(ge=0, le=30)],
        x: Annotated[int, Path(ge=0)],
        y: Annotated[int, Path(ge=0)],
    ) -> Response:
        reader = caller.reader(request)
        content = catalog.item(reader, collection, item)
        described = orjson.loads(catalog.collection(reader, collection))
        matrix_set = grids.tile_matrix_sets().get(tms)
        if matrix_set is None:
            raise NotFound(f"no tile matrix set {tms!r}; there are: {', '.join(grids.tile_matrix_sets())}")
        target = render.tile_grid(matrix_set, z, x, y)
        shown = render.picture(orjson.loads(content), described, render.usual(described))
        # The picture is a function of the files (their keys carry hashes), of how they are shown, of the place, and of
        # our own code.
        tag = hashlib.sha256(repr((render.VERSION, shown, target)).encode()).hexdigest()[:32]
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(encode.png(render.rgba(blocks, shown, target)), headers=headers, media_type="image/png")

    return made
