"""Items and collections. To write the golden items anew: python tests/converters/test_items.py"""

import copy
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import jsonschema
import numpy as np
import pystac
import pytest
import rasterio
import referencing
import referencing.jsonschema
import shapely
from lxml import etree

from converters import items, samples, sensors
from converters.convert import Recipe, convert
from converters.extent import stated
from converters.sensors import read
from kartotek import footprints
from kartotek.product import Kind

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/data/items"
NAMES = ("33", "33 L1C", "34")
"""Of the golden ones: a collection each, and one that was resampled."""
ALL = (
    "33 before", "33", "33 L1C", "33 spring", "34", "32", "33 west", "34 east", "35", "swath", "zip", "bare zip",
)  # fmt: skip


def as_dict(converted):
    """The item as it is stored, whatever order and kind of sequence pystac holds."""
    return json.loads(
        json.dumps(converted.item.to_dict(include_self_link=False, transform_hrefs=False), allow_nan=False)
    )


def golden_form(item):
    """Without what depends on the version of a library that compresses; another test compares it with the files."""
    item = copy.deepcopy(item)
    for asset in item["assets"].values():
        assert asset.pop("file:checksum").startswith("1220") and asset.pop("file:size") > 0
    return item


def same(found, wanted, where=""):
    """Assert that two documents are the same, numbers to the ninth digit, and say where they differ."""
    if isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key, value in wanted.items():
            same(found[key], value, f"{where}/{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for number, value in enumerate(wanted):
            same(found[number], value, f"{where}/{number}")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-9), where
    else:
        assert found == wanted, where


@pytest.mark.parametrize("name", NAMES)
def test_a_product_becomes_its_golden_item(conversion, name):
    found = golden_form(as_dict(conversion(name)))
    same(found, json.loads((GOLDEN / f"{found['id']}.json").read_text()))


# Schemas


@pytest.fixture(scope="module")
def validator(beside):
    """Gives a validator of the schema at a URL, which reads this and all that it refers to from files."""
    folder = beside("schemas")

    def retrieve(url):
        place = folder / url.removeprefix("https://").removeprefix("http://").rstrip("#")
        file = next((path for path in (place, Path(f"{place}.json")) if path.is_file()), None)
        if file is None:
            raise referencing.exceptions.NoSuchResource(url)
        return referencing.jsonschema.DRAFT7.create_resource(json.loads(file.read_text()))

    registry = referencing.Registry(retrieve=retrieve)
    made = {}

    def of(url):
        if url not in made:
            schema = retrieve(url).contents
            made[url] = jsonschema.Draft7Validator(
                schema, registry=registry, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
            )
        return made[url]

    return of


def complete(document):
    """With the links that the server puts in."""
    document = copy.deepcopy(document)
    document["links"].append({"rel": "self", "href": "https://example.org/self"})
    if "collection" in document:
        document["links"].append({"rel": "collection", "href": "https://example.org/collection"})
    return document


def check(document, validator):
    kind = "item" if document["type"] == "Feature" else "collection"
    core = f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"
    assert document["stac_version"] == "1.1.0" and len(set(document["stac_extensions"])) == len(
        document["stac_extensions"]
    )
    for url in (core, *document["stac_extensions"]):
        errors = [
            f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator(url).iter_errors(document)
        ]
        assert not errors, (url, errors)


@pytest.mark.parametrize("name", ALL)
def test_every_item_is_valid_stac(conversion, validator, name):
    check(complete(as_dict(conversion(name))), validator)


@pytest.mark.parametrize("recipe", [{"crs": "native"}, {"crs": "EPSG:4326"}])
def test_an_item_in_another_crs_is_valid_stac(scenes, conversion, validator, recipe):
    check(complete(as_dict(conversion(dataclasses.replace(scenes["33"], pixels=96), **recipe))), validator)


@pytest.mark.parametrize("name", ["33", "33 L1C", "zip"])
@pytest.mark.parametrize("href", ["product:///x/y.zip", "https://x.se/y.SAFE/"])
def test_an_item_of_a_product_that_is_not_converted_is_valid_stac(sample, validator, name, href):
    product = read(sample(name))
    item = items.registered(product, stated(product), items.original(href, size=7))
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    check(complete(json.loads(json.dumps(document))), validator)


def collections():
    return {name: items.collection(kind) for name, kind in sensors.collections().items()}


def test_every_collection_is_valid_stac(validator):
    assert set(collections()) >= {"sentinel-2-l1c", "sentinel-2-l2a"}
    for collection in collections().values():
        check(complete(json.loads(json.dumps(collection.to_dict(include_self_link=False)))), validator)


def test_a_collection_tells_its_older_names_and_which_classes_are_clear():
    found = collections()["sentinel-2-l2a"].extra_fields
    assert found["kartotek:mask"] == {"asset": "SCL", "clear": [4, 5, 6, 11]}
    assert found["kartotek:datacube"]["products"] == ["sentinel_s2_l2a_zips"]
    names = found["kartotek:datacube"]["measurements"]
    assert {"B02_10m": "B02", "B8A_20m": "B8A", "B09_60m": "B09", "SCL_20m": "SCL"}.items() <= names.items()
    # All layers but the picture, each by one name.
    assert sorted(names.values()) == sorted(set(found["item_assets"]) - {"TCI", *items.BESIDE})
    assert "kartotek:mask" not in collections()["sentinel-2-l1c"].extra_fields


def test_pystac_finds_them_valid_too(conversion, beside, tmp_path):
    documents = [as_dict(conversion(name)) for name in NAMES] + [made.to_dict() for made in collections().values()]
    (tmp_path / "documents.json").write_text(json.dumps([complete(document) for document in documents]))
    script = (
        "import json, sys, pystac, pystac.validation\n"
        "for one in json.load(open(sys.argv[1])): print(len(pystac.validation.validate_dict(one)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "documents.json"],
        env={**os.environ, "PYTHONPATH": str(beside("schemas/offline"))}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == len(documents) and all(int(count) > 3 for count in run.stdout.split())


# What an item says, against the files and the metadata


def assets(converted):
    return {name: asset for name, asset in as_dict(converted)["assets"].items() if "proj:shape" in asset}


@pytest.mark.parametrize("name", ["33", "33 L1C", "34", "swath"])
def test_checksums_and_sizes_are_those_of_the_files(conversion, name):
    converted = conversion(name)
    found = as_dict(converted)["assets"]
    assert {asset["href"] for asset in found.values()} == {path.name for path in converted.folder.iterdir()}
    for asset in found.values():
        content = (converted.folder / asset["href"]).read_bytes()
        # A multihash: 12 is SHA-256, 20 its 32 bytes.
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset["file:size"] == len(content)


@pytest.mark.parametrize("name", ["33", "33 L1C", "34", "zip"])
def test_the_item_says_of_each_file_what_gdal_says(conversion, name):
    converted = conversion(name)
    for asset in assets(converted).values():
        with rasterio.open(converted.folder / asset["href"]) as file:
            assert asset["proj:code"] == f"EPSG:{file.crs.to_epsg()}" and asset["proj:shape"] == list(file.shape)
            assert asset["proj:transform"] == list(file.transform)[:6] and asset["proj:bbox"] == list(file.bounds)
            assert asset["raster:spatial_resolution"] == asset["gsd"] == file.transform.a
            [band] = asset["bands"]
            assert band["data_type"] == file.dtypes[0] and band["nodata"] == file.nodata
            assert band.get("raster:scale", 1) == file.scales[0] and band.get("raster:offset", 0) == file.offsets[0]
            assert band.get("unit") == file.units[0] and band["name"] == file.descriptions[0]


@pytest.mark.parametrize("name", ["33", "33 L1C", "33 before"])
def test_the_time_is_the_tile_s_sensing_time(conversion, sample, name):
    [tile] = sample(name).rglob("MTD_TL.xml")
    stated = etree.parse(tile).getroot().findtext(".//{*}SENSING_TIME")
    found = as_dict(conversion(name))["properties"]["datetime"]
    assert found.endswith("Z") and datetime.fromisoformat(found) == datetime.fromisoformat(stated)
    [main] = sample(name).glob("MTD_MSIL*.xml")
    assert etree.parse(main).getroot().findtext(".//{*}PRODUCT_START_TIME") != stated


@pytest.mark.parametrize("name", ["33", "33 L1C"])
def test_scale_and_offset_stand_beside_each_band(conversion, name):
    for key, asset in assets(conversion(name)).items():
        [band] = asset["bands"]
        if "reflectance" in asset["roles"]:
            assert (band["raster:scale"], band["raster:offset"]) == (1e-4, -0.1)
        else:
            assert band.get("raster:scale") == (1e-3 if key in ("AOT", "WVP") else None)
            assert band.get("raster:offset", 0) == 0


def test_bands_have_their_common_names_in_both_forms(conversion):
    """STAC 1.1's, and the older one, from which alone odc-stac reads aliases."""
    wanted = {"B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B8A": "nir08",
              "B09": "nir09", "B11": "swir16", "B12": "swir22"}  # fmt: skip
    found = assets(conversion("33"))
    for name, common in wanted.items():
        assert found[name]["bands"][0]["eo:common_name"] == common
        assert found[name]["eo:bands"][0] == {
            "name": name, "common_name": common,
            "center_wavelength": found[name]["bands"][0]["eo:center_wavelength"],
            "full_width_half_max": found[name]["bands"][0]["eo:full_width_half_max"],
        }  # fmt: skip
        assert 0.4 < found[name]["eo:bands"][0]["center_wavelength"] < 2.3
    for name, common in (("B05", "rededge071"), ("B06", "rededge075"), ("B07", "rededge078")):
        assert found[name]["bands"][0]["eo:common_name"] == common
        assert found[name]["eo:bands"][0]["common_name"] == "rededge"  # all that the older extension knows
    assert "eo:bands" not in found["SCL"]


def test_odc_stac_knows_the_aliases_without_being_told(conversion):
    odc_stac = pytest.importorskip("odc.stac")
    item = pystac.Item.from_dict(as_dict(conversion("33")))
    item.set_self_href(str(conversion("33").folder / "item.json"))
    parsed = odc_stac.parse_item(item)
    for alias, name in (("red", "B04"), ("nir", "B08"), ("blue", "B02"), ("swir16", "B11"), ("nir08", "B8A")):
        assert parsed.collection.band_key(alias) == (name, 1)
    for name, kind in (("B04", "uint16"), ("SCL", "uint8")):
        meta = parsed.collection.meta_for(name).bands[name, 1]
        assert (meta.dtype, meta.nodata) == (kind, 0)
        assert parsed[name].geobox.crs.to_epsg() == 3006


def test_classes_are_told_with_their_names_and_colours(conversion):
    classes = assets(conversion("33"))["SCL"]["classification:classes"]
    assert [entry["value"] for entry in classes] == list(range(12))
    assert [entry["value"] for entry in classes if entry.get("nodata")] == [0]
    with rasterio.open(conversion("33").folder / "SCL.tif") as file:
        assert set(np.unique(file.read())) <= {entry["value"] for entry in classes}


def test_the_item_says_how_its_pixels_came_to_their_grid(conversion):
    copied, warped = conversion("33"), conversion("34")
    assert "copied unchanged" in copied.item.properties["processing:lineage"]
    assert "0.8 m" in copied.item.properties["processing:lineage"]  # between WGS 84 and SWEREF 99 of 2024
    assert "EPSG:32634" in warped.item.properties["processing:lineage"]
    assert not any("kartotek:resampling" in asset for asset in assets(copied).values())
    how = {name: asset["kartotek:resampling"] for name, asset in assets(warped).items()}
    assert how.pop("SCL") == "nearest" and set(how.values()) == {"bilinear"}


def test_a_collection_tells_of_every_asset_what_the_items_do(conversion):
    for name, collection in (("33", "sentinel-2-l2a"), ("33 L1C", "sentinel-2-l1c")):
        told = collections()[collection].extra_fields["item_assets"]
        for key, asset in assets(conversion(name)).items():
            for field in ("type", "title", "roles"):
                assert told[key][field] == asset[field]
            for band, own in zip(told[key]["bands"], asset["bands"], strict=True):
                assert band.items() <= own.items()
        for render in collections()[collection].extra_fields["renders"].values():
            assert set(render["assets"]) <= set(told)


def test_a_collection_holds_the_country_and_all_of_the_time():
    for collection in collections().values():
        [[west, south, east, north]] = collection.extent.spatial.bboxes
        assert west < 11 and south < 55.4 and east > 24.1 and north > 69.0
        [[start, end]] = collection.extent.temporal.intervals
        assert start.year == 2015 and end is None
        assert "Contains modified Copernicus Sentinel data" in collection.extra_fields["attribution"]


def test_nothing_in_an_item_tells_when_or_where_it_was_made(conversion):
    text = json.dumps(as_dict(conversion("33")))
    assert str(conversion("33").folder) not in text and "/tmp" not in text
    assert not {"created", "updated", "published"} & set(conversion("33").item.properties)


def test_what_is_missing_of_a_product_is_said(scenes, sample, tmp_path, validator):
    scene = dataclasses.replace(scenes["33"], pixels=96)
    path = tmp_path / f"{scene.name}.SAFE"
    shutil.copytree(sample(scene), path)
    for gone in ("*_B03_10m.jp2", "*_SCL_20m.jp2"):
        [file] = path.rglob(gone)
        file.unlink()
    [file] = path.rglob("*_B11_20m.jp2")
    file.write_bytes(b"x")
    [file] = path.rglob("*_B12_20m.jp2")
    file.write_bytes(file.read_bytes()[:2000])
    (tmp_path / "out").mkdir()
    converted = convert(read(path), tmp_path / "out", Recipe(allow_partial=True))
    said = converted.item.properties["kartotek:missing"]
    assert len(said) == 4 and list(converted.notes) == said
    for name in ("B03 (10 m)", "SCL (20 m)", "_B11_20m.jp2", "_B12_20m.jp2"):
        assert sum(name in line for line in said) == 1
    assert not {"B03", "SCL", "B11", "B12"} & set(converted.item.assets)
    assert not any(str(tmp_path) in line for line in said)
    check(complete(as_dict(converted)), validator)


def test_a_whole_product_says_nothing_of_missing(conversion):
    assert "kartotek:missing" not in conversion("33").item.properties and conversion("33").notes == ()


# January 2022


def physical(converted, name):
    asset = assets(converted)[name]
    with rasterio.open(converted.folder / asset["href"]) as file:
        numbers = file.read(1)
    [band] = asset["bands"]
    return np.where(numbers == 0, np.nan, numbers * band.get("raster:scale", 1.0) + band.get("raster:offset", 0.0))


def test_the_same_ground_has_the_same_ndvi_before_and_after_baseline_04_00(conversion):
    """DN were moved by 1000 in January 2022; reflectances and what is made of them were not."""
    before, after = conversion("33 before"), conversion("33")
    with rasterio.open(before.folder / "B08.tif") as old, rasterio.open(after.folder / "B08.tif") as new:
        moved = new.read(1).astype(int) - old.read(1)
        assert set(np.unique(moved[old.read(1) > 0])) == {1000}
    ndvi = [
        (physical(each, "B08") - physical(each, "B04")) / (physical(each, "B08") + physical(each, "B04"))
        for each in (before, after)
    ]
    assert np.isfinite(ndvi[0]).sum() == 600 * 600
    np.testing.assert_allclose(ndvi[0], ndvi[1], rtol=0, atol=1e-9)
    assert len(before.squares) == len(after.squares) > 1
    for old, new in zip(before.squares, after.squares, strict=True):
        assert (old.east, old.north, old.valid, old.clear, old.classes) == (
            new.east, new.north, new.valid, new.clear, new.classes,
        )  # fmt: skip
        assert old.indices.keys() == new.indices.keys() >= {"ndvi", "nbr"}
        for name, spread in old.indices.items():
            assert spread.count == new.indices[name].count
            assert spread.mean == pytest.approx(new.indices[name].mean, abs=1e-9)
            assert spread.deviation == pytest.approx(new.indices[name].deviation, abs=1e-9)
    assert any(square.indices["ndvi"].count > 10_000 for square in after.squares)


def test_the_box_of_a_footprint_across_180_degrees_has_west_above_east():
    two = shapely.MultiPolygon([shapely.box(178, 65, 180, 66), shapely.box(-180, 65, -179, 66)])
    assert items.bbox(two) == [178, 65, -179, 66]
    assert items.bbox(shapely.box(17, 59, 18, 60)) == [17, 59, 18, 60]


def test_every_kind_of_layer_has_a_role_and_a_title():
    for kind in sensors.collections().values():
        for layer in kind.layers:
            assert layer.roles and layer.title and (layer.classes or layer.kind is not Kind.CLASSES)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    GOLDEN.mkdir(parents=True, exist_ok=True)
    chosen = {name: dict(zip(ALL, samples.scenes(), strict=True))[name] for name in NAMES}
    for scene in chosen.values():
        with tempfile.TemporaryDirectory() as private:
            product = samples.write(dataclasses.replace(scene, pixels=600), Path(private, "in"))
            Path(private, "out").mkdir()
            found = golden_form(as_dict(convert(read(product), Path(private, "out"), Recipe())))
        (GOLDEN / f"{found['id']}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(GOLDEN / f"{found['id']}.json")


def test_an_item_across_180_degrees_has_its_outline_whole_too(scenes, sample, tmp_path):
    """In the CRS of its pixels, where nothing is cut."""
    scene = dataclasses.replace(scenes["33"], pixels=192, tile="60WWV", zone=60, left=632_640, top=7_380_000)
    found = convert(read(sample(scene)), tmp_path, Recipe(crs="native")).item
    assert found.geometry["type"] == "MultiPolygon" and found.bbox[0] > 179 and found.bbox[2] < -179
    whole = shapely.geometry.shape(found.properties["proj:geometry"])
    assert found.properties["proj:code"] == "EPSG:32660" and whole.geom_type == "Polygon"
    left, bottom, right, top = whole.bounds
    assert 632_640 <= left < right <= 632_640 + 1_920 and 7_380_000 - 1_920 <= bottom < top <= 7_380_000
    footprint = shapely.geometry.shape(found.geometry)
    moved = footprints.to_projected(footprint, "EPSG:32660")
    assert shapely.symmetric_difference(shapely.union_all(shapely.buffer(moved, 0.01)), whole).area < 0.001 * whole.area
