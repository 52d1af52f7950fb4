"""`kartotek status`, `failures`, `retry` and `quarantine`: how products stand in the ledger, and where they are to."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict

import click
import orjson

from catalog.ledger import MOST, Failure, State
from catalog.pace import Pace
from catalog.store import Catalog
from jobs.fetch import SCHEME
from kartotek.cli import options

WAYS_OUT = {
    "reading": "more workers (--workers), which wait for the archive side by side; a nearer archive",
    "processor": "more cores, or machines (--cluster); Numba (kartotek[fast])",
    "storing": "more workers (--workers), which wait for the storage side by side; a nearer storage",
    "database": "a nearer or faster database; PostGIS where it is SQLite and several machines work",
}
"""What a run is held up by → what may help."""


@click.command(
    epilog="""\b
Examples:
  kartotek status
  kartotek status --json | python -m json.tool"""
)
@options.json_option("Print one JSON object.")
@options.database
def status(as_json: bool, database: str | None) -> None:
    """Tell how the products of the ledger stand: how many, how fast, how long yet, and what holds them up."""
    with options.existing(options.load(database=database)) as catalog:
        counts, pace = catalog.ledger.counts(), catalog.ledger.pace()
    left = counts[State.WAITING] + counts[State.RUNNING]
    hours = left / pace.per_hour if pace.per_hour else None
    if as_json:
        told = {
            **{state.value: count for state, count in counts.items()}, "per_hour": round(pace.per_hour, 2),
            "hours_left": hours, "stages": pace.stages, "bottleneck": pace.bottleneck,
            "way_out": WAYS_OUT.get(pace.bottleneck or ""),
            "bytes_read": pace.bytes_read, "bytes_written": pace.bytes_written, "recent": pace.products,
        }  # fmt: skip
        click.echo(orjson.dumps(told).decode())
        return
    for state, count in counts.items():
        click.echo(f"{count:9} {state.value}")
    if pace.products:
        click.echo(_pace(pace, hours))


def _pace(pace: Pace, hours: float | None) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in pace.stages.items())
    left = "" if not hours else f"; {hours:.1f} hours left"
    lines = [
        f"{pace.per_hour:9.1f} an hour, by the last {pace.products}{left}",
        f"          a product: {stages}",
    ]
    if pace.bottleneck:
        lines.append(f"          most of the time goes into: {pace.bottleneck}")
        lines.append(f"          what helps: {WAYS_OUT[pace.bottleneck]}")
    return "\n".join(lines)


@click.command(
    epilog="""\b
Examples:
  kartotek failures
  kartotek failures --cause BrokenProduct
  kartotek failures --json"""
)
@click.option("--cause", multiple=True, help="Only those of this cause; may be given several times.")
@options.json_option("Print one JSON object a product.")
@options.database
def failures(cause: tuple[str, ...], as_json: bool, database: str | None) -> None:
    """List products that could not be converted, by cause, with what was said and the end of the log."""
    with options.existing(options.load(database=database)) as catalog:
        found = catalog.ledger.failures(causes=cause)
    if len(found) == MOST:
        click.echo(f"Warning: the newest {MOST} alone; --cause tells of some of them", err=True)
    if as_json:
        for one in found:
            click.echo(orjson.dumps(asdict(one)).decode())
        return
    for name, count in Counter(one.cause for one in found).most_common():
        click.echo(f"{name}: {count}")
        for one in found:
            if one.cause == name:
                click.echo(_failure(one))


def _failure(one: Failure) -> str:
    lines = [f"  {one.place} ({one.state.value}, {one.attempts} attempts)", f"    {one.error}"]
    return "\n".join(lines + [f"    | {line}" for line in one.log.splitlines()[-5:]])


@click.command(
    epilog="""\b
Examples:
  kartotek retry                         all that is set aside
  kartotek retry --cause TooCostly       once there is more memory
  kartotek retry /archive/S2A_MSIL2A_20230825T095031_N0509_R079_T34WFU_20230825T135832.zip"""
)
@click.argument("product", nargs=-1)
@click.option("--cause", multiple=True, help="Only those of this cause; may be given several times.")
@options.database
def retry(product: tuple[str, ...], cause: tuple[str, ...], database: str | None) -> None:
    """Let products that are set aside wait again, as if they had never been tried."""
    with options.existing(options.load(database=database)) as catalog:
        _found(catalog, product)
        count = catalog.ledger.retry(causes=cause, places=[_place(name) for name in product])
    click.echo(f"{count} products wait again")


@click.command(
    epilog="""\b
Examples:
  kartotek quarantine --reason "a calibration manoeuvre" /archive/S2A_MSIL1C_20230825T095031_N0509_R079_T34WFU.zip"""
)
@click.argument("product", nargs=-1, required=True)
@click.option("--reason", default="set aside by hand", show_default=True, help="What `kartotek failures` says of it.")
@options.database
def quarantine(product: tuple[str, ...], reason: str, database: str | None) -> None:
    """Set products aside that are not to be converted; who has one in hand loses it."""
    with options.existing(options.load(database=database)) as catalog:
        _found(catalog, product)
        count = catalog.ledger.quarantine([_place(name) for name in product], reason)
    click.echo(f"{count} products set aside")


def _place(name: str) -> str:
    """What the ledger knows a product by."""
    return name if name.startswith(SCHEME) else os.path.abspath(name)  # noqa: PTH100  a link keeps its own name


def _found(catalog: Catalog, names: tuple[str, ...]) -> None:
    """Refuse what the ledger does not know, before anything changes."""
    unknown = catalog.ledger.unknown([_place(name) for name in names])
    if unknown:
        raise click.UsageError(f"not in the ledger: {', '.join(unknown)}; `kartotek run` enters products")
