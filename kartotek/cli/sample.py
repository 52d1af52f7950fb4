"""`kartotek sample`: products to try things on."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  kartotek sample products             twelve small products, some 20 MB, in half a minute
  kartotek sample --full products      two of full size (10980 x 10980), some 2 GB, in minutes"""
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--full", is_flag=True, help="Two products of full size, of zones 33 and 34, instead of the small ones.")
def sample(folder: Path, full: bool) -> None:
    """Make lifelike Sentinel-2 products of Sweden in a folder, and print their paths."""
    from converters import samples

    for path in samples.make(folder, full=full):
        click.echo(str(path))
