"""The ledger's side of registering: products that are searchable before anyone has converted them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, and_, case, or_, select, update

from catalog import dialects
from catalog.ledger import Failure, Registration, Source, State
from catalog.models import products

_NEW: Mapping[str, Any] = {"attempts": 0, "failures": 0, "fence": 0}


def known(connection: Connection, places: Collection[str]) -> dict[str, str | None]:
    """Place → href of those of the places that have an item, registered or converted."""
    wanted = select(products.c.place, products.c.href).where(products.c.place.in_(places), products.c.item.is_not(None))
    return {row.place: row.href for row in connection.execute(wanted)}


def enter(connection: Connection, entries: Sequence[tuple[Registration, str, str]]) -> None:
    """Note products that are registered, each with the collection and the id of its item.

    One that is known stays in its state, unless registering is all that it ever failed at. Rows are locked in the order
    of their places, so that those who do the same at once wait for each other and don't lock each other out.
    """
    rows = [
        {**asdict(entry.source), **_NEW, "state": State.REGISTERED, "ground": entry.ground, "collection": collection,
         "item": item}
        for entry, collection, item in sorted(entries, key=lambda entry: entry[0].source.place)
    ]  # fmt: skip
    statement = dialects.of(connection).insert(products)
    new, old = statement.excluded, products.c
    never_read = _never_read()
    statement = statement.on_conflict_do_update(
        index_elements=["place"],
        set_={
            "state": case((never_read, State.REGISTERED), else_=old.state),
            **{name: case((never_read, None), else_=old[name]) for name in ("cause", "error")},
            **{name: new[name] for name in ("take", "zone", "sensed", "href", "collection", "item")},
            "ground": case((old.state == State.DONE, old.ground), else_=new.ground),
        },
    )
    connection.execute(statement, rows)


def skip(connection: Connection, places: Sequence[str], *, cause: str, reason: str) -> None:
    """Note of products that are registered that they need not be converted."""
    change = update(products).where(products.c.place.in_(places), products.c.state == State.REGISTERED)
    connection.execute(change.values(state=State.SKIPPED, cause=cause, error=reason))


def set_aside(connection: Connection, failed: Sequence[tuple[Source, Failure]]) -> None:
    """Note products whose metadata can't be read; those that anything else is known of stay as they are."""
    now = dialects.of(connection).now()
    for source, failure in sorted(failed, key=lambda one: one[0].place):
        told = {"cause": failure.cause, "error": failure.error, "log": "", "finished": now}
        row = {**asdict(source), **_NEW, "state": State.QUARANTINED, **told}
        statement = dialects.of(connection).insert(products).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["place"], set_=told, where=_never_read()))


def _never_read() -> Any:
    """Whether a product was set aside since it could not be registered, and not by hand or by a conversion."""
    return and_(
        products.c.state == State.QUARANTINED, products.c.attempts == 0, products.c.item.is_(None),
        or_(products.c.cause.is_(None), products.c.cause != "Quarantined"),
    )  # fmt: skip
