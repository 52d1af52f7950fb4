"""What a search's items are like."""

import pytest

NAMES = "total_count,datetime_min,datetime_max,datetime_frequency,collection_frequency,platform_frequency"


@pytest.fixture
def client(six):
    return six()


def aggregates(answer):
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "AggregationCollection"
    return {one["name"]: one for one in answer.json()["aggregations"]}


def counts(aggregate):
    return {bucket["key"]: bucket["frequency"] for bucket in aggregate["buckets"]}


def test_all_that_there_are_are_listed_and_linked(client):
    [address] = {link["href"] for link in client.get("/").json()["links"] if link["rel"] == "aggregations"}
    listed = aggregates(client.get(address))
    found = aggregates(client.get("/aggregate?aggregations=" + ",".join(listed)))
    assert list(found) == list(listed) and len(found) == 9
    assert client.get("/collections/generated/aggregations").json()["aggregations"] == list(listed.values())


def test_items_that_the_caller_sees_are_counted(client):
    found = aggregates(client.get(f"/aggregate?aggregations={NAMES}"))
    assert found["total_count"]["value"] == 6
    assert counts(found["collection_frequency"]) == {"generated": 6}
    assert counts(found["platform_frequency"]) == {"sentinel-2a": 2, "sentinel-2b": 2, "sentinel-2c": 2}
    assert sum(counts(found["datetime_frequency"]).values()) == 6
    assert found["datetime_min"]["value"] <= found["datetime_max"]["value"]


def test_clouds_come_in_ranges_and_items_without_are_told_apart(client):
    found = aggregates(client.get("/aggregate?aggregations=cloud_cover_frequency"))["cloud_cover_frequency"]
    assert [bucket["frequency"] for bucket in found["buckets"]] == [2, 0, 0, 0, 1, 0, 1, 0, 0, 1]
    assert found["overflow"] == 1
    assert (found["buckets"][0]["from"], found["buckets"][-1]["to"]) == (0, 100)


@pytest.mark.parametrize("interval", ["day", "month", "year"])
def test_periods_are_as_long_as_asked_for(client, interval):
    asked = f"/aggregate?aggregations=datetime_frequency&datetime_frequency_interval={interval}"
    found = counts(aggregates(client.get(asked))["datetime_frequency"])
    times = [item["properties"]["datetime"] for item in client.get("/search").json()["features"]]
    cut = {"day": 10, "month": 7, "year": 4}[interval]
    assert {key[:cut] for key in found} == {time[:cut] for time in times} and sum(found.values()) == 6
    assert all(key.endswith("T00:00:00Z") for key in found)


def test_a_search_narrows_it_by_get_and_post(client):
    by_get = client.get("/aggregate?aggregations=total_count&filter=eo:cloud_cover<50")
    by_post = client.post(
        "/collections/generated/aggregate",
        json={
            "aggregations": ["total_count"],
            "filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 50]},
        },
    )
    assert (
        aggregates(by_get)
        == aggregates(by_post)
        == {"total_count": {"name": "total_count", "data_type": "integer", "value": 3}}
    )


def test_where_nothing_is_named_items_are_counted(client):
    assert list(aggregates(client.get("/aggregate"))) == ["total_count"]


def test_of_nothing_there_is_nothing(client):
    found = aggregates(client.get(f"/aggregate?aggregations={NAMES}&ids=none"))
    assert found["total_count"]["value"] == 0 and found["datetime_min"]["value"] is None
    assert counts(found["platform_frequency"]) == counts(found["datetime_frequency"]) == {}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("aggregations=none", "'none' is not known; there are total_count"),
        ("aggregations=total_count&datetime_frequency_interval=week", "give day, month, year"),
        ("aggregations=total_count&filter=nothing=1", "nothing"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_can(client, asked, reason):
    answer = client.get(f"/aggregate?{asked}")
    assert answer.status_code == 400 and reason in answer.json()["detail"]


def test_of_a_private_collection_there_is_none(client):
    for path in ("aggregate?aggregations=total_count", "aggregations"):
        assert client.get(f"/collections/secret/{path}").status_code == 404
    assert (
        counts(
            aggregates(client.get("/aggregate?aggregations=collection_frequency&collections=secret"))[
                "collection_frequency"
            ]
        )
        == {}
    )
