"""Where a tile lies: the parts of its address."""

from functools import lru_cache
from typing import Annotated

from fastapi import Path

from kartotek import matrices
from kartotek.errors import BadRequest
from kartotek.grids import Grid
from pixels import render

TMS = "A tile matrix set of /tileMatrixSets: WebMercatorQuad, SWEREF99TM, SWEREF99TM10 or another one."
Tms = Annotated[str, Path(description=TMS)]
Zoom = Annotated[int, Path(ge=0, le=30, description="The level, from 0 on.")]
Column = Annotated[int, Path(ge=0, description="From the left.")]
Row = Annotated[int, Path(ge=0, description="From the top.")]


@lru_cache(maxsize=20_000)
def grid_of(tms: str, z: str, x: str, y: str) -> Grid:
    """The pixels of a tile, from the parts of an address. Raises BadRequest or NotFound."""
    numbers = []
    for name, text, most in (("z", z, 30), ("x", x, None), ("y", y, None)):
        if not (text.isascii() and text.isdecimal() and len(text) <= 100) or (most and int(text) > most):
            raise BadRequest(f"{name}: {text[:40]!r} is no whole number from 0 {f'to {most}' if most else 'on'}")
        numbers.append(int(text))
    return render.tile_grid(matrices.find(tms), *numbers)
