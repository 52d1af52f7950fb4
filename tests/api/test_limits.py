"""What one request, and many at once, may cost the database."""

import anyio
import orjson
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.middleware import COSTLY, Costly
from catalog import entries
from catalog.access import PUBLIC
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import TookTooLong
from kartotek.settings import Settings

# True of none of the items, each of which is looked at for it.
SLOW = {"op": "<", "args": [{"op": "casei", "args": [{"property": "title"}]}, {"op": "casei", "args": ["zz"]}]}


@pytest.fixture
def many(catalog, make_item, make_collection):
    """A catalog of some thousand items with long titles."""
    catalog.put_collection(make_collection())
    made = (orjson.loads(make_item(f"item-{number:05}", title="Ä" * 1_500)) for number in range(4_000))
    catalog.load([entries.of(one) for one in made])
    return catalog


def test_a_question_that_takes_longer_than_its_time_is_given_up(many):
    hasty = Catalog(many.place, milliseconds=10)
    wanted = Search(filter=SLOW, names=many.queryables(PUBLIC), limit=1)
    with pytest.raises(TookTooLong, match=r"longer than 0\.01 s"):
        hasty.search(PUBLIC, wanted)
    assert len(hasty.search(PUBLIC, Search(limit=1)).items) == 1, "the connection is as good as before"
    patient = Catalog(many.place)
    assert patient.search(PUBLIC, wanted).items == ()
    hasty.close()
    patient.close()


def test_over_http_that_is_a_bad_request_which_says_what_would_do(many, tmp_path):
    settings = Settings(database=many.place, storage=str(tmp_path), url="http://catalog.test", statement_seconds=0.01)
    with TestClient(create_app(settings), base_url="http://catalog.test") as client:
        answer = client.post("/search", json={"filter": SLOW})
        assert answer.status_code == 400 and "ask for less" in answer.json()["detail"]


def test_so_many_searches_are_worked_at_and_others_are_told_to_come_again():
    """Items are answered all the while."""
    release, entered = anyio.Event(), []

    async def app(scope, receive, send):
        entered.append(scope["path"])
        if scope["path"] == "/search":
            await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = Costly(app, most=2)

    async def ask(path):
        found = []

        async def send(message):
            found.append(message)

        await limited({"type": "http", "path": path, "method": "GET", "headers": []}, None, send)
        head = found[0]
        return head["status"], dict(head["headers"]).get(b"retry-after")

    async def main():
        nonlocal release
        release = anyio.Event()
        answers = []

        async def note(path):
            answers.append(await ask(path))

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(note, "/search")
            await anyio.wait_all_tasks_blocked()
            assert await ask("/search") == (503, b"1")
            assert await ask("/collections/a/items/b") == (200, None)
            assert await ask("/tiles/a/b/x/1/1/1.png") == (200, None)
            release.set()
        assert answers == [(200, None)] * 2
        assert await ask("/search") == (200, None), "places are free again"

    anyio.run(main)


@pytest.mark.parametrize(
    ("path", "costly"),
    [
        ("/search", True), ("/aggregate", True), ("/collections/a/items", True), ("/collections/a/aggregate", True),
        ("/collections/a/browse/2024", True), ("/collections/a/items/b", False), ("/collections", False), ("/", False),
        ("/tiles/a/b/c/1/1/1.png", False), ("/files/a/items", False),
    ],
)  # fmt: skip
def test_what_is_costly(path, costly):
    assert bool(COSTLY.fullmatch(path)) == costly
