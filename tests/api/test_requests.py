"""Ids of requests, and what `kartotek serve` writes about them."""

import asyncio
import contextlib
import logging
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import orjson
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from kartotek import logs, matrices
from kartotek.cli.serve import listen
from kartotek.settings import Settings
from kartotek.storage import FolderStorage


@pytest.mark.parametrize("given", ["a", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Trace_7", "x" * 64])
def test_a_harmless_request_id_of_the_client_is_kept(client, given):
    assert client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "<script>", "å", "a\u0661", "../x", "${jndi:ldap://x}"])
def test_any_other_is_replaced(client, given):
    ids = {client.get("/livez", headers={"X-Request-ID": given.encode()}).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2 and all(re.fullmatch("[0-9a-f]{32}", name) for name in ids)


def test_every_answer_has_one(client):
    asked = [("GET", "/"), ("GET", "/nothing"), ("GET", "/search?bbox=1"), ("HEAD", "/search"), ("DELETE", "/search"),
             ("GET", "/viewer/no.js"), ("GET", "/collections/a/items/b"), ("OPTIONS", "/search")]  # fmt: skip
    for method, path in asked:
        found = client.request(method, path, headers={"X-Request-ID": "mine"})
        assert found.headers.get_list("x-request-id") == ["mine"], (method, path)
    large = client.post("/search", content=b"x" * (2 << 20), headers={"X-Request-ID": "mine"})
    assert (large.status_code, large.headers["x-request-id"]) == (413, "mine")
    other = client.get("/livez", headers={"Origin": "https://map.test"})
    assert "X-Request-ID" in other.headers["access-control-expose-headers"]


class Broken(FolderStorage):
    """A storage with an error that nobody foresaw."""

    def size(self, key):
        raise ZeroDivisionError("by a test")


@pytest.fixture
def broken(published, tmp_path):
    return create_app(Settings(url="http://catalog.test"), published.catalog, Broken(tmp_path))


@pytest.fixture
def file(client):
    """The path of a served file."""
    [item] = client.get("/search?limit=1").json()["features"]
    return urlsplit(item["assets"]["B02"]["href"]).path


def test_what_nobody_foresaw_is_a_problem_with_the_id_that_the_log_has(broken, file, caplog):
    client = TestClient(broken, raise_server_exceptions=False)
    found = client.get(file, headers={"X-Request-ID": "mine"})
    assert (found.status_code, found.headers["x-request-id"]) == (500, "mine")
    assert found.headers["content-type"] == "application/problem+json" and "by a test" not in found.text
    [line] = [line for line in caplog.records if line.name == "kartotek.access"]
    assert (line.levelno, line.status, line.path, line.bytes) == (logging.ERROR, 500, file, len(found.content))
    with pytest.raises(ZeroDivisionError):  # whoever serves the application gets to know it
        TestClient(broken).get(file)


def test_one_line_a_request_without_its_query(client, caplog):
    caplog.set_level(logging.INFO)
    asked = [("GET", "/search?limit=1&key=SECRET", 200), ("HEAD", "/livez", 200), ("GET", "/a%0Ab?token=SECRET", 404)]
    for method, path, status in asked:
        caplog.clear()
        found = client.request(method, path, headers={"Accept-Encoding": "identity"})
        [line] = [line for line in caplog.records if line.name == "kartotek.access"]
        assert (line.method, line.path, line.status) == (method, path.partition("?")[0], status)
        assert line.bytes == len(found.content) and 0 <= line.ms < 60_000
        assert "SECRET" not in str(vars(line)) and line.getMessage().startswith(f"{method} {line.path} {status}, ")


def test_endpoints_and_the_readers_of_blocks_know_the_request(published, client):
    """They run in other threads than the one that took the request."""
    seen = set()

    class Watched(FolderStorage):
        def read(self, key, start=0, length=None):
            seen.add((threading.current_thread().name.partition("_")[0], logs.request.get()))
            return super().read(key, start, length)

        def ranges(self, key, places):
            seen.add((threading.current_thread().name.partition("_")[0], logs.request.get()))
            return super().ranges(key, places)

    storage = Watched(published.local.root)
    storage.remote = True  # what lies on this machine is read by the endpoint's own thread
    app = create_app(Settings(url="http://catalog.test"), published.catalog, storage)
    [item] = client.get("/search?limit=1").json()["features"]
    path = f"/tiles/{item['collection']}/{item['id']}/SWEREF99TM"
    for zoom in range(8):
        for x, y in covering(item, zoom):
            for query in ("", "?assets=B08"):  # one layer is read by the endpoint's own thread
                TestClient(app).get(f"{path}/{zoom}/{x}/{y}.png{query}", headers={"X-Request-ID": f"zoom-{zoom}"})
    assert {thread for thread, _ in seen} >= {"read"} and len({thread for thread, _ in seen}) > 1
    assert all(re.fullmatch(r"zoom-\d", name or "") for _, name in seen)


def covering(item, zoom):
    """The tiles of SWEREF99TM at the corners of an item."""
    west, south, east, north = item["bbox"]
    grid = matrices.served()["SWEREF99TM"]
    return {(tile.x, tile.y) for tile in (grid.tile(lon, lat, zoom) for lon in (west, east) for lat in (south, north))}


def test_the_servers_log_is_json_and_each_line_of_a_request_carries_its_id(serving, published, tmp_path):
    settings = published.settings.model_copy(update={"storage": str(tmp_path / "lost")})
    with serving(settings, "--log-format", "json", KARTOTEK_LOG_LEVEL="INFO") as server:
        with urllib.request.urlopen(f"{server.root}/search?limit=1", timeout=30) as answer:
            first = answer.headers["x-request-id"]
            [item] = orjson.loads(answer.read())["features"]
        with contextlib.suppress(urllib.error.HTTPError):
            asked = urllib.request.Request(
                f"{server.root}/collections/x%0Ay?key=SECRET", headers={"X-Request-ID": "second"}
            )
            urllib.request.urlopen(asked, timeout=30)
        tile = f"{server.root}/tiles/{item['collection']}/{item['id']}/SWEREF99TM/0/1/1.png"
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(tile, headers={"X-Request-ID": "third"}), timeout=30)
        err = server.stop()
    lines = [orjson.loads(line) for line in err.splitlines()]
    told = [(line["request_id"], line.get("method"), line.get("path"), line.get("status")) for line in lines]
    assert told[:2] == [(first, "GET", "/search", 200), ("second", "GET", "/collections/x%0Ay", 404)]
    assert {name for name, *_ in told[2:]} == {"third"}
    assert "SECRET" not in err and all(line["time"] and line["level"] and line["logger"] for line in lines)


def test_the_traceback_of_what_nobody_foresaw_carries_the_requests_id(tmp_path):
    code = (
        "import sys; sys.argv = ['kartotek', '--log-format', 'json', 'serve', '--port', '0']\n"
        "from catalog.store import Catalog\nfrom kartotek.cli import main\n"
        "def fail(self, reader): raise ZeroDivisionError('by a test')\n"
        "Catalog.collections = fail\nmain()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        place = urlsplit(process.stdout.readline().split()[1]).netloc
        connection = HTTPConnection(place, timeout=30)
        connection.request("GET", "/collections", headers={"X-Request-ID": "mine"})
        with contextlib.closing(connection), connection.getresponse() as found:
            assert (found.status, found.headers.get_all("x-request-id")) == (500, ["mine"])
        process.terminate()
        _, err = process.communicate(timeout=60)
    lines = [orjson.loads(line) for line in err.splitlines()]
    assert {line["request_id"] for line in lines} == {"mine"}
    [line] = [line for line in lines if "traceback" in line]
    assert "ZeroDivisionError: by a test" in line["traceback"] and line["level"] == "ERROR"


@pytest.mark.parametrize(
    ("words", "environment", "count"),
    [([], {}, 1), ([], {"KARTOTEK_LOG_LEVEL": "error"}, 0),
     (["--log-level", "INFO"], {"KARTOTEK_LOG_LEVEL": "error"}, 1)],
)  # fmt: skip
def test_the_level_is_an_option_before_it_is_a_setting(serving, demo, words, environment, count):
    with serving(demo.settings, *words, **environment) as server:
        urllib.request.urlopen(f"{server.root}/livez", timeout=30).close()
        assert server.stop().count("GET /livez 200") == count


def asking(place, path):
    """A connection on which a request has been sent, and nothing been read."""
    made = socket.create_connection(place, timeout=120)
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: {place[0]}\r\n\r\n".encode())
    return made


def read(connection):
    """(status, bytes missing of the body) of the answer on a connection."""
    with connection, connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = dict(line.decode().rstrip().lower().split(": ", 1) for line in iter(stream.readline, b"\r\n"))
        return status, int(headers["content-length"]) - len(stream.read(int(headers["content-length"])))


def test_a_server_that_is_stopped_drops_no_request_in_hand(serving, published, client, file):
    """R15: connections that were made before the signal, whether their request has been read or not."""
    [item] = client.get("/search?limit=1").json()["features"]
    tiles = [f"/tiles/{item['collection']}/{item['id']}/SWEREF99TM/{zoom}/{x}/{y}.png"
             for zoom in range(8, 12) for x, y in covering(item, zoom)]  # fmt: skip
    with serving(published.settings) as server:
        place = server.place
        with contextlib.closing(HTTPConnection(*place, timeout=60)) as idle, socket.create_connection(place) as silent:
            idle.request("GET", "/livez")
            assert idle.getresponse().read() == b"ok\n"
            connections = [asking(place, path) for path in [*tiles, file, "/search?limit=100", "/livez"] * 4]
            server.process.terminate()
            answers = [read(connection) for connection in connections]
            assert {status for status, _ in answers} == {200} and {missing for _, missing in answers} == {0}
            assert silent.recv(1) == b""  # who asks nothing is not waited for
        err = server.stop()
        assert err.count(" 200, ") == len(connections) + 1 and "ERROR" not in err
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=5)


def test_who_hangs_up_while_it_waits_is_not_served(serving, published, client):
    """Maps drop what has left the window; it took the time of those who had not."""
    [item] = client.get("/search?limit=1&collections=sentinel-2-l2a").json()["features"]
    west, south, east, north = item["bbox"]
    crop = (
        f"/collections/{item['collection']}/items/{item['id']}/crop.tif?bbox={west},{south},{east},{north}&assets=B04"
    )
    with serving(published.settings, KARTOTEK_HEAVY="1") as server:
        first = asking(server.place, crop)  # takes a second more: loops are loaded
        for _ in range(20):
            asking(server.place, crop).close()
        last = asking(server.place, crop)
        assert [read(first), read(last)] == [(200, 0)] * 2
        told = [line for line in server.stop().splitlines() if "crop.tif" in line]
    assert sum(" 200, " in line for line in told) == 2 and sum(" None, " in line for line in told) == 20


def test_a_request_for_a_websocket_is_answered_as_any(serving, demo):
    with serving(demo.settings) as server:
        with socket.create_connection(server.place, 30) as connection:
            connection.sendall(
                "GET /livez HTTP/1.1\r\nHost: å.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert "Traceback" not in server.stop()


CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"


def test_a_body_that_stops_being_http_is_one_answer_and_no_failure(serving, demo):
    """Before the answer, while it is on its way, and after it."""
    # More than fits between server and client.
    large = max(demo.local.root.rglob("*.tif"), key=lambda path: path.stat().st_size).relative_to(demo.local.root)
    with serving(demo.settings) as server:

        @contextlib.contextmanager
        def asked(request):
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(30)
                connection.connect(server.place)
                connection.sendall(request)
                yield connection

        refused = b"POST /search HTTP/1.1\r\nContent-Length: 1000000000\r\n"
        with asked(refused + CHUNKED + b"no chunk\r\n") as connection:
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1
        for path in (f"files/{large}", "livez"):
            with asked(f"GET /{path} HTTP/1.1\r\n".encode() + CHUNKED) as connection:
                answer = connection.recv(300)
                assert answer.startswith(b"HTTP/1.1 200 ")
                connection.sendall(b"no chunk\r\n")
                with contextlib.suppress(ConnectionResetError):
                    answer += b"".join(iter(lambda: connection.recv(65_536), b""))
                # Of the file only what was under way came.
                assert answer.count(b"HTTP/1.1") == 1 and len(answer) < (demo.local.root / large).stat().st_size
        log = server.stop()
    assert "Traceback" not in log and log.count("Invalid HTTP request") == 3


def test_answers_do_not_wait_for_acknowledgements():
    """Nagle's algorithm is off on each connection; with it every request but the first takes 40 ms more."""
    seen = []

    def connected(_, writer):
        connection = writer.get_extra_info("socket")
        seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def answered():
        listener = listen(Settings(port=0))
        async with await asyncio.start_server(connected, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b""
            writer.close()

    asyncio.run(answered())
    assert len(seen) == 1 and seen[0] != 0


def test_a_server_that_is_stopped_waits_so_long_and_no_longer(serving, demo):
    with (
        serving(demo.settings, KARTOTEK_STOP_SECONDS="1") as server,
        socket.create_connection(server.place, timeout=60) as endless,
    ):
        head = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
        endless.sendall(head + b"{")
        urllib.request.urlopen(f"{server.root}/livez", timeout=30).close()
        assert "timeout graceful shutdown exceeded" in server.stop(patience=20)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"GET /livez?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "longer than 65536 bytes"),
        (b"GET /livez HTTP/1.1\r\nno header\r\n\r\n", "Invalid HTTP request"),
    ],
    ids=["long", "no HTTP"],
)
def test_what_is_refused_before_its_path_is_known_is_told_why_as_all_else_is(server, head, reason):
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as made:
        made.sendall(head)
        answer = HTTPResponse(made)
        answer.begin()
        told = orjson.loads(answer.read())
    assert answer.status == 400 and answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close" and reason in told["detail"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 200_000,  # a line that never ends
        b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X-More: 1\r\n" * 20_000,  # lines that never end
        b"GET /" + b"x" * 200_000,
    ],
    ids=["line", "lines", "path"],
)
def test_a_head_that_does_not_end_is_refused_and_the_server_goes_on(server, head):
    host, port = server.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)), timeout=30)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(head), 10_000):
            made.sendall(head[start : start + 10_000])
            time.sleep(0.01)
    with contextlib.suppress(ConnectionError):
        answer = made.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 400") or answer == b"", answer
    made.close()
    assert urllib.request.urlopen(f"{server}/livez", timeout=30).status == 200


def test_a_long_head_that_ends_is_answered(server):
    request = urllib.request.Request(f"{server}/livez", headers={"X-Long": "x" * 50_000})
    assert urllib.request.urlopen(request, timeout=30).status == 200


def test_of_requests_in_one_go_each_gets_its_answer(server):
    """As clients do that don't wait; a body that comes in pieces is no head."""
    host, port = server.removeprefix("http://").split(":")
    body = b'{"limit": 1}' + b" " * 100_000
    post = b"POST /search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with socket.create_connection((host, int(port)), timeout=30) as made, made.makefile("rb") as stream:
        for start in range(0, len(post + body), 30_000):
            made.sendall((post + body)[start : start + 30_000])
            time.sleep(0.02)
        made.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        statuses = []
        for _ in range(3):
            statuses.append(stream.readline().split()[1])
            lines = dict(line.decode().rstrip().lower().split(": ", 1) for line in iter(stream.readline, b"\r\n"))
            stream.read(int(lines["content-length"]))
    assert statuses == [b"200"] * 3
