import dataclasses
import hashlib
import os
import re
import struct
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from lxml import etree
from pyproj import Transformer

from converters.samples import Scene, ground, make, scenes, write

UPPSALA = Scene(
    tile="33VXG",
    zone=33,
    left=666_000,
    top=6_646_020,
    pixels=366,
    sensed=datetime(2022, 7, 15, 10, 15, 59, 24000, tzinfo=UTC),
    platform="S2B",
    baseline="04.00",
    orbit=65,
    clouds=0.2,
)
NEXT_ZONE = dataclasses.replace(UPPSALA, tile="34VCM", zone=34, left=330_300)
BEFORE = dataclasses.replace(
    UPPSALA, platform="S2A", baseline="03.01", sensed=datetime(2021, 7, 15, 10, 20, 31, 24000, tzinfo=UTC)
)
EDGE = dataclasses.replace(
    UPPSALA, baseline="05.11", overcorrected=0.025, swath=((667_000, 6_642_000), (668_500, 6_646_100))
)
TINY = dataclasses.replace(UPPSALA, pixels=96)


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Each of the scenes above, written once."""
    folder = tmp_path_factory.mktemp("samples")
    named = {"uppsala": UPPSALA, "next zone": NEXT_ZONE, "before": BEFORE, "edge": EDGE}
    return {name: write(scene, folder / name) for name, scene in named.items()}


def pixels(product, name):
    [path] = product.rglob(f"*_{name}.jp2")
    with rasterio.open(path) as file:
        return file.read(1)


def xml(product, name):
    [path] = product.rglob(name)
    return etree.parse(path).getroot()


def texts(root, tag):
    return [element.text for element in root.iterfind(f".//{{*}}{tag}")]


def granule_area(tile):
    """The box of a genuine granule in its UTM zone: a 100 km square of MGRS, widened to 109.8 km."""
    zone = int(tile[:2])
    column = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3].index(tile[3]) + 1
    row = ("ABCDEFGHJKLMNPQRSTUV", "FGHJKLMNPQRSTUVABCDE")[zone % 2 == 0].index(tile[4])
    row = next(
        n for n in range(row, 100, 20) if (n + 1) * 100_000 > {"U": 5_300_000, "V": 6_200_000, "W": 7_100_000}[tile[2]]
    )
    left, top = column * 100_000 // 60 * 60, -(-(row + 1) * 100_000 // 60) * 60
    return shapely.box(left, top - 109_800, left + 109_800, top)


def window(scene):
    side = 10 * scene.pixels
    return shapely.box(scene.left, scene.top - side, scene.left + side, scene.top)


def in_sweref(scene):
    transformer = Transformer.from_crs(scene.crs, 3006, always_xy=True)
    return shapely.transform(window(scene).segmentize(100), transformer.transform, interleaved=False)


@pytest.mark.parametrize("packing", ["SAFE", "zip"])
def test_the_same_scene_gives_the_same_bytes(tmp_path, packing):
    scene = dataclasses.replace(TINY, packing=packing)
    first, second = write(scene, tmp_path / "first"), write(scene, tmp_path / "second")
    for file in (first, *first.rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (second / file.relative_to(first)).read_bytes(), file.name
    assert first.name == second.name


def test_writing_again_replaces_the_product_and_leaves_nothing_else(tmp_path):
    write(TINY, tmp_path)
    path = write(TINY, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert not list(path.rglob("*.aux.xml"))


def test_two_zones_show_the_same_ground(products):
    rows, columns = np.mgrid[:366, :366]
    to_33 = Transformer.from_crs(32634, 32633, always_xy=True)
    east, north = to_33.transform(NEXT_ZONE.left + 10 * columns + 5, NEXT_ZONE.top - 10 * rows - 5)
    row, column = ((UPPSALA.top - north) // 10).astype(int), ((east - UPPSALA.left) // 10).astype(int)
    both = (row >= 0) & (row < 366) & (column >= 0) & (column < 366)
    assert both.mean() > 0.6
    for band, tolerance in (("B02_10m", 5), ("B08_10m", 30)):
        here = pixels(products["next zone"], band)[both].astype(int)
        there = pixels(products["uppsala"], band)[row[both], column[both]].astype(int)
        assert np.median(np.abs(here - there)) < tolerance
        assert np.corrcoef(here, there)[0, 1] > 0.97
    halves = (rows % 2 == 0) & (columns % 2 == 0) & both
    here = pixels(products["next zone"], "SCL_20m")[rows[halves] // 2, columns[halves] // 2]
    there = pixels(products["uppsala"], "SCL_20m")[row[halves] // 2, column[halves] // 2]
    assert (here == there).mean() > 0.9


def test_dn_differ_by_exactly_1000_across_baseline_04(products):
    for name in ("B02_10m", "B03_10m", "B04_10m", "B08_10m", "B05_20m", "B11_20m", "B12_20m", "B01_60m", "B09_60m"):
        before, after = pixels(products["before"], name), pixels(products["uppsala"], name)
        assert (after.astype(int) - before == 1000).all(), name
    for name in ("AOT_10m", "WVP_20m", "SCL_20m"):
        assert (pixels(products["before"], name) == pixels(products["uppsala"], name)).all(), name


def test_offsets_are_told_for_each_band_from_baseline_04_on(products, tmp_path):
    assert texts(xml(products["uppsala"], "MTD_MSIL2A.xml"), "BOA_ADD_OFFSET") == ["-1000"] * 13
    assert texts(xml(products["before"], "MTD_MSIL2A.xml"), "BOA_ADD_OFFSET") == []
    top = write(dataclasses.replace(TINY, level="L1C"), tmp_path)
    assert texts(xml(top, "MTD_MSIL1C.xml"), "RADIO_ADD_OFFSET") == ["-1000"] * 13
    assert texts(xml(top, "MTD_MSIL1C.xml"), "QUANTIFICATION_VALUE") == ["10000"]


@pytest.mark.parametrize("name", ["uppsala", "edge"])
def test_percentages_are_counts_of_the_classes(products, name):
    counts = np.bincount(pixels(products[name], "SCL_20m").ravel(), minlength=12)
    shares = 100 * counts / counts[1:].sum()
    for root in (xml(products[name], "MTD_MSIL2A.xml"), xml(products[name], "MTD_TL.xml")):
        [told] = root.iterfind(".//{*}Image_Content_QI")
        assert float(told.findtext("NODATA_PIXEL_PERCENTAGE")) == pytest.approx(
            100 * counts[0] / counts.sum(), abs=1e-6
        )
        for number, tag in (
            (2, "CAST_SHADOW" if name == "edge" else "DARK_FEATURES"),
            (3, "CLOUD_SHADOW"),
            (4, "VEGETATION"),
            (5, "NOT_VEGETATED"),
            (6, "WATER"),
            (8, "MEDIUM_PROBA_CLOUDS"),
            (9, "HIGH_PROBA_CLOUDS"),
            (10, "THIN_CIRRUS"),
            (11, "SNOW_ICE"),
        ):
            assert float(told.findtext(f"{tag}_PERCENTAGE")) == pytest.approx(shares[number], abs=1e-6), tag
    [clouds] = texts(xml(products[name], "MTD_MSIL2A.xml"), "Cloud_Coverage_Assessment")
    assert float(clouds) == pytest.approx(shares[8:11].sum(), abs=1e-6)
    assert 0 < float(clouds) < 60


@pytest.mark.parametrize("name", ["uppsala", "edge"])
def test_footprint_lies_within_the_valid_pixels_of_every_image(products, name):
    numbers = [float(number) for number in texts(xml(products[name], "MTD_MSIL2A.xml"), "EXT_POS_LIST")[0].split()]
    footprint = shapely.Polygon(list(zip(numbers[1::2], numbers[::2], strict=True)))
    assert footprint.is_valid
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True)
    for path in products[name].rglob("IMG_DATA/R*/*.jp2"):
        with rasterio.open(path) as file:
            valid = file.read(1) > 0
            rows, columns = np.mgrid[: file.height, : file.width]
            inside = shapely.contains_xy(
                footprint, *to_degrees.transform(*(file.transform @ (columns + 0.5, rows + 0.5)))
            )
        assert valid[inside].all(), path.name
        assert inside.sum() > 0.95 * valid.sum(), path.name
    assert valid.all() == (name == "uppsala")


def test_what_lies_outside_the_swath_is_zero_in_every_image(products):
    ten = pixels(products["edge"], "B02_10m") > 0
    assert 0.2 < ten.mean() < 0.8
    twenty = ten.reshape(183, 2, 183, 2).any(axis=(1, 3))
    for path in products["edge"].rglob("IMG_DATA/R*/*.jp2"):
        with rasterio.open(path) as file:
            valid = file.read().min(axis=0) > 0
        expected = {366: ten, 183: twenty, 61: ten.reshape(61, 6, 61, 6).any(axis=(1, 3))}[len(valid)]
        assert (valid == expected).all(), path.name


def test_an_overcorrected_scene_has_numbers_below_the_offset(products):
    numbers = pixels(products["edge"], "B01_20m")
    assert 0.001 < (numbers[numbers > 0] < 1000).mean() < 0.1


def test_names_are_the_agency_s(products):
    product = products["uppsala"]
    assert product.name == "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE"
    files = {path.relative_to(product).as_posix() for path in product.rglob("*") if path.is_file()}
    granule = r"GRANULE/L2A_T33VXG_A027976_20220715T101601"
    image = rf"{granule}/IMG_DATA/R(\d0)m/T33VXG_20220715T101559_[A-Z0-9]{{3}}_\1m\.jp2"
    quality = rf"{granule}/QI_DATA/(MSK_(CLDPRB|SNWPRB)_[26]0m|MSK_CLASSI_B00|T33VXG_20220715T101559_PVI)\.jp2"
    documents = rf"MTD_MSIL2A\.xml|INSPIRE\.xml|manifest\.safe|{granule}/MTD_TL\.xml"
    strip = r"DATASTRIP/DS_VGS4_20220715T142400_S20220715T101601/MTD_DS\.xml"
    assert not [name for name in files if not re.fullmatch("|".join((image, quality, documents, strip)), name)]
    main = xml(product, "MTD_MSIL2A.xml")
    assert texts(main, "PRODUCT_URI") == [product.name]
    listed = {f"{name}.jp2" for name in texts(main, "IMAGE_FILE")}
    assert listed == {name for name in files if "/IMG_DATA/" in name}
    tile = xml(product, "MTD_TL.xml")
    assert set(texts(tile, "MASK_FILENAME")) == {name for name in files if "/MSK_" in name}
    assert texts(tile, "TILE_ID") == ["S2B_OPER_MSI_L2A_TL_VGS4_20220715T142400_A027976_T33VXG_N04.00"]
    assert texts(tile, "HORIZONTAL_CS_CODE") == ["EPSG:32633"]


def test_b02_lies_in_coarser_folders_too_as_a_trap(products):
    fine, coarse = pixels(products["uppsala"], "B02_10m"), pixels(products["uppsala"], "B02_60m")
    assert len(list(products["uppsala"].rglob("*_B02_*.jp2"))) == 3
    assert np.abs(coarse - fine.reshape(61, 6, 61, 6).mean(axis=(1, 3))).mean() < 20


@pytest.mark.parametrize(
    ("platform", "time", "orbit", "absolute"),
    [
        ("S2A", datetime(2015, 8, 26, 18, 54, 36, tzinfo=UTC), 70, 925),
        ("S2A", datetime(2021, 9, 8, 4, 27, 1, tzinfo=UTC), 133, 32448),
        ("S2B", datetime(2019, 12, 28, 21, 5, 19, tzinfo=UTC), 71, 14683),
    ],
)
def test_absolute_orbits_are_those_of_genuine_products(platform, time, orbit, absolute):
    scene = dataclasses.replace(UPPSALA, platform=platform, sensed=time, orbit=orbit)
    assert scene.absolute_orbit == absolute


def test_tags_follow_the_baseline(products, tmp_path):
    assert "psd-14" in xml(products["uppsala"], "MTD_MSIL2A.xml").tag
    assert "psd-15" in xml(products["edge"], "MTD_MSIL2A.xml").tag
    early = write(dataclasses.replace(TINY, platform="S2A", baseline="02.05"), tmp_path)
    main = xml(early, "MTD_MSIL2A.xml")
    assert texts(main, "PROCESSING_LEVEL") == ["Level-2Ap"]
    assert texts(main, "PRODUCT_URI_2A") == [early.name]
    assert len(texts(main, "IMAGE_FILE_2A")) == len(list(early.rglob("L2A_T33VXG_20220715T101559_*0m.jp2"))) > 10
    [content] = main.iterfind(".//{*}L2A_Quality_Indicators_Info/Image_Content_QI")
    second = sum(float(content.findtext(f"{kind}_PERCENTAGE")) for kind in (
        "MEDIUM_PROBA_CLOUDS", "HIGH_PROBA_CLOUDS", "THIN_CIRRUS"))  # fmt: skip
    assert float(content.findtext("CLOUD_COVERAGE_PERCENTAGE")) == pytest.approx(second, abs=1e-5)
    assert float(texts(main, "Cloud_Coverage_Assessment")[0]) < second


@pytest.mark.parametrize(("packing", "root"), [("zip", "{name}.SAFE/"), ("bare zip", "")])
def test_a_zip_may_lack_the_root_folder(tmp_path, packing, root):
    scene = dataclasses.replace(TINY, packing=packing)
    path = write(scene, tmp_path)
    assert path.name == f"{scene.name}.zip"
    with zipfile.ZipFile(path) as archive:
        assert f"{root.format(name=scene.name)}MTD_MSIL2A.xml" in archive.namelist()
        assert archive.testzip() is None


def test_a_folder_may_lack_the_suffix(tmp_path):
    assert write(dataclasses.replace(TINY, packing="bare"), tmp_path).name == TINY.name


@pytest.mark.parametrize(
    ("name", "resolution", "block", "precinct", "bits"),
    [("B02_10m", 10, 64, 256, 15), ("B05_20m", 20, 8, 128, 15), ("B01_60m", 60, 4, 64, 15), ("SCL_20m", 20, 8, 128, 8)],
)
def test_jpeg_2000_files_are_coded_like_the_agency_s(products, name, resolution, block, precinct, bits):
    [path] = products["uppsala"].rglob(f"*_{name}.jp2")
    content = path.read_bytes()
    start = content.index(b"\xff\x4f\xff\x51")  # start of codestream, then its size
    assert content[start + 4 + 2 + 36] + 1 == bits
    coding = content[content.index(b"\xff\x52", start) + 4 :]
    style, progression, layers, _, levels, wide, high, _, wavelet = struct.unpack(">BBHBBBBBB", coding[:10])
    assert (style & 1, progression, layers, levels, wavelet) == (1, 0, 1, 4, 1)  # own precincts, LRCP, 5-3 reversible
    assert (4 << wide, 4 << high) == (block, block)
    assert {(1 << (size & 15), 1 << (size >> 4)) for size in coding[10:15]} == {(precinct, precinct)}
    assert b"gml:RectifiedGrid" in content
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32633
        assert file.transform[:6] == (resolution, 0, 666_000, 0, -resolution, 6_646_020)


def test_coding_loses_nothing(products):
    rows, columns = np.mgrid[:366, :366]
    east, north = UPPSALA.left + 10.0 * columns + 5, UPPSALA.top - 10.0 * rows - 5
    seen = ground.view(east, north, day=UPPSALA.sensed, clouds=UPPSALA.clouds)
    numbers = np.rint(seen.reflectance("B04") * 10_000) + 1000
    assert np.abs(pixels(products["uppsala"], "B04_10m") - numbers).max() <= 1  # EPSG:32633 is 3006 to 0.2 mm


def test_the_ground_does_not_depend_on_the_window():
    rows, columns = np.mgrid[:120, :150]
    east, north = 318_000.0 + 10 * columns, 6_449_000.0 - 10 * rows
    day = datetime(2024, 5, 3, tzinfo=UTC)
    whole = ground.view(east, north, day=day, clouds=0.5)
    part = ground.view(east[30:77, 41:99], north[30:77, 41:99], day=day.replace(year=2019), clouds=0.5)
    assert (part.shares == whole.shares[:, 30:77, 41:99]).all()
    assert (part.cloud == whole.cloud[30:77, 41:99]).all()


def test_fields_green_in_summer_and_snow_lies_in_the_north_in_spring():
    rows, columns = np.mgrid[:200, :200]
    ndvi = {}
    for month in (4, 7):
        seen = ground.view(
            664_000.0 + 25 * columns, 6_640_000.0 + 25 * rows, day=datetime(2023, month, 15, tzinfo=UTC), clouds=0
        )
        red, infrared = seen.reflectance("B04"), seen.reflectance("B08")
        ndvi[month] = ((infrared - red) / (infrared + red)).mean()
        assert not (seen.classes() == 11).any()
    assert ndvi[7] > ndvi[4] + 0.05
    north = ground.view(
        712_000.0 + 25 * columns, 7_530_000.0 + 25 * rows, day=datetime(2023, 4, 15, tzinfo=UTC), clouds=0
    )
    assert (north.classes() == 11).mean() > 0.2


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_clouds_cover_roughly_the_share_asked_for(share):
    rows, columns = np.mgrid[:300, :300]
    seen = ground.view(
        600_000.0 + 200 * columns, 6_500_000.0 + 200 * rows, day=datetime(2023, 8, 1, tzinfo=UTC), clouds=share
    )
    assert np.isin(seen.classes(), (8, 9, 10)).mean() == pytest.approx(share, abs=0.05)


def test_a_line_is_found_where_it_was_drawn_in_both_zones(tmp_path):
    line = ((667_300.0, 6_642_300.0), (668_400.0, 6_646_200.0))
    for scene in (UPPSALA, NEXT_ZONE):
        numbers = pixels(write(dataclasses.replace(scene, clouds=0, line=line), tmp_path), "B04_10m") - 1000.0
        bright = np.clip(numbers - 300, 0, None)
        columns = np.arange(366)
        to_sweref = Transformer.from_crs(scene.crs, 3006, always_xy=True)
        rows = [
            row
            for row in range(20, 346)
            if bright[row, 30:-30].max() > 4000 and bright[row].argmax() in columns[30:-30]
        ]
        assert len(rows) > 200
        for row in rows:
            middle = bright[row].argmax()
            near = slice(middle - 8, middle + 9)
            centre = (bright[row, near] * columns[near]).sum() / bright[row, near].sum()
            east, north = to_sweref.transform(scene.left + 10 * centre + 5, scene.top - 10 * row - 5)
            expected = line[0][0] + (north - line[0][1]) * (line[1][0] - line[0][0]) / (line[1][1] - line[0][1])
            assert abs(east - expected) < 0.5


def test_the_manifest_lists_every_file_with_its_checksum(products):
    for name, kind in (("uppsala", "SHA3-256"), ("edge", "SHA3-256")):
        product = products[name]
        listed = {}
        for stream in etree.parse(product / "manifest.safe").iterfind(".//byteStream"):
            checksum = stream.find("checksum")
            listed[stream.find("fileLocation").get("href")] = (int(stream.get("size")), checksum.text)
            assert checksum.get("checksumName") == kind
        files = [path for path in product.rglob("*") if path.is_file() and path.name != "manifest.safe"]
        assert len(listed) == len(files)
        for path in files:
            content = path.read_bytes()
            expected = len(content), hashlib.sha3_256(content).hexdigest()
            assert listed[f"./{path.relative_to(product).as_posix()}"] == expected


def test_l1c_has_thirteen_bands_and_a_brighter_blue(products, tmp_path):
    top = write(dataclasses.replace(UPPSALA, level="L1C"), tmp_path)
    names = {path.stem[-3:] for path in top.rglob("IMG_DATA/*.jp2")}
    assert names == {*ground.BANDS, "TCI"}
    assert pixels(top, "B02").mean() > pixels(products["uppsala"], "B02_10m").mean() + 200


def test_a_complete_product_has_every_image(tmp_path):
    product = write(dataclasses.replace(TINY, complete=True), tmp_path)
    counts = [len(list(product.rglob(f"IMG_DATA/R{resolution}m/*.jp2"))) for resolution in (10, 20, 60)]
    assert counts == [7, 14, 15]


def test_gdal_s_sentinel_2_driver_reads_the_product(products):
    # In a process of its own, since kartotek goes without this driver.
    script = """
import sys, rasterio
with rasterio.open(sys.argv[1]) as file:
    print(file.tags()["PROCESSING_BASELINE"], len(file.subdatasets))
    [ten] = [name for name in file.subdatasets if ":10m:" in name]
with rasterio.open(ten) as file:
    print(file.crs.to_epsg(), file.read(1).sum())
"""
    command = [sys.executable, "-c", script, products["uppsala"] / "MTD_MSIL2A.xml"]
    plain = {name: value for name, value in os.environ.items() if name != "GDAL_SKIP"}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=plain).stdout
    assert answer.split() == ["04.00", "4", "32633", str(pixels(products["uppsala"], "B04_10m").sum())]


def test_the_standard_set_lies_in_genuine_granules_and_in_the_area_of_sweref_99_tm():
    names = [scene.name for scene in (*scenes(), *scenes(full=True))]
    assert len(set(names)) == len(names)
    for scene in (*scenes(), *scenes(full=True)):
        assert scene.zone == int(scene.tile[:2])
        assert scene.left % 60 == scene.top % 60 == scene.pixels % 6 == 0
        assert granule_area(scene.tile).covers(window(scene)), scene.name
        west, south, east, north = scene.footprint().bounds
        assert 10 < west < east < 24.2
        assert 54.9 < south < north < 69.1


@pytest.mark.parametrize(("one", "other"), [("33VXG", "34VCM"), ("33VUE", "32VPK"), ("34WFU", "35WLP")])
def test_the_standard_set_sees_the_same_ground_from_two_zones(one, other):
    by_tile = {scene.tile: scene for scene in scenes() if scene.level == "L2A" and scene.baseline in ("04.00", "05.09")}
    here, there = (in_sweref(scene) for scene in (by_tile[one], by_tile[other]))
    assert here.intersection(there).area > 0.6 * here.area
    assert by_tile[other].zone != by_tile[one].zone


def test_make_yields_each_product_of_the_standard_set(tmp_path, monkeypatch):
    small = tuple(dataclasses.replace(scene, pixels=96, swath=None) for scene in scenes())
    monkeypatch.setattr("converters.samples.scenes", lambda *, full: small)
    paths = list(make(tmp_path))
    assert [path.name.partition(".")[0] for path in paths] == [scene.name for scene in small]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert all(isinstance(path, Path) for path in paths)
