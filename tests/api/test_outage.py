"""A database that goes away and comes back while it is asked."""

import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from catalog.store import Catalog
from kartotek.settings import Settings

PATHS = [
    "/search?limit=10",
    "/collections",
    "/collections/generated/items/item-7",
    "/readyz",
    "/search?bbox=1,50,30,70",
]


@pytest.fixture
def restarted(own_cluster, tmp_path, make_item, make_collection):
    """The settings of a catalog on a server of its own."""
    catalog = Catalog(own_cluster.database("restarted"))
    catalog.migrate()
    for number in range(50):
        catalog.publish(make_item(f"item-{number}"), collection=make_collection())
    catalog.close()
    return Settings(database=catalog.place, storage=str(tmp_path))


def asked(root, path):
    """(status, Retry-After) of an answer."""
    try:
        with urllib.request.urlopen(root + path, timeout=60) as found:
            found.read()
            return found.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def test_a_restart_of_the_database_is_a_503_at_worst(own_cluster, restarted, serving):
    """R14: under load, twice."""
    over = Event()

    def ask(number):
        found = []
        while not over.is_set():
            found.append(asked(server.root, PATHS[(len(found) + number) % len(PATHS)]))
        return [*found, asked(server.root, PATHS[0])]

    with serving(restarted) as server, ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(ask, number) for number in range(8)]
        for _ in range(2):
            time.sleep(1)
            own_cluster.stop()
            time.sleep(0.5)
            own_cluster.start()
        time.sleep(1)
        over.set()
        answers = [one.result() for one in asking]
        server.stop()
    assert {answer[-1] for answer in answers} == {(200, None)}
    assert {answer for found in answers for answer in found} == {(200, None), (503, "5")}
