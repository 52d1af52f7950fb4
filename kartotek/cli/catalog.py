"""`kartotek migrate`, `search` and `info`: the catalog from the command line."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

import click
import orjson

from catalog.access import OPERATOR
from catalog.store import Catalog
from kartotek.cli import options
from kartotek.storage import MARKER

_PAGE = 1_000
"""Items that are held in memory at a time."""


@click.command(
    epilog="""\b
Examples:
  kartotek migrate                     to the newest tables
  kartotek migrate --to 0001           to a revision, also back
  kartotek migrate --to base           remove all tables"""
)
@click.option("--to", "revision", default="head", show_default=True, metavar="REVISION", help="Revision of the tables.")
@options.database
def migrate(revision: str, database: str | None) -> None:
    """Bring the database's tables to this version; an SQLite file that is not there is made."""
    with closing(Catalog(options.load(database=database).database)) as catalog:
        catalog.migrate(revision)
        click.echo(f"{catalog.place}: tables at {revision}")


@click.command(
    epilog="""\b
Examples:
  kartotek search --bbox 17.5,59.7,18.5,60.2 --datetime 2022-07-01/..
  kartotek search --collections sentinel-2-l2a --limit 3 --json | jq .id"""
)
@options.which_items
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, newest first.")
@options.json_option("Print one STAC item a line.")
@options.database
def search(
    collections: str | None,
    ids: str | None,
    bbox: str | None,
    period: str | None,
    limit: int,
    as_json: bool,
    database: str | None,
) -> None:
    """Search the catalog, newest first: id, time and cloud share of each item."""
    asked = options.asked(collections=collections, ids=ids, bbox=bbox, period=period)
    asked = replace(asked, limit=min(limit, _PAGE))
    with options.existing(options.load(database=database)) as catalog:
        for _, content in islice(catalog.walk(OPERATOR, asked), limit):
            if as_json:
                click.echo(content)
                continue
            item = orjson.loads(content)
            cloud = item["properties"].get("eo:cloud_cover")
            share = "" if cloud is None else f"  {cloud:5.1f} % cloud"
            click.echo(f"{item['id']}  {item['properties']['datetime']}{share}")


@click.command(
    epilog="""\b
Examples:
  kartotek info                                                what the catalog holds
  kartotek info sentinel-2-l2a/S2B_MSIL2A_...                  an item and its files
  kartotek info --json sentinel-2-l2a/S2B_MSIL2A_... | jq .properties"""
)
@click.argument("item", required=False, metavar="[COLLECTION/ITEM]")
@options.json_option("Print JSON.")
@options.database
@options.storage
def info(item: str | None, as_json: bool, database: str | None, storage: str | None) -> None:
    """Tell what the catalog holds, or all about one item."""
    settings = options.load(database=database, storage=storage)
    with options.existing(settings) as catalog:
        if item is None:
            _tell_all(catalog, settings.storage, as_json=as_json)
        else:
            collection, _, name = item.partition("/")
            if not name:
                raise click.BadParameter(f"{item!r}: give COLLECTION/ITEM, as `kartotek convert` prints it")
            _tell_item(catalog.item(OPERATOR, collection, name), as_json=as_json)


def _tell_all(catalog: Catalog, storage: str, *, as_json: bool) -> None:
    """Collections with their counts."""
    counts = catalog.counts(OPERATOR)
    if as_json:
        click.echo(orjson.dumps({"database": catalog.place, "storage": storage, "items": counts}).decode())
        return
    click.echo(f"database  {catalog.place}\nstorage   {storage}")
    for collection, count in counts.items():
        click.echo(f"{count:9,} items in {collection}")


def _tell_item(content: bytes, *, as_json: bool) -> None:
    """One item."""
    if as_json:
        click.echo(content)
        return
    item: dict[str, Any] = orjson.loads(content)
    click.echo(f"{item['id']}\n  bbox  {', '.join(f'{number:.4f}' for number in item['bbox'])}")
    for name, value in item["properties"].items():
        click.echo(f"  {name}  {value}")
    for name, asset in item["assets"].items():
        size = asset.get("file:size", 0)
        click.echo(f"  {name:10} {size / 1e6:9.2f} MB  {asset['href'].removeprefix(MARKER)}")
