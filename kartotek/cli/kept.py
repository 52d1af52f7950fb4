"""Options of what is kept of a product, and how it is packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from converters import selection
from converters.convert import Recipe
from converters.profiles import Profile
from kartotek import grids
from kartotek.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

profile = click.option(
    "--profile",
    type=click.Choice([profile.value for profile in Profile]),
    help="How blocks are packed: compact takes fewer bytes and more time  [default: KARTOTEK_PROFILE, or standard]",
)
_bands = click.option(
    "--bands",
    metavar="ID,...",
    help="Keep these alone, such as B04,B08, and the mask  [default: KARTOTEK_BANDS, or all]",
)


def what_is_kept(command: Command) -> Command:
    """`--profile`, which goes into the settings, and `--bands`; `recipe` makes a recipe of both."""
    return profile(_bands(command))


def recipe(
    settings: Settings, bands: str | None, *, crs: str = grids.NATIONAL, allow_partial: bool, threads: int
) -> Recipe:
    """How products are to be converted, by the settings and what options say. Raises BadSettings."""
    return Recipe(
        crs=crs,
        allow_partial=allow_partial,
        profile=Profile(settings.profile),
        bands=selection.selection(settings.bands) if bands is None else selection.everywhere(bands.split(",")),
        threads=threads,
    )
