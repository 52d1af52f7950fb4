import base64
import random
import shutil
from urllib.parse import quote

import orjson
import pytest
from fastapi.testclient import TestClient

from api import caller
from api.app import create_app
from catalog.access import OPERATOR, Reader
from catalog.aggregates import KINDS
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from kartotek.settings import Settings
from kartotek.storage import MARKER, FolderStorage

SECRET, OPEN = "sentinel-2-l2a", "sentinel-2-l1c"


@pytest.fixture(scope="module")
def two(published, tmp_path_factory, make_database, make_item, make_collection):
    """Two servers: on one Level-2A is private, on the other it never existed; its items, and its catalog."""
    folder = tmp_path_factory.mktemp("two")
    stored = published.catalog.search(OPERATOR, Search(limit=MAX_LIMIT)).items
    secret = [content for content in stored if orjson.loads(content)["collection"] == SECRET]
    clients, catalogs = [], []
    for name in ("private", "absent"):
        catalog = Catalog(make_database(published.kind))
        catalog.migrate()
        for content in stored if name == "private" else [one for one in stored if one not in secret]:
            kind = orjson.loads(content)["collection"]
            catalog.publish(content, collection=published.catalog.collection(OPERATOR, kind))
        for number in range(30):
            catalog.publish(make_item(f"item-{number:02}"), collection=make_collection())
        if name == "private":
            catalog.put_collection(published.catalog.collection(OPERATOR, SECRET), private=True)
            shutil.copytree(published.local.root, folder / name)
        else:
            shutil.copytree(published.local.root / OPEN, folder / name / OPEN)
        settings = Settings(url="http://catalog.test")
        app = create_app(settings, catalog, FolderStorage(folder / name))
        clients.append(TestClient(app, headers={"X-Request-ID": "the-same"}))  # else each answer has its own
        catalogs.append(catalog)
    yield *clients, [orjson.loads(content) for content in secret], catalogs[0]
    for catalog in catalogs:
        catalog.close()


def same(two, method, path, **asked):
    """The answer of both servers, which must be one: status, headers and body, byte for byte."""
    answers = []
    for client in two[:2]:
        found = client.request(method, path, follow_redirects=False, **asked)
        headers = sorted(item for item in found.headers.multi_items() if item[0] != "date")
        answers.append((found.status_code, headers, found.content))
    assert answers[0] == answers[1], (method, path, asked)
    return answers[0]


def token(*values):
    return base64.urlsafe_b64encode(orjson.dumps([0, *values])).decode().rstrip("=")


def addresses(item):
    """Each kind of URL that names an item or its collection."""
    own = f"/collections/{SECRET}"
    yield from (own, f"{own}/", f"{own}/items", f"{own}/items?limit=1", f"{own}/items?bbox=10,55,25,70")
    yield from (f"{own}/items?token=x", f"{own}/items?limit=0", f"{own}/items?datetime=x")
    yield from (f"{own}/items/{item['id']}", f"{own}/items/no-such", f"{own}/queryables", f"{own}/items/{item['id']}/x")
    yield from (f"{own}/sortables", f"{own}/aggregations", f"{own}/aggregate?aggregations=total_count", f"{own}/browse")
    yield from (f"{own}/browse/{item['properties']['datetime'][:4]}", f"{own}/items?f=ndjson", f"{own}/items?f=csv")
    for asset in item["assets"].values():
        yield f"/files/{asset['href'].removeprefix(MARKER)}"
    yield f"/files/{SECRET}/{item['id']}/item.{64 * '0'}.json"
    yield f"/files/{SECRET}/{item['id']}"
    for tile in ("WebMercatorQuad/10/563/296", "SWEREF99TM/8/120/110", "SWEREF99TM10/0/0/0", "SWEREF99TM10/8/300/300"):
        yield f"/tiles/{SECRET}/{item['id']}/{tile}.png"
    yield f"/tiles/{SECRET}/{item['id']}/Unknown/0/0/0.png"
    yield f"/tiles/{SECRET}/{item['id']}/SWEREF99TM10/99/0/0.png"
    yield f"/tiles/{SECRET}/no-such/SWEREF99TM10/0/0/0.png"


def searches(item):
    """Searches that would find a private item, or tell that it is there."""
    box = ",".join(str(number) for number in item["bbox"])
    time = item["properties"]["datetime"]
    microseconds = 1_900_000_000_000_000
    yield from ("", "?limit=1", "?limit=31", "?limit=32", f"?bbox={box}", f"?bbox={box}&limit=1", f"?ids={item['id']}")
    yield from (f"?collections={SECRET}", f"?collections={SECRET},{OPEN}", f"?collections={SECRET}&ids={item['id']}")
    yield from (f"?datetime={time}", f"?datetime={time}/..", f"?ids={item['id']},item-03", f"?ids={item['id']}&limit=1")
    yield f"?intersects={quote(orjson.dumps(item['geometry']).decode())}"
    yield f"?token={token(microseconds, SECRET, item['id'])}"
    yield f"?token={token(microseconds, SECRET, '')}&limit=5"


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


@pytest.mark.parametrize("method", METHODS)
def test_every_address_of_a_private_item_answers_as_if_it_were_not_there(two, method):
    for item in two[2][:3]:
        for path in addresses(item):
            status, _, body = same(two, method, path)
            assert status in {307, 400, 404, 405}
            # No more than what was asked comes back.
            assert item["properties"]["s2:tile_id"].encode() not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-9"},
        {"Range": "bytes=999999999-"},
        {"If-None-Match": "ETAG"},
        {"If-Range": "ETAG", "Range": "bytes=0-9"},
        {"Origin": "http://other.test"},
    ],
    ids=str,
)
def test_no_header_tells_a_private_file_from_one_that_is_not_there(two, headers):
    item = two[2][0]
    for name in ("B02", "SCL", "thumbnail", "squares"):
        asset = item["assets"][name]
        checksum = asset["file:checksum"].removeprefix("1220")
        given = {name: value.replace("ETAG", f'"{checksum}"') for name, value in headers.items()}
        for method in ("GET", "HEAD"):
            path = f"/files/{asset['href'].removeprefix(MARKER)}"
            assert same(two, method, path, headers=given)[0] == 404


def test_no_page_of_the_catalog_names_a_private_collection(two):
    for path in (
        *("/", "/collections", "/conformance", "/api", "/livez", "/readyz", "/children", "/queryables", "/sortables"),
        *("/collections?q=level", "/collections?limit=1", "/search?f=ndjson", "/search?f=csv", "/aggregations"),
        *(f"/aggregate?aggregations={name}" for name in KINDS),
    ):
        for headers in ({}, {"Accept": "text/html"}):
            status, _, body = same(two, "GET", path, headers=headers)
            assert status == 200
            assert SECRET.encode() not in body and b"Level-2A" not in body


def test_no_search_tells_of_a_private_item(two):
    found = set()
    for item in two[2]:
        for query in searches(item):
            status, _, body = same(two, "GET", f"/search{query}")
            assert status == 200
            found.add(len(orjson.loads(body)["features"]))
    assert len(found) > 3  # some of these searches find public items


def test_no_search_by_post_tells_of_a_private_item(two):
    for item in two[2]:
        for body in (
            {},
            {"ids": [item["id"]]},
            {"collections": [SECRET]},
            {"collections": [SECRET, OPEN], "limit": 1},
            {"bbox": item["bbox"]},
            {"intersects": item["geometry"], "limit": 1},
            {"datetime": item["properties"]["datetime"]},
            {"token": token(1_900_000_000_000_000, SECRET, item["id"]), "limit": 3},
        ):
            assert same(two, "POST", "/search", json=body)[0] == 200


def walked(client):
    """Each page of a walk through the whole catalog by its `next` links."""
    address, bodies = "/search?limit=4", []
    while address:
        body = client.get(address).content
        bodies.append(body)
        following = [link["href"] for link in orjson.loads(body)["links"] if link["rel"] == "next"]
        address = following[0] if following else None
    return bodies


def test_the_pages_and_tokens_of_a_walk_are_the_same_with_private_items_between(two):
    first, second = (walked(client) for client in two[:2])
    assert len(first) == 8 and first == second


def generated(two, count, seed):
    """Requests put together by chance, of parts that name what is private, what is public and what is nothing."""
    chance = random.Random(seed)
    items = two[2]
    for _ in range(count):
        item = chance.choice(items)
        parts = {
            "collections": chance.choice([SECRET, OPEN, f"{OPEN},{SECRET}", "generated", "no-such"]),
            "ids": chance.choice([item["id"], f"item-04,{item['id']}", "item-01,item-02", "no-such"]),
            "bbox": ",".join(str(round(number + chance.uniform(-1, 1) * 0.01, 5)) for number in item["bbox"]),
            "datetime": chance.choice([item["properties"]["datetime"], "2020-01-01T00:00:00Z/..", "x"]),
            "limit": chance.choice(["1", "2", "30", "31", "32", "0"]),
            "f": chance.choice(["ndjson", "csv", "geojson", "none"]),
            "sortby": chance.choice(["-eo:cloud_cover", "+id,-datetime", "s2:tile_id"]),
            "filter": chance.choice(["eo:cloud_cover<50", f"id='{item['id']}'", "s2:tile_id IS NOT NULL"]),
            "fields": chance.choice(["id", "-links", "properties.s2:tile_id"]),
            "numberMatched": "true",
            "aggregations": ",".join(chance.sample(sorted(KINDS), 2)),
            "token": token(
                chance.randrange(1_500_000_000_000_000, 1_900_000_000_000_000),
                chance.choice([SECRET, OPEN, "generated"]),
                item["id"],
            ),
        }
        asked = {name: parts[name] for name in chance.sample(sorted(parts), chance.randrange(4))}
        query = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
        kind = chance.randrange(5)
        if kind < 2:
            path = chance.choice(["/search", "/search", "/aggregate", "/collections", f"/collections/{OPEN}/aggregate"])
            yield "GET", f"{path}?{query}", {}
        elif kind == 2:
            lists = {"ids", "collections"}
            body = {name: value.split(",") if name in lists else value for name, value in asked.items()}
            if "bbox" in body:
                body["bbox"] = [float(number) for number in body["bbox"].split(",")]
            yield "POST", "/search", {"json": body}
        elif kind == 3:
            yield "GET", f"/collections/{chance.choice([SECRET, OPEN, 'no-such'])}/items?{query}", {}
        else:
            yield chance.choice(METHODS), chance.choice(list(addresses(item))), {}


def check_generated(two, count, seed):
    statuses = [same(two, method, path, **asked)[0] for method, path, asked in generated(two, count, seed)]
    assert min(statuses.count(status) for status in (200, 400, 404)) > count // 50


def test_generated_requests_are_answered_alike(two):
    check_generated(two, 400, seed=1)


@pytest.mark.full
def test_five_thousand_generated_requests_are_answered_alike(two):
    check_generated(two, 5000, seed=2)


def test_no_shared_cache_keeps_a_private_file(two, monkeypatch):
    """One that kept it would serve it to outsiders."""
    private, _, items, catalog = two
    key = items[0]["assets"]["thumbnail"]["href"].removeprefix(MARKER)
    stored = catalog.search(OPERATOR, Search(collections=(OPEN,), limit=1)).items[0]
    open_key = orjson.loads(stored)["assets"]["thumbnail"]["href"].removeprefix(MARKER)
    assert private.get(f"/files/{open_key}").headers["cache-control"].startswith("public, ")
    # As it will be when there is signing in.
    monkeypatch.setattr(caller, "reader", lambda request: Reader(collections=frozenset({SECRET})))
    for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}):
        answer = private.get(f"/files/{key}", headers=headers)
        assert answer.status_code < 400 and answer.headers["cache-control"].startswith("private, ")


def test_who_runs_the_system_sees_what_is_private(two):
    private, _, items, catalog = two
    assert private.get(f"/collections/{SECRET}").status_code == 404
    assert catalog.counts(OPERATOR)[SECRET] == len(items) == 11
    found = catalog.search(OPERATOR, Search(collections=(SECRET,), limit=100)).items
    assert {orjson.loads(content)["id"] for content in found} == {item["id"] for item in items}
