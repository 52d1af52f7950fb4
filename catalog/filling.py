"""Columns that a migration added, filled in from the items' JSON: a batch a transaction, so that nobody waits."""

from __future__ import annotations

from collections import defaultdict

import orjson
from sqlalchemy import bindparam, select, update

from catalog import summaries, tally
from catalog.connections import Connections
from catalog.contents import Contents
from catalog.facts import columns
from catalog.models import items
from catalog.tally import Tally

BATCH = 1_000


def fill(connections: Connections, contents: Contents) -> None:
    """Fill in the facts of all items that have none yet, and pack them; ended anywhere, it goes on from there."""
    last = 0
    there = select(items).where(items.c.facts.is_(None)).order_by(items.c.pk).limit(BATCH)
    put = update(items).where(items.c.pk == bindparam("row"))
    while True:
        with connections.writing() as connection:
            rows = connection.execute(there.where(items.c.pk > last)).all()
            if not rows:
                return
            for collection in sorted({row.collection for row in rows}):
                contents.train(connection, collection)
            filled, added = [], defaultdict[str, Tally](Tally)
            for row in rows:
                content = contents.whole(row.content)
                document = orjson.loads(content)
                properties = document["properties"]
                packed = contents.packed(connection, row.collection, document, content)
                filled.append({"row": row.pk, "content": packed, **columns(properties)})
                added[row.collection] += tally.of_item(properties, row.footprint.bounds, row.start, row.end)
            connection.execute(put, filled)
            summaries.note(connection, added)
        last = rows[-1].pk
