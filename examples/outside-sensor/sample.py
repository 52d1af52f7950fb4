"""A made-up product of Norrsken-1 near Uppsala: fields, a lake, and a cloud. `python sample.py FOLDER` makes it."""

import json
import sys
from pathlib import Path

import numpy as np
import rasterio

ID = "NORRSKEN1_20240601T101500"
SIZE = 400
PLACE = {"crs": "EPSG:32633", "left": 630_000, "top": 6_660_000, "resolution": 30, "columns": SIZE, "rows": SIZE}


def write(folder: Path) -> Path:
    """Write the product into a folder; gives its path."""
    path = folder / ID
    path.mkdir(parents=True)
    facts = {"id": ID, "sensed": "2024-06-01T12:15:00+02:00", "cloud": 6.25, **PLACE}
    (path / "norrsken.json").write_text(json.dumps(facts))
    transform = rasterio.Affine(30, 0, PLACE["left"], 0, -30, PLACE["top"])
    for name, pixels in layers().items():
        with rasterio.open(path / f"{name}.tif", "w", driver="GTiff", crs=PLACE["crs"], transform=transform, width=SIZE,
                           height=SIZE, count=1, dtype=pixels.dtype, tiled=True) as file:  # fmt: skip
            file.write(pixels, 1)
    return path


def layers() -> dict[str, np.ndarray]:
    """The pixels: no data in the first 20 rows, cloud in a corner, a lake in the middle."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    classes = np.full((SIZE, SIZE), 10, np.uint16)
    classes[150:250, 150:250], classes[300:, 300:], classes[:20] = 20, 700, 65_535
    fields = ((x // 20 + y // 15) % 5) / 50
    ground = {"VIOLET": 0.05, "YELLOW": 0.09, "RED": 0.08, "NIR": 0.40}
    water = {"VIOLET": 0.06, "YELLOW": 0.03, "RED": 0.02, "NIR": 0.01}
    found = {name: np.select([classes == 20, classes == 700], [water[name], 0.6], ground[name] + fields)
             for name in ground}  # fmt: skip
    found["HEAT"] = np.select([classes == 20, classes == 700], [287.0, 255.0], 295.0 + 100 * fields)
    for pixels in found.values():
        pixels[classes == 65_535] = np.nan
    return {name: pixels.astype(np.float32) for name, pixels in found.items()} | {"QA": classes}


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
