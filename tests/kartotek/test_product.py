"""What can't work is refused where a sensor says it, and not where it would come out wrong."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import shapely

from converters import items
from converters.sensors import collections
from kartotek.grids import Grid
from kartotek.product import (
    BESIDE,
    COMMON_NAMES,
    Band,
    ClassValue,
    CollectionType,
    CubeNames,
    Kind,
    Layer,
    LayerType,
    Product,
    Render,
)

LAND = ClassValue(value=1, name="land", description="Land", color="00A000", clear=True)
CLOUD = ClassValue(value=2, name="cloud", description="Cloud", color="FFFFFF")
RED = LayerType(
    name="RED", kind=Kind.MEASUREMENT, resolution=30, title="Red", data_type="float32", nodata=math.nan,
    bands=(Band(name="RED", common_name="red"),),
)  # fmt: skip
NIR = dataclasses.replace(RED, name="NIR", bands=(Band(name="NIR", common_name="nir"),))
HEAT = dataclasses.replace(RED, name="HEAT", bands=(), unit="K")
QA = LayerType(
    name="QA", kind=Kind.CLASSES, resolution=30, title="", data_type="uint8", nodata=0, classes=(LAND, CLOUD)
)  # fmt: skip
RGB = LayerType(
    name="RGB", kind=Kind.PICTURE, resolution=30, title="", data_type="uint8", nodata=0, bands=(*RED.bands,) * 3
)  # fmt: skip
MADE_UP = CollectionType(
    id="made-up", title="", description="", license="CC0-1.0", license_href="https://example.org", attribution="",
    provider="", provider_href="", start=datetime(2024, 1, 1, tzinfo=UTC), constellation="", platforms=(),
    instruments=(), keywords=(), layers=(RED, NIR, HEAT, QA, RGB), mask="QA",
)  # fmt: skip
GRID = Grid(crs="EPSG:32633", left=600_000, top=6_700_000, resolution=30, columns=100, rows=100)
LAYER = Layer(type=RED, file="red.tif", href="red.tif", grid=GRID)
PRODUCT = Product(
    id="MADE_UP_1", path=Path("x"), collection=MADE_UP, sensed=datetime(2024, 6, 1, 10, tzinfo=UTC),
    footprint=shapely.box(16, 60, 17, 61), properties={}, layers=(LAYER,),
)  # fmt: skip


def change(of, **facts):
    return dataclasses.replace(of, **facts)


REFUSED = {
    "nodata that the type can't hold": (RED, {"data_type": "uint16", "nodata": -9999}, "-9999, which uint16 doesn't"),
    "NaN among whole numbers": (RED, {"data_type": "uint8"}, "nan, which uint8 doesn't hold"),
    "half a number": (RED, {"data_type": "uint8", "nodata": 0.5}, "0.5, which uint8 doesn't hold"),
    "a float too large": (RED, {"nodata": 1e39}, "which float32 doesn't hold"),
    "a float too precise": (RED, {"nodata": 0.1}, "which float32 doesn't hold"),
    "no nodata": (RED, {"nodata": None}, "no nodata; give NaN"),
    "a type that is none": (RED, {"data_type": "uint12"}, "can't be 'uint12'; they are one of uint8, int8"),
    "a type of our files that is none": (RED, {"data_type": "complex64"}, "can't be 'complex64'"),
    "a name with a slash": (RED, {"name": "../RED"}, "not of letters"),
    "no name": (RED, {"name": ""}, "not of letters"),
    "the thumbnail's name": (RED, {"name": "thumbnail"}, "an asset beside the layers"),
    "a resolution of nothing": (RED, {"resolution": 0}, "resolution is 0 m"),
    "no role": (RED, {"roles": ()}, "no role"),
    "classes of a measurement": (RED, {"classes": (LAND,)}, "is a measurement, and has classes"),
    "two bands in a layer": (RED, {"bands": RED.bands * 2}, "2 bands; each is a layer"),
    "a picture of one band": (RGB, {"bands": RED.bands}, "three bands of uint8"),
    "a picture of floats": (RGB, {"data_type": "float32"}, "three bands of uint8"),
    "classes without a list": (QA, {"classes": ()}, "of classes, and has no list"),
    "classes that are floats": (QA, {"data_type": "float32", "nodata": math.nan}, "codes are uint8 or uint16"),
    "a class twice": (QA, {"classes": (LAND, LAND)}, "occur twice: 1, land"),
    "a class beyond the type": (QA, {"classes": (LAND, change(CLOUD, value=300))}, "doesn't hold its classes 300"),
    "a clear class that is nodata": (QA, {"nodata": 1}, "land is clear, and its code is nodata"),
    "a common name that is none": (RED.bands[0], {"common_name": "ultraviolet"}, "no common name of STAC's; there are"),
    "a band without a name": (RED.bands[0], {"name": ""}, "no name"),
    "a wavelength below zero": (RED.bands[0], {"center_wavelength": -0.6}, "no wavelength"),
    "a code below zero": (LAND, {"value": -1}, "from 0 to 65535"),
    "a class of two words": (LAND, {"name": "dry land"}, "no word of letters"),
    "a colour by name": (LAND, {"color": "green"}, "six hexadecimal digits"),
    "an id with a blank": (MADE_UP, {"id": "made up"}, "id is not of letters"),
    "a start in no time zone": (MADE_UP, {"start": datetime(2024, 1, 1)}, "in no time zone"),
    "no licence": (MADE_UP, {"license": ""}, "no licence"),
    "no layers": (MADE_UP, {"layers": (), "mask": None}, "no layers"),
    "a layer twice": (MADE_UP, {"layers": (RED, RED, QA)}, "occur twice: RED"),
    "two layers of a common name": (MADE_UP, {"layers": (RED, change(RED, name="B"), QA)}, "several layers are of red"),
    "a mask that is not there": (MADE_UP, {"mask": "SCL"}, "'SCL' is none of its layers"),
    "an old name of a layer that is not there": (
        MADE_UP, {"cube": CubeNames(products=("old",), measurements={"red_30m": "RED", "blue_30m": "BLUE"})},
        "old names are of BLUE; layers are: RED",
    ),
    "a mask that is no classes": (MADE_UP, {"mask": "RED"}, "a measurement, not of classes"),
    "a mask without clear classes": (
        MADE_UP, {"layers": (change(QA, classes=(CLOUD,)),)}, "no class of its mask 'QA' is clear"
    ),
    "a render of a layer that is not there": (
        MADE_UP, {"renders": {"x": Render(title="", assets=("BLUE",), rescale=(0, 1))}}, "shows BLUE; layers are: RED"
    ),
    "a picture as red": (
        MADE_UP, {"renders": {"x": Render(title="", assets=("RGB", "NIR", "RED"), rescale=(0, 1))}}, "picture RGB among"
    ),
    "no scale": (LAYER, {"scale": 0.0}, "no physical values"),
    "an offset that is no number": (LAYER, {"offset": math.nan}, "no physical values"),
    "scaled classes": (LAYER, {"type": QA, "scale": 0.5}, "neither scale nor offset"),
    "a grid in degrees": (LAYER, {"grid": change(GRID, crs="EPSG:4326")}, "no EPSG code of a map grid"),
    "a grid in feet": (LAYER, {"grid": change(GRID, crs="EPSG:2263")}, "no EPSG code of a map grid"),
    "a grid in nothing": (LAYER, {"grid": change(GRID, crs="EPSG:0")}, "no EPSG code of a map grid"),
    "a grid without pixels": (LAYER, {"grid": change(GRID, columns=0)}, "are none"),
    "a grid nowhere": (LAYER, {"grid": change(GRID, left=math.nan)}, "lie nowhere"),
    "a product's id with a slash": (PRODUCT, {"id": "a/b"}, "not usable as an id"),
    "a local time": (PRODUCT, {"sensed": PRODUCT.sensed.astimezone(timezone(timedelta(hours=2)))}, "not in UTC"),
    "a time in no zone": (PRODUCT, {"sensed": datetime(2024, 6, 1)}, "not in UTC"),
    "a footprint in metres": (PRODUCT, {"footprint": shapely.box(6e5, 6.6e6, 7e5, 6.7e6)}, "on no earth"),
    "a layer of another collection": (PRODUCT, {"collection": change(MADE_UP, layers=(NIR, QA))}, "not those .*: RED"),
    "a layer of a product twice": (PRODUCT, {"layers": (LAYER, LAYER)}, "occur twice: RED"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_work_is_refused_by_name(what):
    of, facts, reason = REFUSED[what]
    with pytest.raises(ValueError, match=rf"^(band|class|layer|collection|product|RED|QA) .*{reason}"):
        dataclasses.replace(of, **facts)


def test_all_faults_are_told_at_once():
    with pytest.raises(ValueError, match=r"'QA': its resolution is 0 m; it has no role.*; its nodata.*; classes occur"):
        change(QA, resolution=0, roles=(), nodata=-1, classes=(LAND, LAND))


@pytest.mark.parametrize(("assets", "rescale"), [((), (0, 1)), (("A", "B"), (0, 1)), (("A",), (1, 1)), (("A",), (1, 0)),
                                                 (("A",), (0, math.inf)), (("A",), (math.nan, 1))])  # fmt: skip
def test_a_render_shows_one_layer_or_three_between_two_numbers(assets, rescale):
    with pytest.raises(ValueError, match="render 'x': it shows"):
        Render(title="x", assets=assets, rescale=rescale)


@pytest.mark.parametrize(
    ("data_type", "nodata"),
    [("uint8", 255), ("int16", -32_768), ("uint16", 0.0), ("float32", -9999.0), ("float32", math.nan),
     ("float32", -3.4028234663852886e38), ("float64", 0.1), ("float64", -math.inf)],
)  # fmt: skip
def test_nodata_that_pixels_can_have_is_taken(data_type, nodata):
    assert change(RED, data_type=data_type, nodata=nodata).nodata is nodata


def test_a_footprint_is_where_all_bands_of_the_instrument_have_data():
    assert MADE_UP.outlined == {"RED", "NIR"}
    assert change(MADE_UP, layers=(HEAT, QA)).outlined == {"HEAT"}
    assert change(MADE_UP, layers=(QA,)).outlined == {"QA"}


def test_no_layer_can_be_called_as_what_lies_beside_them():
    assert set(BESIDE) == set(items.BESIDE)


def test_our_own_sensors_use_stac_s_common_names_once():
    for kind in collections().values():
        names = [band.common_name for layer in kind.layers if layer.kind is not Kind.PICTURE for band in layer.bands]
        assert set(names) <= {*COMMON_NAMES, None}
