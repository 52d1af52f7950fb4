import json
import re
import warnings
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import jsonschema
import orjson
import pytest
import referencing
import shapely
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from shapely.geometry import shape

from api.app import create_app
from api.routing import Direct
from catalog.access import PUBLIC
from catalog.order import Place
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import StorageError
from kartotek.settings import Settings
from kartotek.storage import MARKER, FolderStorage

ROOT = "http://catalog.test"
CONFORMANCE = {
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "http://www.opengis.net/spec/cql2/1.0/conf/accent-insensitive-comparison",
    "http://www.opengis.net/spec/cql2/1.0/conf/advanced-comparison-operators",
    "http://www.opengis.net/spec/cql2/1.0/conf/arithmetic",
    "http://www.opengis.net/spec/cql2/1.0/conf/array-functions",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-spatial-functions",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-spatial-functions-plus",
    "http://www.opengis.net/spec/cql2/1.0/conf/case-insensitive-comparison",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
    "http://www.opengis.net/spec/cql2/1.0/conf/property-property",
    "http://www.opengis.net/spec/cql2/1.0/conf/spatial-functions",
    "http://www.opengis.net/spec/cql2/1.0/conf/temporal-functions",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/sortables",
    "https://api.stacspec.org/v1.0.0-rc.1/item-search#free-text",
    "https://api.stacspec.org/v1.0.0-rc.1/ogcapi-features#free-text",
    "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter",
    "https://api.stacspec.org/v1.0.0/item-search#fields",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#fields",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#query",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#sort",
    "https://api.stacspec.org/v1.1.0/item-search#sort",
    "https://api.stacspec.org/v1.1.0/item-search#sortables",
    "https://api.stacspec.org/v1.1.0/ogcapi-features#sort",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/simple-query",
    "https://api.stacspec.org/v0.3.0/aggregation",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#fields",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#filter",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#free-text",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#sort",
    "https://api.stacspec.org/v1.0.0-rc.2/browseable",
    "https://api.stacspec.org/v1.0.0-rc.2/children",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tileset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tilesets-list",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/geodata-tilesets",
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilematrixset",
}
UPPSALA = [17.8, 59.9, 18.1, 60.1]
LULEA = "sentinel-2-l2a/items/S2B_MSIL2A_20230823T095559_N0509_R122_T34WET_20230823T140400"


def get(client, path):
    """What a path of ours, or a link to it, gives."""
    answer = client.get(path.removeprefix(ROOT) or "/")
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


def links(document):
    return {link["rel"]: link["href"] for link in document["links"]}


def ids(collection):
    return [item["id"] for item in collection["features"]]


def problem(answer, status=400):
    """The reason in a problem document, whose form is checked (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status and found["title"] and found["type"] == "about:blank"
    assert found["description"] == found["detail"] and found["code"].isalpha()
    return found["detail"]


def test_the_landing_page_is_a_stac_catalog_with_its_conformance(client):
    landing = get(client, "/")
    assert (landing["type"], landing["stac_version"], landing["id"]) == ("Catalog", "1.1.0", "kartotek")
    assert set(landing["conformsTo"]) == CONFORMANCE
    assert set(get(client, "/conformance")["conformsTo"]) == CONFORMANCE
    wanted = {"self", "root", "data", "conformance", "search", "service-desc", "service-doc", "child"}
    assert wanted <= set(links(landing))
    searches = [link for link in landing["links"] if link["rel"] == "search"]
    assert {link["method"] for link in searches} == {"GET", "POST"}
    assert all(link["type"] == "application/geo+json" for link in searches)
    children = [link["href"] for link in landing["links"] if link["rel"] == "child"]
    assert children == [f"{ROOT}/collections/sentinel-2-l1c", f"{ROOT}/collections/sentinel-2-l2a"]


def test_every_link_leads_somewhere_of_the_type_that_it_says(client):
    seen, wanted = set(), [(f"{ROOT}/", "application/json")]
    for document in ("/", "/collections", "/collections/sentinel-2-l2a", f"/collections/{LULEA}", "/search?limit=3"):
        found = get(client, document)
        for part in (found, *found.get("features", []), *found.get("collections", [])):
            wanted += [(link["href"], link["type"]) for link in part["links"] if link.get("method", "GET") == "GET"
                       and link["href"].startswith(ROOT)]  # fmt: skip
            wanted += [(asset["href"], asset["type"]) for asset in part.get("assets", {}).values()]
    for href, kind in wanted:
        assert href.startswith(ROOT)
        if href not in seen:
            answer = client.get(href.removeprefix(ROOT), headers={"Accept": kind})
            assert answer.status_code == 200, href
            assert answer.headers["content-type"].partition(";")[0] == kind.partition(";")[0], href
            seen.add(href)
    assert len(seen) > 70


def test_links_outside_the_catalog_are_only_those_to_terms(client):
    for document in ("/collections/sentinel-2-l2a", f"/collections/{LULEA}"):
        outside = [link["rel"] for link in get(client, document)["links"] if not link["href"].startswith(ROOT)]
        assert outside == ["license"]


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("application/geo+json, */*;q=0.5", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("image/png,*/*", False),
    ],
)
def test_html_comes_only_where_it_is_named(client, accept, html):
    answer = client.get("/", headers={"Accept": accept} if accept else {})
    assert answer.headers["content-type"].startswith("text/html" if html else "application/json")
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize(
    "path", ["/", "/collections", "/search?limit=1", f"/collections/{LULEA}", "/api", "/api.html", "/livez", "/nothing"]
)
def test_head_is_get_without_the_body(client, path):
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    same = ("content-type", "content-length", "vary", "cache-control")
    assert [head.headers.get(name) for name in same] == [whole.headers.get(name) for name in same]


def test_a_body_larger_than_the_cap_is_refused_before_it_is_read(client, published):
    most = published.settings.max_body
    fits = json.dumps({"ids": ["x"]}).ljust(most).encode()
    headers = {"Content-Type": "application/json"}
    assert client.post("/search", content=fits, headers=headers).status_code == 200
    assert str(most) in problem(client.post("/search", content=fits + b" ", headers=headers), 413)
    # And where the length is not stated: as soon as there is more of it.
    pieces = (b" " * 65_536 for _ in range(100))
    assert str(most) in problem(client.post("/search", content=pieces, headers=headers), 413)


@pytest.mark.parametrize("end", [b"", b"\\", b"}"])
def test_a_string_without_an_end_costs_in_proportion_to_its_length(client, end):
    """A megabyte of it; what went back to the beginning from each quote would take hours."""
    content = b'{"a": "' + b'\\"' * 500_000 + end
    problem(client.post("/search", content=content, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("depth", "status"), [(64, 400), (65, 400), (900, 400), (100_000, 400)])
def test_json_is_nested_so_deep_and_no_deeper(client, method, depth, status):
    """Known before a parser sees it, since parsers recurse; what lies in strings is not counted."""
    deep = "[" * (depth - 1) + '"[[["' + "]" * (depth - 1)
    geometry = f'{{"type": "Point", "coordinates": {deep}}}'
    if method == "GET" and depth < 10_000:
        answer = client.get("/search", params={"intersects": geometry})
    else:
        body = f'{{"intersects": {geometry}}}' if method == "POST" else geometry
        answer = client.post("/search", content=body, headers={"Content-Type": "application/json"})
    levels = depth + (method == "POST" or depth > 10_000)
    said = problem(answer, status)
    assert ("nested more than 64 deep" in said) == (levels > 64), said


def test_a_page_elsewhere_may_ask_with_any_header(client):
    asked = {"Origin": "https://elsewhere.test", "Access-Control-Request-Method": "GET"}
    for name in ("If-Range", "Range", "Authorization"):
        answer = client.options("/search", headers={**asked, "Access-Control-Request-Headers": name})
        assert answer.status_code == 200 and name.lower() in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("name", ["evil.test", "evil.test:99", "catalog.test@evil.test", "", "a b"])
def test_the_host_header_decides_nothing(client, name):
    paths = ["/", "/collections", "/collections/", f"/collections/{LULEA}", "/search?limit=1", "/search/", "/api",
             "/docs", "/api.html", "/nothing/", "/viewer/"]  # fmt: skip
    same = {"X-Request-ID": "the-same"}
    for path in paths:
        answers = [
            client.get(path, headers={**same, "Host": host, "X-Forwarded-Host": host}, follow_redirects=False)
            for host in ("catalog.test", name)
        ]
        assert answers[0].content == answers[1].content, path
        assert answers[0].headers == answers[1].headers, path
        assert "evil" not in str(answers[1].headers) + answers[1].text


def test_an_item_goes_out_as_the_bytes_that_are_stored_with_links_and_public_hrefs(client, published):
    for content in published.catalog.search(PUBLIC, Search(limit=100)).items:
        item = orjson.loads(content)
        own = f"{ROOT}/collections/{item['collection']}"
        answer = client.get(f"/collections/{item['collection']}/items/{item['id']}")
        assert answer.headers["content-type"] == "application/geo+json"
        served, public = answer.content, content.replace(MARKER.encode(), f"{ROOT}/files/".encode())
        assert served.startswith(public[:-2])
        more = orjson.loads(b"[" + served[len(public) - 2 :].lstrip(b",").removesuffix(b"}"))
        assert {(link["rel"], link["href"]) for link in more} == {
            ("self", f"{own}/items/{item['id']}"), ("parent", own), ("collection", own), ("root", f"{ROOT}/"),
        }  # fmt: skip
        assert MARKER.encode() not in served


def test_collections_are_listed_as_each_is_served(client):
    found = get(client, "/collections")
    assert [one["id"] for one in found["collections"]] == ["sentinel-2-l1c", "sentinel-2-l2a"]
    assert found["numberMatched"] == found["numberReturned"] == 2
    for one in found["collections"]:
        assert one == get(client, f"/collections/{one['id']}")
        assert links(one)["items"] == f"{ROOT}/collections/{one['id']}/items"


def test_a_collection_may_come_back_as_it_was_served(client, published, catalog):
    catalog.put_collection(client.get("/collections/sentinel-2-l2a").content)
    again = TestClient(create_app(published.settings, catalog, published.storage))
    # But for the number of its items, of which there are none there.
    told = get(client, "/collections/sentinel-2-l2a") | {"kartotek:items": 0}
    assert get(again, "/collections/sentinel-2-l2a") == told


def test_items_come_newest_first(client):
    found = get(client, "/search?limit=100")
    assert found["numberReturned"] == len(found["features"]) == 12
    times = [item["properties"]["datetime"] for item in found["features"]]
    assert times == sorted(times, reverse=True)
    assert ids(get(client, "/collections/sentinel-2-l1c/items")) == [
        item["id"] for item in found["features"] if item["collection"] == "sentinel-2-l1c"
    ]


QUESTIONS = [
    {},
    {"limit": 3},
    {"collections": ["sentinel-2-l1c"]},
    {"collections": ["sentinel-2-l2a", "sentinel-2-l1c"], "limit": 2},
    {"ids": ["S2B_MSIL2A_20230823T095559_N0509_R122_T34WET_20230823T140400", "no such"]},
    {"bbox": UPPSALA},
    {"bbox": [17.8, 59.9, -100, 18.1, 60.1, 9000]},
    {"bbox": UPPSALA, "datetime": "2022-01-01T00:00:00Z/2022-12-31T23:59:59.999Z"},
    {"datetime": "2024-01-01T00:00:00Z/.."},
    {"datetime": "../2022-01-01T00:00:00+01:00"},
    {"datetime": "/2022-01-01T00:00:00Z"},
    {"intersects": {"type": "Point", "coordinates": [17.95, 59.93]}},
    {"intersects": shapely.box(*UPPSALA).__geo_interface__, "limit": 1},
    {"intersects": {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [22.1, 65.65]}]}},
    {"bbox": [170, -10, -170, 10]},
]


def as_query(asked):
    """The parameters as GET carries them."""
    found = {}
    for name, value in asked.items():
        if name == "intersects":
            found[name] = json.dumps(value)
        else:
            found[name] = ",".join(str(one) for one in value) if isinstance(value, list) else value
    return found


def brute(client, asked):
    """Ids by brute force over all items."""
    start, end = None, None
    if "datetime" in asked:
        first, _, last = asked["datetime"].partition("/")
        start = None if first in ("", "..") else datetime.fromisoformat(first)
        end = None if last in ("", "..") else datetime.fromisoformat(last)
    box = asked.get("bbox")
    area = shape(asked["intersects"]) if "intersects" in asked else None
    if box:
        box = box if len(box) == 4 else [box[0], box[1], box[3], box[4]]
        area = shapely.box(*box) if box[0] <= box[2] else shapely.box(-180, 0, -179, 0)
    for item in get(client, "/search?limit=100")["features"]:
        time = datetime.fromisoformat(item["properties"]["datetime"])
        if (
            (start is None or time >= start)
            and (end is None or time <= end)
            and item["collection"] in asked.get("collections", [item["collection"]])
            and item["id"] in asked.get("ids", [item["id"]])
            and (area is None or shape(item["geometry"]).intersects(area))
        ):
            yield item["id"]


@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_get_and_post_find_the_same_and_what_brute_force_finds(client, asked):
    by_get = client.get("/search", params=as_query(asked)).json()
    by_post = client.post("/search", json=asked).json()
    assert by_get["features"] == by_post["features"]
    assert ids(by_get) == list(brute(client, asked))[: asked.get("limit", 10)]
    assert by_get["type"] == by_post["type"] == "FeatureCollection"


def test_some_of_those_questions_have_answers(client):
    assert sum(bool(list(brute(client, asked))) for asked in QUESTIONS) >= 12


@pytest.mark.parametrize("address", ["/search", "/collections/sentinel-2-l2a/items"])
@pytest.mark.parametrize("limit", [1, 4, 11])
def test_next_by_get_walks_through_everything_once(client, address, limit):
    whole = ids(get(client, f"{address}?limit=100&bbox=10,54,25,70"))
    found, href = [], f"{address}?limit={limit}&bbox=10,54,25,70"
    while href:
        page = get(client, href)
        found += ids(page)
        href = links(page).get("next")
        if href:
            # The other parameters go along; the address is ours, whatever the request said.
            assert href.startswith(ROOT + address)
            assert parse_qs(urlsplit(href).query)["bbox"] == ["10,54,25,70"]
    assert found == whole and len(whole) >= 11


def test_next_by_post_walks_through_everything_once(client):
    asked = {"collections": ["sentinel-2-l2a"], "bbox": [10, 54, 25, 70], "limit": 3}
    whole = ids(client.post("/search", json={**asked, "limit": 100}).json())
    found, body = [], asked
    while body:
        page = client.post("/search", json=body).json()
        found += ids(page)
        following = [link for link in page["links"] if link["rel"] == "next"]
        body = None
        if following:
            [link] = following
            assert (link["method"], link["href"]) == ("POST", f"{ROOT}/search") and not link.get("merge")
            body = link["body"]
            assert {name: body[name] for name in asked} == asked
    assert found == whole and len(whole) == 11


def test_a_whole_answer_has_no_next(client):
    assert "next" not in links(get(client, "/search?limit=12"))
    assert "next" in links(get(client, "/search?limit=11"))
    assert len(ids(get(client, "/search?limit=20000"))) == 12  # served as 10 000, as the standard asks


BAD = [
    ("limit=0", "limit"),
    ("limit=-3", "limit"),
    ("limit=ten", "limit"),
    ("bbox=1,2,3", "bbox"),
    ("bbox=a,b,c,d", "bbox"),
    ("bbox=1,2,3,4,5", "bbox"),
    ("bbox=10,60,11,59", "bbox"),
    ("bbox=10,59,nan,60", "bbox"),
    ("bbox=10,59,inf,60", "bbox"),
    ("bbox=-181,59,10,60", "bbox"),
    ("bbox=10,59,11,91", "bbox"),
    ("datetime=yesterday", "datetime"),
    ("datetime=2024-06-01", "datetime"),
    ("datetime=2024-06-01T00:00:00", "datetime"),
    ("datetime=2024-13-01T00:00:00Z", "RFC 3339"),
    ("datetime=../..", "interval"),
    ("datetime=2024-06-02T00:00:00Z/2024-06-01T00:00:00Z", "datetime"),
    ("datetime=2024-06-01T00:00:00Z/2024-06-02T00:00:00Z/2024-06-03T00:00:00Z", "interval"),
    ("datetime=0001-01-01T00:00:00%2B10:00", "datetime"),
    ("datetime=9999-12-31T23:59:59-10:00", "datetime"),
    ("intersects=nowhere", "JSON"),
    ("intersects=[]", "intersects"),
    ("intersects={}", "intersects"),
    ('intersects={"type":"Foo","coordinates":[1,2]}', "one of Point, LineString"),
    ('intersects={"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]}}', "one of Point, LineString"),
    ('intersects={"type":["Point"],"coordinates":[1,2]}', "one of Point, LineString"),
    ('intersects={"type":"Point","coordinates":[17,95]}', "degrees"),
    ('intersects={"type":"Point","coordinates":[]}', "intersects"),
    ('intersects={"type":"Polygon","coordinates":[[[0,0],[1,1],[0,1],[1,0],[0,0]]]}', "valid"),
    ('bbox=1,2,3,4&intersects={"type":"Point","coordinates":[1,2]}', "both"),
    ("token=garbled", "token"),
    (f"token={Place((datetime(2024, 6, 1, tzinfo=UTC),), 'a', chr(0)).token()}", "token"),
    ("token=WyJhIl0", "token"),
]


@pytest.mark.parametrize(("query", "reason"), BAD, ids=str)
def test_a_wrong_parameter_is_a_bad_request_that_says_why(client, query, reason):
    assert reason.lower() in problem(client.get(f"/search?{query}")).lower()
    if not query.startswith("intersects") and "intersects" not in query:
        assert reason.lower() in problem(client.get(f"/collections/sentinel-2-l2a/items?{query}")).lower()


@pytest.mark.parametrize("query", ["ids=%00", "collections=sentinel-2-l2a,%00"])
def test_a_name_that_can_not_be_is_a_bad_request(client, query):
    assert query.partition("=")[0] in problem(client.get(f"/search?{query}"))


BAD_BODIES = [
    ("", "body"),
    ("{", "JSON"),
    ("[]", ""),
    ("null", ""),
    ("3", ""),
    ('"text"', ""),
    ('{"limit": 0}', "limit"),
    ('{"limit": "x"}', "limit"),
    ('{"limit": null, "bbox": [1, 2]}', "bbox"),
    ('{"bbox": [1, 5, 3, 4]}', "bbox"),
    ('{"bbox": [1, 2, 3, "x"]}', "bbox"),
    ('{"bbox": [NaN, 2, 3, 4]}', "bbox"),
    ('{"bbox": [1, 2, 1e999, 4]}', "bbox"),
    ('{"bbox": "1,2,3,4"}', "bbox"),
    ('{"datetime": "yesterday"}', "datetime"),
    ('{"datetime": "0001-01-01T00:00:00+10:00"}', "datetime"),
    ('{"datetime": 5}', "datetime"),
    ('{"ids": "one"}', "ids"),
    ('{"ids": [1]}', "ids"),
    ('{"ids": ["\\ud800"]}', ""),
    ('{"ids": ["\\u0000"]}', "ids"),
    ('{"datetime": "2024-06-01T00:00:00"}', "datetime"),
    ('{"collections": ["\\udfff"]}', ""),
    ('{"collections": {"a": 1}}', "collections"),
    ('{"intersects": {}}', "intersects"),
    ('{"intersects": {"type": "Foo", "coordinates": [1, 2]}}', "one of Point, LineString"),
    ('{"intersects": {"type": "GeometryCollection", "geometries": [{"type": "Foo"}]}}', "no GeoJSON geometry"),
    ('{"intersects": "POINT (1 2)"}', "intersects"),
    ('{"intersects": {"type": "Polygon", "coordinates": []}}', "intersects"),
    ('{"intersects": {"type": "Polygon", "coordinates": [[[0,0],[1,1],[0,1],[1,0],[0,0]]]}}', "valid"),
    ('{"intersects": {"type": "Point", "coordinates": [1e999, 2]}}', "intersects"),
    ('{"bbox": [1, 2, 3, 4], "intersects": {"type": "Point", "coordinates": [1, 2]}}', "intersects"),
    ('{"token": "garbled"}', "token"),
    ('{"token": 5}', "token"),
    ('{"ids": ' + "[" * 100_000 + "]" * 100_000 + "}", ""),
]


@pytest.mark.parametrize(("body", "reason"), BAD_BODIES, ids=lambda text: text[:70])
def test_a_wrong_body_is_a_bad_request_that_says_why(published, body, reason):
    client = TestClient(create_app(published.settings, published.catalog), raise_server_exceptions=False)
    answer = client.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert reason.lower() in problem(answer).lower()


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json; charset=utf-8", 200), ("application/geo+json", 200), ("text/plain", 400), (None, 400)],
)
def test_a_body_says_that_it_is_json(published, kind, status):
    client = TestClient(create_app(published.settings, published.catalog))
    answer = client.post("/search", content=b'{"limit": 1}', headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == status
    assert status == 200 or "send application/json" in problem(answer)


@pytest.mark.parametrize("name", ["ids", "collections"])
def test_more_names_than_a_search_takes_are_a_bad_request_with_the_number(published, name):
    client = TestClient(create_app(published.settings, published.catalog), raise_server_exceptions=False)
    assert client.post("/search", json={name: ["x"] * 1_000}).status_code == 200
    assert re.search(r"1.?000", problem(client.post("/search", json={name: ["x"] * 200_000})))
    assert re.search(r"1.?000", problem(client.get(f"/search?{name}={',' * 1_001}")))


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/collections/no-such", "/collections/no-such/items", "/collections/sentinel-2-l2a/items/no-such",
     "/collections/%00/items", "/collections/%00", "/collections/sentinel-2-l2a/items/%00", "/files/a/%00/b",
     "/tiles/sentinel-2-l2a/%00/SWEREF99TM10/0/0/0.png", "/collections/..%2f..", "/viewer/no-such.js", "/search/x"],
)  # fmt: skip
def test_what_is_not_there_is_a_problem_with_status_404(client, path):
    assert problem(client.get(path), 404)


def test_a_method_that_is_not_there_is_a_problem_with_status_405(client):
    """With all that are there, though each is a route of its own."""
    for method, path, allowed in (
        ("PUT", "/search", "GET, HEAD, POST"),
        ("OPTIONS", "/search", "GET, HEAD, POST"),
        ("POST", "/collections", "GET, HEAD"),
        ("DELETE", f"/collections/{LULEA}", "GET, HEAD"),
        ("PATCH", "/files/a/b/c", "GET, HEAD"),
    ):
        answer = client.request(method, path)
        assert problem(answer, 405) and answer.headers["allow"] == allowed


WORDS = st.sampled_from(["limit", "bbox", "datetime", "ids", "collections", "intersects", "token", "fields", "sortby"])
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.lists(st.floats(), max_size=7).map(lambda numbers: ",".join(map(str, numbers))),
    st.sampled_from(["2024-06-01T00:00:00Z", "2024-06-01T00:00:00Z/..", "sentinel-2-l2a", "", '{"type":"Point"}']),
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS | st.just("type"), inner, max_size=3),
    max_leaves=10,
)


@examples(max_examples=150, deadline=None)
@given(asked=st.dictionaries(WORDS, VALUES, max_size=4))
def test_no_query_is_an_error_of_the_server(client, asked):
    try:
        answer = client.get("/search", params=asked)
    except UnicodeEncodeError:
        return  # no client can send it
    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        problem(answer)


@examples(max_examples=150, deadline=None)
@given(asked=st.dictionaries(WORDS, ANY, max_size=4))
def test_no_body_is_an_error_of_the_server(client, asked):
    body = json.dumps(asked)
    answer = client.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        problem(answer)


def references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_openapi_document_is_whole(published):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as "Duplicate Operation ID"
        found = TestClient(create_app(published.settings, published.catalog)).get("/api")
    assert found.headers["content-type"].startswith("application/vnd.oai.openapi+json")
    document = found.json()
    assert document["openapi"].startswith("3.1") and document["info"]["title"] and document["info"]["version"]
    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
    for component in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(component)
    names = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            parameters = operation.get("parameters", [])
            assert {one["name"] for one in parameters if one["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
            assert all(one["schema"] for one in parameters)
            assert all(answer["description"] for answer in operation["responses"].values())
    assert len(names) == len(set(names)) >= 10
    served = {"/search", "/collections", "/collections/{collection_id}/items", "/files/{key}"}
    assert served <= set(document["paths"])


def test_the_link_to_the_openapi_document_says_what_is_served(client):
    [link] = [link for link in get(client, "/")["links"] if link["rel"] == "service-desc"]
    answer = client.get(link["href"].removeprefix(ROOT))
    assert answer.headers["content-type"] == link["type"]
    kind, _, version = link["type"].partition(";version=")
    assert kind == "application/vnd.oai.openapi+json" and answer.json()["openapi"].startswith(version)


@pytest.fixture(scope="module")
def validate(shared):
    """Checks a STAC document against the schemas beside the project, its extensions too; no network."""
    missed = set()

    def retrieve(address):
        host_and_path = address.partition("://")[2].partition("#")[0]
        for name in (host_and_path, f"{host_and_path}.json", f"{host_and_path}/schema.json"):
            path = shared / "schemas" / name
            if path.is_file():
                return referencing.Resource.from_contents(
                    orjson.loads(path.read_bytes()), default_specification=referencing.jsonschema.DRAFT7
                )
        raise LookupError(address)

    registry = referencing.Registry(retrieve=retrieve)
    kinds = {"Feature": "item", "Collection": "collection", "Catalog": "catalog"}

    def check(document):
        kind = kinds[document["type"]]
        core = f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"
        for address in [core, *document["stac_extensions"]]:
            try:
                schema = registry.get_or_retrieve(address).value.contents
            except referencing.exceptions.NoSuchResource:
                missed.add(address)
                continue
            jsonschema.Draft7Validator(schema, registry=registry).validate(document)

    yield check
    if missed:
        warnings.warn(f"not validated, since no schema is at hand: {', '.join(sorted(missed))}", stacklevel=1)


def test_all_that_is_served_fits_the_schemas_of_stac(client, validate):
    validate(get(client, "/"))
    for collection in get(client, "/collections")["collections"]:
        validate(collection)
    items = get(client, "/search?limit=100")["features"]
    for item in items:
        validate(item)
    with pytest.raises(jsonschema.ValidationError):
        validate({**items[0], "bbox": "nowhere"})
    with pytest.raises(jsonschema.ValidationError):
        validate({**items[0], "properties": {**items[0]["properties"], "view:sun_azimuth": 1000}})


def test_pystac_reads_what_is_served(client):
    import pystac

    for item in get(client, "/search?limit=100")["features"]:
        found = pystac.Item.from_dict(item)
        assert found.datetime and found.geometry and found.collection_id == item["collection"]
    for collection in get(client, "/collections")["collections"]:
        assert pystac.Collection.from_dict(collection).id == collection["id"]


def test_pages_of_other_origins_may_read_the_catalog(client):
    answer = client.get("/search?limit=1", headers={"Origin": "https://map.test"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    asked = {"Origin": "https://map.test", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "content-type"}  # fmt: skip
    assert client.options("/search", headers=asked).status_code == 200


def test_health_is_told(client):
    assert client.get("/livez").text == client.get("/readyz").text == "ok\n"


def test_a_server_without_tables_is_not_ready(tmp_path):
    place = f"sqlite:///{tmp_path / 'empty.db'}"
    client = TestClient(create_app(Settings(database=place, storage=str(tmp_path)), Catalog(place)))
    answer = client.get("/readyz")
    assert "kartotek migrate" in problem(answer, 503) and answer.headers["retry-after"]
    assert client.get("/livez").status_code == 200


class Failing(FolderStorage):
    """A disk that can't be read any more."""

    def size(self, key):
        raise StorageError(f"{self.root}: can't read {key}: Input/output error")


@pytest.fixture
def outage(catalog, tmp_path, make_item, make_collection):
    """Gives a server on one item, its database or its storage broken, and what outsiders must not read."""
    asset = {"href": f"{MARKER}generated/item/B02.{64 * '0'}.tif", "type": "image/tiff"}
    catalog.publish(make_item(assets={"B02": asset}), collection=make_collection())
    app = create_app(Settings(), catalog, Failing(tmp_path))
    return TestClient(app, raise_server_exceptions=False), str(tmp_path)


def test_a_database_that_fails_is_an_outage_told_without_naming_it(outage, catalog, break_database, caplog):
    client, place = outage[0], catalog.place
    break_database(catalog)
    item = "generated/item"
    for path in ("/", "/readyz", "/collections", f"/collections/{item.replace('/', '/items/')}", "/search?bbox=1,2,3,4",
                 f"/tiles/{item}/SWEREF99TM10/0/0/0.png", f"/files/{item}/B02.{64 * '0'}.tif"):  # fmt: skip
        caplog.clear()
        answer = client.get(path)
        assert "database" in problem(answer, 503) and answer.headers["retry-after"], path
        assert place not in answer.text and not re.search("sql|postgres", answer.text)
        assert place in caplog.text  # who runs the server finds it in the log
    assert client.get("/livez").status_code == 200


def test_a_storage_that_fails_is_an_outage_told_without_naming_it(outage, caplog):
    client, place = outage
    answer = client.get(f"/files/generated/item/B02.{64 * '0'}.tif")
    assert "storage" in problem(answer, 503) and answer.headers["retry-after"]
    assert place not in answer.text and place in caplog.text


def test_a_file_that_the_storage_has_lost_is_not_there(catalog, tmp_path, make_item, make_collection):
    asset = {"href": f"{MARKER}generated/item/B02.{64 * '0'}.tif", "type": "image/tiff"}
    catalog.publish(make_item(assets={"B02": asset}), collection=make_collection())
    client = TestClient(create_app(Settings(), catalog, FolderStorage(tmp_path / "a store")))
    assert "a store" not in problem(client.get(f"/files/generated/item/B02.{64 * '0'}.tif"), 404)


def test_a_route_that_reads_by_itself_takes_no_dependencies_that_nobody_would_ask():
    """A guard in front of all routes would be passed by."""
    guarded = FastAPI(dependencies=[Depends(lambda: None)])
    with pytest.raises(NotImplementedError, match="/x: dependencies"):
        guarded.router.add_api_route("/x", lambda: None, route_class_override=Direct)
