"""`kartotek export`: the catalog as files that others read."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import click
import orjson

from catalog.access import OPERATOR, PUBLIC, Reader
from catalog.addresses import Addresses
from catalog.filters import grammar
from catalog.search import Search
from catalog.store import Catalog
from jobs import targets
from jobs.export import Exported
from jobs.export import export as written
from kartotek.cli import bars, options


@click.command(
    epilog="""\b
Examples:
  kartotek export everything.ndjson                         what `kartotek ingest` takes
  kartotek export clear.parquet --filter 'eo:cloud_cover < 20' --overwrite
  kartotek export static --collections sentinel-2-l2a --bbox 17,59,19,60.5"""
)
@click.argument("target", type=click.Path(path_type=Path))
@options.which_items
@click.option("--filter", "condition", metavar="CQL2", help="Of which this is so, as CQL2 text.")
@click.option("--private", is_flag=True, help="Private collections too; else what anyone may see.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@options.json_option("Print one JSON object at the end.")
@options.database
def export(
    target: Path,
    collections: str | None,
    ids: str | None,
    bbox: str | None,
    period: str | None,
    condition: str | None,
    private: bool,
    overwrite: bool,
    as_json: bool,
    database: str | None,
) -> None:
    """Write collections and items to files that others read.

    TARGET is a file of newline-delimited JSON (.ndjson) or of stac-geoparquet (.parquet), or a folder for a static
    catalogue, not there yet or empty. Files of the catalog's own have their public addresses in it (KARTOTEK_URL,
    KARTOTEK_FILES_URL). TARGET is there when all of it is, and not before.
    """
    settings, reader = options.load(database=database), OPERATOR if private else PUBLIC
    to = targets.opened(target, title=settings.title, overwrite=overwrite)
    asked = options.asked(collections=collections, ids=ids, bbox=bbox, period=period)
    with options.existing(settings, milliseconds=options.PATIENCE_MS) as catalog, bars.bar(quiet=as_json) as bar:
        asked = _filtered(catalog, reader, asked, condition)
        task = bar.add_task(target.name, total=catalog.matched(reader, asked).number)
        found = written(catalog, reader, asked, Addresses.of(settings), to, seen=lambda: bar.advance(task))
        hidden = set() if private or asked.collections else catalog.private()
    _sum_up(target, found, len(hidden), as_json=as_json)


def _filtered(catalog: Catalog, reader: Reader, asked: Search, condition: str | None) -> Search:
    if condition is None:
        return asked
    tree = grammar.check(grammar.text(condition))
    return replace(asked, filter=tree, names=catalog.queryables(reader, asked.collections))


def _sum_up(target: Path, found: Exported, hidden: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps({"target": str(target), **asdict(found)}).decode())
        return
    click.echo(f"{target}: {found.collections} collections, {found.items} items, {found.bytes} bytes")
    if hidden:
        click.echo(f"private collections left out: {hidden} (--private takes them too)", err=True)
