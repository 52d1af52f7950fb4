"""`kartotek demo`: samples made, converted and served, in one command."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path

import click

from kartotek import processors
from kartotek.cli import options, serve
from kartotek.settings import Settings
from kartotek.storage import open_storage


@click.command(
    epilog="""\b
Examples:
  kartotek demo
  kartotek demo --port 0 --no-browser demo-folder"""
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("kartotek-demo"))
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: any  [default: KARTOTEK_PORT, or 8000]")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser where there is one.")
@click.option("--serve/--no-serve", "serving", default=True, show_default=True, help="Serve what was converted.")
def demo(folder: Path, port: int | None, browser: bool, serving: bool) -> None:
    """Make sample products, convert them, and serve them: all in one folder.

    What is there already is not made again.
    """
    settings = options.load(port=port, database=f"sqlite:///{folder / 'kartotek.db'}", storage=str(folder / "store"))
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, settings)
    if serving:
        if browser and _has_screen():
            threading.Thread(target=_open, args=(settings.root,), daemon=True).start()
        serve.run(settings)


def prepare(folder: Path, settings: Settings) -> None:
    """The samples as items, unless all of them are there."""
    from catalog.access import OPERATOR
    from converters import samples
    from converters.convert import Recipe
    from jobs.convert import Failed, convert_all
    from jobs.worker import Limits

    done = folder / "samples.done"
    with options.opened(settings) as catalog:
        if done.exists() and catalog.counts(OPERATOR):
            return
        recipe = Recipe(threads=min(4, processors.count()))
        paths = []
        for path in samples.make(folder / "products"):
            click.echo(f"made       {path.name}")
            paths.append(path)
        for outcome in convert_all(paths, recipe, open_storage(settings.storage), catalog, limits=Limits.of(settings)):
            if isinstance(outcome, Failed):
                raise outcome.error
            click.echo(f"converted  {outcome.item}")
    done.touch()


def _has_screen() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.name == "nt")


def _open(root: str) -> None:
    """Open the page once the server answers."""
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{root}/livez", timeout=1).close()  # noqa: S310
        except OSError:
            time.sleep(0.1)
        else:
            webbrowser.open(f"{root}/")
            return
