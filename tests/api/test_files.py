import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import orjson
import pytest
import rasterio
from fastapi.testclient import TestClient

from api.app import create_app
from catalog.access import PUBLIC
from catalog.search import Search
from kartotek.storage import MARKER


@pytest.fixture(scope="module")
def item(published):
    """One item as stored."""
    return orjson.loads(published.catalog.search(PUBLIC, Search(limit=1)).items[0])


@pytest.fixture(scope="module")
def cog(published, item):
    """(address, bytes) of a COG."""
    key = item["assets"]["B02"]["href"].removeprefix(MARKER)
    return f"/files/{key}", published.storage.read(key)


def test_each_file_of_an_item_comes_whole_as_its_checksum_and_size_say(client, item):
    for asset in item["assets"].values():
        answer = client.get(f"/files/{asset['href'].removeprefix(MARKER)}")
        assert answer.status_code == 200
        assert "1220" + hashlib.sha256(answer.content).hexdigest() == asset["file:checksum"]
        assert int(answer.headers["content-length"]) == len(answer.content) == asset["file:size"]
        assert answer.headers["content-type"] == asset["type"]
        assert answer.headers["etag"] == f'"{asset["file:checksum"].removeprefix("1220")}"'
        assert answer.headers["accept-ranges"] == "bytes"
        assert "immutable" in answer.headers["cache-control"]


def test_head_says_what_get_would_without_a_body(client, cog):
    path, _ = cog
    for asked in ({}, {"Range": "bytes=5-9"}, {"Range": "bytes=99999999-"}):
        same = {"X-Request-ID": "the-same"}
        got, head = client.get(path, headers=same), client.head(path, headers=same | asked)
        assert head.content == b""
        # A range is GET's alone (RFC 9110, 14.2).
        assert (head.status_code, head.headers) == (got.status_code, got.headers)
    assert client.head(f"{path}x").status_code == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-16383", 0, 16384),
        ("bytes=100-199", 100, 200),
        ("bytes=1000-", 1000, None),
        ("bytes=-1", -1, None),
        ("bytes=-100", -100, None),
        ("bytes=-99999999999", 0, None),
        ("bytes=100-99999999999", 100, None),
        ("bytes= 5 - 9", 5, 10),
        ("Bytes=5-9", 5, 10),
    ],
)
def test_a_range_of_bytes_comes_exactly(client, cog, asked, start, stop):
    path, content = cog
    answer, wanted = client.get(path, headers={"Range": asked}), content[start:stop]
    assert answer.status_code == 206
    assert answer.content == wanted
    first = start % len(content) if start else 0
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(content)}"
    assert int(answer.headers["content-length"]) == len(wanted)


def test_any_range_comes_exactly(client, cog):
    path, content = cog
    chance = random.Random(1)
    for _ in range(100):
        start = chance.randrange(len(content))
        stop = chance.randrange(start, len(content) + 1000)
        answer = client.get(path, headers={"Range": f"bytes={start}-{stop}"})
        assert answer.content == content[start : stop + 1]


@pytest.mark.parametrize("asked", ["bytes=SIZE-", "bytes=99999999999-", "bytes=99999999999-999999999999", "bytes=-0"])
def test_a_range_beyond_the_end_can_not_be_met(client, cog, asked):
    path, content = cog
    answer = client.get(path, headers={"Range": asked.replace("SIZE", str(len(content)))})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(content)}"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-9", "bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "lines=1-2", "0-5", "bytes=0--5", "bytes=1e3-",
     f"bytes={'9' * 5000}-", f"bytes=0-{'9' * 5000}"],
)  # fmt: skip
def test_what_is_not_one_range_of_bytes_is_ignored(client, cog, asked):
    path, content = cog
    answer = client.get(path, headers={"Range": asked})
    assert answer.status_code == 200 and answer.content == content
    assert "content-range" not in answer.headers


def test_who_has_the_file_need_not_fetch_it_again(client, cog):
    path, content = cog
    tag = client.head(path).headers["etag"]
    for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = client.get(path, headers={"If-None-Match": given})
        assert answer.status_code == 304, given
        assert answer.content == b"" and answer.headers["etag"] == tag
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == content


def test_a_range_of_another_version_is_the_whole_file(client, cog):
    path, content = cog
    tag = client.head(path).headers["etag"]
    for given, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200), ("Sat, 01 Jun 2024 00:00:00 GMT", 200)):
        answer = client.get(path, headers={"Range": "bytes=0-9", "If-Range": given})
        assert answer.status_code == status
        assert answer.content == (content[:10] if status == 206 else content)


def test_what_is_in_storage_but_in_no_item_is_not_there(client, published, item, tmp_path):
    """What a crash left, and what is not meant for reading: the item's own JSON, and the collection's record."""
    left = tmp_path / "left"
    left.write_bytes(b"left over")
    key = f"{item['collection']}/{item['id']}/B02.{hashlib.sha256(b'left over').hexdigest()}.tif"
    published.storage.create(key, left)
    try:
        others = [key, *published.storage.keys(f"{item['collection']}/{item['id']}/item.")]
        others += published.storage.keys(f"{item['collection']}/collection.")
        assert len(others) == 3
        for one in others:
            assert published.storage.size(one)
            assert client.get(f"/files/{one}").status_code == 404
    finally:
        published.storage.delete(key)


def test_a_file_is_only_there_under_its_own_item(client, published, item):
    """The same key below another item's name leads nowhere, though that item is visible."""
    others = [orjson.loads(content) for content in published.catalog.search(PUBLIC, Search(limit=3)).items[1:]]
    name = item["assets"]["B02"]["href"].rpartition("/")[2]
    for other in others:
        assert client.get(f"/files/{other['collection']}/{other['id']}/{name}").status_code == 404


def raw(server, path, method="GET"):
    """(status, body) of a path that is sent as it stands, which no tidy client would."""
    at = urlsplit(server)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_no_path_leads_out_of_the_items_files(server, published, cog):
    path, content = cog
    key = path.removeprefix("/files/")
    collection, item, name = key.split("/")
    assert raw(server, path) == (200, content)
    paths = [
        "/files/",
        "/files/../kartotek.db",
        "/files/..%2fkartotek.db",
        "/files/%2e%2e/kartotek.db",
        "/files/%252e%252e/kartotek.db",
        f"/files/{published.folder}/kartotek.db",
        f"/files/{published.local.root}/{key}",
        "/files//etc/passwd",
        "/files/file:///etc/passwd",
        "/files/http://127.0.0.1/x",
        "/files/vsicurl/http://127.0.0.1/x",
        f"/files/{collection}/../{collection}/{item}/{name}",
        f"/files/{collection}/./{item}/{name}",
        f"/files/{collection}//{item}/{name}",
        f"/files/{collection}/{item}/../../../kartotek.db",
        f"/files/{collection}/{item}/..%5c{name}",
        f"/files/{collection}/{item}/{name}/",
        f"/files/{collection}/{item}/{name}%00",
        f"/files/{collection}/{item}/{name}%00.png",
        f"/files/{collection}/{item}/{name}%20",
        f"/files/{collection}/{item}/{name.upper()}",
        f"/files/{collection}/{item}",
        f"/files/{collection}%2f{item}%2f{name}x",
        f"/files/{key}.aux.xml",
        f"/files/{'x' * 3000}",
        "/viewer/../app.py",
        "/viewer/..%2fapp.py",
        "/viewer/%2e%2e/app.py",
        "/../api/app.py",
    ]
    for one in paths:
        status, body = raw(server, one)
        assert status == 404, one
        assert b"SQLite format" not in body and b"root:" not in body and b"def create_app" not in body


READ = """
import json, sys
import numpy as np, rasterio
for line in sys.stdin:
    address, local = json.loads(line)
    with rasterio.open("/vsicurl/" + address) as far, rasterio.open(local) as near:
        assert far.profile == near.profile, (far.profile, near.profile)
        assert far.overviews(1) == near.overviews(1) and far.scales == near.scales and far.offsets == near.offsets
        np.testing.assert_array_equal(far.read(), near.read())
        np.testing.assert_array_equal(far.read(out_shape=(1, far.height // 4, far.width // 4)),
                                      near.read(out_shape=(1, near.height // 4, near.width // 4)))
        print(far.driver, far.crs.to_epsg(), far.width)
"""


def test_gdal_reads_served_files_by_range_as_it_reads_them_on_disk(server, published, item):
    """In a process with GDAL as anyone has it, not as we set it up."""
    given = []
    for name in ("B02", "SCL", "B01"):
        key = item["assets"][name]["href"].removeprefix(MARKER)
        given.append(json.dumps([f"{server}/files/{key}", str(published.local.root / key)]))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GDAL_")}
    done = subprocess.run(
        [sys.executable, "-c", READ], input="\n".join(given), env=plain, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["GTiff", "3006"]] * 3


def test_the_hrefs_of_the_running_server_are_its_own(server):
    at = urlsplit(server)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    connection.request("GET", "/search?limit=1", headers={"Host": "evil.test"})
    [found] = orjson.loads(connection.getresponse().read())["features"]
    connection.close()
    assert {asset["href"].startswith(f"{server}/files/") for asset in found["assets"].values()} == {True}


def test_a_served_file_opens_in_a_process_of_ours_too(server, item):
    key = item["assets"]["SCL"]["href"].removeprefix(MARKER)
    with rasterio.open(f"/vsicurl/{server}/files/{key}") as file:
        assert set(np.unique(file.read())) <= set(range(12))


def test_clients_may_be_sent_on_to_the_bucket(published, cog, monkeypatch):
    """To an address that is signed; a folder has none, and gives the bytes itself."""
    path, content = cog
    settings = published.settings.model_copy(update={"files": "redirect"})
    client = TestClient(create_app(settings, published.catalog, published.storage))
    answer = client.get(path, follow_redirects=False)
    if published.kind == "sqlite":
        assert answer.status_code == 200 and answer.content == content
        return
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    with urllib.request.urlopen(answer.headers["location"], timeout=30) as found:
        assert found.read() == content
    assert client.head(path, follow_redirects=False).headers["content-length"] == str(len(content))
    named = settings.model_copy(update={"files_endpoint": "https://files.example.se"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    client = TestClient(create_app(named, published.catalog))
    address = client.get(path, follow_redirects=False).headers["location"]
    assert address.startswith("https://files.example.se/bucket-") and "X-Amz-Signature=" in address
    policy = client.get("/", headers={"Accept": "text/html"}).headers["content-security-policy"]
    assert "img-src 'self' data: blob: http://catalog.test https://files.example.se;" in policy
    assert client.get(path.replace("sentinel-2-l2a", "private"), follow_redirects=False).status_code == 404
