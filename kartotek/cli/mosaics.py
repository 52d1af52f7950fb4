"""`kartotek mosaics`: what was registered as a mosaic, and an end to it."""

from __future__ import annotations

import click
import orjson

from kartotek.cli import options


@click.command(
    epilog="""\b
Examples:
  kartotek mosaics                                those that are registered
  kartotek mosaics --json | jq -r 'select(.order == "median").id'
  kartotek mosaics --remove 3f0c8a2b94d17e65a0c1
  kartotek mosaics --remove --all                 make room, where a server keeps no more"""
)
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--remove", is_flag=True, help="Remove those that are named.")
@click.option("--all", "every", is_flag=True, help="With --remove: all of them.")
@options.json_option("Print one JSON object a mosaic, or one at the end with --remove.")
@options.database
def mosaics(names: tuple[str, ...], remove: bool, every: bool, as_json: bool, database: str | None) -> None:
    """List the mosaics that are registered, or remove some: their addresses answer 404 within a minute.

    Who registers the same search again has the same address.
    """
    if remove and bool(names) == every:
        raise click.UsageError("--remove takes ids, or --all")
    if every and not remove:
        raise click.UsageError("--all goes with --remove; without both, all are listed")
    with options.existing(options.load(database=database)) as catalog:
        known = {name for name, _ in catalog.mosaics.each()}  # their contents may be 160 MB together
        if unknown := [name for name in names if name not in known]:
            raise click.ClickException(f"no mosaic {', '.join(unknown)}; `kartotek mosaics` lists those that there are")
        if remove:
            count = catalog.mosaics.remove(list(names or known))
            click.echo(orjson.dumps({"removed": count}).decode() if as_json else f"{count} mosaics removed")
            return
        for name, content in catalog.mosaics.each():
            if not names or name in names:
                _tell(name, content, as_json=as_json)


def _tell(name: str, content: bytes, *, as_json: bool) -> None:
    said = orjson.loads(content)
    if as_json:
        click.echo(orjson.dumps({"id": name, **said}).decode())
        return
    also = [f"{key} {value}" for key, value in said.items() if key in ("datetime", "bbox")]
    also += [key for key in said if key in ("intersects", "filter", "ids")]
    click.echo(f"{name}  {said['order']} of {', '.join(said['collections'])}" + "".join(f"; {part}" for part in also))
