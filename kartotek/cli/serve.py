"""`kartotek serve`: the STAC API, tiles, files and the map page."""

from __future__ import annotations

import socket

import click

from kartotek.cli import options
from kartotek.errors import BadSettings
from kartotek.settings import Settings


@click.command(
    epilog="""\b
Examples:
  kartotek serve
  KARTOTEK_URL=https://kartotek.example.se kartotek serve --host 0.0.0.0 --port 8080"""
)
@click.option("--host", help="Address to listen on  [default: KARTOTEK_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: any  [default: KARTOTEK_PORT, or 8000]")
@options.database
@options.storage
def serve(host: str | None, port: int | None, database: str | None, storage: str | None) -> None:
    """Serve the catalog over HTTP until interrupted."""
    settings = options.load(host=host, port=port, database=database, storage=storage)
    run(settings)


def run(settings: Settings, *, announce: bool = True) -> None:
    """Listen, say where, and serve."""
    from api import server
    from api.app import create_app

    listener = listen(settings)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    with options.opened(settings) as catalog:
        if announce:
            say_where(settings)
        server.run(create_app(settings, catalog), listener, patience=settings.stop_seconds)


def listen(settings: Settings) -> socket.socket:
    """A socket on the settings' address. Raises BadSettings where it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # TCP by name, since asyncio turns Nagle's algorithm off on sockets that have this name and no others: with it on,
    # every answer on a connection that is kept waits for the client's delayed acknowledgement, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)  # who connects once the address is printed waits, and is not refused
    except OSError as error:
        listener.close()
        raise BadSettings(
            f"can't listen on {settings.host}:{settings.port} ({error.strerror}); give another --port, or 0 for any"
        ) from error
    return listener


def say_where(settings: Settings) -> None:
    """Print the addresses."""
    root = settings.root
    click.echo(f"page      {root}/\nSTAC API  {root}/search   (for clients: {root}/)\nOpenAPI   {root}/api.html")
    click.echo(f"tiles     {root}/tiles/{{collection}}/{{item}}/SWEREF99TM10/{{z}}/{{x}}/{{y}}.png")
    if settings.url is None and settings.host in ("0.0.0.0", "::"):  # noqa: S104
        click.echo(f"Warning: links say {root}, which other machines can't follow; set KARTOTEK_URL", err=True)
    click.echo("stop with Ctrl+C")
