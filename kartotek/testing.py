"""What holds for every sensor, as tests: a sensor's own tests inherit `SensorContract`. Needs pytest and jsonschema.

class TestNorrsken(SensorContract):
    sensor = NORRSKEN

    @classmethod
    def make(cls, folder):
        ...  # write a product into the folder
        return folder / "NORRSKEN1_20240601T101500"
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pytest
import rasterio
import shapely
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from catalog.access import OPERATOR
from catalog.store import Catalog
from converters import delivered, items, warp
from converters.convert import Converted, Recipe, convert
from converters.safe import open_product
from converters.sensors import sensors
from jobs import worker
from jobs.publish import publish
from jobs.worker import Limits
from kartotek import footprints, grids, matrices
from kartotek.errors import BrokenProduct
from kartotek.grids import Grid
from kartotek.indices import COUNTED
from kartotek.product import ID, Kind, Product, Sensor
from kartotek.storage import FolderStorage
from pixels import render, style
from pixels.blocks import Blocks

STRANGERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sentinel-1": (
        "S1A_IW_GRDH_1SDV_20190301T052343_20190301T052408_026140_02EABC_E6CF.SAFE",
        (
            "annotation/s1a-iw-grd-vv-20190301t052343-20190301t052408-026140-02eabc-001.xml",
            "manifest.safe",
            "measurement/s1a-iw-grd-vv-20190301t052343-20190301t052408-026140-02eabc-001.tiff",
        ),
    ),
    "sentinel-2": (
        "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE",
        (
            "GRANULE/L2A_T33VXG_A027979_20220715T101600/IMG_DATA/R10m/T33VXG_20220715T101559_B02_10m.jp2",
            "GRANULE/L2A_T33VXG_A027979_20220715T101600/MTD_TL.xml",
            "MTD_MSIL2A.xml",
            "manifest.safe",
        ),
    ),
    "sentinel-3": (
        "S3A_OL_1_EFR____20190301T093010_20190301T093310_20190302T134523_0179_042_036_1980_LN1_O_NT_002.SEN3",
        ("Oa08_radiance.nc", "geo_coordinates.nc", "xfdumanifest.xml"),
    ),
    "landsat": (
        "LC08_L2SP_193018_20220715_20220726_02_T1",
        (
            "LC08_L2SP_193018_20220715_20220726_02_T1_MTL.json",
            "LC08_L2SP_193018_20220715_20220726_02_T1_QA_PIXEL.TIF",
            "LC08_L2SP_193018_20220715_20220726_02_T1_SR_B4.TIF",
        ),
    ),
    "nothing": ("folder", ("manifest.safe", "metadata.xml", "metadata.json", "image.tif", "image.jp2")),
}
"""The path's name and the files' names of other sensors' products."""


class Names:
    """A product of which nothing is there but names."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, names

    def read(self, name: str) -> bytes:
        """Fails: a product is recognised by names alone."""
        raise AssertionError(f"{name} was read")

    def size(self, name: str) -> int:
        """Fails too."""
        raise AssertionError(f"{name} was looked at")

    def href(self, name: str) -> str:
        """Fails too."""
        raise AssertionError(f"{name} was asked for")


class SensorContract:
    """The tests of a sensor; a subclass named Test... says which one, and makes a product of it."""

    sensor: ClassVar[Sensor]

    @classmethod
    def make(cls, folder: Path) -> Path:
        """Write a product into an empty folder, as a folder with all its layers, in Sweden; gives its path."""
        raise NotImplementedError

    def validate(self, document: Mapping[str, Any]) -> None:
        """Raise where an item or a collection is not valid STAC: by the core's schemas, which pystac brings along.

        Those of the extensions lie on the web; a subclass that has them checks by them too.
        """
        from pystac.validation import validate_dict

        validate_dict(dict(document), extensions=[])

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A product, made once."""
        return cls.make(tmp_path_factory.mktemp("product"))

    @pytest.fixture(scope="class")
    @classmethod
    def product(cls, path: Path) -> Product:
        """It as the sensor reads it."""
        return cls.sensor.read(open_product(path))

    @pytest.fixture(scope="class")
    @classmethod
    def converted(cls, path: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
        """What it becomes, in a process of its own, as `kartotek convert` has it."""
        return worker.converted(path, tmp_path_factory.mktemp("converted"), Recipe(threads=1), Limits())

    @pytest.fixture
    def copied(self, path: Path, tmp_path: Path) -> Path:
        """A copy of the product, to be spoilt."""
        return Path(shutil.copytree(path, tmp_path / path.name))

    def read(self, path: Path) -> Product:
        """The product at a path, read anew."""
        return self.sensor.read(open_product(path))

    # Which products are its own

    def test_it_is_found_by_its_entry_point(self) -> None:
        """And is what is found there, since that is what conversion takes."""
        assert any(sensor is self.sensor for sensor in sensors())

    def test_it_recognises_its_own_products_by_names_alone(self, path: Path) -> None:
        assert self.sensor.recognise(open_product(path))
        assert self.sensor.recognise(Names(path, open_product(path).names))

    @pytest.mark.parametrize("stranger", list(STRANGERS))
    def test_it_recognises_no_other_sensors_products(self, stranger: str) -> None:
        name, files = STRANGERS[stranger]
        assert stranger == self.sensor.name or not self.sensor.recognise(Names(Path("/products") / name, files))

    def test_no_other_sensor_recognises_its_products(self, path: Path) -> None:
        files = Names(path, open_product(path).names)
        assert [other.name for other in sensors() if other.name != self.sensor.name and other.recognise(files)] == []

    # What reading gives

    def test_reading_touches_no_pixel(self, copied: Path) -> None:
        before = self.read(copied)
        for layer in before.layers:
            Path(layer.href).write_bytes(b"these are no pixels " * 100)
        assert self.read(copied) == before

    def test_reading_gives_the_same_wherever_the_machine_stands(
        self, path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        try:
            assert self.read(path) == product
        finally:
            monkeypatch.undo()
            time.tzset()

    def test_its_collection_and_layers_are_those_that_the_sensor_tells_of(self, product: Product) -> None:
        assert product.collection in self.sensor.collections
        assert product.layers and not product.missing
        assert all(layer.type in product.collection.layers for layer in product.layers)
        assert ID.fullmatch(product.id) and product.path.name

    def test_its_time_is_utc_and_after_the_first_product(self, product: Product) -> None:
        assert product.sensed.utcoffset() == timedelta(0)
        assert product.collection.start <= product.sensed

    def test_its_footprint_lies_where_its_pixels_do(self, product: Product) -> None:
        """In longitude and latitude, in this order."""
        if product.footprint is None:
            return
        assert product.footprint.is_valid and not product.footprint.is_empty
        for layer in product.layers:
            ground = footprints.from_projected(footprints.box(layer.grid.bounds), layer.grid.crs)
            assert product.footprint.intersects(ground), layer.name

    def test_its_layers_are_as_their_files(self, product: Product) -> None:
        """Bands, type of pixels, and the grid; `delivered.read` refuses what differs."""
        for layer in product.layers:
            found = delivered.read(layer)
            assert (found.grid.left, found.grid.top) == (layer.grid.left, layer.grid.top), layer.name
            assert found.pixels.dtype == layer.type.data_type
            if layer.type.kind is Kind.CLASSES:
                known = {value.value for value in layer.type.classes} | {layer.type.nodata}
                assert {int(code) for code in set(found.pixels.ravel().tolist())} <= known, layer.name

    def test_a_missing_band_is_named_and_the_product_refused(self, copied: Path, tmp_path: Path) -> None:
        for layer in self.read(copied).layers:
            file, away = Path(layer.href), tmp_path / "away"
            file.rename(away)
            product = self.read(copied)
            left = {other.name: other.file for other in product.layers}
            # Some agencies deliver a layer at several resolutions: another file may do.
            if left.get(layer.name, layer.file) == layer.file:
                assert layer.name not in left
                assert any(layer.name in line for line in product.missing), layer.name
                with pytest.raises(BrokenProduct, match=layer.name):
                    convert(product, tmp_path, Recipe())
            away.rename(file)

    # What becomes of it

    def test_its_collections_are_valid_stac(self) -> None:
        for kind in self.sensor.collections:
            document = items.document(items.collection(kind))
            self.validate(orjson.loads(orjson.dumps(document)))

    def test_its_item_is_valid_stac(self, product: Product, converted: Converted) -> None:
        document = items.document(converted.item)
        document["links"].append({"rel": "collection", "href": "https://example.org/collection"})
        self.validate(orjson.loads(orjson.dumps(document)))
        assert set(converted.item.assets) >= {layer.name for layer in product.layers}
        assert converted.item.id == product.id and converted.item.datetime == product.sensed

    def test_its_footprint_is_that_of_the_data(self, product: Product, converted: Converted) -> None:
        found = shapely.geometry.shape(converted.item.geometry)
        assert found.is_valid and found.area > 0
        grounds = [footprints.from_projected(footprints.box(one.grid.bounds), one.grid.crs) for one in product.layers]
        assert shapely.union_all(grounds).buffer(1e-3).covers(found)

    def test_its_files_say_what_its_item_says(self, product: Product, converted: Converted) -> None:
        for layer in product.layers:
            asset = converted.item.assets[layer.name]
            with rasterio.open(converted.folder / asset.href) as file:
                assert file.crs.to_epsg() == 3006 and list(file.shape) == asset.extra_fields["proj:shape"]
                assert set(file.dtypes) == {band["data_type"] for band in asset.extra_fields["bands"]}
                assert (file.scales[0], file.offsets[0]) == (layer.scale, layer.offset)
                nodata = layer.type.nodata
                assert file.nodata == nodata or (math.isnan(file.nodata) and math.isnan(nodata))

    def test_its_pixels_lie_where_they_were_delivered(self, product: Product, converted: Converted) -> None:
        """Those that are copied; pixel edges lie on multiples of the pixel size."""
        for layer in product.layers:
            with rasterio.open(converted.folder / converted.item.assets[layer.name].href) as file:
                place = Grid(
                    crs=grids.NATIONAL, left=file.transform.c, top=file.transform.f, resolution=file.transform.a,
                    columns=file.width, rows=file.height,
                )  # fmt: skip
                assert grids.aligned(place), layer.name
                if warp.copies(layer.grid, grids.NATIONAL):
                    column = (layer.grid.left - place.left) / place.resolution
                    row = (place.top - layer.grid.top) / place.resolution
                    found = file.read(window=Window(column, row, layer.grid.columns, layer.grid.rows))
                    assert np.array_equal(found, delivered.read(layer).pixels, equal_nan=found.dtype.kind == "f"), (
                        layer.name
                    )

    def test_converting_again_gives_the_same_bytes(self, path: Path, converted: Converted, tmp_path: Path) -> None:
        again = convert(self.read(path), tmp_path, Recipe(threads=2))
        assert again.item.to_dict(transform_hrefs=False) == converted.item.to_dict(transform_hrefs=False)
        assert _digests(tmp_path) == _digests(converted.folder)

    def test_index_squares_are_counted(self, product: Product, converted: Converted) -> None:
        """Where there is a mask, its classes and clear pixels; each index whose two bands there are."""
        kind = product.collection
        names = {band.common_name for layer in product.layers for band in layer.type.bands}
        computed = {index.name for index in COUNTED.values() if {index.first, index.second} <= names}
        if kind.mask is None and not computed:
            return
        assert converted.squares
        for square in converted.squares:
            assert set(square.indices) == computed
            if kind.mask is not None:
                assert sum(square.classes.values()) == square.valid
            seen = square.valid if square.clear is None else square.clear
            assert all(found.count <= seen for found in square.indices.values())

    def test_its_renders_are_drawn_as_tiles(self, product: Product, converted: Converted, tmp_path: Path) -> None:
        storage = FolderStorage(tmp_path / "store")
        with closing(Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")) as catalog:
            catalog.migrate()
            published = publish(converted, storage, catalog)
            item = orjson.loads(catalog.item(OPERATOR, published.collection, published.item))
            collection = orjson.loads(catalog.collection(OPERATOR, published.collection))
        blocks, tile = Blocks(storage, memory=64 << 20), _tile(shapely.geometry.shape(item["geometry"]))
        for name, shown in product.collection.renders.items():
            if set(shown.assets) <= set(item["assets"]):
                picture = render.picture(item, style.of_render(collection, name))
                drawn = render.raster(blocks, picture, tile).rgba
                assert drawn[..., 3].any(), f"{name} shows nothing"
                assert drawn[drawn[..., 3] > 0][:, :3].std() > 0, f"{name} shows one colour alone"


def _tile(footprint: BaseGeometry) -> Grid:
    """A tile of the national set, at 80 m, that shows some of the footprint."""
    tms, place = matrices.served()["SWEREF99TM10"], footprint.representative_point()
    tile = tms.tile(place.x, place.y, 5)
    return render.tile_grid(tms, tile.z, tile.x, tile.y)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that conversion made."""
    made = [path for path in sorted(folder.iterdir()) if path.name != "item.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
