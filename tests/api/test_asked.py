"""What a search may ask beside place and time: filters, queries, words, orders, members."""

# ruff: noqa: E501  tables are read best by the line

import urllib.parse

import jsonschema
import orjson
import pytest

from api.fields import Fields, Paths

ROOT = "http://catalog.test"


@pytest.fixture
def client(six):
    return six()


def get(client, **asked):
    """What a search by GET finds: the numbers of the items, and the answer."""
    answer = client.get("/search?" + urllib.parse.urlencode({name.replace("_", "-"): it for name, it in asked.items()}))
    assert answer.status_code == 200, answer.text
    return numbers(answer.json()), answer.json()


def post(client, **asked):
    """The same by POST."""
    answer = client.post("/search", json={name.replace("_", "-"): value for name, value in asked.items()})
    assert answer.status_code == 200, answer.text
    return numbers(answer.json()), answer.json()


def numbers(answer):
    return [int(item["id"].removeprefix("item-")) for item in answer["features"]]


def refused(answer):
    """The reason for which a request is refused."""
    assert answer.status_code == 400, answer.text
    return answer.json()["detail"]


ASKED = [
    ("\"eo:cloud_cover\" <= 5", {0, 4}),
    ("\"properties.eo:cloud_cover\" > 5 AND platform = 'sentinel-2b'", {1}),
    ("eo:cloud_cover IS NULL", {2}),
    ("NOT \"eo:cloud_cover\" > 5", {0, 4}),  # what has none is neither
    ("\"sat:relative_orbit\" * 2 = 4 OR \"sat:relative_orbit\" IN (5)", {2, 5}),
    ("created >= TIMESTAMP('2024-06-05T00:00:00Z')", {4, 5}),
    ("T_AFTER(created, DATE('2024-06-05'))", {5}),
    ("CASEI(ACCENTI(title)) LIKE CASEI(ACCENTI('%OSTERAKER'))", set(range(6))),
    ("A_CONTAINS(keywords, ('snow'))", {1, 3, 5}),
    ("S_WITHIN(geometry, BBOX(16,58,19,61))", set(range(6))),
    ("S_INTERSECTS(geometry, POINT(0 0))", set()),
    ("collection = 'secret'", set()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), ASKED, ids=[text[:40] for text, _ in ASKED])
def test_a_filter_selects_alike_as_text_and_as_json_by_get_and_by_post(client, text, found):
    import cql2

    tree = cql2.parse_text(text).to_json()
    assert set(get(client, filter=text)[0]) == found
    assert set(get(client, filter=orjson.dumps(tree).decode(), filter_lang="cql2-json")[0]) == found
    assert set(post(client, filter=tree)[0]) == found
    assert set(post(client, filter=text, filter_lang="cql2-text")[0]) == found
    answer = client.get("/collections/generated/items?" + urllib.parse.urlencode({"filter": text}))
    assert set(numbers(answer.json())) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"eo:cloud_cover": {"lt": 50, "gte": 5}}, {0, 3, 4}),
        ({"platform": {"startsWith": "sentinel", "endsWith": "c"}}, {2, 5}),
        ({"title": {"contains": "3 over"}}, {3}),
        ({"title": {"contains": "%"}}, set()),
        ({"sat:relative_orbit": {"in": [1, 2, 99]}}, {1, 2}),
        ({"properties.eo:cloud_cover": {"eq": 90}}, {1}),
        ({"eo:cloud_cover": {"neq": 5}}, {1, 3, 5}),
        ({}, set(range(6))),
    ],
)
def test_a_query_selects_alike_by_get_and_by_post(client, query, found):
    assert set(get(client, query=orjson.dumps(query).decode())[0]) == set(post(client, query=query)[0]) == found


def test_query_filter_and_place_all_narrow(client):
    asked = {
        "query": {"eo:cloud_cover": {"lt": 95}},
        "filter": {"op": ">", "args": [{"property": "eo:cloud_cover"}, 30]},
    }
    assert set(post(client, **asked)[0]) == {1, 3, 5}
    assert set(post(client, **asked, bbox=[0, 0, 1, 1])[0]) == set()


def test_words_are_found_in_title_and_keywords(client):
    assert set(get(client, q="scene 1,österÅker")[0]) == set(range(6))
    assert set(get(client, q="scene 1")[0]) == set(post(client, q=["SCENE 1"])[0]) == {1}
    assert set(get(client, q="snow")[0]) == {1, 3, 5}
    assert get(client, q="no such")[0] == []


@pytest.mark.parametrize("limit", [1, 2, 4, 10])
@pytest.mark.parametrize("by", ["get", "post"])
def test_pages_go_on_and_back_in_the_order_that_is_asked_for(client, limit, by):
    """What has no clouds comes last, either way."""
    for direction, order in (("asc", [0, 4, 3, 5, 1, 2]), ("desc", [1, 5, 3, 0, 4, 2])):
        if by == "get":
            found = get(client, limit=limit, sortby=f"{'-' if direction == 'desc' else '+'}eo:cloud_cover,id")[1]
        else:
            fields = [{"field": "properties.eo:cloud_cover", "direction": direction}, {"field": "id"}]
            found = post(client, limit=limit, sortby=fields)[1]
        pages = [found]
        while onwards := follow(client, pages[-1], "next"):
            pages.append(onwards)
        assert [number for page in pages for number in numbers(page)] == order
        back = [pages[-1]]
        while before := follow(client, back[-1], "prev"):
            back.append(before)
        assert [numbers(page) for page in reversed(back)] == [numbers(page) for page in pages]


def follow(client, page, rel):
    """The page that a link leads to; None where there is no such link."""
    for link in page["links"]:
        if link["rel"] == rel:
            place = link["href"].removeprefix(ROOT)
            answer = client.get(place) if link["method"] == "GET" else client.post(place, json=link["body"])
            assert answer.status_code == 200, answer.text
            return answer.json()
    return None


ALWAYS = {"type", "stac_version", "id", "collection"}


def test_members_come_in_the_order_that_they_have_and_names_may_have_dots():
    item = {"z": 1, "id": "x", "properties": {"b": 1, "x.y": 2, "x": {"y": 3, "z": 4}, "a": 5}, "assets": {}}
    some = Fields(Paths(["properties.a", "properties.b", "properties.x.y", "z", "no.such"]), Paths([])).of(item)
    assert orjson.dumps(some) == b'{"z":1,"properties":{"b":1,"x.y":2,"x":{"y":3},"a":5}}'
    others = Fields(Paths([]), Paths(["properties.x.y", "assets", "z.a"])).of(item)
    assert orjson.dumps(others) == b'{"z":1,"id":"x","properties":{"b":1,"x":{"z":4},"a":5}}'
    assert len(item) == 4 and item["properties"]["x"] == {"y": 3, "z": 4}


def test_only_the_members_that_are_asked_for_come(client):
    include = ["id", "geometry", "properties.eo:cloud_cover", "properties.datetime", "no.such"]
    for found in (get(client, fields=",".join(include))[1], post(client, fields={"include": include})[1]):
        [first, *_] = found["features"]
        assert set(first) == {"id", "geometry", "properties", *ALWAYS}
        assert set(first["properties"]) == {"eo:cloud_cover", "datetime"}
    [first, *_] = get(client, fields="-links,-properties.title")[1]["features"]
    assert "links" not in first and "assets" in first and "title" not in first["properties"]
    [first, *_] = get(client, fields="id,links")[1]["features"]
    assert {link["rel"] for link in first["links"]} == {"self", "parent", "collection", "root"}


def test_what_is_left_empty_means_the_default_members(client):
    default = {"type", "stac_version", "id", "geometry", "bbox", "links", "assets", "properties"}
    for found in (
        get(client, fields="")[1], post(client, fields={})[1], post(client, fields={"include": None, "exclude": []})[1]
    ):  # fmt: skip
        [first, *_] = found["features"]
        assert set(first) == default and set(first["properties"]) == {"datetime"}
    for include in (None, []):
        [first, *_] = post(client, fields={"include": include, "exclude": ["geometry", "properties"]})[1]["features"]
        assert set(first) == default - {"geometry", "properties"}
    [first, *_] = post(client, fields={"exclude": ["geometry"]})[1]["features"]
    assert set(first) > default - {"geometry"} and len(first["properties"]) > 1


def test_what_is_included_comes_whatever_is_excluded_around_it(client):
    for include, exclude in ((["geometry"], ["geometry"]), (["properties.eo:cloud_cover"], ["properties"])):
        by_get = ",".join(["-" + exclude[0], *include])
        for found in (get(client, fields=by_get)[1], post(client, fields={"include": include, "exclude": exclude})[1]):
            [first, *_] = found["features"]
            assert set(first) == {*exclude, *ALWAYS}
    [first, *_] = post(client, fields={"include": ["properties"], "exclude": ["properties.datetime"]})[1]["features"]
    assert "datetime" not in first["properties"] and "eo:cloud_cover" in first["properties"]


def test_a_query_may_have_its_numbers_as_text(client):
    asked = [get(client, query=orjson.dumps({"eo:cloud_cover": {"lt": value}}).decode(), limit=100)[1]
             for value in (45, "45", "4.5e1")]  # fmt: skip
    names = [[one["id"] for one in found["features"]] for found in asked]
    assert names[0] and names[0] == names[1] == names[2]
    for value in ("nan", "inf", "much"):
        query = orjson.dumps({"eo:cloud_cover": {"lt": value}}).decode()
        assert client.get("/search", params={"query": query}).status_code == 400


def test_what_can_be_asked_for_is_told_with_types_and_values(client):
    for path in ("/queryables", "/collections/generated/queryables"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/schema+json"
        schema = answer.json()
        jsonschema.Draft201909Validator.check_schema(schema)
        assert schema["$id"] == f"{ROOT}{path}" and schema["additionalProperties"] is False
        told = schema["properties"]
        assert told["platform"] == {"type": "string", "enum": ["sentinel-2a", "sentinel-2b", "sentinel-2c"]}
        assert told["created"] == {"type": "string", "format": "date-time"}
        assert told["sat:relative_orbit"]["type"] == "integer" and told["eo:cloud_cover"]["type"] == "number"
        assert "$ref" in told["geometry"] and told["keywords"]["type"] == "array"
        assert {"id", "collection", "datetime"} <= set(told) and "eo:snow_cover" not in told
        assert "secret:code" not in told
    assert client.get("/collections/secret/queryables").status_code == 404
    sortables = client.get("/sortables").json()["properties"]
    assert "eo:cloud_cover" in sortables and not {"geometry", "keywords"} & set(sortables)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {"filter": "no_such = 1"},
            "'no_such' is no queryable; there are collection, created, datetime, eo:cloud_cover",
        ),
        ({"filter": "\"secret:code\" = 'x'"}, "no queryable"),
        ({"filter": "a = "}, "no CQL2 text"),
        ({"filter": "title = 3"}, "number and text can't be compared"),
        ({"filter": "foo(title) = 3"}, "no function 'foo'"),
        ({"filter": "platform"}, "platform is text"),
        ({"filter": "S_INTERSECTS(geometry, POINT(200 0))"}, "longitude, latitude"),
        ({"filter": "(" * 300 + "a=1" + ")" * 300}, "parentheses"),
        ({"filter": " AND ".join(["id='a'"] * 300)}, "operations"),
        ({"filter": "id = '" + "a" * 20_000 + "'"}, "at most 16384"),
        ({"filter": "1e308 * 10 > 1"}, "too large"),
        ({"filter": '"eo:cloud_cover" > 1e400'}, "too large"),
        ({"filter": "id='a'", "filter-lang": "cql"}, "filter-lang"),
        ({"filter": "id='a'", "filter-crs": "EPSG:3006"}, "filter-crs"),
        ({"filter": "{", "filter-lang": "cql2-json"}, "not JSON"),
        ({"query": "{"}, "not JSON"),
        ({"query": "[]"}, "query"),
        ({"query": '{"title": {"like": "x"}}'}, "no operator 'like'"),
        ({"query": '{"nothing": {"eq": 1}}'}, "no queryable"),
        ({"sortby": "nothing"}, "no sortable; there are collection"),
        ({"sortby": "geometry"}, "no sortable"),
        ({"sortby": ",".join(["id"] * 9)}, "at most 8"),
        ({"sortby": "id", "token": "WzAsMTcxNzIzNjAwMDAwMDAwMCwiYyIsImkiXQ"}, "token"),
    ],
)
def test_a_wrong_question_is_a_bad_request_that_says_why(client, asked, reason):
    assert reason in refused(client.get("/search?" + urllib.parse.urlencode(asked)))


@pytest.mark.parametrize(
    "body",
    [
        {"filter": 3}, {"filter": {"op": "and"}}, {"filter": {"op": "=", "args": [1]}}, {"filter": {"op": 3, "args": []}},
        {"filter": {"op": "in", "args": [{"property": "id"}, 3]}}, {"filter": {"op": "like", "args": [{"property": "id"}, 3]}},
        {"filter": {"op": "=", "args": [{"property": 3}, 3]}}, {"filter": {"op": "=", "args": [None, None]}},
        {"filter": {"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": "x"}]}},
        {"filter": {"op": "t_after", "args": [{"property": "datetime"}, {"interval": ["x", 3]}]}},
        {"filter": {"op": "t_after", "args": [{"property": "datetime"}, {"date": "2024-13-01"}]}},
        {"filter": {"op": "a_contains", "args": [{"property": "keywords"}, [{"x": 1}]]}},
        {"filter": {"op": "between", "args": [{"property": "eo:cloud_cover"}, "a", 1]}},
        {"sortby": [{"field": "id", "direction": "up"}]}, {"sortby": [3]}, {"sortby": "x"},
        {"fields": None}, {"fields": {"include": "id"}}, {"fields": [1]}, {"query": 3}, {"q": 3}, {"q": [3]},
    ],
)  # fmt: skip
def test_a_body_of_another_form_is_a_bad_request(client, body):
    assert refused(client.post("/search", json=body))


@pytest.mark.parametrize("value", [b"1" + b"0" * 30, b"-1" + b"0" * 30, b"NaN", b'"\\ud800"', b'"\\u0000"'])
@pytest.mark.parametrize("path", ["/search", "/aggregate"])
def test_a_value_that_nothing_can_be_compared_with_is_a_bad_request(client, path, value):
    name = b"title" if value.startswith(b'"') else b"eo:cloud_cover"
    for body in (
        b'{"query":{"%s":{"eq":%s}}}' % (name, value),
        b'{"query":{"%s":{"in":[%s]}}}' % (name, value),
        b'{"filter":{"op":"=","args":[{"property":"%s"},%s]}}' % (name, value),
    ):
        assert refused(client.post(path, content=body, headers={"Content-Type": "application/json"}))


def test_the_number_of_items_is_told_where_it_is_known_or_asked_for(client):
    assert get(client)[1]["numberMatched"] == 6  # all of them on the page
    assert "numberMatched" not in get(client, limit=2)[1]
    assert get(client, limit=2, numberMatched="true")[1]["numberMatched"] == 6
    for found in (
        get(client, limit=1, filter='"eo:cloud_cover" > 5')[1],
        post(client, limit=2, numberMatched=True, query={"eo:cloud_cover": {"gt": 5}})[1],
    ):
        assert found["numberMatched"] == 3 and "numberMatchedEstimated" not in found


def test_a_collection_tells_what_its_items_are(client):
    for found in (client.get("/collections/generated").json(), client.get("/collections").json()["collections"][0]):
        assert found["kartotek:items"] == 6
        assert found["extent"]["spatial"]["bbox"] == [[17, 59, 18, 60]]
        assert found["extent"]["temporal"]["interval"] == [["2024-06-01T10:00:00Z", "2024-06-01T10:00:00Z"]]
        assert found["summaries"]["platform"] == ["sentinel-2a", "sentinel-2b", "sentinel-2c"]
        assert found["summaries"]["eo:cloud_cover"] == {"minimum": 5, "maximum": 90}
        assert "title" not in found["summaries"]
