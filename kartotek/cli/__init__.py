"""The command line: `kartotek`. Each command's module is loaded when it is called, so that `--help` is quick."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

import click

from kartotek.errors import KartotekError

COMMANDS = {
    "collection": ("kartotek.cli.upkeep", "Hide a collection from outsiders, or show it."),
    "convert": ("kartotek.cli.convert", "Convert products and publish them as STAC items."),
    "copy": ("kartotek.cli.copy", "Copy a catalog into another database, SQLite or PostGIS, and compare both."),
    "demo": ("kartotek.cli.demo", "Make sample products, convert them, and serve them."),
    "export": ("kartotek.cli.export", "Write collections and items as lines, stac-geoparquet or a static catalogue."),
    "failures": ("kartotek.cli.ledger", "List products that could not be converted, by cause."),
    "info": ("kartotek.cli.catalog", "Tell what the catalog holds, or all about one item."),
    "ingest": ("kartotek.cli.ingest", "Enter items and collections that others have described."),
    "migrate": ("kartotek.cli.catalog", "Bring the database's tables to this version."),
    "mosaics": ("kartotek.cli.mosaics", "List the mosaics that are registered, or remove some."),
    "plan": ("kartotek.cli.plan", "Foretell how long products will take, and how many bytes."),
    "quarantine": ("kartotek.cli.ledger", "Set products aside that are not to be converted."),
    "rebuild": ("kartotek.cli.upkeep", "Enter all items that lie in the storage and that the catalog does not have."),
    "register": ("kartotek.cli.register", "Make archives searchable by their metadata; convert them when it suits."),
    "retry": ("kartotek.cli.ledger", "Let products that are set aside wait again."),
    "run": ("kartotek.cli.run", "Convert and publish all products of archives; stop and start it at any time."),
    "sample": ("kartotek.cli.sample", "Make lifelike Sentinel-2 products of Sweden."),
    "search": ("kartotek.cli.catalog", "Search the catalog, newest first."),
    "sensors": ("kartotek.cli.sensors", "List the sensors whose products are converted, and their layers."),
    "serve": ("kartotek.cli.serve", "Serve the catalog over HTTP until interrupted."),
    "status": ("kartotek.cli.ledger", "Tell how the products of the ledger stand: how many, how fast, how long yet."),
    "sweep": ("kartotek.cli.upkeep", "Remove files that no item names."),
    "verify": ("kartotek.cli.upkeep", "Read all files again and compare them with what their items say."),
}
"""Command → the module that has a function of its name, and what it does; adding a command is adding a line."""


class _Lazy(click.Group):
    """A group whose commands are imported when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    epilog="Settings come from the environment: KARTOTEK_DATABASE, KARTOTEK_STORAGE, KARTOTEK_URL ...",
)
@click.version_option(package_name="kartotek", prog_name="kartotek")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    help="Write log lines from this level on to standard error  [default: KARTOTEK_LOG_LEVEL, or info]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"], case_sensitive=False),
    help="Write them as text, or one JSON object a line  [default: KARTOTEK_LOG_FORMAT, or text]",
)
@click.option("-v", "--verbose", is_flag=True, help="The same as --log-level debug.")
def cli(log_level: str | None, log_format: str | None, verbose: bool) -> None:
    """Sentinel products as Cloud Optimized GeoTIFFs in SWEREF 99 TM, with a STAC catalog, search and map tiles."""
    from kartotek import logs, settings

    found = settings.for_logs(log_level="debug" if verbose else log_level, log_format=log_format)
    logs.set_up(found.log_level, found.log_format)


def main() -> None:
    """Run the command line; an error of ours is one line and exit status 1."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that temporary files are removed
    try:
        cli(prog_name="kartotek")
    except KartotekError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
