"""What clients' pictures are compared with; what only another environment's Python can import is no test module."""

import numpy as np
import orjson
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from catalog.access import PUBLIC
from catalog.search import MAX_LIMIT, Search
from kartotek.storage import MARKER

collect_ignore = ["datacube_session.py", "qgis_session.py"]


@pytest.fixture(scope="session")
def scenes(demo):
    """The Level-2A items on the place that maps are of, of zones 33 and 34 and three dates, the newest first."""
    found = demo.catalog.search(PUBLIC, Search(collections=("sentinel-2-l2a",), limit=MAX_LIMIT)).items
    all_of_them = [orjson.loads(content) for content in found]
    return [item for item in all_of_them if item["properties"]["grid:code"] in ("MGRS-33VXG", "MGRS-34VCM")]


@pytest.fixture(scope="session")
def rendered(demo):
    """Draws items in true colour by rasterio alone, the first on top: RGBA, (height, width, 4) of uint8.

    `bounds` are left, bottom, right, top in `crs`, easting first; `level` is the overview of the files that is read.
    """
    kind = orjson.loads(demo.catalog.collection(PUBLIC, "sentinel-2-l2a"))
    shown = kind["renders"]["true-colour"]

    def band(asset, crs, bounds, width, height, level):
        path = demo.local.root / asset["href"].removeprefix(MARKER)
        transform = rasterio.transform.from_bounds(*bounds, width, height)
        with (
            rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {})) as file,
            WarpedVRT(file, crs=crs, transform=transform, width=width, height=height, src_nodata=0, nodata=0,
                      resampling=Resampling.bilinear, tolerance=1e-6, XSCALE="1", YSCALE="1") as warped,
        ):  # fmt: skip
            return warped.read(1)

    def draw(items, crs, bounds, width, height, level=0):
        picture = np.zeros((height, width, 4), np.uint8)
        for item in items:
            assets = [item["assets"][name] for name in shown["assets"]]
            bands = [band(asset, crs, bounds, width, height, level) for asset in assets]
            hole = np.logical_and.reduce([numbers != 0 for numbers in bands]) & (picture[..., 3] == 0)
            for channel, (asset, numbers) in enumerate(zip(assets, bands, strict=True)):
                [said], (low, high) = asset["bands"], shown["rescale"][channel]
                physical = numbers[hole] * said["raster:scale"] + said["raster:offset"]
                picture[hole, channel] = np.clip((physical - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)
            picture[hole, 3] = 255
        return picture

    return draw


@pytest.fixture(scope="session")
def alike():
    """Tells how far two RGBA pictures agree: (share of pixels with the same alpha, of what both show within `most`)."""

    def compare(got, wanted, most=0):
        assert got.shape == wanted.shape
        both = (got[..., 3] == 255) & (wanted[..., 3] == 255)
        # There is something to compare: not all of one colour, and not all there.
        assert 0.1 < both.mean() < 0.99 and wanted[both][:, :3].std() > 5
        apart = np.abs(got[..., :3].astype(int) - wanted[..., :3]).max(axis=-1)
        return np.mean(got[..., 3] == wanted[..., 3]), np.mean(apart[both] <= most)

    return compare
