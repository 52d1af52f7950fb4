"""`kartotek plan`: what a run will take before it is begun."""

from __future__ import annotations

import re
from typing import Any

import click
import orjson

from jobs import plan as planning
from jobs import sources
from jobs.plan import Estimate, Part, Plan
from kartotek.cli import kept, options

_GRANULE = re.compile(r"\d{2}[C-HJ-NP-X][A-Z]{2}")
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def _granules(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names of Sentinel-2's squares."""
    names = None if value is None else tuple(name.strip().upper() for name in value.split(","))
    for name in names or ():
        if not _GRANULE.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no granule such as 33VXG")
    return names


@click.command(
    epilog="""\b
Examples:
  kartotek plan                              all that is registered, or waits
  kartotek plan --granules 33VXG,33VXF --datetime 2024-06-01/2024-08-31
  kartotek plan --bbox 17,59,18,60 --bands B02,B03,B04,B08,SCL
  kartotek plan /archive/2024 --workers 40   products that nobody has entered yet"""
)
@click.argument("source", nargs=-1)
@options.collections
@click.option("--granules", callback=_granules, metavar="NAME,...", help="Of these granules, such as 33VXG.")
@options.bbox
@options.period
@click.option("--bands", metavar="NAME,...", help="Bytes of these bands' files alone, such as B02,SCL.")
@kept.profile
@click.option("--allow-partial", is_flag=True, help="Learn from runs with this option.")
@click.option("--workers", type=click.IntRange(1), help="Products at a time  [default: as many as there were]")
@options.json_option("Print one JSON object.")
@options.database
def plan(
    source: tuple[str, ...],
    collections: str | None,
    granules: tuple[str, ...] | None,
    bbox: str | None,
    period: str | None,
    bands: str | None,
    profile: str | None,
    allow_partial: bool,
    workers: int | None,
    as_json: bool,
    database: str | None,
) -> None:
    """Foretell how long products will take, and how many bytes, by those that are done.

    They are those of the ledger that are registered or wait; --collections, --bbox and --datetime choose among those
    that are registered. SOURCE is what it is for `run`: of what lies there, what is not done yet. Nothing is converted,
    and nothing is entered.
    """
    if source and (collections or bbox or period):
        raise click.UsageError("--collections, --bbox and --datetime choose among what is registered: give no SOURCE")
    only = options.asked(collections=collections, bbox=bbox, period=period) if collections or bbox or period else None
    settings = options.load(database=database, profile=profile)
    recipe = kept.recipe(settings, None, allow_partial=allow_partial, threads=1)
    with options.existing(settings) as catalog:
        ledger = catalog.ledger
        products = planning.among(ledger, sources.find(source)) if source else ledger.left(only)
        if granules is not None:
            products = [one for one in products if planning.granule(one) in granules]
        found = planning.plan(
            catalog, products, recipe=recipe.text, bands=bands.split(",") if bands else None, workers=workers
        )
    click.echo(orjson.dumps(_told(found)).decode() if as_json else _text(found, bands))


def _told(plan: Plan) -> dict[str, Any]:
    return {
        "products": plan.products, "missing": plan.missing, "strange": plan.strange, "workers": round(plan.workers, 2),
        "hours": _numbers(plan.hours), "bytes_written": _numbers(plan.bytes_written),
        "bytes_read": sum(part.bytes_read for part in plan.parts),
        "collections": {part.collection: _part(part) for part in plan.parts},
    }  # fmt: skip


def _part(part: Part) -> dict[str, Any]:
    return {
        "products": part.products, "fitted_on": part.fitted_on, "bytes_read": part.bytes_read,
        "bytes_written": _numbers(part.bytes_written), "worker_seconds": _numbers(part.seconds),
    }  # fmt: skip


def _numbers(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "deviation": estimate.deviation}


def _text(plan: Plan, bands: str | None) -> str:
    lines = [
        f"{part.collection}: {part.products} products, {_bytes(part.bytes_read)} to read, "
        f"{_bytes(part.bytes_written.value)}{_spread(part.bytes_written)} to write; by {part.fitted_on} that are done"
        for part in plan.parts
    ]
    hours = f"{plan.hours.value:.2g}" if plan.hours.value < 10 else f"{plan.hours.value:.0f}"
    lines.append(
        f"in all: {plan.products} products, {_bytes(plan.bytes_written.value)}{_spread(plan.bytes_written)}"
        f"{f' for {bands}' if bands else ''}, {hours} hours{_spread(plan.hours)}, {plan.workers:.2g} at a time"
    )
    if plan.strange:
        lines.append(f"not counted: {plan.strange} products of kinds of which none is done; convert one of each first")
    if plan.missing:
        lines.append(f"not counted: {plan.missing} products that are not where they were found")
    return "\n".join(lines)


def _bytes(number: float) -> str:
    """Bytes for people.

    >>> _bytes(1_234_567)
    '1.2 MB'
    """
    for unit in UNITS:
        if number < 1000 or unit == UNITS[-1]:
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == UNITS[0] else f"{number:.1f} {unit}"


def _spread(estimate: Estimate) -> str:
    """How far off it may be: two standard deviations, which 19 of 20 stay within."""
    if estimate.deviation is None:
        return " (how far off is not known)"
    return f" ± {200 * estimate.deviation / estimate.value:.0f} %" if estimate.value else ""
