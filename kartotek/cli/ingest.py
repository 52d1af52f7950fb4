"""`kartotek ingest`: items of other catalogues into this one."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from catalog import questions
from catalog.loading import Loaded
from jobs import origins
from jobs.ingest import Manner, Refused, Taken, name_of
from jobs.ingest import ingest as taken_in
from jobs.origins import Wanted
from kartotek import processors
from kartotek.cli import bars, options

TOLD = 10
"""Refused documents that are told of one by one."""


@click.command(
    epilog="""\b
Examples:
  kartotek ingest collections.ndjson items.ndjson
  kartotek ingest items.parquet --keep                      what is there already stays as it is
  kartotek ingest https://example.org/catalog.json          a static catalogue
  kartotek ingest https://stac.example.org --collections sentinel-2-l2a --bbox 11,55,24,69 --datetime 2024-06-01/.."""
)
@click.argument("source", nargs=-1, required=True)
@options.collections
@options.bbox
@options.period
@click.option("--keep", is_flag=True, help="Leave items that are there as they are, instead of replacing them.")
@click.option("--no-validate", is_flag=True, help="Don't check documents by STAC's schemas (KARTOTEK_SCHEMAS).")
@click.option("--refused", "report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write what is refused there, a JSON object a line with its place and the reason.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0.01), default=5.0, show_default=True, help="Requests a second, at most.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Processes that check and enter items  [default: a core each]"
)
@options.json_option("Print one JSON object a source.")
@options.database
@click.pass_context
def ingest(
    context: click.Context,
    source: tuple[str, ...],
    collections: str | None,
    bbox: str | None,
    period: str | None,
    keep: bool,
    no_validate: bool,
    report: Path | None,
    rate: float,
    workers: int | None,
    as_json: bool,
    database: str | None,
) -> None:
    """Enter items and collections that others have described.

    SOURCE is newline-delimited JSON, JSON (an item, an ItemCollection, a collection), stac-geoparquet, a static
    catalogue, or another STAC API by its URL. Collections must come before their items, in the same SOURCE or an
    earlier one. Nothing but metadata is copied: files stay where they are, and where an item came from stays in it as a
    link `via`. A document that is not valid is refused with the reason, the others go on, and the command ends with
    exit status 1. Ended anywhere, the same command goes on from there.
    """
    asked = options.asked(collections=collections, bbox=bbox, period=period)
    wanted = Wanted(collections=asked.collections, area=asked.area, period=_period(period))
    manner = Manner(wanted=wanted, validate=not no_validate, keep=keep)
    settings = options.load(database=database)
    refused: list[Refused] = []
    with options.opened(settings) as catalog:
        for one in source:
            total, kinds, passed, unchecked = Loaded(), 0, 0, set[str]()
            before = len(refused)
            origin = origins.opened(one, wanted, rate=rate)
            outcomes = taken_in(
                origin, name_of(one, wanted), settings, catalog, manner, processes=workers or processors.count()
            )
            with bars.bar(quiet=as_json) as bar:
                task = bar.add_task(Path(one).name or one, total=origin.size)
                for taken in outcomes:
                    total, kinds, passed = total + taken.items, kinds + taken.collections, passed + taken.passed
                    unchecked |= taken.unchecked
                    refused += taken.refused
                    _tell(one, taken, report, quiet=as_json, so_far=len(refused) - len(taken.refused))
                    bar.update(task, completed=taken.done, total=origin.size)
            _sum_up(one, total, kinds, passed, len(refused) - before, unchecked, as_json=as_json)
    if refused:
        context.exit(1)


def _period(period: str | None) -> str | None:
    """The times that are meant, as the STAC API takes them."""
    if period is None:
        return None
    ends = questions.interval(period, days=True)
    return "/".join(".." if end is None else end.isoformat().replace("+00:00", "Z") for end in ends)


def _tell(source: str, taken: Taken, report: Path | None, *, quiet: bool, so_far: int) -> None:
    """What a batch had that was refused."""
    for count, one in enumerate(taken.refused, so_far + 1):
        if report is not None:
            with report.open("ab") as file:
                file.write(orjson.dumps({"source": source, "place": one.label, "reason": one.reason}) + b"\n")
        if count <= TOLD and not quiet:
            click.echo(f"Error: {source}: {one.label}: {one.reason}", err=True)


def _sum_up(
    source: str, total: Loaded, kinds: int, passed: int, refused: int, unchecked: set[str], *, as_json: bool
) -> None:
    if as_json:
        document = {
            "source": source, "collections": kinds, "added": total.added, "replaced": total.replaced,
            "unchanged": total.unchanged, "passed": passed, "refused": refused, "unchecked": sorted(unchecked),
        }  # fmt: skip
        click.echo(orjson.dumps(document).decode())
        return
    words = [f"{total.added} added", f"{total.replaced} replaced", f"{total.unchanged} unchanged", f"{refused} refused"]
    if passed:
        words.append(f"{passed} not wanted")
    if kinds:
        words.append(f"{kinds} collections")
    click.echo(f"{source}: {', '.join(words)}")
    if unchecked:
        click.echo(
            f"{len(unchecked)} schemas are not at hand, by which nothing was checked (KARTOTEK_SCHEMAS): "
            f"{', '.join(sorted(unchecked)[:3])}{' ...' if len(unchecked) > 3 else ''}",
            err=True,
        )
