"""`kartotek convert`: products to items."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson
from rich.progress import BarColumn, TaskID, TextColumn

from converters.convert import Progress as Report
from jobs.convert import Failed, convert_all
from jobs.publish import Published
from jobs.worker import Limits
from kartotek import grids, processors
from kartotek.cli import bars, kept, options
from kartotek.storage import open_storage


@click.command(
    epilog="""\b
Examples:
  kartotek convert S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE
  kartotek convert --json *.zip
  kartotek convert --crs native S2A_MSIL1C_..._T56JMM_....zip      a product from elsewhere, in its own UTM zone
  kartotek convert --allow-partial incomplete.SAFE                 what is there of it
  kartotek convert --bands B04,B08 --profile compact *.zip         two bands and the mask, in fewer bytes"""
)
@click.argument("products", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PRODUCT...")
@click.option(
    "--crs",
    default=grids.NATIONAL,
    show_default=True,
    metavar="CODE",
    help='CRS to write in; "native" keeps the product\'s own; map grids in metres, and longitude and latitude, warp.',
)
@click.option("--allow-partial", is_flag=True, help="Convert what is there of a product with missing or broken bands.")
@click.option("--visual", is_flag=True, help="Convert the true colour image (TCI) too.")
@kept.what_is_kept
@options.json_option("Print one JSON object a product.")
@options.database
@options.storage
@click.pass_context
def convert(
    context: click.Context,
    products: tuple[Path, ...],
    crs: str,
    allow_partial: bool,
    visual: bool,
    profile: str | None,
    bands: str | None,
    as_json: bool,
    database: str | None,
    storage: str | None,
) -> None:
    """Convert products and publish them as STAC items.

    PRODUCT is a .SAFE folder, whatever its suffix, a zip with or without root folder, or the metadata file in a folder.
    A product that can't be converted is named with the reason, nothing of it is published, the others go on, and the
    command ends with exit status 1.
    """
    settings = options.load(database=database, storage=storage, profile=profile)
    threads = min(4, processors.count())
    recipe = kept.recipe(settings, bands, crs=_code(crs), allow_partial=allow_partial, threads=threads)
    failures = 0
    with options.opened(settings) as catalog, _Bars(len(products), quiet=as_json) as shown:
        outcomes = convert_all(
            products, recipe, open_storage(settings.storage), catalog,
            limits=Limits.of(settings), visual=visual, progress=shown.product,
        )  # fmt: skip
        for path, outcome in zip(products, outcomes, strict=True):
            failures += isinstance(outcome, Failed)
            shown.done()
            _say(path, outcome, as_json=as_json)
    if failures:
        if not as_json and len(products) > 1:
            click.echo(f"{failures} of {len(products)} products could not be converted", err=True)
        context.exit(1)


def _code(crs: str) -> str:
    """The CRS as an authority code."""
    if crs == "native":
        return crs
    import pyproj

    try:
        found = pyproj.CRS.from_user_input(int(crs) if crs.isdecimal() else crs)
    except (pyproj.exceptions.CRSError, ValueError):
        raise click.BadParameter(f'{crs!r} is no CRS that PROJ knows; give an EPSG code or "native"') from None
    authority = found.to_authority()
    if authority is None or authority[0] != "EPSG":
        raise click.BadParameter(f"{crs!r} has no EPSG code, which a GeoTIFF needs")
    code = ":".join(authority)
    if len(found.axis_info) != 2 or not (found.is_geographic or grids.is_metric(code)):
        raise click.BadParameter(f"{code} ({found.name}) is neither a map grid in metres nor longitude and latitude")
    return code


def _say(path: Path, outcome: Published | Failed, *, as_json: bool) -> None:
    """One product's outcome: to standard output what became of it, to standard error what went wrong."""
    if as_json:
        click.echo(orjson.dumps({"product": str(path), **_as_json(outcome)}).decode())
    elif isinstance(outcome, Failed):
        click.echo(f"Error: {outcome.error}", err=True)
    else:
        click.echo(f"{outcome.collection}/{outcome.item}")
        for note in outcome.notes:
            click.echo(f"Warning: {path.name}: left out: {note}", err=True)


def _as_json(outcome: Published | Failed) -> dict[str, Any]:
    if isinstance(outcome, Failed):
        return {"status": "failed", "error": type(outcome.error).__name__, "reason": str(outcome.error)}
    return {"status": "published", **asdict(outcome)}


class _Bars:
    """A progress bar for all products and one for the product in hand, on standard error."""

    def __init__(self, count: int, *, quiet: bool) -> None:
        self._bars = bars.bar(BarColumn(), TextColumn("{task.percentage:>3.0f} %"), quiet=quiet)
        self._count = count
        self._all = self._bars.add_task("products", total=count)
        self._one: TaskID | None = None

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def product(self, path: Path) -> Report:
        """What a product in hand reports to."""
        task = self._one = self._bars.add_task(path.name[:60], total=1.0)

        def report(what: str, share: float) -> None:
            self._bars.update(task, completed=share, description=f"{path.name[:60]} {what}")

        return report

    def done(self) -> None:
        """The product in hand is done with."""
        if self._one is not None:
            self._bars.remove_task(self._one)
            self._one = None
        self._bars.advance(self._all)
