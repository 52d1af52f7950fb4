"""`kartotek verify`, `sweep`, `rebuild` and `collection`: storage and catalog kept in order, and in agreement."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click
import orjson

from catalog.access import OPERATOR
from catalog.search import Search
from jobs import rebuild as rebuilding
from jobs import record
from jobs import sweep as sweeping
from jobs import verify as verifying
from kartotek import processors
from kartotek.cli import bars, options
from kartotek.storage import open_storage


@click.command(
    epilog="""\b
Examples:
  kartotek verify                                   all that is published
  kartotek verify --collections sentinel-2-l2a --datetime 2024-01-01/..
  kartotek verify --repair || kartotek run          make what is damaged anew"""
)
@options.which_items
@click.option("--workers", type=click.IntRange(1, 64), help="Items at a time  [default: as many as there are cores]")
@click.option("--repair", is_flag=True, help="Remove what is damaged, and let its products be converted again.")
@options.json_option("Print one JSON object a damaged item, and one at the end.")
@options.database
@options.storage
@click.pass_context
def verify(
    context: click.Context,
    collections: str | None,
    ids: str | None,
    bbox: str | None,
    period: str | None,
    workers: int | None,
    repair: bool,
    as_json: bool,
    database: str | None,
    storage: str | None,
) -> None:
    """Read all files of all items, and compare their SHA-256 with what the items say.

    Ends with exit status 1 where a file is missing or damaged.
    """
    settings = options.load(database=database, storage=storage)
    place, count = open_storage(settings.storage), workers or processors.count()
    asked = options.asked(collections=collections, ids=ids, bbox=bbox, period=period)
    told: Counter[str] = Counter(items=0, files=0, bytes=0, damaged=0)
    with options.existing(settings) as catalog, bars.bar(quiet=as_json) as bar:
        task = bar.add_task("items", total=sum(catalog.counts(OPERATOR).values()) if asked == Search() else None)
        for found in verifying.verify(place, catalog, asked, workers=count):
            bar.advance(task)
            told.update(items=1, files=found.files, bytes=found.bytes, damaged=len(found.damaged))
            if found.damaged:
                _tell_damaged(found, repair and verifying.repair(place, catalog, found), as_json=as_json, repair=repair)
    if as_json:
        click.echo(orjson.dumps(told).decode())
    else:
        click.echo(f"{told['items']} items, {told['files']} files, {told['bytes']} bytes: {told['damaged']} damaged")
    if told["damaged"]:
        context.exit(1)


def _tell_damaged(found: verifying.Verified, repaired: bool, *, as_json: bool, repair: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(asdict(found) | {"repaired": repaired}).decode())
        return
    for key, wrong in found.damaged.items():
        click.echo(f"{key}: {wrong}")
    if repaired:
        click.echo(
            f"{found.collection}/{found.item}: waits to be converted again by `kartotek run`, or is whole by now"
        )
    elif repair:
        click.echo(
            f"{found.collection}/{found.item}: its product is not in the ledger, or not there any more; fetch it, "
            "remove the damaged objects, and convert it by `kartotek convert`"
        )


@click.command(
    epilog="""\b
Examples:
  kartotek sweep --dry-run                 what would be removed
  kartotek sweep                           at any time, beside runs and servers"""
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--force", is_flag=True, help="Also where most of what lies there is unknown to the catalog.")
@options.json_option("Print one JSON object an item, and one at the end.")
@options.database
@options.storage
def sweep(dry_run: bool, force: bool, as_json: bool, database: str | None, storage: str | None) -> None:
    """Remove files that no item names: left by crashes, and by products that were converted anew.

    Files of published items are never touched, nor those that are being published, nor what is no file of an item.
    """
    settings = options.load(database=database, storage=storage)
    told: Counter[str] = Counter(items=0, files=0, bytes=0, busy=0)
    with options.existing(settings) as catalog:
        for found in sweeping.sweep(open_storage(settings.storage), catalog, dry=dry_run, force=force):
            told.update(items=1, files=len(found.keys), bytes=found.bytes, busy=found.busy)
            if as_json:
                click.echo(orjson.dumps(asdict(found)).decode())
            else:
                click.echo("".join(f"{key}\n" for key in found.keys), nl=False)
    if as_json:
        click.echo(orjson.dumps(told).decode())
    else:
        what = "would be removed" if dry_run else "removed"
        busy = f"; {told['busy']} items are being published, and were left" if told["busy"] else ""
        click.echo(f"{told['files']} files of {told['items']} items {what}, {told['bytes']} bytes{busy}", err=True)


@click.command(
    epilog="""\b
Examples:
  kartotek rebuild                                      into the database of the settings
  kartotek rebuild --database sqlite:///again.db"""
)
@options.json_option("Print one JSON object an item that can't be entered, and one at the end.")
@options.database
@options.storage
@click.pass_context
def rebuild(context: click.Context, as_json: bool, database: str | None, storage: str | None) -> None:
    """Enter all items that lie in the storage and that the catalog does not have, with their index squares.

    What the catalog has stays as it is. Ends with exit status 1 where an item can't be entered.
    """
    settings = options.load(database=database, storage=storage)
    told: Counter[str] = Counter(entered=0, wrong=0)
    with options.opened(settings) as catalog, bars.bar(quiet=as_json) as bar:
        task = bar.add_task("items", total=None)
        for found in rebuilding.rebuild(open_storage(settings.storage), catalog):
            bar.advance(task)
            told.update(entered=found.entered, wrong=bool(found.wrong))
            if found.wrong and as_json:
                click.echo(orjson.dumps(asdict(found)).decode())
            elif found.wrong:
                click.echo(f"Error: {found.wrong}", err=True)
    if as_json:
        click.echo(orjson.dumps(told).decode())
    else:
        click.echo(f"{told['entered']} items entered, {told['wrong']} can't be")
    if told["wrong"]:
        context.exit(1)


@click.command(
    epilog="""\b
Examples:
  kartotek collection sentinel-2-l1c --private
  kartotek collection sentinel-2-l1c --public"""
)
@click.argument("name", metavar="COLLECTION")
@click.option("--private/--public", required=True, help="Hidden from outsiders, or shown to everyone.")
@options.database
@options.storage
def collection(name: str, private: bool, database: str | None, storage: str | None) -> None:
    """Hide a collection from outsiders, or show it; its record in the storage says so too, for `rebuild`."""
    settings = options.load(database=database, storage=storage)
    with options.existing(settings) as catalog:
        record.set_private(open_storage(settings.storage), catalog, name, private=private)
    click.echo(f"{name} is {'private' if private else 'public'}")
