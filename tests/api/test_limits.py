"""What one request, and many at once, may cost the database."""

import random
from asyncio import wait_for
from contextlib import suppress
from functools import partial

import anyio
import httpx
import orjson
import pytest
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware

from api import limits, middleware
from api.app import create_app
from api.limits import Limit, Limited
from api.middleware import Body
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


HEADER = {"type": "http", "method": "GET", "headers": []}


class Slow:
    """An application that answers searches when it is told to, behind a limit."""

    def __init__(self, most, patience=1.0, apart=0.0):
        self.released, self.entered, self.answers = anyio.Event(), [], []
        self.limited = Limited(self._answer, limits=[Limit(limits.SEARCHES, most, "searches", patience, apart)])

    async def _answer(self, scope, receive, send):
        self.entered.append(scope["path"])
        if scope["path"] == "/search":
            await self.released.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": (await receive()).get("body", b"")})

    async def ask(self, path, *, gone=False):
        """(status, Retry-After, body) of what is answered; None where nothing is."""
        sent, heard = [], [{"type": "http.request", "body": b"x"}]

        async def send(message):
            sent.append(message)

        async def receive():
            if not heard and not gone:
                await anyio.sleep(60)
            return heard.pop() if heard else {"type": "http.disconnect"}

        await self.limited({**HEADER, "path": path}, receive, send)
        answer = (sent[0]["status"], dict(sent[0]["headers"]).get(b"retry-after"), sent[1]["body"]) if sent else None
        self.answers.append(answer)
        return answer


def test_so_many_searches_are_worked_at_and_others_are_told_to_come_again():
    """Items are answered all the while."""

    async def main():
        slow = Slow(2)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(slow.ask, "/search")
            await anyio.wait_all_tasks_blocked()
            assert (await slow.ask("/search"))[:2] == (503, b"1")
            assert await slow.ask("/collections/a/items/b") == (200, None, b"x")
            assert await slow.ask("/tiles/a/b/x/1/1/1.png") == (200, None, b"x")
            slow.released.set()
        assert slow.answers[-2:] == [(200, None, b"x")] * 2
        assert await slow.ask("/search") == (200, None, b"x"), "places are free again"

    anyio.run(main)


def test_who_waited_is_answered_with_what_it_sent():
    async def main():
        slow = Slow(1, patience=30)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(slow.ask, "/search")
            await anyio.wait_all_tasks_blocked()
            assert slow.entered == ["/search"]
            slow.released.set()
        assert slow.answers == [(200, None, b"x")] * 5

    anyio.run(main)


def test_who_has_gone_while_it_waited_is_not_served():
    async def main():
        slow = Slow(1, patience=30)
        async with anyio.create_task_group() as group:
            group.start_soon(slow.ask, "/search")
            await anyio.wait_all_tasks_blocked()
            for gone in (True, True, True, False):
                group.start_soon(partial(slow.ask, "/search", gone=gone))
            await anyio.wait_all_tasks_blocked()
            slow.released.set()
        assert slow.entered == ["/search"] * 2 and sorted(slow.answers, key=str) == [(200, None, b"x")] * 2 + [None] * 3
        assert await slow.ask("/search") == (200, None, b"x"), "none of them kept a place"

    anyio.run(main)


def test_small_ones_are_worked_at_one_after_the_other():
    async def main():
        slow = Slow(3, patience=30, apart=30)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(slow.ask, "/search")
            await anyio.wait_all_tasks_blocked()
            assert slow.entered == ["/search"]
            with anyio.fail_after(10):  # who is done gives its turn on at once
                slow.released.set()
                while len(slow.answers) < 5:
                    await anyio.sleep(0.001)
        assert slow.answers == [(200, None, b"x")] * 5

    anyio.run(main)


def test_a_large_one_gives_its_turn_on_but_not_its_place():
    async def main():
        slow = Slow(3, patience=1, apart=0.001)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(slow.ask, "/search")
                while len(slow.entered) < 3:
                    await anyio.sleep(0.001)
                assert (await slow.ask("/search"))[:2] == (503, b"1")
                slow.released.set()
        assert slow.answers[1:] == [(200, None, b"x")] * 3

    anyio.run(main)


def test_who_waited_behind_middleware_of_others_is_answered_with_what_it_sent():
    """Starlette's own has a receive that doesn't take being left in the middle."""

    async def main():
        slow = Slow(1, patience=30)
        stack = BaseHTTPMiddleware(Body(slow.limited, most=100), dispatch=lambda request, go_on: go_on(request))
        sent = [[] for _ in range(4)]

        async def ask(number):
            parts = [{"type": "http.request", "body": b"%d" % number, "more_body": False}]

            async def receive():
                if not parts:
                    await anyio.sleep(60)
                return parts.pop()

            async def send(message):
                sent[number].append(message)

            await stack({**HEADER, "method": "POST", "path": "/search", "query_string": b""}, receive, send)

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
            assert slow.entered == ["/search"]
            slow.released.set()
        for number, messages in enumerate(sent):
            assert messages[0]["status"] == 200
            assert b"".join(message.get("body", b"") for message in messages) == b"%d" % number

    anyio.run(main)


def test_an_application_waits_in_each_event_loop():
    slow = Slow(1, patience=30)

    async def main():
        slow.released = anyio.Event()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(slow.ask, "/search")
            await anyio.wait_all_tasks_blocked()
            slow.released.set()

    for _ in range(2):
        anyio.run(main)
    assert slow.answers == [(200, None, b"x")] * 6


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("apart", [0.0, 0.0005])
def test_whatever_becomes_of_requests_no_place_is_lost_or_doubled(most, apart):
    """They are cut off, fail, leave, and lose their patience in the very moment at which a place is free."""
    chance = random.Random(most)
    at_work, peak = 0, 0

    async def answer(scope, receive, send):
        nonlocal at_work, peak
        at_work += 1
        peak = max(peak, at_work)
        try:
            await anyio.sleep(chance.choice([0, 0.001, 0.002, 0.004]))
            if chance.random() < 0.2:
                raise ValueError("before")
        finally:
            at_work -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if chance.random() < 0.2:
            raise ValueError("after")

    async def main():
        limited = Limited(answer, limits=[Limit(limits.SEARCHES, most, "searches", 0.002, apart)])
        statuses = []

        async def ask():
            gone = chance.random() < 0.2

            async def receive():
                if not gone:
                    await anyio.sleep(60)
                return {"type": "http.disconnect"}

            async def send(message):
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            with suppress(ValueError), anyio.move_on_after(chance.choice([0, 0.002, 0.004, 60, 60])):
                await limited({**HEADER, "path": "/search"}, receive, send)

        for _ in range(60):
            async with anyio.create_task_group() as group:
                for _ in range(chance.randrange(2, 30)):
                    group.start_soon(ask)
                    await anyio.sleep(chance.choice([0, 0, 0.001]))
        assert at_work == 0 and peak == most and {200, 503} == {*statuses}
        [places] = limited._kinds()
        for _ in range(most):
            await wait_for(places.take(), 10)
        assert places.taken()
        with pytest.raises(TimeoutError):
            await wait_for(places.take(), 0.05)
        if apart:
            await wait_for(places._begun.acquire(), 10)
            assert places._begun.locked(), "there is one turn"

    anyio.run(main)


def kinds(path):
    return [name for name in ("SEARCHES", "AREAS", "TILES") if getattr(limits, name).fullmatch(path)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/search", "SEARCHES"), ("/aggregate", "SEARCHES"), ("/collections/{collection_id}/items", "SEARCHES"),
        ("/collections/{collection}/aggregate", "SEARCHES"), ("/collections/a/browse/2024", "SEARCHES"),
        ("/mosaics/{mosaic}/items", "SEARCHES"),
        ("/collections/{collection}/items/{item}/statistics", "AREAS"), ("/mosaics/{mosaic}/statistics", "AREAS"),
        ("/mosaics/inline/statistics", "AREAS"), ("/mosaics/inline/crop.tif", "AREAS"),
        ("/collections/{collection}/items/{item}/crop.png", "AREAS"), ("/mosaics/{mosaic}/crop.npy", "AREAS"),
        ("/collections/{collection}/items/{item}/point", "TILES"), ("/mosaics/{mosaic}/point", "TILES"),
        ("/tiles/{collection}/{item}/{tms}/{z}/{x}/{y}.{form}", "TILES"), ("/mosaics/inline/point", "TILES"),
        ("/mosaics/{mosaic}/tiles/{tms}/{z}/{x}/{y}.{form}", "TILES"), ("/wmts", "TILES"),
        ("/wmts/1.0.0/{layer}/{style}/{time}/{tms}/{matrix}/{row}/{column}.{form}", "TILES"),
        ("/collections/{collection_id}/items/{item_id}", None), ("/collections", None), ("/", None), ("/livez", None),
        ("/tiles/{collection}/{item}/{tms}/tilejson.json", None), ("/mosaics", None), ("/files/a/items", None),
        ("/mosaics/{mosaic}/tilejson.json", None), ("/mosaics/{mosaic}", None),
    ],
)  # fmt: skip
def test_what_is_limited(path, kind):
    assert kinds(path) == ([kind] if kind else [])


def test_all_that_reads_pixels_or_searches_is_limited_and_no_line_break_leads_past_it(client):
    paths = list(client.get("/api").json()["paths"])
    words = ("search", "aggregate", "browse", "statistics", "crop", "point", "wmts")
    costly = [path for path in paths if any(word in path for word in words) or "{y}" in path or path.endswith("items")]
    assert len(costly) > 20
    for path in costly:
        assert len(kinds(path)) == 1, path
    for path in paths:
        answer = client.get(f"{path.replace('{', 'a').replace('}', 'b')}%0A")
        assert answer.status_code == 404 and "control characters" in answer.json()["detail"], path


@pytest.mark.parametrize("count", [1, 2, 4, 64])
@pytest.mark.parametrize("remote", [False, True])
def test_limits_leave_threads_to_all_else(monkeypatch, count, remote):
    monkeypatch.setattr(limits.processors, "count", lambda: count)
    searches, areas, tiles = limits.of(Settings(), remote=remote)
    assert searches.most == 8 and (6 if remote else 2) <= areas.most <= 8 and tiles.most >= min(count + 1, 16)
    assert searches.most + areas.most + tiles.most <= 40 - 8, "of 40 threads"
    assert limits.of(Settings(heavy=3), remote=remote)[1].most == 3


def test_who_sends_a_body_slowly_keeps_nobody_waiting(demo, monkeypatch):
    """Two of them took all the places of crops and statistics, for as long as they liked."""
    monkeypatch.setattr(middleware, "READING", 1.0)
    served = create_app(demo.settings.model_copy(update={"heavy": 1}), demo.catalog, demo.storage)
    scope = {**HEADER, "path": "/collections/a/items/b/statistics", "query_string": b"", "http_version": "1.1"}

    async def main():
        async def post(answers):
            parts = [{"type": "http.request", "body": b"{", "more_body": True}]

            async def receive():
                if not parts:
                    await anyio.sleep(60)
                return parts.pop()

            async def send(message):
                answers.append(message)

            await served({**scope, "method": "POST", "headers": [(b"content-length", b"100")]}, receive, send)

        client = httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://catalog.test", timeout=60)
        slow = [[], []]
        async with client, anyio.create_task_group() as group:
            for answers in slow:
                group.start_soon(post, answers)
            await anyio.wait_all_tasks_blocked()
            answer = await client.post(scope["path"], json={"type": "Point", "coordinates": [15, 60]})
            assert answer.status_code in (400, 404) and not any(slow)
        for answers in slow:
            assert answers[0]["status"] == 408 and b"did not come within 1 s" in answers[1]["body"]

    anyio.run(main)
