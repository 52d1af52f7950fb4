"""The command line: `kartotek`. Each command's module is loaded when it is called, so that `--help` is quick."""

from __future__ import annotations

import logging
import sys
from importlib import import_module, metadata

import click

from kartotek.errors import KartotekError

COMMANDS = {
    "convert": ("kartotek.cli.convert", "convert"),
    "demo": ("kartotek.cli.demo", "demo"),
    "info": ("kartotek.cli.catalog", "info"),
    "migrate": ("kartotek.cli.catalog", "migrate"),
    "sample": ("kartotek.cli.sample", "sample"),
    "search": ("kartotek.cli.catalog", "search"),
    "serve": ("kartotek.cli.serve", "serve"),
}
"""Command → module and function; adding a command is adding a line."""


class _Lazy(click.Group):
    """A group whose commands are imported when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(module), function)
        return found


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    epilog="Settings come from the environment: KARTOTEK_DATABASE, KARTOTEK_STORAGE, KARTOTEK_URL ...",
)
@click.version_option(metadata.version("kartotek"), prog_name="kartotek")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def cli(verbose: bool) -> None:
    """Sentinel products as Cloud Optimized GeoTIFFs in SWEREF 99 TM, with a STAC catalog, search and map tiles."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def main() -> None:
    """Run the command line; an error of ours is one line and exit status 1."""
    try:
        cli(prog_name="kartotek")
    except KartotekError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
