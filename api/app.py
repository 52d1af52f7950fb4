"""The application: what is served, on which catalog and storage."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.responses import Response

from api import (
    aggregation,
    browse,
    errors,
    files,
    legends,
    limits,
    matrices,
    metrics,
    mosaics,
    numbers,
    openapi,
    page,
    products,
    queryables,
    search,
    tilejson,
    tiles,
    tilesets,
    transactions,
    wmts,
)
from api.middleware import Body, Head, Requests
from api.pictures import Pictures
from catalog.store import Catalog
from kartotek import matrices as tile_matrices
from kartotek.settings import Settings
from kartotek.storage import Storage, open_storage
from pixels.blocks import Blocks

PACKED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "image/*", "application/vnd.apache.parquet")
"""Types of answers that are packed already."""


def create_app(settings: Settings, catalog: Catalog | None = None, storage: Storage | None = None) -> FastAPI:
    """The application on the catalog and the storage that the settings name, or on those that are given."""
    catalog = catalog or Catalog(settings.database, milliseconds=round(1_000 * settings.statement_seconds))
    storage = storage or open_storage(settings.storage, settings.files_endpoint)
    tile_matrices.serve_also(settings.tile_matrix_sets)
    app = search.create(settings, catalog, pictures=partial(files.addresses, settings, storage))
    app.router.redirect_slashes = False  # it would send clients to wherever the Host header says
    errors.add_handlers(app)
    app.add_middleware(limits.Limited, limits=limits.of(settings, remote=storage.remote))
    app.add_middleware(Body, most=settings.max_body)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=1_000,
        compresslevel=1,
        exclude_content_types=PACKED,
    )
    app.add_middleware(Head)
    app.add_middleware(Requests)  # the last is the outermost
    blocks = Blocks(storage, memory=settings.cache_mb << 20, kept=catalog.directories)
    pictures = Pictures(catalog)
    app.include_router(numbers.router(settings, catalog, pictures, blocks))
    app.include_router(tiles.router(pictures, blocks))
    drawn = mosaics.Tiles(settings, catalog, pictures, blocks)
    app.include_router(mosaics.router(settings, catalog, drawn, app.state.items))
    app.include_router(wmts.router(settings, catalog, drawn))
    app.include_router(matrices.router(settings))
    app.include_router(tilesets.router(settings, catalog))
    app.include_router(legends.router(catalog))
    app.include_router(tilejson.router(settings, catalog, pictures))
    app.include_router(files.router(catalog, storage, redirect=settings.files == "redirect"))
    app.include_router(products.router(catalog))
    app.include_router(queryables.router(settings, catalog))
    app.include_router(browse.router(settings, catalog))
    app.include_router(aggregation.router(settings, catalog))
    if settings.transactions:
        app.include_router(transactions.router(settings, catalog))
    app.include_router(page.page_router())
    if settings.metrics:
        app.include_router(metrics.router(catalog))

    openapi.complete(app)
    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}, "description": "ok"}}

    @app.get("/livez", tags=["Health"], summary="Whether the process answers", response_class=Response, responses=plain)
    async def livez() -> Response:  # by no thread: all of them may be at work
        return Response("ok\n", media_type="text/plain")

    @app.get(
        "/readyz",
        tags=["Health"],
        summary="Whether the database answers, with tables of this version",
        response_class=Response,
        responses=plain,
    )
    def readyz() -> Response:
        catalog.check()
        return Response("ok\n", media_type="text/plain")

    return app
