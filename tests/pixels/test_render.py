"""What STAC says of items and collections of any sensor, and the pictures that are made of it."""

import dataclasses
import hashlib

import numpy as np
import pytest

from converters import cog
from kartotek import fast, matrices
from kartotek.errors import NotFound
from kartotek.grids import Grid
from kartotek.product import Band, Kind, Layer, LayerType
from kartotek.storage import FolderStorage
from pixels import layers, render, style
from pixels.blocks import Blocks

TILE = render.tile_grid(matrices.served()["SWEREF99TM10"], 8, 117, 227)


@pytest.fixture
def stored(tmp_path):
    """Stores pixels, (bands, rows, columns), as a COG on the tile's grid; gives the asset of it."""

    def store(name, pixels, **band):
        kind = LayerType(
            name=name, kind=Kind.PICTURE if len(pixels) == 3 else Kind.MEASUREMENT, resolution=10, title="",
            data_type=str(pixels.dtype), nodata=0, bands=tuple(Band(name=str(number)) for number in range(len(pixels))),
        )  # fmt: skip
        cog.write(tmp_path / f"{name}.tif", [pixels], TILE, Layer(type=kind, file="", href="", grid=TILE))
        return {
            "href": f"storage:///{name}.tif",
            "proj:code": TILE.crs,
            "proj:shape": list(TILE.shape),
            "proj:transform": list(TILE.transform),
            "bands": [{"name": str(number), **band} for number in range(len(pixels))],
        }

    store.blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
    return store


def ramp(data_type="float32", bands=1):
    """Numbers from 0 on, of which each row has its own."""
    return np.arange(512).astype(data_type)[None, :, None].repeat(512, axis=2).repeat(bands, axis=0) * np.arange(
        1, bands + 1
    )[:, None, None].astype(data_type)


def drawn(stored, assets, shown, grid=TILE):
    item = {"id": "scene", "assets": assets}
    found = render.picture(item, style.of_render({"id": "radar", "renders": {"shown": shown}}, "shown"))
    return render.raster(stored.blocks, found, grid).rgba


def shades(physical, low, high):
    return np.clip(np.floor((physical - low) / (high - low) * 255 + 0.5), 0, 255)


@pytest.mark.parametrize("rescale", [[[0, 511]], [[0, 511]] * 3, [[511, 0]]])
def test_one_layer_is_shown_as_grey(stored, rescale):
    found = drawn(stored, {"VV": stored("VV", ramp())}, {"assets": ["VV"], "rescale": rescale})
    assert all(np.array_equal(found[..., channel], shades(ramp()[0], *rescale[0])) for channel in range(3))
    assert (found[..., 3] == 255).all()


def test_three_layers_may_each_have_limits_of_their_own(stored):
    assets = {name: stored(name, ramp()) for name in ("a", "b", "c")}
    limits = [[0, 511], [100, 200], [-50, 1000]]
    found = drawn(stored, assets, {"assets": ["a", "b", "c"], "rescale": limits})
    for channel, (low, high) in enumerate(limits):
        assert np.array_equal(found[..., channel], shades(ramp()[0], low, high))


@pytest.mark.parametrize("data_types", [("uint16",) * 3, ("uint8",) * 3, ("uint8", "uint16", "uint8"), ("uint16",)])
@pytest.mark.parametrize("compiled", [True, False])
def test_what_lacks_in_one_layer_is_seen_in_none(stored, data_types, compiled, monkeypatch):
    fast.load()
    monkeypatch.setattr(fast, "_kernels", fast.loaded() if compiled else None)
    rng = np.random.default_rng(4)
    bands = [rng.integers(0, 200, (1, 512, 512)).astype(data_type) for data_type in data_types]
    for number, band in enumerate(bands):
        band[:, 100 * number : 100 * number + 150, :300] = 0
    has_data = np.all([band[0] != 0 for band in bands], axis=0)
    assets = {f"b{number}": stored(f"b{number}", band, nodata=0) for number, band in enumerate(bands)}
    found = drawn(stored, assets, {"assets": list(assets), "rescale": [[-10, 90]]})
    assert np.array_equal(found[..., 3], np.where(has_data, 255, 0))
    for channel in range(3):
        expected = shades(bands[channel % len(bands)][0].astype(float), -10, 90)
        assert np.array_equal(found[..., channel], np.where(has_data, expected, 0))


def test_one_pair_of_limits_holds_for_all_layers(stored):
    assets = {name: stored(name, ramp()) for name in ("a", "b", "c")}
    one, three = ({"assets": ["a", "b", "c"], "rescale": [[10, 300]] * count} for count in (1, 3))
    assert np.array_equal(drawn(stored, assets, one), drawn(stored, assets, three))


def test_a_picture_of_three_bands_in_one_file_is_shown_in_its_colours(stored):
    pixels = ramp("uint16", 3)
    found = drawn(stored, {"TCI": stored("TCI", pixels)}, {"assets": ["TCI"], "rescale": [[0, 1000]]})
    for channel in range(3):
        assert np.array_equal(found[..., channel], shades(pixels[channel].astype(float), 0, 1000))


@pytest.mark.parametrize("data_type", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_numbers_of_any_type_are_shown_by_their_physical_values(stored, data_type):
    pixels = np.arange(512 * 512).reshape(1, 512, 512).astype(data_type)
    asset = stored("x", pixels, **{"raster:scale": 0.5, "raster:offset": -3})
    found = drawn(stored, {"x": asset}, {"assets": ["x"], "rescale": [[0, 100]]})
    assert np.array_equal(found[..., 0], shades(pixels[0] * 0.5 - 3, 0, 100))


def test_true_colour_is_shown_where_there_is_one_and_else_the_first_render():
    assert style.usual({"id": "x", "renders": {"a": {}, "true-colour": {}}}) == "true-colour"
    assert style.usual({"id": "x", "renders": {"b": {}, "a": {}}}) == "b"
    for without in ({}, {"renders": {}}, {"renders": None}):
        with pytest.raises(NotFound, match="'radar' has no renders"):
            style.usual({"id": "radar", **without})


ASSET = {
    "href": "storage:///x.tif",
    "proj:code": "EPSG:3006",
    "proj:shape": [512, 512],
    "proj:transform": [10, 0, 600_000, 0, -10, 6_700_000],
    "bands": [{"name": "x"}],
}
SHOWN = {"assets": ["x"], "rescale": [[0, 1]]}


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


LACKING = {
    "the layer": ({}, SHOWN, "no x"),
    "the render's layers": ({"x": ASSET}, without(SHOWN, "assets"), "assets"),
    "any layer": ({"x": ASSET}, {**SHOWN, "assets": []}, "0 layers"),
    "a third layer": ({"x": ASSET, "y": ASSET}, {**SHOWN, "assets": ["x", "y"]}, "2 layers"),
    "limits": ({"x": ASSET}, without(SHOWN, "rescale"), "rescale"),
    "limits, null": ({"x": ASSET}, {**SHOWN, "rescale": None}, "rescale"),
    "any pair of limits": ({"x": ASSET}, {**SHOWN, "rescale": []}, "rescale"),
    "pairs of limits": ({"x": ASSET}, {**SHOWN, "rescale": [0, 1]}, "rescale"),
    "a pair for each": ({"x": ASSET}, {"assets": ["x"] * 3, "rescale": [[0, 1]] * 2}, "rescale"),
    "two limits": ({"x": ASSET}, {**SHOWN, "rescale": [[1, 1]]}, "rescale"),
    "limits that are numbers": ({"x": ASSET}, {**SHOWN, "rescale": [["a", 1]]}, "rescale"),
    "finite limits": ({"x": ASSET}, {**SHOWN, "rescale": [["nan", 1]]}, "rescale"),
    "a grid": ({"x": without(ASSET, "proj:transform")}, SHOWN, "proj:transform"),
    "a shape": ({"x": without(ASSET, "proj:shape")}, SHOWN, "proj:shape"),
    "a CRS": ({"x": without(ASSET, "proj:code")}, SHOWN, "proj:code"),
    "a CRS, null": ({"x": {**ASSET, "proj:code": None}}, SHOWN, "projection"),
    "a CRS that PROJ knows": ({"x": {**ASSET, "proj:code": "EPSG:999999"}}, SHOWN, "projection"),
    "square pixels": ({"x": {**ASSET, "proj:transform": [10, 0, 0, 0, -20, 0]}}, SHOWN, "squares"),
    **{
        f"pixels on the ground, {found}": ({"x": {**ASSET, "proj:transform": found}}, SHOWN, "on the ground")
        for found in (
            [0, 0, 0, 0, 0, 0],
            [-10, 0, 0, 0, 10, 0],
            [1e-308, 0, 0, 0, -1e-308, 0],
            ["inf", 0, 0, 0, "-inf", 0],
            [1e300, 0, 0, 0, -1e300, 0],
            [10, 0, "nan", 0, -10, 0],
            [10, 0, 0, 0, -10, "nan"],
            [10, 0, 0, 0, -10, "inf"],
        )
    },
    "a number for nodata": ({"x": {**ASSET, "bands": [{"nodata": "none"}]}}, SHOWN, "nodata"),
    "a number for the scale": ({"x": {**ASSET, "bands": [{"raster:scale": None}]}}, SHOWN, "float"),
    "a file of ours": ({"x": {**ASSET, "href": "https://example.org/x.tif"}}, SHOWN, "not one of our files"),
    "any file": ({"x": without(ASSET, "href")}, SHOWN, "href"),
}


@pytest.mark.parametrize("what", LACKING)
def test_an_item_or_a_render_that_lacks_something_is_not_found_and_the_reason_told(what):
    assets, shown, reason = LACKING[what]
    with pytest.raises(NotFound, match=r"scene|shown") as told:
        found = style.of_render({"id": "radar", "renders": {"shown": shown}}, "shown")
        render.picture({"id": "scene", "assets": assets}, found)
    assert reason in str(told.value)


def test_bands_scale_offset_and_nodata_may_be_left_out():
    for bands in ({}, {"bands": []}, {"bands": [{}]}):
        found = layers.source({**without(ASSET, "bands"), **bands})
        assert (found.nodata, found.scale, found.offset, found.classes) == (None, 1, 0, False)
    assert found.grid == Grid(crs="EPSG:3006", left=600_000, top=6_700_000, resolution=10, columns=512, rows=512)


def test_classes_are_known_wherever_stac_lets_them_stand():
    assert layers.source({**ASSET, "classification:classes": []}).classes
    assert layers.source({**ASSET, "bands": [{"classification:classes": []}]}).classes


PICTURES = {"1": "e0464e10aa280dfa"}
"""Version → the hash of two pictures' pixels."""


def test_other_pixels_are_another_version(stored):
    """Whoever changes how files are shown changes `render.VERSION` too, and adds the hash here."""
    rng = np.random.default_rng(1)
    assets = {name: stored(name, rng.integers(0, 5000, (1, 512, 512), np.uint16), nodata=0) for name in ("a", "b", "c")}
    shown = {"assets": ["a", "b", "c"], "rescale": [[0, 4000]]}
    # Copied, and between pixels; not in another CRS, whose last digits are PROJ's.
    places = [TILE, dataclasses.replace(TILE, left=TILE.left + 3.3, resolution=7)]
    pictures = [drawn(stored, assets, shown, place) for place in places]
    assert all(picture.any() for picture in pictures)
    assert (
        hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()[:16] == PICTURES[render.VERSION]
    )
