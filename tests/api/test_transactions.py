"""Items and collections changed over HTTP."""

import codecs

import orjson
import pytest

from catalog.access import PUBLIC

ITEM = "/collections/generated/items/item-1"


@pytest.fixture
def client(six):
    return six(transactions=True)


@pytest.fixture
def document(make_item):
    """Makes an item as a client sends it."""
    return lambda name, **more: orjson.loads(make_item(name, **more))


def refused(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def test_unless_it_is_asked_for_nothing_can_be_changed(six, document):
    client = six()
    conforms = client.get("/conformance").json()["conformsTo"]
    assert not any("transaction" in name for name in conforms)
    for method, path in (
        ("POST", "/collections"), ("POST", "/collections/generated/items"), ("PUT", ITEM), ("PATCH", ITEM),
        ("DELETE", ITEM), ("PUT", "/collections/generated"), ("DELETE", "/collections/generated"),
    ):  # fmt: skip
        assert client.request(method, path, json=document("new")).status_code == 405


def test_where_they_are_let_the_server_says_so(client):
    conforms = set(client.get("/conformance").json()["conformsTo"])
    assert {
        "https://api.stacspec.org/v1.0.0/ogcapi-features/extensions/transaction",
        "https://api.stacspec.org/v1.0.0/collections/extensions/transaction",
        "http://www.opengis.net/spec/ogcapi-features-4/1.0/conf/simpletx",
    } <= conforms


def test_an_item_is_entered_found_and_removed(client, document):
    answer = client.post("/collections/generated/items", json=document("new", title="unheard"))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "http://catalog.test/collections/generated/items/new"
    assert answer.json() == client.get(answer.headers["location"]).json()
    assert [one["id"] for one in client.get("/search?q=unheard").json()["features"]] == ["new"]
    assert "already" in refused(client.post("/collections/generated/items", json=document("new")), 409)
    gone = client.delete("/collections/generated/items/new")
    assert gone.status_code == 204 and gone.content == b""
    assert client.get("/search?q=unheard").json()["features"] == []
    refused(client.delete("/collections/generated/items/new"), 404)


def test_an_item_is_replaced_and_patched(client):
    item = client.get(ITEM).json()
    item["properties"]["eo:cloud_cover"] = 1
    assert client.put(ITEM, json=item).status_code == 204
    assert client.get(ITEM).json() == item, "its own links, sent along, are the server's again"
    patch = {"properties": {"title": None, "eo:cloud_cover": 2, "mine": {"deep": [1]}}}
    assert client.patch(ITEM, json=patch).status_code == 204
    found = client.get(ITEM).json()["properties"]
    assert "title" not in found and (found["eo:cloud_cover"], found["mine"]) == (2, {"deep": [1]})
    assert [one["id"] for one in client.get("/search?filter=eo:cloud_cover=2").json()["features"]] == ["item-1"]


def test_who_saw_an_older_state_changes_nothing(client):
    first = client.get(ITEM).headers["etag"]
    changed = client.patch(ITEM, json={"properties": {"title": "one"}}, headers={"If-Match": first})
    assert changed.status_code == 204 and changed.headers["etag"] == client.get(ITEM).headers["etag"] != first
    for method in ("PUT", "PATCH", "DELETE"):
        answer = client.request(method, ITEM, json=client.get(ITEM).json(), headers={"If-Match": first})
        assert "changed meanwhile" in refused(answer, 412)
    assert client.get(ITEM).json()["properties"]["title"] == "one"
    assert client.delete(ITEM, headers={"If-Match": f'"other", {changed.headers["etag"]}'}).status_code == 204


def test_a_collection_s_state_is_its_own_not_that_of_its_items(client):
    path = "/collections/generated"
    seen = client.get(path).headers["etag"]
    assert client.patch(ITEM, json={"properties": {"eo:cloud_cover": 3}}).status_code == 204
    assert client.get(path).headers["etag"] != seen, "its summaries are others"
    assert client.patch(path, json={"title": "Another"}, headers={"If-Match": seen}).status_code == 204
    assert "changed" in refused(client.patch(path, json={"title": "Third"}, headers={"If-Match": seen}), 412)
    assert client.get(path).json()["title"] == "Another"


def test_each_of_several_items_is_for_itself_and_told_of(client, document):
    good, bad = document("good"), document("bad")
    del bad["geometry"]
    features = [good, bad, document("item-1"), 7]
    answer = client.post("/collections/generated/items", json={"type": "FeatureCollection", "features": features})
    assert answer.status_code == 207 and (answer.json()["added"], answer.json()["refused"]) == (1, 3)
    assert [one["status"] for one in answer.json()["items"]] == [201, 400, 409, 400]
    assert "geometry" in answer.json()["items"][1]["detail"]
    assert client.get("/collections/generated/items/good").status_code == 200
    whole = {"type": "FeatureCollection", "features": [document("next")]}
    assert client.post("/collections/generated/items", json=whole).status_code == 201


def test_collections_come_and_go_with_their_items(client, document, make_collection, catalog):
    kind = orjson.loads(make_collection("mine"))
    answer = client.post("/collections", json=kind)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "http://catalog.test/collections/mine"
    assert "already" in refused(client.post("/collections", json=kind), 409)
    assert client.post("/collections/mine/items", json=document("one", collection="mine")).status_code == 201
    told = client.get("/collections/mine").json()
    assert client.put("/collections/mine", json={**told, "title": "Mine"}).status_code == 204
    assert client.get("/collections/mine").json() == {**told, "title": "Mine"}
    assert client.delete("/collections/mine").status_code == 204
    assert catalog.counts(PUBLIC) == {"generated": 6}
    refused(client.get("/collections/mine/items/one"), 404)
    assert client.post("/collections", json=kind).status_code == 201
    assert client.get("/collections/mine").json()["kartotek:items"] == 0


@pytest.mark.parametrize("property", ["kartotek:recipe"])
def test_what_kartotek_made_is_kartotek_s(client, catalog, make_item, make_collection, property):
    catalog.publish(make_item("made", **{property: "1"}), collection=make_collection())
    path = "/collections/generated/items/made"
    for method in ("PUT", "PATCH", "DELETE"):
        assert "converted or registered" in refused(client.request(method, path, json={"properties": {}}), 409)
    assert "converted or registered" in refused(client.delete("/collections/generated"), 409)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "Nothing"}, "type"),
        ({"id": ""}, "id can't be empty"),
        ({"id": "a/b"}, "slash"),
        ({"id": 7}, "an id"),
        ({"collection": "other"}, "those of the address"),
        ({"geometry": None, "bbox": None}, "geometry"),
        ({"geometry": {"type": "Point", "coordinates": [500_000, 6_600_000]}}, "longitude, latitude"),
        ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}, "geometry"),
        ({"properties": {"datetime": None}}, "datetime"),
        ({"properties": {"datetime": "yesterday"}}, "datetime"),
        ({"properties": 7}, "properties"),
        ({"assets": [7]}, "assets"),
        ({"links": 7}, "links"),
        ({"stac_version": 7}, "stac_version"),
        ({"assets": {"x": {"href": "storage:///secret/hidden/B02.tif"}}}, "a file of another item"),
        ({"assets": {"x": {"href": "storage:///generated/new/../../secret/hidden/B02.tif"}}}, "a file of another item"),
    ],
)
def test_what_is_no_valid_item_is_refused_with_the_reason(client, document, change, reason):
    answer = client.post("/collections/generated/items", json={**document("new"), **change})
    assert reason in refused(answer, 400)
    assert client.get("/collections/generated/items/new").status_code == 404


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**70), 10**300], ids=lambda number: f"{number:.0e}")
def test_an_integer_of_any_length_is_a_number(client, document, number):
    whole = document("new")
    whole["properties"]["eo:cloud_cover"] = number
    answer = client.post("/collections/generated/items", json=whole)
    assert answer.status_code == 201, answer.text
    [found] = client.get("/search", params={"ids": "new"}).json()["features"]
    assert found["properties"]["eo:cloud_cover"] == pytest.approx(number)
    asked = {"filter": "eo:cloud_cover > 0" if number > 0 else "eo:cloud_cover < 0", "ids": "new"}
    assert len(client.get("/search", params=asked).json()["features"]) == 1


def test_a_mark_of_byte_order_is_no_part_of_what_is_written(client, document):
    sent = {"content": codecs.BOM_UTF8 + orjson.dumps(document("new")), "headers": {"Content-Type": "application/json"}}
    assert client.post("/collections/generated/items", **sent).status_code == 201


NO_JSON = ["NaN", "-Infinity", "1e400", "1" + "0" * 400, '"\\ud800"', '"', "{"]


@pytest.mark.parametrize("value", NO_JSON, ids=lambda text: text[:10])
def test_what_is_no_json_is_refused_with_the_reason(client, document, value):
    written = orjson.dumps(document("new", given=0)).decode().replace('"given":0', f'"given":{value}')
    sent = {"content": written, "headers": {"Content-Type": "application/json"}}
    for method, path in (("POST", "/collections/generated/items"), ("PUT", ITEM), ("PATCH", ITEM)):
        assert "body: no JSON" in refused(client.request(method, path, **sent), 400)
    assert "body: no JSON" in refused(client.post("/collections", **sent), 400)


def test_a_private_collection_is_not_there_to_be_changed(client, document):
    assert refused(client.post("/collections/secret/items", json=document("x")), 404) == refused(
        client.post("/collections/none/items", json=document("x")), 404
    ).replace("none", "secret")
    for path in ("/collections/secret", "/collections/secret/items/hidden"):
        for method in ("PUT", "PATCH", "DELETE"):
            assert client.request(method, path, json={}).status_code == 404
    # Its name is taken, which whoever may enter collections learns.
    answer = client.post(
        "/collections", json=orjson.loads(client.get("/collections/generated").content) | {"id": "secret"}
    )
    assert answer.status_code == 409


def test_where_an_item_came_from_stays_in_it(client, document):
    given = document("new") | {"links": [{"rel": "self", "href": "https://elsewhere.example/items/new"}]}
    found = client.post("/collections/generated/items", json=given).json()
    assert [link["href"] for link in found["links"] if link["rel"] == "via"] == ["https://elsewhere.example/items/new"]
