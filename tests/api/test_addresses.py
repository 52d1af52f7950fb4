"""S1: no address, path or name of a dataset that a caller gives is ever opened; the canary hears whoever tries."""

# ruff: noqa: E501  tables are read best by the line

import contextlib
import ctypes
import http.client
import http.server
import json
import os
import re
import socket
import threading
import urllib.parse
import urllib.request

import orjson
import pytest
import shapely
from shapely.geometry import mapping

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

SENSIBLE = {
    "lon": "", "lat": "", "coord": "600000,6600000", "bbox": "", "collections": "sentinel-2-l2a", "SERVICE": "WMTS", "REQUEST": "GetTile",
    "LAYER": "sentinel-2-l2a:true-colour", "STYLE": "default", "FORMAT": "image/png", "TILEMATRIXSET": "SWEREF99TM10", "TILEMATRIX": "3", "TILEROW": "1",
    "TILECOL": "1",
}  # fmt: skip
"""What parameters are where others are looked at."""

HEADERS = (
    "Host", "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Original-URL",
    "X-Rewrite-URL", "Referer", "Origin", "Accept", "Content-Type", "Cookie", "Range", "If-Range", "If-None-Match",
    "Authorization", "X-Request-ID", "Link", "Destination", "Accept-Language",
)  # fmt: skip

MEMBERS = ("collections", "ids", "bbox", "intersects", "datetime", "limit", "token", *NAMES)


def bodies(form, area):
    """Bodies with the form in one place: of searches, mosaics and areas, also where GeoJSON and CQL2 have others in them."""
    yield form
    members = [{name: value} for name in MEMBERS for value in (form, [form], {"type": form}, {"$ref": form})]
    shown = [{name: form} for name in ("render", "assets", "index", "expression", "mask", "colormap_name", "order")]
    point = {"type": "Point", "coordinates": form}
    geometries = [form, {"type": form}, {"type": "Polygon", "coordinates": form}, point, {**area, "href": form},
                  {"type": "GeometryCollection", "geometries": [form, point]}]  # fmt: skip
    crs = [{"type": "name", "properties": {"name": form}}, {"type": "link", "properties": {"href": form}}, form]
    filters = [
        {"op": "=", "args": [{"property": "id"}, form]}, {"op": form, "args": [form]}, {"op": "=", "args": [{"property": form}, 1]},
        {"op": "s_intersects", "args": [{"property": "geometry"}, form]}, {"op": "like", "args": [{"property": "id"}, form]},
        {"op": "=", "args": [{"function": form, "args": [form]}, 1]}, {"op": "in", "args": [{"property": "id"}, [form]]},
        {"op": "t_after", "args": [{"property": "datetime"}, {"timestamp": form}]},
    ]  # fmt: skip
    searches = [*members, *shown, *({"filter": one} for one in filters), *({"filter": one, "filter-crs": form} for one in filters[:1]),
                *({"intersects": one} for one in geometries), *({"intersects": {**area, "crs": one}} for one in crs),
                {"filter": f"id = '{form}'"}, {"filter": form, "filter-lang": form}]  # fmt: skip
    for search in searches:
        yield json.dumps({"collections": ["sentinel-2-l2a"], **search})
    feature = {"type": "Feature", "properties": {}, "geometry": area}
    areas = [
        *geometries,
        *({**area, "crs": one} for one in crs),
        {**feature, "id": form},
        {**feature, "properties": {"url": form}},
    ]
    for one in (*areas, *({**feature, "geometry": one} for one in geometries)):
        yield json.dumps(one)
        yield json.dumps({"type": "FeatureCollection", "features": [feature, one]})


def requests(document, known, form):
    """Every request of the OpenAPI document with the form in one place at a time: (method, target, headers, body).

    The other places have what makes sense there, so that the request comes as far as it can.
    """
    quoted = urllib.parse.quote(form, safe="")
    raw = urllib.parse.quote(form, safe="/:%?&=@$,;{}~+\\")  # as little as a request line bears
    area, kind = json.loads(known["area"]), {"Content-Type": "application/json"}
    for path, operations in document["paths"].items():
        places = re.findall(r"{(\w+)}", path)
        filled = re.sub(r"{(\w+)}", lambda place: known.get(place[1], "x"), path)
        for method, content in (("GET", None), ("POST", known["area"] if "{" in path else "{}")):
            if method.lower() not in operations:
                continue
            for place in places:
                for text in {quoted, raw}:
                    there = known | {place: text}
                    target = re.sub(r"{(\w+)}", lambda one, there=there: there.get(one[1], "x"), path)
                    yield (
                        method,
                        f"{target}?{sensible(operations[method.lower()], known)}",
                        kind if content else {},
                        content,
                    )
            operation = operations[method.lower()]
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
            for name in (*sorted(named), *NAMES):
                target = f"{filled}?{sensible(operation, known, name)}&{name}={quoted}"
                yield method, target, kind if content else {}, content
        if "get" in operations:
            for name in HEADERS:
                value = form.encode("latin-1", "replace").decode("latin-1").replace("\0", "")
                yield "GET", filled, {name: value}, None
        if "post" in operations:
            for body in bodies(form, area):
                yield "POST", f"{filled}?{sensible(operations['post'], known)}", kind, body
    for text in (quoted, raw, "/" + raw, raw.lstrip("/")):
        yield "GET", text if text.startswith("/") else f"/{text}", {}, None
    if form.startswith("http") and "\\" not in form:
        yield "GET", form, {}, None  # as a proxy is asked


def whole(document, known):
    """A request for pixels of each kind as it is without the form: (method, target, body)."""
    for path, operations in document["paths"].items():
        if not re.match("/(tiles|mosaics|wmts|collections/{collection_id}/items/{item_id}/.+)", path):
            continue
        filled = re.sub(r"{(\w+)}", lambda place: known.get(place[1], "x"), path)
        for method in {"get", "post"} & set(operations):
            body = None if method == "get" else known["area"] if "{" in path else '{"collections": "sentinel-2-l2a"}'
            yield method.upper(), f"{filled}?{sensible(operations[method], known)}", body


def sensible(operation, known, but=None):
    """Parameters of an operation that make sense, without one of them."""
    named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"} & set(SENSIBLE)
    without = {"coord": {"lon", "lat"}, "crs": {"lon", "lat"}}.get(but, {"coord"}) | {but}
    return urllib.parse.urlencode({name: known.get(name, SENSIBLE[name]) for name in sorted(named - without)})


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


@pytest.mark.parametrize("every", [250, pytest.param(1, marks=pytest.mark.full)])
def test_no_address_of_a_caller_is_opened(canary, serving, published, item, every):
    """More than 30 forms in every parameter, header, member of a body and place of a path that there is."""
    key = urllib.parse.urlsplit(item["assets"]["B04"]["href"]).path
    west, south, east, north = item["bbox"]
    small = [(west + east) / 2, (south + north) / 2, (west + east) / 2 + 0.01, (south + north) / 2 + 0.01]
    known = {
        "collection_id": item["collection"], "collection": item["collection"], "item_id": item["id"], "item": item["id"],
        "tms": "SWEREF99TM10", "z": "3", "x": "1", "y": "1", "matrix": "3", "row": "1", "column": "1", "form": "png",
        "layer": "sentinel-2-l2a:true-colour", "style": "default", "time": "default", "render": "true-colour",
        "lon": str(small[0]), "lat": str(small[1]), "bbox": ",".join(map(str, small)), "area": json.dumps(mapping(shapely.box(*small))), "key": key.lstrip("/"), "path": key.lstrip("/"),
    }  # fmt: skip
    places = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{canary.port}"} if published.kind == "sqlite" else {}
    ways = forms(canary.folder, canary.port)
    assert len(ways) >= 30
    asked = 0
    with serving(published.settings, **places) as server:
        document = json.loads(urllib.request.urlopen(f"{server.root}/api", timeout=30).read())
        assert len(document["paths"]) >= 40
        mosaic = {"collections": ["sentinel-2-l2a"], "ids": [item["id"]]}
        made = urllib.request.Request(f"{server.root}/mosaics", json.dumps(mosaic).encode(), {"Content-Type": "application/json"})  # fmt: skip
        known["mosaic"] = json.loads(urllib.request.urlopen(made, timeout=30).read())["id"]
        host, port = server.place
        connection = http.client.HTTPConnection(host, port, timeout=60)
        for method, target, body in whole(document, known):
            connection.request(method, target, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.read() is not None and answer.status < 400, (answer.status, method, target)
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
