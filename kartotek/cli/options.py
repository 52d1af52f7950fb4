"""Options that several commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

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


__all__ = ["database", "json_option", "load", "opened", "storage"]
