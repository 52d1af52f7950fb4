"""S4: no request ends the server, and whatever comes is answered with 4xx or by hanging up."""

# ruff: noqa: E501  tables are read best by the line

import contextlib
import json
import random
import re
import socket
import threading
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from catalog.access import PUBLIC
from catalog.search import Search

MEGABYTE = 1 << 20

TEXTS = [
    "", "\0", "%00", "'", '"', "' OR 1=1 --", "'; DROP TABLE items; --", "$(id)", "`id`", "{{7*7}}", "<script>", "../" * 50,
    "%" * 100, "%s%n%x", "å" * 500, "\u202e", "\U0001f600", "a" * 10_000, "NaN", "Infinity", "-0", "1e308", "1e400",
    "9" * 5_000, "-1", "0", "null", "true", "[]", "{}", "[" * 500, '{"a":' * 500, "0x10", "१", "1" + "0" * 400,
    "2024-06-01T00:00:00Z/..", "0000-00-00T00:00:00Z", "9999-12-31T23:59:60Z", "../..", "/", "//", "..", "-1e-400",
    "180,90,-180,-90", "nan,nan,nan,nan", "1,2,3", ",".join(["1"] * 10_000), "inf,0,inf,1", "1e308,1e308,1e308,1e308",
    "WyIxIiwiMiIsIjMiXQ", "eyJhIjoxfQ", "W10", "=" * 50, "A" * 2_000,
]  # fmt: skip


def geometries(chance):
    """GeoJSON that is no geometry, or one that costs."""
    number = chance.choice([0, -0.0, 1e308, -1e308, 5e-324, 200, 1e17, 17.5])
    ring = [[chance.uniform(-400, 400), chance.uniform(-400, 400)] for _ in range(chance.choice([3, 50, 3_000]))]
    comb = [[0.001 * n, 0 if n % 2 else 60] for n in range(9_990)]
    return chance.choice(
        [
            {"type": "Polygon", "coordinates": [ring, *([ring] * chance.randrange(3))]},
            {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]},
            {"type": "Polygon", "coordinates": [[*comb, [10, -1], [0, -1], comb[0]]]},
            {"type": "Polygon", "coordinates": [[[number] * chance.choice([0, 1, 2, 3, 4, 9])] * 5]},
            {"type": "MultiPolygon", "coordinates": [[[[n, 0], [n + 0.5, 0], [n, 0.5], [n, 0]]] for n in range(170)]},
            {"type": "MultiPoint", "coordinates": [[n % 180, n % 90] for n in range(chance.choice([5, 9_999, 10_001]))]},
            {"type": "Point", "coordinates": number}, {"type": "Point", "coordinates": [None, "x"]},
            {"type": "Point", "coordinates": [[[number, number]]]}, {"type": "LineString", "coordinates": []},
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}] * 5_000},
            {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": []}]},
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}, {"type": ["Point"]}, {},
            {"type": "Polygon", "coordinates": {"0": 1}}, {"coordinates": []}, {"type": "CurvePolygon", "rings": []},
        ]
    )  # fmt: skip


def body(chance):
    """A body for a search."""
    text = chance.choice(TEXTS)
    return chance.choice(
        [
            lambda: json.dumps({"intersects": geometries(chance), "limit": chance.choice([1, 10, 10_000, 10**30])}),
            lambda: json.dumps({chance.choice(["ids", "collections"]): [text] * chance.choice([1, 1_000, 1_001])}),
            lambda: json.dumps({chance.choice(["datetime", "token", "limit", "bbox", "ids"]): text}),
            lambda: json.dumps({"bbox": [chance.choice([0, 1e308, -1e308, 91, None, "x", []]) for _ in range(chance.randrange(8))]}),
            lambda: '{"bbox": [NaN, Infinity, -Infinity, 0]}',
            lambda: '{"limit": ' + "9" * 10_000 + "}",
            lambda: '{"ids": ["\\ud800"]}',
            lambda: '{"token": "\\ud800"}',
            lambda: '{"intersects": {"type": "\\ud800", "coordinates": []}}',
            lambda: "[" * chance.choice([65, 1_000, 100_000, MEGABYTE]),
            lambda: '{"a":' * chance.choice([65, 1_000, 150_000]),
            lambda: '{"intersects":' * 60 + "{}" + "}" * 60,
            lambda: '{"ids": ["' + "a" * (MEGABYTE - 50) + '"]}',
            lambda: '{"' + "k" * 100_000 + '": 1}',
            lambda: "{" + ",".join(f'"k{n}": 1' for n in range(50_000)) + "}",
            lambda: '{"ids": ["x"], "ids": [' + '"y",' * 100_000 + '"z"]}',
            lambda: '{"a":"' + '\\"' * chance.choice([5_000, 500_000]),
            lambda: text, lambda: "{}" * 3, lambda: "\x00\x01\x02", lambda: '"', lambda: "\\", lambda: "[]", lambda: "1", lambda: "null",
        ]
    )()  # fmt: skip


def line(chance, item):
    """The target of a GET."""
    text = urllib.parse.quote(chance.choice(TEXTS), safe="")
    raw = "".join(letter for letter in chance.choice(TEXTS) if "!" <= letter <= "~")
    whole, number = (
        f"{item['collection']}/{item['id']}",
        chance.choice(["0", "-1", "30", "31", "9" * 400, "1e3", text, "0" * 9_000]),
    )
    name = chance.choice(["ids", "collections", "bbox", "datetime", "limit", "token", "intersects", "filter", "x"])
    return chance.choice(
        [
            f"/search?{name}={text}", f"/search?{name}={raw}", f"/search?{'&'.join([f'{name}={text}'] * 300)}"[:60_000],
            f"/search?intersects={urllib.parse.quote(json.dumps(geometries(chance)))}"[:60_000],
            f"/collections/{item['collection']}/items?{name}={text}", f"/collections/{text}", f"/collections/{raw}",
            f"/collections/{text}/items/{text}", f"/collections/{text}/items?{name}={text}",
            f"/tiles/{whole}/SWEREF99TM10/{number}/{number}/{number}.png", f"/tiles/{whole}/{text}/1/1/1.png",
            f"/tiles/{whole}/WebMercatorQuad/{chance.randrange(31)}/{chance.randrange(2**30)}/{chance.randrange(2**30)}.png",
            f"/tiles/{whole}/WebMercatorQuad/0/0/0.png", f"/tiles/{text}/{text}/SWEREF99TM/0/0/0.png",
            f"/files/{text}", f"/files/{raw}", f"/files/{item['collection']}/{text}", f"/viewer/{text}", f"/{raw}", f"/{text}", raw or "*",
            "/" * 5_000, "/%2e%2e/%2e%2e/etc/passwd", "/" + "a/" * 20_000, "/?" + "a" * 60_000,
        ]
    )  # fmt: skip


def message(chance, item, place):
    """One hostile request, as bytes."""
    host = f"Host: {chance.choice([place, 'x', '', 'a' * 5_000, 'evil.test', '[::1', 'å'])}\r\n"
    method = chance.choices(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "X" * 500, ""],
                            [60, 8, 4, 1, 1, 4, 1, 1, 1, 1, 1])[0]  # fmt: skip
    more = "".join(
        chance.choice(
            [
                f"Range: bytes={','.join(['0-0'] * chance.choice([1, 10, 2_000]))}\r\n", "Range: bytes=99999999999999999999-\r\n",
                f"If-None-Match: {'x' * 8_000}\r\n", "If-None-Match: *\r\n", "Accept: text/html\r\n", "Accept: " + "a/b," * 2_000 + "\r\n",
                "Expect: 100-continue\r\n", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n", "Cookie: " + "a=b;" * 1_000 + "\r\n",
                "Origin: null\r\nAccess-Control-Request-Method: " + "X" * 2_000 + "\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: -1\r\n",
                "Content-Length: 5\r\nContent-Length: 6\r\n", "X: \x00\r\n", "X-Request-ID: ' OR 1\r\n", "Content-Encoding: gzip\r\n", " folded: x\r\n", ": x\r\n",
                "".join(f"X-{n}: y\r\n" for n in range(500)), "Accept-Encoding: " + "br;q=0.1," * 500 + "\r\n", "If-Modified-Since: NaN\r\n",
            ]
        )
        for _ in range(chance.choice([0, 0, 0, 1, 2]))
    )  # fmt: skip
    kind = chance.random()
    if kind < 0.45:
        content = body(chance).encode("utf-8", "surrogatepass")[: MEGABYTE + 10]
        length = chance.choice([len(content)] * 12 + [len(content) - 1, len(content) + 1, 0, 10**18])
        of = chance.choice(
            ["application/json"] * 8
            + ["text/plain", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "x"]
        )
        head = f"POST /search HTTP/1.1\r\n{host}Content-Type: {of}\r\nContent-Length: {length}\r\n{more}\r\n"
        return head.encode("utf-8", "replace") + content
    if kind < 0.5:
        chunks = chance.choice(
            [
                b"5\r\nhello\r\n0\r\n\r\n",
                b"FFFFFFFFFFFFFFFF\r\nx",
                b"-5\r\nx\r\n",
                b"1\r\n[\r\n" * 5_000 + b"0\r\n\r\n",
                b"z\r\n",
            ]
        )
        return (
            f"POST /search HTTP/1.1\r\n{host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + chunks
        )
    if kind < 0.55:
        return chance.choice(
            [
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 1_000, b"GET / HTTP/9.9\r\n\r\n",
                b"GET /\r\n", b"\r\n" * 1_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, b"GET /" + b"a" * 200_000, chance.randbytes(2_000),
                b"GET / HTTP/1.1\r\nHost: x\r\n", b"G", b"GET http://[::1 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\nHost:x\n\n",
            ]
        )  # fmt: skip
    version = chance.choice(["HTTP/1.1"] * 9 + ["HTTP/1.0"])
    return f"{method} {line(chance, item)} {version}\r\n{host}{more}\r\n".encode("utf-8", "replace")


def sent(place, content):
    """The status of the answer; None where the server hung up without a word, or waits for the rest."""
    with socket.create_connection(place, 60) as connection:
        connection.settimeout(3)
        answer = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
            connection.sendall(content)
            while len(answer) < 4_096 and (part := connection.recv(65_536)):
                answer += part
                # 100 Continue comes before the answer.
                if found := re.search(rb"^HTTP/1\.[01] ([2-5]\d\d)", answer, re.MULTILINE):
                    return int(found[1])
    return None


def memory(process):
    """Bytes that a process has in memory, at most, since it began."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(kilobytes) << 10


@contextlib.contextmanager
def watched(root):
    """All the while the server is asked whether it lives, since one that hangs would only seem to hang up."""
    over, seen = threading.Event(), []

    def ask():
        while not over.wait(0.5):
            try:
                with urllib.request.urlopen(f"{root}/livez", timeout=30) as answer:
                    seen.append(answer.status)
            except OSError as error:
                seen.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert set(seen) == {200}


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.full)])
def test_hostile_requests_end_nothing(serving, published, count):
    item = orjson.loads(published.catalog.search(PUBLIC, Search(collections=("sentinel-2-l2a",), limit=1)).items[0])
    chance = random.Random(1)
    with serving(published.settings) as server, ThreadPoolExecutor(8) as threads:
        place = ":".join(map(str, server.place))
        idle = memory(server.process)
        wanted = [message(chance, item, place) for _ in range(count)]
        with watched(server.root):
            found = list(threads.map(lambda content: sent(server.place, content), wanted))
        failed = [(wanted[n][:300], status) for n, status in enumerate(found) if status is not None and status >= 500]
        # What comes with HTTP of another version, or asks for an upgrade, may be 501 or 505.
        assert [one for one in failed if one[1] not in (501, 505)] == []
        assert server.process.poll() is None
        with urllib.request.urlopen(f"{server.root}/search?limit=1", timeout=30) as answer:
            assert answer.status == 200
        grown = memory(server.process) - idle
        log = server.stop()
    counts = {status: found.count(status) for status in sorted(set(found), key=str)}
    print(f"{count} requests: {counts}; {grown >> 20} MB more at most")
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5_000]
    assert counts[400] > count / 4 and counts[404] > count / 40 and counts[200] > count / 40 and counts[413]
    assert grown < 512 << 20
