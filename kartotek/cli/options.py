"""Options that several commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from catalog import questions
from catalog.search import Search
from catalog.store import Catalog
from kartotek.settings import Settings, load

Command = TypeVar("Command", bound=Callable[..., Any])

database = click.option(
    "--database",
    metavar="URL",
    help="Catalog database, such as sqlite:///FILE  [default: KARTOTEK_DATABASE, or sqlite:///kartotek.db]",
)
storage = click.option(
    "--storage", metavar="FOLDER", help="Where files lie  [default: KARTOTEK_STORAGE, or kartotek-store]"
)


collections = click.option("--collections", metavar="ID,...", help="Of these collections.")
bbox = click.option("--bbox", metavar="W,S,E,N", help="Touching this rectangle, in degrees.")
period = click.option(
    "--datetime", "period", metavar="TIME[/TIME]", help="Sensed then; a date is a day, '..' an open end."
)


def search(
    *, collections: str | None, bbox: str | None, period: str | None, ids: str | None = None, limit: int = 10
) -> Search:
    """What these options ask for. Raises BadRequest."""
    start, end = questions.interval(period, days=True)
    return Search(
        collections=questions.names("collections", collections.split(",") if collections else None),
        ids=questions.names("ids", ids.split(",") if ids else None),
        area=None if bbox is None else questions.box(bbox),
        start=start,
        end=end,
        limit=limit,
    )


def json_option(text: str) -> Callable[[Command], Command]:
    """`--json`, with what it prints."""
    return click.option("--json", "as_json", is_flag=True, help=text)


@contextmanager
def opened(settings: Settings) -> Iterator[Catalog]:
    """The catalog of the settings, with its tables made where the database is empty."""
    catalog = Catalog(settings.database)
    try:
        catalog.ready()
        yield catalog
    finally:
        catalog.close()


__all__ = ["bbox", "collections", "database", "json_option", "load", "opened", "period", "search", "storage"]
