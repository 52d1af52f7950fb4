"""Options that several commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import click

from catalog import questions
from catalog.dialects import STATEMENT_MS
from catalog.search import Search
from catalog.store import Catalog
from kartotek.settings import Settings, load

PATIENCE_MS = 600_000
"""How long the database may work at a question of those who take all that there is."""

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
ids = click.option("--ids", metavar="ID,...", help="Of these ids.")
bbox = click.option("--bbox", metavar="W,S,E,N", help="Touching this rectangle, in degrees.")
period = click.option(
    "--datetime", "period", metavar="TIME[/TIME]", help="Sensed then; a date is a day, '..' an open end."
)


def json_option(text: str) -> Callable[[Command], Command]:
    """`--json`, with what it prints."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def which_items(command: Command) -> Command:
    """Options that narrow down which items are meant; `asked` makes a search of them."""
    return collections(ids(bbox(period(command))))


def asked(*, collections: str | None, bbox: str | None, period: str | None, ids: str | None = None) -> Search:
    """The search that options ask for. Raises BadRequest."""
    start, end = questions.interval(period, days=True)
    return Search(
        collections=questions.names("collections", collections.split(",") if collections else None),
        ids=questions.names("ids", ids.split(",") if ids else None),
        area=None if bbox is None else questions.box(bbox),
        start=start,
        end=end,
    )


@contextmanager
def existing(settings: Settings, *, milliseconds: int = STATEMENT_MS) -> Iterator[Catalog]:
    """A catalog that is there already: who only looks makes no new one of a mistyped name."""
    with closing(Catalog(settings.database, milliseconds=milliseconds)) as catalog:
        catalog.check()
        yield catalog


@contextmanager
def opened(settings: Settings) -> Iterator[Catalog]:
    """The catalog of the settings, with its tables made where the database is empty."""
    with closing(Catalog(settings.database)) as catalog:
        catalog.ready()
        yield catalog


__all__ = [
    "PATIENCE_MS", "asked", "bbox", "collections", "database", "existing", "ids", "json_option", "load", "opened",
    "period", "storage", "which_items",
]  # fmt: skip
