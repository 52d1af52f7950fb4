"""`kartotek register`: archives searchable before they are converted."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import click
import orjson

from jobs import sources
from jobs.reading import Unread
from jobs.register import Registered
from jobs.register import register as registered
from jobs.worker import Limits
from kartotek import processors
from kartotek.cli import bars, options
from kartotek.storage import open_storage


def root(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A URL under which clients find an archive."""
    if value is None:
        return None
    found = urlsplit(value)
    if found.scheme not in ("https", "http", "s3", "file") or not (found.netloc or found.scheme == "file"):
        raise click.BadParameter(f"{value!r} is no URL such as https://files.example.se/archive")
    if found.query or found.fragment or found.username or found.password:
        raise click.BadParameter(f"{value!r}: give no password, no '?' and no '#'; everyone will read it")
    return value


href_root = click.option(
    "--href-root",
    callback=root,
    metavar="URL",
    help="Where clients find what lies in SOURCE: https://, s3://, or file:// where they see the same folders as you."
    "  [default: kartotek's own server for zips, a bucket's own address]",
)


@click.command(
    epilog="""\b
Examples:
  kartotek register /archive                          all products in a folder, and below it
  kartotek register s3://archive/2024                 what lies in a bucket
  kartotek register '/archive/2024/**/*L1C*.zip' --href-root https://files.example.se/archive/2024"""
)
@click.argument("source", nargs=-1, required=True)
@href_root
@click.option("--workers", type=click.IntRange(1, 256), help="Products that are read at a time  [default: a core each]")
@options.json_option("Print one JSON object a product.")
@options.database
@options.storage
@click.pass_context
def register(
    context: click.Context,
    source: tuple[str, ...],
    href_root: str | None,
    workers: int | None,
    as_json: bool,
    database: str | None,
    storage: str | None,
) -> None:
    """Make archives searchable by their metadata alone; nothing is converted.

    SOURCE is a product, a folder with products somewhere below it, a pattern, or s3://BUCKET/PREFIX. Each product
    becomes an item whose asset `product` is the product as it lies; `kartotek run --registered` gives it its bands. An
    item that has them stays as it is. A product whose metadata can't be read is set aside (`kartotek failures`), the
    others go on, and the command ends with exit status 1. The same SOURCE again adds what is new.
    """
    settings = options.load(database=database, storage=storage)
    told: Counter[str] = Counter()
    with options.opened(settings) as catalog:
        found = list(sources.find(source, root=href_root))
        outcomes = registered(
            found, open_storage(settings.storage), catalog, Limits.of(settings),
            processes=workers or processors.count(),
        )  # fmt: skip
        with bars.bar(quiet=as_json) as bar:
            task = bar.add_task("products", total=len(found))
            for outcome in outcomes:
                told[_say(outcome, as_json=as_json)] += 1
                bar.advance(task)
    if not as_json:
        there = len(found) - sum(told.values())
        click.echo(
            f"{told['registered']} registered, {there + told['converted']} there already, {told['failed']} set aside",
            err=True,
        )
    if told["failed"]:
        context.exit(1)


def _say(outcome: Registered | Unread, *, as_json: bool) -> str:
    """One product: to standard output what has an item, to standard error what has none; and which it was."""
    if isinstance(outcome, Unread):
        kind, place = "failed", outcome.source.place
        more: dict[str, Any] = {"error": outcome.cause, "reason": outcome.reason}
    else:
        kind, place = "converted" if outcome.converted else "registered", outcome.place
        more = {"collection": outcome.collection, "item": outcome.item}
    if as_json:
        click.echo(orjson.dumps({"product": place, "status": kind, **more}).decode())
    elif kind == "failed":
        click.echo(f"Error: {more['reason']}", err=True)
    elif kind == "registered":
        click.echo(f"{more['collection']}/{more['item']}")
    return kind
