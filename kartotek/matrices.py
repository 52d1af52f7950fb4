"""The tile matrix sets that tiles are cut in: the world's, the nation's two, and those that a setting names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import morecantile
import pyproj
from morecantile import TileMatrixSet
from morecantile.errors import InvalidIdentifier
from pydantic import ValidationError

from kartotek.errors import BadSettings, NotFound
from kartotek.grids import NATIONAL

_VERSIONS = {"EPSG": "", "OGC": "1.3"}
"""Whose codes we name CRS by, and in which version, where names say one."""
WIDEST = 1024
"""Pixels of a tile's side: a median holds a number of each of 32 items."""


def served() -> Mapping[str, TileMatrixSet]:
    """Id → tile matrix set, of all that this process serves."""
    return _served()


def find(name: str) -> TileMatrixSet:
    """The tile matrix set of an id. Raises NotFound."""
    found = _served().get(name)
    if found is None:
        raise NotFound(f"no tile matrix set {name[:60]!r}; there are: {', '.join(_served())}")
    return found


def code(tms: TileMatrixSet) -> str:
    """The CRS of a set by its authority's code, as EPSG:3006 or OGC:CRS84."""
    return ":".join(_authority(tms))


def uri(tms: TileMatrixSet) -> str:
    """The CRS of a set by OGC's address of it (OGC 09-048r5)."""
    authority, number = _authority(tms)
    return f"http://www.opengis.net/def/crs/{authority}/{_VERSIONS[authority] or '0'}/{number}"


def urn(tms: TileMatrixSet) -> str:
    """The CRS of a set by its name in OGC's services (OGC 09-048r5)."""
    authority, number = _authority(tms)
    return f"urn:ogc:def:crs:{authority}:{_VERSIONS[authority]}:{number}"


def _authority(tms: TileMatrixSet) -> tuple[str, str]:
    found = _known(tms.crs.srs)
    if found is None:
        raise RuntimeError(f"{tms.id} has a CRS that no authority knows")
    return found


@cache
def _known(crs: str) -> tuple[str, str] | None:
    """(authority, code) of a CRS, EPSG's where it has one; None where it has none that we can name."""
    known = pyproj.CRS.from_user_input(crs)
    return next((found for authority in _VERSIONS if (found := known.to_authority(authority))), None)


def serve_also(names: Iterable[str]) -> None:
    """Serve these too: each an id that morecantile knows, or the path of a document as OGC's 17-083r4 has it.

    Raises BadSettings where there is none, or one whose tiles we can't cut: they are of square pixels in a CRS that
    has a code of EPSG's or OGC's, all rows of a level as long.
    """
    for name in names:
        tms = _read(name)
        _served()[str(tms.id)] = tms


def _read(name: str) -> TileMatrixSet:
    try:
        if name.endswith(".json"):
            tms = TileMatrixSet.model_validate(json.loads(Path(name).read_text(encoding="utf-8")))
        else:
            tms = morecantile.tms.get(name)
    except InvalidIdentifier:
        known = ", ".join(one for one in morecantile.tms.list() if not _unfit(morecantile.tms.get(one)))
        raise BadSettings(f"KARTOTEK_TILE_MATRIX_SETS: no {name[:60]!r}; there are: {known}, or FILE.json") from None
    except (OSError, ValueError, ValidationError) as error:
        raise BadSettings(f"KARTOTEK_TILE_MATRIX_SETS: {name[:200]}: {str(error).splitlines()[0]}") from None
    if wrong := _unfit(tms):
        raise BadSettings(f"KARTOTEK_TILE_MATRIX_SETS: {name[:200]}: {wrong}")
    return tms


def _unfit(tms: TileMatrixSet) -> str | None:
    """Why no tiles can be cut in a set."""
    if not tms.id:
        return "it has no id"
    if _known(tms.crs.srs) is None:
        return "its CRS has no code of EPSG's or OGC's"
    if any(matrix.variableMatrixWidths for matrix in tms.tileMatrices):
        return "its rows have tiles of several widths"
    if not all(matrix.id.isascii() and matrix.id.isdecimal() for matrix in tms.tileMatrices):
        return "its levels are not called by numbers"
    if any(max(matrix.tileWidth, matrix.tileHeight) > WIDEST for matrix in tms.tileMatrices):
        return f"its tiles are of more than {WIDEST} pixels"
    return None


@cache
def _served() -> dict[str, TileMatrixSet]:
    sweref = pyproj.CRS.from_user_input(NATIONAL)
    national = morecantile.TileMatrixSet.custom(
        extent=[-1_200_000, 8_500_000 - 4 * 256 * 4096, -1_200_000 + 4 * 256 * 4096, 8_500_000],
        crs=sweref,
        minzoom=0,
        maxzoom=13,
        matrix_scale=[4, 4],
        orderedAxes=["N", "E"],
        id="SWEREF99TM",
        title="SWEREF 99 TM, as the tile services of Lantmäteriet",
    )
    native = morecantile.TileMatrixSet.custom(
        extent=[0, 7_864_320 - 2 * 512 * 2560, 512 * 2560, 7_864_320],
        crs=sweref,
        tile_width=512,
        tile_height=512,
        minzoom=0,
        maxzoom=8,
        matrix_scale=[1, 2],
        orderedAxes=["N", "E"],
        id="SWEREF99TM10",
        title="SWEREF 99 TM, the pixels and blocks of kartotek's files",
    )
    return {str(tms.id): tms for tms in (morecantile.tms.get("WebMercatorQuad"), national, native)}
