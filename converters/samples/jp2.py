"""JPEG 2000 files with the parameters of the agency's, but without loss."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio import Affine

CODING: Mapping[int, tuple[int, int, int]] = {10: (1024, 64, 256), 20: (640, 8, 128), 60: (192, 4, 64)}
"""Side of the tiles, code-blocks and precincts in the agency's images of each resolution; a tile is never larger than
the image."""


def encode(
    pixels: NDArray[np.unsignedinteger[Any]],
    path: Path,
    crs: int,
    *,
    left: float,
    top: float,
    resolution: int,
    bits: int = 0,
) -> None:
    """Write bands of pixels, their upper left corner placed in the CRS (metres); `bits` where the type has more."""
    tile, code_block, precinct = CODING[min(resolution, 60)]
    levels = min(5, pixels.shape[2].bit_length())
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(
            path.name,
            "w",
            driver="MEM",
            count=pixels.shape[0],
            height=pixels.shape[1],
            width=pixels.shape[2],
            dtype=pixels.dtype,
            crs=f"EPSG:{crs}",
            transform=Affine(resolution, 0, left, 0, -resolution, top),
        ) as memory,
    ):
        memory.write(pixels)
        rasterio.shutil.copy(
            memory,
            path,
            driver="JP2OpenJPEG",
            BLOCKXSIZE=tile,
            BLOCKYSIZE=tile,
            QUALITY=100,
            REVERSIBLE="YES",
            RESOLUTIONS=levels,
            PROGRESSION="LRCP",
            GeoJP2="NO",
            GMLJP2="YES",
            JPX="NO",
            PLT="YES",
            CODEC="JP2",
            CODEBLOCK_WIDTH=code_block,
            CODEBLOCK_HEIGHT=code_block,
            PRECINCTS=",".join([f"{{{precinct},{precinct}}}"] * levels),
            **({"NBITS": bits} if bits else {}),
        )
