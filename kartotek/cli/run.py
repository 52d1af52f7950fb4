"""`kartotek run`: products by the hundred thousand."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import click
import orjson
import psutil

from catalog.ledger import Order, State
from catalog.search import Search
from catalog.store import Catalog
from jobs import bulk, deletion, sources
from jobs.bulk import Crew
from jobs.original import Fate
from jobs.task import Outcome, Setup
from jobs.threads import Threads
from jobs.worker import Limits, warm_up
from kartotek import logs, processors
from kartotek.cli import bars, kept, options
from kartotek.cli.register import href_root
from kartotek.errors import CatalogError
from kartotek.settings import Settings
from kartotek.storage import open_storage

LOCAL = "local"
"""For the address of a cluster: one on this machine, for the time of the run."""
MEMORY = 1_600
"""MB that a worker takes for a whole product."""


def _clock(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """When it is next that time of day, here."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d\d?):(\d\d)", value)
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise click.BadParameter(f"{value!r} is no time of day such as 06:00")
    now = datetime.now().astimezone()
    then = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """The address of a scheduler, or `local`."""
    if value is None or value == LOCAL or re.fullmatch(r"[a-z]+://[^\s/]+:\d+", value):
        return value
    raise click.BadParameter(f"{value!r} is neither {LOCAL} nor an address such as tcp://HOST:8786")


@click.command(
    epilog="""\b
Examples:
  kartotek run /archive                      all products in a folder, and below it
  kartotek run '/archive/2024/**/*L2A*.zip'  those that fit a pattern
  kartotek run s3://archive/2024             what lies in a bucket
  kartotek run                               go on where it was left
  kartotek run --until 06:00 --order newest  what can be done in the night, newest first
  kartotek run --cluster tcp://dask:8786     on the workers of a Dask cluster
  kartotek run --registered --bbox 17,59,18,60  what `kartotek register` found there
  kartotek run /archive --prefer-zone 33     no ground twice, where two zones show it
  kartotek run /archive --source delete      make room while it goes
  kartotek run /archive --profile compact    in fewer bytes, for more time"""
)
@click.argument("source", nargs=-1)
@click.option("--workers", type=click.IntRange(1, 256), help="Products at a time  [default: as cores and memory allow]")
@click.option(
    "--cluster",
    callback=_address,
    metavar="ADDRESS",
    help="Convert on the workers of this Dask cluster, such as tcp://HOST:8786; `local` starts one on this machine.",
)
@click.option("--limit", type=click.IntRange(0), help="Begin no more products than this.")
@click.option("--until", callback=_clock, metavar="HH:MM", help="Begin no more products at this time of day.")
@click.option(
    "--order",
    type=click.Choice([order.value for order in Order]),
    default="added",
    show_default=True,
    help="Which come first.",
)
@click.option("--attempts", type=click.IntRange(1), default=3, show_default=True, help="How often a product is tried.")
@click.option("--allow-partial", is_flag=True, help="Convert what is there of a product with missing or broken bands.")
@click.option("--visual", is_flag=True, help="Convert the true colour image (TCI) too.")
@kept.what_is_kept
@click.option("--registered", is_flag=True, help="Only what is registered, all of it or as these three say.")
@options.collections
@options.bbox
@options.period
@click.option(
    "--prefer-zone",
    type=click.IntRange(1, 60),
    help="Skip granules of other UTM zones whose ground this one shows of the same pass.",
)
@click.option(
    "--source",
    "fate",
    type=click.Choice([fate.value for fate in Fate]),
    default="keep",
    show_default=True,
    help="What becomes of a product that is published: it stays, its item links to it, or it is deleted, once all that "
    "is published has been read back.",
)
@href_root
@options.json_option("Print one JSON object a product.")
@options.database
@options.storage
@click.pass_context
def run(
    context: click.Context,
    source: tuple[str, ...],
    workers: int | None,
    cluster: str | None,
    limit: int | None,
    until: float | None,
    order: str,
    attempts: int,
    allow_partial: bool,
    visual: bool,
    profile: str | None,
    bands: str | None,
    registered: bool,
    collections: str | None,
    bbox: str | None,
    period: str | None,
    prefer_zone: int | None,
    fate: str,
    href_root: str | None,
    as_json: bool,
    database: str | None,
    storage: str | None,
) -> None:
    """Convert and publish all products of archives; stop it at any time, and start it again.

    SOURCE is a product, a folder with products somewhere below it, a pattern, or s3://BUCKET/PREFIX. What is found is
    entered in the ledger, which knows what is done: the same SOURCE again adds what is new. Without SOURCE it goes on
    with what is left. A product that can't be converted is tried again later, then set aside (`kartotek failures`), and
    the command ends with exit status 1.
    """
    only = _asked(source, registered, collections, bbox, period)
    settings = options.load(database=database, storage=storage, profile=profile)
    setup = Setup(
        recipe=kept.recipe(settings, bands, allow_partial=allow_partial, threads=1),
        limits=Limits.of(settings), visual=visual, order=Order(order), attempts=attempts,
        only=only, prefer=prefer_zone, fate=Fate(fate),
    )  # fmt: skip
    told: Counter[State | None] = Counter()
    with options.opened(settings) as catalog:
        ledger, files = catalog.ledger, open_storage(settings.storage)
        for line in deletion.finish(catalog, files):
            click.echo(f"Warning: {line}", err=True)
        added = ledger.add(sources.find(source, root=href_root)) if only is None else ledger.choose(only)
        if not as_json:
            click.echo(f"{added} products added; {ledger.counts(only)[State.WAITING]} wait", err=True)
        stop = bulk.Stop(after=limit, at=until)
        crew = _crew(catalog, settings, setup, cluster, workers)
        with bars.bar(quiet=as_json) as bar:
            counts = ledger.counts(only)
            products = bar.add_task("products", completed=_over(counts), total=_all(counts))
            for outcome in bulk.run(ledger, crew, stop=stop, only=only):
                told[outcome.state] += 1
                with suppress(CatalogError):  # it may be away just now
                    counts = ledger.counts(only)
                    bar.update(products, completed=_over(counts), total=_all(counts))
                _say(outcome, as_json=as_json)
        if not as_json:
            click.echo(_line(ledger.counts()), err=True)
    if told[State.QUARANTINED]:
        context.exit(1)


def _crew(catalog: Catalog, settings: Settings, setup: Setup, address: str | None, count: int | None) -> Crew:
    """Who works: threads of this process, or a cluster."""
    if address is None:
        warm_up()
        return Threads(catalog, open_storage(settings.storage), setup, count or _workers())
    from jobs.cluster import Cluster  # takes a second, and Dask

    logs.adopt("distributed")
    if address == LOCAL:
        return Cluster(None, catalog, settings, setup, most=count or _workers())
    return Cluster(address, catalog, settings, setup, most=count)


def _workers() -> int:
    """As many as there are cores, and as fit into the memory that is free."""
    fit = int(psutil.virtual_memory().available) // (MEMORY << 20)
    return max(1, min(processors.count(), fit))


def _over(counts: dict[State, int]) -> int:
    """Products at which nobody works any more."""
    return counts[State.DONE] + counts[State.QUARANTINED] + counts[State.SKIPPED]


def _all(counts: dict[State, int]) -> int:
    """Products that are to be worked at, or were."""
    return sum(counts.values()) - counts[State.REGISTERED]


def _asked(
    source: tuple[str, ...], registered: bool, collections: str | None, bbox: str | None, period: str | None
) -> Search | None:
    """Which of the registered products; None where it is not about these."""
    if not registered:
        if collections or bbox or period:
            raise click.UsageError("--collections, --bbox and --datetime choose among what is registered: --registered")
        return None
    if source:
        raise click.UsageError("--registered takes what `kartotek register` has found: give no SOURCE")
    return options.asked(collections=collections, bbox=bbox, period=period)


def _say(outcome: Outcome, *, as_json: bool) -> None:
    """One attempt: to standard output what was published, to standard error what went wrong."""
    if as_json:
        told: dict[str, Any] = {
            "product": outcome.place, "attempt": outcome.attempt, "state": outcome.state or "lost",
            "seconds": round(outcome.seconds, 3),
        }  # fmt: skip
        if outcome.published:
            told |= asdict(outcome.published)
        else:
            told |= {"error": outcome.cause, "reason": outcome.reason}
        click.echo(orjson.dumps(told).decode())
    elif outcome.published:
        click.echo(f"{outcome.published.collection}/{outcome.published.item}")
        for note in outcome.published.notes:
            click.echo(f"Warning: {note}", err=True)
    elif outcome.state == State.SKIPPED:
        click.echo(f"Skipped: {outcome.place}: {outcome.reason}", err=True)
    else:
        what = "set aside" if outcome.state == State.QUARANTINED else "tried again later"
        click.echo(f"Error: {outcome.reason} ({what if outcome.state else 'another has it now'})", err=True)


def _line(counts: dict[State, int]) -> str:
    return ", ".join(f"{count} {state.value}" for state, count in counts.items())
