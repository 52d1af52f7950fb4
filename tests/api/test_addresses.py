"""S1: no address, path or name of a dataset that a caller gives is ever opened; the canary hears whoever tries."""

# ruff: noqa: E501  tables are read best by the line

import contextlib
import ctypes
import http.client
import http.server
import json
import os
import socket
import threading
import urllib.parse
import urllib.request

import orjson
import pytest

from catalog.access import PUBLIC
from catalog.search import Search

MARK = "canary-7f3a9"
"""Stands in what the canary would tell."""


class Canary:
    """A folder and an HTTP server that note who opens anything of theirs."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "x.tif").write_bytes(b"II*\0\x08\0\0\0" + MARK.encode())
        for name in ("x.zip", "x.vrt", "x.json", "x.db", "x.nc", "x.xml", "x.png"):
            (folder / name).write_text(MARK)
        self._events = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_NONBLOCK)
        opened, closed_or_read = 0x20, 0x1
        watch = ctypes.CDLL(None).inotify_add_watch(self._events, os.fsencode(folder), opened | closed_or_read)
        assert self._events >= 0 and watch >= 0
        self.asked = []
        canary = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                canary.asked.append(self.requestline)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(MARK.encode())

            do_HEAD = do_POST = do_PUT = do_PROPFIND = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

            def handle(self):
                canary.asked.append("connection")
                super().handle()

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def heard(self):
        """What was opened and asked for since it was last asked."""
        found, self.asked = list(self.asked), []
        with contextlib.suppress(BlockingIOError):
            while events := os.read(self._events, 65_536):
                found.append(events)
        return found

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        os.close(self._events)


@pytest.fixture
def canary(tmp_path):
    folder = tmp_path / "canary"
    folder.mkdir()
    made = Canary(folder)
    yield made
    made.close()


def forms(folder, port):
    """The ways to name what lies elsewhere."""
    host = f"127.0.0.1:{port}"
    http_, path = f"http://{host}/x.tif", f"{folder}/x.tif"
    return [
        http_, f"HTTP://{host}/x.tif", f"https://{host}/x.tif", f"//{host}/x.tif", f"http://user:pass@{host}/x.tif",
        f"http://2130706433:{port}/x.tif", f"http://0x7f000001:{port}/x.tif", f"http://localhost:{port}/x.tif",
        f"ftp://{host}/x.tif", f"gopher://{host}/_x", f"dict://{host}/x", f"data:,{host}", f"jar:{http_}!/x",
        path, f"file://{path}", f"file:{path}", "../" * 12 + path.lstrip("/"), "..%2f" * 12 + path.lstrip("/"),
        f"....//....//{path}", f"{path}\0.png", f"{path}%00.png", f"\\\\{host}\\x.tif", f"~{path}", f"${{HOME}}/../..{path}",
        f"/vsicurl/{http_}", f"/vsicurl?url={urllib.parse.quote(http_)}", "/vsis3/canary/x.tif", "/vsigs/canary/x.tif",
        f"/vsizip//vsicurl/http://{host}/x.zip/x.tif", f"/vsizip/{{{folder}/x.zip}}/x.tif", f"/vsigzip/{path}",
        f"/vsisubfile/0_100,{path}", f"/vsisparse/{folder}/x.xml", f"/vsicrypt/key=x,file={path}", "/vsistdin/",
        f"GTIFF_DIR:1:{path}", f"GTIFF_RAW:{path}", f"vrt://{path}", f"WMS:http://{host}/?", f'NETCDF:"{folder}/x.nc":x',
        f'ZARR:"/vsicurl/{http_}"', f"SENTINEL2_L1C:{folder}/x.xml:10m:EPSG_32633", f"STACTA:{folder}/x.json",
        f"DERIVED_SUBDATASET:LOGAMPLITUDE:{path}", f'STACIT:"http://{host}/search"', f"PG:host=127.0.0.1 port={port}",
        f"<VRTDataset><SourceFilename>{path}</SourceFilename></VRTDataset>", f'{{"href": "{http_}"}}', f'{{"$ref": "{http_}"}}',
        "s3://canary/x.tif", "gs://canary/x.tif", f"sqlite:///{folder}/x.db", f"postgresql://{host}/x", f"kartotek:{path}",
    ]  # fmt: skip


NAMES = (
    "url", "uri", "href", "src", "source", "path", "file", "filename", "dataset", "assets", "asset", "item", "mosaic",
    "callback", "next", "redirect", "return", "host", "proxy", "schema", "template", "style", "filter", "filter-crs",
    "query", "fields", "sortby", "crs", "f",
)  # fmt: skip
"""Parameters that others have and that we don't."""

HEADERS = (
    "Host", "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Original-URL",
    "X-Rewrite-URL", "Referer", "Origin", "Accept", "Content-Type", "Cookie", "Range", "If-Range", "If-None-Match",
    "Authorization", "X-Request-ID", "Link", "Destination", "Accept-Language",
)  # fmt: skip

MEMBERS = ("collections", "ids", "bbox", "intersects", "datetime", "limit", "token", *NAMES)


def requests(document, known, form):
    """Every request of the OpenAPI document with the form in one place at a time: (method, target, headers, body)."""
    quoted = urllib.parse.quote(form, safe="")
    raw = urllib.parse.quote(form, safe="/:%?&=@$,;{}~+\\")  # as little as a request line bears
    for path, operations in document["paths"].items():
        places = [part.strip("{}") for part in path.split("/") if "{" in part]
        places = [place.partition("}")[0] for place in places]
        filled = path
        for place in places:
            filled = filled.replace(f"{{{place}}}", known.get(place, "x"))
        for place in places:
            for text in {quoted, raw}:
                target = path.replace(f"{{{place}}}", text)
                for other in places:
                    target = target.replace(f"{{{other}}}", known.get(other, "x"))
                yield "GET", target, {}, None
        named = {one["name"] for one in operations.get("get", {}).get("parameters", ()) if one["in"] == "query"}
        for name in sorted(named) + list(NAMES):
            yield "GET", f"{filled}?{name}={quoted}", {}, None
        for name in HEADERS:
            value = form.encode("latin-1", "replace").decode("latin-1").replace("\0", "")
            yield "GET", filled, {name: value}, None
        if "post" in operations:
            for name in MEMBERS:
                for value in (form, [form], {"type": form}, {"type": "Point", "coordinates": form}, {"$ref": form}):
                    yield "POST", path, {"Content-Type": "application/json"}, json.dumps({name: value})
            yield "POST", path, {"Content-Type": "application/json"}, form
    for text in (quoted, raw, "/" + raw, raw.lstrip("/")):
        yield "GET", text if text.startswith("/") else f"/{text}", {}, None
    if form.startswith("http") and "\\" not in form:
        yield "GET", form, {}, None  # as a proxy is asked


@pytest.fixture
def item(published):
    """An item's collection and id."""
    return orjson.loads(published.catalog.search(PUBLIC, Search(collections=("sentinel-2-l2a",), limit=1)).items[0])


def test_the_canary_hears_who_opens_and_who_connects(canary):
    assert canary.heard() == []
    (canary.folder / "x.tif").read_bytes()
    assert canary.heard() != []
    socket.create_connection(("127.0.0.1", canary.port)).close()
    for _ in range(100):
        if heard := canary.heard():
            break
        threading.Event().wait(0.05)
    assert heard


@pytest.mark.parametrize("every", [150, pytest.param(1, marks=pytest.mark.full)])
def test_no_address_of_a_caller_is_opened(canary, serving, published, item, every):
    """More than 30 forms in every parameter, header, member of a body and place of a path that there is."""
    key = urllib.parse.urlsplit(item["assets"]["B04"]["href"]).path
    known = {
        "collection_id": item["collection"], "collection": item["collection"], "item_id": item["id"], "item": item["id"],
        "tms": "SWEREF99TM10", "z": "3", "x": "1", "y": "1", "key": key.lstrip("/"), "path": key.lstrip("/"),
    }  # fmt: skip
    places = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{canary.port}"} if published.kind == "sqlite" else {}
    ways = forms(canary.folder, canary.port)
    assert len(ways) >= 30
    asked = 0
    with serving(published.settings, **places) as server:
        document = json.loads(urllib.request.urlopen(f"{server.root}/api", timeout=30).read())
        assert len(document["paths"]) >= 10
        host, port = server.place
        connection = http.client.HTTPConnection(host, port, timeout=60)
        for number, form in enumerate(ways):
            for place, (method, target, headers, body) in enumerate(requests(document, known, form)):
                if (place + number) % every:
                    continue
                asked += 1
                connection.putrequest(method, "x", skip_host="Host" in headers, skip_accept_encoding=True)
                connection._buffer[0] = f"{method} {target} HTTP/1.1".encode("latin-1", "replace").replace(
                    b"\0", b"%00"
                )
                for name, value in headers.items():
                    connection.putheader(name, value.encode("latin-1", "replace").replace(b"\n", b" "))
                content = None if body is None else body.encode()
                if content is not None:
                    connection.putheader("Content-Length", str(len(content)))
                connection.endheaders(content)
                answer = connection.getresponse()
                text = answer.read()
                what = (method, target, headers, body)
                assert answer.status < 500, (what, text)
                assert MARK.encode() not in text, what
                where = answer.headers.get("location", "")
                assert str(canary.port) not in where and str(canary.folder) not in where, what
                # A link that follows what a header says would send others there.
                if method == "GET" and headers:
                    assert f":{canary.port}".encode() not in text, what
        connection.close()
        assert canary.heard() == []
        server.stop()
    print(f"{asked} requests in {len(ways)} forms")
    assert asked > (250 if every > 1 else 35_000)
