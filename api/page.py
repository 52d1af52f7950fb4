"""The pages for browsers, the map and the API's documentation, from the folder that `hatch_build.py` fills."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from kartotek.errors import NotFound

DIST = Path(__file__).parent / "viewer" / "dist"

MEDIA = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
"""The media types of the files that are served, by suffix; no other file is."""

FOREVER = "public, max-age=31536000, immutable"

MISSING = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>kartotek</title></head>
<body>
<h1>kartotek</h1>
<p>The map page is missing: {reason}</p>
<p>It is bundled when kartotek is installed: do that again on a machine that reaches the npm registry,
<code>pip install --force-reinstall --no-deps .</code>, or run <code>python hatch_build.py</code> where kartotek is
installed editable.</p>
<p>The catalog answers without it: <a href="collections">collections</a>, <a href="search">search</a>.</p>
</body>
</html>
"""


def page(name: str = "index.html", *, pictures: Sequence[str] = ()) -> Response:
    """A page under its content security policy, or one that says what is missing and how to get it.

    `pictures` are addresses that thumbnails come from, should their origins be others than the page's own.
    """
    # `/` answers JSON to others, and a new build has new names in it
    headers = {"Cache-Control": "no-cache", "Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    try:
        content = (DIST / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        content = MISSING.format(reason=html.escape(missing()))
        return HTMLResponse(content, headers=headers | {"Content-Security-Policy": "default-src 'none'"})
    return HTMLResponse(content, headers=headers | {"Content-Security-Policy": policy(pictures)})


def page_router() -> APIRouter:
    """The pages' files under `viewer/`, each under its exact name, and the API's documentation."""
    router = APIRouter(include_in_schema=False)

    @router.get("/api.html")
    def documentation() -> Response:
        return page("api.html")

    @router.api_route("/viewer/{name}", methods=["GET", "HEAD"])
    def file(name: str) -> FileResponse:
        files = {path.name: path for path in DIST.glob("*") if path.suffix in MEDIA and path.name != "missing.txt"}
        if name not in files:
            raise NotFound(f"viewer: no file {name!r}; the page at / names those that there are")
        hashed = name.startswith(("viewer-", "api-"))
        headers = {"Cache-Control": FOREVER if hashed else "no-cache", "X-Content-Type-Options": "nosniff"}
        return FileResponse(files[name], media_type=MEDIA[files[name].suffix], headers=headers)

    return router


def policy(pictures: Sequence[str] = ()) -> str:
    """The content security policy: scripts, styles and requests from here alone, pictures from these origins too.

    >>> policy(["https://files.example.se/kartotek"]).split("; ")[4]
    "img-src 'self' data: blob: https://files.example.se"
    """
    found = (urlsplit(address) for address in pictures)
    origins = " ".join(["'self' data: blob:", *(f"{one.scheme}://{one.netloc}" for one in found if one.netloc)])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src {origins}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


def missing() -> str:
    """Why there is no page, as the build wrote it down."""
    try:
        return (DIST / "missing.txt").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "it has not been built yet."
