"""Items whose files are no COGs of ours, over HTTP: what others have put into our storage."""

import contextlib
import io

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from fastapi.testclient import TestClient
from PIL import Image
from rasterio.features import geometry_mask
from rasterio.io import MemoryFile
from shapely.geometry import mapping

from api.app import create_app
from catalog.store import Catalog
from kartotek import matrices
from kartotek.grids import NATIONAL, Grid
from kartotek.settings import Settings
from kartotek.storage import open_storage
from pixels import render

TILE = render.tile_grid(matrices.served()["SWEREF99TM10"], 8, 117, 227)
GRID = Grid(crs=NATIONAL, left=TILE.left - 700, top=TILE.top + 300, resolution=10, columns=1100, rows=1000)
TO_LONLAT = pyproj.Transformer.from_crs(3006, 4326, always_xy=True)
FORMS = {
    "red": {"driver": "GTiff", "compress": "lzw"},
    "nir": {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"},
    "classes": {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "zstd"},
}
VRT = """<VRTDataset rasterXSize="1100" rasterYSize="1000"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


def numbers(name):
    rng = np.random.default_rng(len(name))
    rows, columns = np.ogrid[: GRID.rows, : GRID.columns]
    if name == "classes":
        return ((rows // 100 + columns // 100) % 3).astype(np.uint8)
    found = (1000 + rows + columns + rng.integers(0, 200, GRID.shape)).astype(np.uint16)
    found[600:700, :300] = 0
    return found


def write(path, pixels, **profile):
    written = path.with_suffix(".jp2") if profile["driver"] == "JP2OpenJPEG" else path
    size = {"count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": str(pixels.dtype)}
    place = {"crs": NATIONAL, "transform": rasterio.Affine(*GRID.transform)}
    with rasterio.open(written, "w", **size, **place, **profile) as file:
        file.write(pixels, 1)
    written.rename(path)


def asset(item, name, shape=GRID.shape, **band):
    return {
        "href": f"storage:///generated/{item}/{name}.tif", "proj:code": NATIONAL, "proj:shape": list(shape),
        "proj:transform": list(GRID.transform), "bands": [{"name": name, "nodata": 0, **band}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of rasters of several forms, and of files that are none, or not whole."""
    folder = tmp_path_factory.mktemp("files")
    for name, form in FORMS.items():
        write(folder / f"{name}.tif", numbers(name), **form)
    (folder / "vrt.tif").write_text(VRT.format(folder / "red.tif"))
    (folder / "cut.tif").write_bytes((folder / "red.tif").read_bytes()[:100_000])
    (folder / "text.tif").write_text("no raster")
    flat = {"count": 1, "width": 10_980, "height": 10_980, "dtype": "uint16", "tiled": True, "SPARSE_OK": True}
    with rasterio.open(folder / "flat.tif", "w", driver="GTiff", **flat):
        pass
    wide = {**flat, "width": 2_000, "height": 2_000, "dtype": "float64"}
    with rasterio.open(folder / "wide.tif", "w", driver="GTiff", **wide):
        pass
    return folder


@pytest.fixture(params=["folder", "bucket"])
def client(request, tmp_path, files, make_database, make_item, make_collection):
    """An application on an item of foreign files, and on one of files that can't be shown."""
    storage = str(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket")
    settings = Settings(database=make_database("sqlite", migrated=True), storage=storage, url="http://catalog.test")
    for path in files.glob("*.tif"):
        for item in ("good", "bad"):
            open_storage(storage).create(f"generated/{item}/{path.name}", path)
    classes = [{"value": code, "name": f"class {code}", "color_hint": "FF0000"} for code in range(3)]
    good = {
        "red": asset("good", "red", **{"eo:common_name": "red"}),
        "nir": asset("good", "nir", **{"eo:common_name": "nir"}),
        "classes": asset("good", "classes", **{"classification:classes": classes, "nodata": None}),
    }
    bad = {name: asset("bad", name) for name in ("vrt", "cut", "text", "gone")}
    bad |= {"larger": asset("bad", "red", (2000, 2000)), "flat": asset("bad", "flat", (10_980, 10_980))}
    bad |= {f"wide{number}": asset("bad", "wide", (2_000, 2_000)) for number in range(3)}
    bounds = GRID.bounds
    box = TO_LONLAT.transform_bounds(bounds.left, bounds.bottom, bounds.right, bounds.top)
    collection = make_collection(renders={"one": {"assets": ["red"], "rescale": [[1000, 3000]]}})
    with contextlib.closing(Catalog(settings.database)) as catalog:
        for name, assets in (("good", good), ("bad", bad)):
            catalog.publish(make_item(name, assets=assets, footprint=shapely.box(*box)), collection=collection)
        with TestClient(create_app(settings, catalog, open_storage(storage))) as made:
            yield made


ITEM, TILES = "/collections/generated/items", "/tiles/generated"
NATIVE = "SWEREF99TM10/8/117/227"


def test_tiles_of_numbers_are_the_files(client):
    answer = client.get(f"{TILES}/good/{NATIVE}.npy?assets=red,nir")
    assert answer.status_code == 200, answer.text
    wanted = np.stack([numbers(name)[30:542, 70:582] for name in ("red", "nir")])
    assert np.array_equal(np.load(io.BytesIO(answer.content)), wanted)
    index = np.load(io.BytesIO(client.get(f"{TILES}/good/{NATIVE}.npy?index=ndvi").content))
    red, nir = wanted.astype(float)
    np.testing.assert_allclose(index[0], (nir - red) / (nir + red), atol=1e-6)


@pytest.mark.parametrize("asked", ["render=one", "assets=nir&rescale=0,4000", "index=ndvi"])
def test_tiles_and_mosaics_are_pictures(client, asked):
    answer = client.get(f"{TILES}/good/{NATIVE}.png?{asked}")
    assert answer.status_code == 200, answer.text
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    assert picture[..., 3].any()
    if asked == "render=one":
        wanted = np.clip(np.floor((numbers("red")[30:542, 70:582] - 1000.0) / 2000 * 255 + 0.5), 0, 255)
        assert np.array_equal(picture[..., 0], wanted)
        made = client.post("/mosaics", json={"collections": ["generated"], "ids": ["good"]})
        mosaic = client.get(f"/mosaics/{made.json()['id']}/tiles/{NATIVE}.png?render=one")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(mosaic.content)).convert("RGBA")), picture)


def test_a_point_a_crop_and_statistics_are_numpys(client):
    row, column = 777, 555
    lon, lat = TO_LONLAT.transform(GRID.left + 10 * column + 5, GRID.top - 10 * row - 5)
    answer = client.get(f"{ITEM}/good/point", params={"lon": lon, "lat": lat, "assets": "red,nir,classes"})
    assert [one["number"] for one in answer.json()["values"]] == [
        numbers(name)[row, column] for name in ("red", "nir", "classes")
    ]
    ring = [(200, 200), (900, 250), (800, 950), (200, 200)]  # (column, row)
    area = shapely.Polygon([TO_LONLAT.transform(GRID.left + 10 * x, GRID.top - 10 * y) for x, y in ring])
    feature = {"type": "Feature", "geometry": mapping(area), "properties": {}}
    [polygon] = [pyproj.Transformer.from_crs(4326, 3006, always_xy=True).transform(*area.exterior.xy)]
    outline = shapely.Polygon(zip(*polygon, strict=True))
    inside = geometry_mask([outline], GRID.shape, rasterio.Affine(*GRID.transform), invert=True)
    inside &= numbers("red") > 0
    crop = client.post(f"{ITEM}/good/crop.tif?assets=red", json=feature)
    assert crop.status_code == 200, crop.text
    with MemoryFile(crop.content) as memory, memory.open() as file:
        found = file.read(1)
        top, left = round((GRID.top - file.transform.f) / 10), round((file.transform.c - GRID.left) / 10)
    place = np.s_[top : top + found.shape[0], left : left + found.shape[1]]
    # Edges are straight in degrees, and bend by less than a pixel here.
    both = inside[place] & (found > 0)
    assert both.sum() > 0.99 * inside.sum() and np.array_equal(found[both], numbers("red")[place][both])
    told = client.post(f"{ITEM}/good/statistics?assets=red", json=feature).json()
    [value] = told["areas"][0]["statistics"]
    assert value["count"] == (found > 0).sum() and value["overview"] == 0
    assert value["mean"] == pytest.approx(found[found > 0].mean())


REASONS = {
    "vrt": "generated/bad/vrt.tif: is no GeoTIFF and no JPEG 2000",
    "text": "generated/bad/text.tif: is no GeoTIFF and no JPEG 2000",
    "cut": "generated/bad/cut.tif: can't be read as a raster; it may be damaged, or cut short",
    "larger": "generated/bad/red.tif: has 1100 x 1000 pixels; its item's proj:shape says 2000 x 2000",
    "gone": "the file is not in the storage",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_file_that_can_not_be_read_is_not_found_and_named(client, name):
    lon, lat = TO_LONLAT.transform(GRID.left + 3000, GRID.top - 9000)
    for address in (
        f"{TILES}/bad/{NATIVE}.png?assets={name}&rescale=0,1",
        f"{TILES}/bad/{NATIVE}.npy?assets={name}",
        f"{ITEM}/bad/point?lon={lon}&lat={lat}&assets={name}",
    ):
        answer = client.get(address)
        assert (answer.status_code, answer.json()["detail"]) == (404, REASONS[name]), address


def test_a_tile_that_would_need_overviews_which_are_not_there_is_refused(client):
    address = f"{TILES}/bad/SWEREF99TM10/4/7/14.png?assets=flat&rescale=0,1"
    answer = client.get(address)
    assert answer.status_code == 400 and "flat.tif have no overviews" in answer.json()["detail"]
    assert client.get(f"{TILES}/bad/{NATIVE}.png?assets=flat&rescale=0,1").status_code == 200


def test_wide_numbers_are_as_many_bytes_as_they_are(client):
    """An item need not say what type its files have; they were taken for 2 bytes each."""
    left, bottom = TO_LONLAT.transform(GRID.left + 200, GRID.top - 19_800)
    right, top = TO_LONLAT.transform(GRID.left + 19_800, GRID.top - 200)
    where = {"bbox": f"{left},{bottom},{right},{top}"}
    answer = client.get(f"{ITEM}/bad/crop.tif", params={**where, "assets": "wide0,wide1,wide2"})
    assert answer.status_code == 400, answer.headers
    assert "3 bands of float64" in answer.json()["detail"] and "would do" in answer.json()["detail"]
    assert client.get(f"{ITEM}/bad/crop.tif", params={**where, "assets": "wide1"}).status_code == 200
