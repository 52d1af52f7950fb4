"""Columns that a migration added, filled in from the items' JSON: a batch a transaction, so that nobody waits."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson
from sqlalchemy import bindparam, select, update

from catalog import documents, summaries, tally
from catalog.connections import Connections
from catalog.contents import Contents
from catalog.facts import columns
from catalog.models import items

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
            numbers = {}
            for collection in sorted({row.collection for row in rows}):
                contents.train(connection, collection)
                numbers[collection] = contents.dictionary(connection, collection)
            filled, of_each = [], defaultdict[str, list[dict[str, Any]]](list)
            for row in rows:
                content = contents.whole(row.content)
                document = orjson.loads(content)
                packed = contents.packed(numbers[row.collection], content, documents.head(document, content))
                found = columns(document)
                filled.append({"row": row.pk, "content": packed, **found})
                of_each[row.collection].append({**row._mapping, **found})
            connection.execute(put, filled)
            summaries.note(connection, {name: tally.of_rows(some) for name, some in of_each.items()})
        last = rows[-1].pk
