"""What Prometheus is told, and that nobody is told who was not to be."""

import time

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from api.app import create_app
from catalog.ledger import Source, State, Work
from catalog.models import products
from kartotek.settings import Settings
from kartotek.storage import FolderStorage


@pytest.fixture
def asked(catalog, tmp_path):
    """Gives a client of a server on the catalog, with metrics or without."""

    def make(*, metrics=True):
        app = create_app(Settings(metrics=metrics), catalog, FolderStorage(tmp_path))
        return TestClient(app, raise_server_exceptions=False)

    return make


def figures(client):
    """(name, label) → value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name.removeprefix("kartotek_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_ledger_is_told_as_it_is_at_each_scrape(asked, catalog, make_item, make_collection):
    client, ledger = asked(), catalog.ledger
    empty = figures(client)
    assert empty["oldest_lease_seconds",] == empty["products_per_hour",] == empty["products", "done"] == 0
    ledger.add(Source(place=f"/archive/{name}.zip") for name in "abcde")
    work = Work(timings={"decode": 2.0, "store": 0.5})
    catalog.publish(make_item("a"), collection=make_collection(), done=(ledger.claim("x", seconds=60), work))
    ledger.fail(ledger.claim("x", seconds=60), cause="BrokenProduct", error="short", most=3, wait=60)
    ledger.claim("x", seconds=60)
    time.sleep(0.1)
    told = figures(client)
    states = {State.DONE: 1, State.RUNNING: 1, State.WAITING: 3}
    assert all(told["products", state] == states.get(state, 0) for state in State)
    assert (told["queue_products", "now"], told["queue_products", "later"]) == (2, 1)
    assert 0.1 <= told["oldest_lease_seconds",] < 30 and told["products_per_hour",] > 0
    assert (told["stage_seconds", "decode"], told["stage_seconds", "store"]) == (2.0, 0.5)


def test_unless_it_is_asked_for_there_is_no_such_path(asked):
    client = asked(metrics=False)
    answer, other = client.get("/metrics"), client.get("/nothing")
    assert answer.status_code == 404 and answer.content == other.content
    assert "/metrics" not in client.get("/api").json()["paths"] and "/metrics" in asked().get("/api").json()["paths"]


def test_a_database_that_is_away_is_503(asked, catalog, break_database):
    client = asked()
    break_database(catalog)
    answer = client.get("/metrics")
    assert answer.status_code == 503 and answer.headers["retry-after"] and answer.json()["status"] == 503


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_a_scrape_is_cheap_however_many_products_there_are(asked, catalog, count):
    """A fraction of a second, where Prometheus' own limit is 10 s."""
    row = {"attempts": 0, "failures": 0, "fence": 0, "log": "x" * 500}
    states = [State.WAITING, State.DONE]
    rows = [{**row, "place": str(number), "state": states[number % 2]} for number in range(count)]
    with catalog._connections.writing() as connection:
        connection.execute(insert(products), rows)
    client = asked()
    figures(client)
    began = time.perf_counter()
    assert figures(client)["queue_products", "now"] == count / 2
    print(f"{time.perf_counter() - began:.3f} s")
    assert time.perf_counter() - began < 1
