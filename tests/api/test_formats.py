"""Searches that answer with something else than a page."""

import csv
import io

import orjson
import pyarrow
import pytest
from pyarrow import parquet
from stac_geoparquet.arrow import stac_table_to_items

ORDER = [f"item-{number}" for number in (0, 4, 3, 5, 1, 2)]
"""Those of the six by their clouds."""
SORTED = "sortby=%2Beo:cloud_cover"


@pytest.fixture
def client(six):
    return six()


@pytest.mark.parametrize("accept", [None, "application/x-ndjson", "text/csv;q=0.9, application/x-ndjson"])
def test_lines_hold_the_very_items_of_the_page(client, accept):
    page = client.get(f"/search?{SORTED}").json()["features"]
    if accept is None:
        answer = client.get(f"/search?{SORTED}&f=ndjson")
    else:
        answer = client.get(f"/search?{SORTED}", headers={"Accept": accept.partition(",")[0]})
    lines = answer.content.splitlines()
    if answer.headers["content-type"].startswith("application/x-ndjson"):
        assert [orjson.loads(line) for line in lines] == page and len(page) == 6
    else:
        assert answer.headers["content-type"].startswith("text/csv")


def test_a_sequence_has_its_separators(client):
    answer = client.get(f"/search?{SORTED}&f=geojsonseq")
    assert answer.headers["content-type"] == "application/geo+json-seq"
    texts = answer.content.split(b"\x1e")
    assert texts[0] == b"" and [orjson.loads(text)["id"] for text in texts[1:]] == ORDER


def test_csv_has_a_column_a_property(client):
    answer = client.get(f"/search?{SORTED}&f=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == ORDER
    assert [row["eo:cloud_cover"] for row in rows] == ["5", "5", "40", "60", "90", ""]
    assert rows[0]["title"] == "Scene 0 over Österåker" and float(rows[0]["west"]) < float(rows[0]["east"])
    assert rows[0]["keywords"] == '["summer"]'
    assert "secret:code" not in rows[0]


def test_csv_has_no_formula_that_a_spreadsheet_would_compute(six, catalog, make_item, make_collection):
    catalog.publish(make_item("evil", title="=HYPERLINK(1)"), collection=make_collection())
    [row] = csv.DictReader(io.StringIO(six().get("/search?ids=evil&f=csv").text))
    assert row["title"] == "'=HYPERLINK(1)"


def test_geoparquet_holds_the_items_and_their_collection(client):
    answer = client.get(f"/search?{SORTED}&f=geoparquet")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    table = parquet.read_table(pyarrow.BufferReader(answer.content))
    assert [item["id"] for item in stac_table_to_items(table)] == ORDER
    told = orjson.loads(table.schema.metadata[b"stac-geoparquet"])
    assert list(told["collections"]) == ["generated"]
    assert orjson.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"


def test_all_that_is_found_comes_or_as_much_as_is_asked_for(six):
    client = six(max_stream=4)
    assert len(client.get("/search?f=ndjson").content.splitlines()) == 4
    assert len(client.get("/search?f=ndjson&limit=3").content.splitlines()) == 3
    assert len(client.post("/search", json={"f": "ndjson", "limit": 1}).content.splitlines()) == 1
    assert len(client.get("/collections/generated/items?f=ndjson").content.splitlines()) == 4


def test_members_are_chosen_there_too(client):
    answer = client.get(f"/search?{SORTED}&f=ndjson&fields=id,properties.title,-links")
    first = orjson.loads(answer.content.splitlines()[0])
    assert set(first) == {"type", "stac_version", "id", "collection", "properties"}
    assert (first["id"], first["properties"]) == ("item-0", {"title": "Scene 0 over Österåker"})


def test_whoever_takes_anything_gets_a_page(client):
    for accept in ("*/*", "application/geo+json", "text/html,application/json;q=0.9,text/csv"):
        assert client.get("/search", headers={"Accept": accept}).json()["type"] == "FeatureCollection"
    assert client.get("/search?f=json").json()["type"] == "FeatureCollection"


def test_other_formats_are_refused_with_those_that_there_are(client):
    answer = client.get("/search?f=shapefile")
    assert answer.status_code == 400 and "geojson, geojsonseq, ndjson, csv, geoparquet" in answer.json()["detail"]
    nothing = client.get("/search?f=geoparquet&ids=none")
    assert nothing.status_code == 400 and "no item" in nothing.json()["detail"]


def test_answers_are_packed_where_the_client_unpacks_them(client):
    plain = client.get("/search", headers={"Accept-Encoding": "identity"})
    packed = client.get("/search", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    file = client.get("/search?f=geoparquet", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in file.headers


@pytest.mark.parametrize(
    "path", ["/", "/conformance", "/collections", "/collections/generated", "/search", "/children",
             "/collections/generated/items/item-1", "/collections/generated/browse"],
)  # fmt: skip
def test_who_has_an_answer_already_is_told_so(client, catalog, make_item, make_collection, path):
    first = client.get(path)
    tag = first.headers["etag"]
    again = client.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == tag
    head = client.head(path, headers={"If-None-Match": tag})
    assert head.status_code == 304
    catalog.publish(make_item("item-1", title="another", datetime="2024-08-01T00:00:00Z"), collection=make_collection())
    changed = client.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == (304 if changed.content == b"" else 200)
    assert (changed.status_code == 304) == (client.get(path).content == first.content)
