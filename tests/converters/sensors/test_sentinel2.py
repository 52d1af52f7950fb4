import dataclasses
import json
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import shapely
from lxml import etree
from shapely.geometry import shape

from converters import samples
from converters.safe import open_product
from converters.sensors import read, sensors
from converters.sensors.sentinel2 import BANDS, L1C, L2A, SENTINEL2
from kartotek.errors import BrokenProduct, UnknownProduct, UnsupportedProduct
from kartotek.product import Kind
from kartotek.testing import SensorContract

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
COMPACT = re.compile(r"S2[A-D]_MSIL(1C|2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d\d[A-Z]{3}_\d{8}T\d{6}")
L2A_NAMES = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]


@pytest.fixture
def altered(scenes, sample, tmp_path):
    """Gives a small product of a scene of the set, or with other facts, whose XML was changed by a function."""

    def make(change=None, *, file="MTD_MSIL2A.xml", of="33", **facts):
        scene = dataclasses.replace(scenes[of], pixels=96, packing="SAFE", **facts)
        path = tmp_path / f"{scene.name}.SAFE"
        shutil.copytree(sample(scene), path)
        if change:
            [document] = path.rglob(file)
            tree = etree.parse(document)
            change(tree.getroot())
            tree.write(document, xml_declaration=True, encoding="UTF-8")
        return path

    return make


def element(root, tag):
    return next(root.iterfind(f".//{{*}}{tag}"))


@pytest.mark.parametrize(
    ("name", "collection", "bands", "others"),
    [
        ("33", L2A, L2A_NAMES, ["AOT", "WVP", "SCL", "CLD", "SNW"]),
        ("33 L1C", L1C, [band.name for band in BANDS], []),
        ("33 before", L2A, L2A_NAMES, ["AOT", "WVP", "SCL", "CLD", "SNW"]),
        ("zip", L2A, L2A_NAMES, ["AOT", "WVP", "SCL", "CLD", "SNW"]),
    ],
)
def test_each_level_has_its_collection_and_all_its_layers(scenes, sample, name, collection, bands, others):
    product = read(sample(name))
    assert product.id == scenes[name].name and product.collection is collection
    assert [layer.name for layer in product.layers] == [*bands, *others] and product.missing == ()
    assert product.sensed == scenes[name].passed
    for layer in product.layers:
        # B01 also lies there at 20 m, and bands of 10 m at coarser resolutions: the native one is taken.
        assert layer.grid.resolution == layer.type.resolution
        assert f"_{layer.type.resolution}m.jp2" in layer.file or collection is L1C
        assert (layer.grid.left, layer.grid.top) == (scenes[name].left, scenes[name].top)
        assert layer.grid.crs == f"EPSG:{scenes[name].crs}"
        assert layer.grid.columns * layer.grid.resolution == 10 * scenes[name].pixels


def test_the_picture_comes_only_when_asked_for(sample):
    assert "TCI" not in [layer.name for layer in read(sample("33")).layers]
    tci = next(layer for layer in read(sample("33"), visual=True).layers if layer.name == "TCI")
    assert tci.type.kind is Kind.PICTURE and [band.name for band in tci.type.bands] == ["B04", "B03", "B02"]


def test_properties_say_what_the_metadata_says(scenes, sample):
    scene, properties = scenes["34"], read(sample("34")).properties
    root = etree.parse(sample("34") / "MTD_MSIL2A.xml").getroot()
    assert properties["platform"] == "sentinel-2b" and properties["instruments"] == ["msi"]
    assert properties["sat:relative_orbit"] == scene.orbit and properties["sat:orbit_state"] == "descending"
    assert properties["sat:absolute_orbit"] == scene.absolute_orbit
    assert properties["grid:code"] == "MGRS-34VCM" and properties["mgrs:utm_zone"] == 34
    assert (properties["mgrs:latitude_band"], properties["mgrs:grid_square"]) == ("V", "CM")
    assert properties["s2:product_uri"] == f"{scene.name}.SAFE"
    assert properties["processing:version"] == properties["s2:processing_baseline"] == "04.00"
    assert properties["eo:cloud_cover"] == float(element(root, "Cloud_Coverage_Assessment").text)
    assert properties["eo:snow_cover"] == float(element(root, "SNOW_ICE_PERCENTAGE").text)
    for name, tag in (("vegetation", "VEGETATION"), ("water", "WATER"), ("dark_features", "DARK_FEATURES")):
        assert properties[f"s2:{name}_percentage"] == float(element(root, f"{tag}_PERCENTAGE").text)
    assert 0 < properties["view:sun_elevation"] < 90 and 0 <= properties["view:sun_azimuth"] < 360


def test_the_time_is_the_tile_s_own_and_not_the_datatake_s(scenes, sample):
    product = read(sample("33"))
    [tile] = sample("33").rglob("MTD_TL.xml")
    own = element(etree.parse(tile).getroot(), "SENSING_TIME").text
    assert product.sensed == datetime.fromisoformat(own) and product.sensed.tzinfo is UTC
    assert product.sensed != scenes["33"].sensed


# Scaling


def test_without_offsets_reflectance_is_dn_by_10000(sample):
    for layer in read(sample("33 before")).layers:
        assert layer.offset == 0
        if "reflectance" in layer.type.roles:
            assert layer.scale == 1e-4


@pytest.mark.parametrize("name", ["33", "33 L1C", "33 spring", "zip"])
def test_from_baseline_04_00_on_a_dn_of_1000_is_zero(sample, name):
    for layer in read(sample(name)).layers:
        if "reflectance" in layer.type.roles:
            assert 1000 * layer.scale + layer.offset == pytest.approx(0, abs=1e-15)
            assert 11_000 * layer.scale + layer.offset == pytest.approx(1)
        else:
            assert layer.offset == 0


@pytest.mark.parametrize(("of", "file", "tag"), [("33", "MTD_MSIL2A.xml", "BOA_ADD_OFFSET"),
                                                 ("33 L1C", "MTD_MSIL1C.xml", "RADIO_ADD_OFFSET")])  # fmt: skip
def test_offsets_are_per_band_id_and_need_not_be_minus_1000(altered, of, file, tag):
    def change(root):
        listed = next(root.iterfind(f".//{{*}}{tag}")).getparent()
        for child in listed:
            child.text = str(-1000 - 10 * int(child.get("band_id")))
        # The order is no matter, and a band that is not in the list has none.
        listed[:] = sorted(listed, key=lambda child: -int(child.get("band_id")))
        listed.remove(next(child for child in listed if child.get("band_id") == "4"))

    for layer in read(altered(change, file=file, of=of)).layers:
        if "reflectance" not in layer.type.roles:
            assert layer.offset == 0
            continue
        number = [band.name for band in BANDS].index(layer.name)
        assert layer.offset == pytest.approx(0 if layer.name == "B05" else -(1000 + 10 * number) / 10_000)


def test_band_ids_are_the_agency_s(altered):
    """The thirteen ids 0 to 12 as the metadata's own list of bands gives them: B8A is 8 and B09 is 9."""
    root = etree.parse(altered() / "MTD_MSIL2A.xml").getroot()
    listed = [
        (int(band.get("bandId")), band.get("physicalBand")) for band in root.iterfind(".//{*}Spectral_Information")
    ]
    assert [band.name.replace("B0", "B") for band in BANDS] == [name for _, name in sorted(listed)]


def test_aerosol_and_water_vapour_have_their_own_scale(altered):
    layers = {layer.name: layer for layer in read(altered()).layers}
    assert (layers["AOT"].scale, layers["WVP"].scale) == (1e-3, 1e-3)
    assert layers["WVP"].type.unit == "cm"

    def change(root):
        element(root, "WVP_QUANTIFICATION_VALUE").text = "500"

    layers = {layer.name: layer for layer in read(altered(change, of="34")).layers}
    assert (layers["AOT"].scale, layers["WVP"].scale) == (1e-3, 2e-3)


def test_the_quantification_value_is_the_metadata_s(altered):
    def change(root):
        element(root, "BOA_QUANTIFICATION_VALUE").text = "20000"

    layer = read(altered(change)).layers[1]
    assert (layer.scale, layer.offset) == (1 / 20_000, -1000 / 20_000)


# Baselines


def test_the_pilot_of_2017_has_other_names_and_two_cloud_figures(altered):
    def change(root):
        element(root, "Cloud_Coverage_Assessment").text = "12.5"  # the L1C's
        element(root, "CLOUD_COVERAGE_PERCENTAGE").text = "34.5"  # its own

    path = altered(change, platform="S2A", baseline="02.05", sensed=datetime(2017, 8, 23, 10, 20, 31, tzinfo=UTC))
    product = read(path)
    assert product.properties["eo:cloud_cover"] == 34.5
    assert product.collection is L2A and product.missing == ()
    assert all("/L2A_T33VXG_" in layer.file for layer in product.layers if "IMG_DATA" in layer.file)
    assert [layer.name for layer in product.layers] == [layer.name for layer in L2A.layers if layer.name != "TCI"]
    assert {layer.scale for layer in product.layers if layer.offset == 0} == {1e-4, 1e-3, 1.0}
    assert product.properties["s2:product_uri"] == f"{product.id}.SAFE"
    assert product.properties["s2:tile_id"].endswith("_N02.05")
    assert product.properties["s2:not_vegetated_percentage"] >= 0


@pytest.mark.parametrize("baseline", ["02.07", "02.14", "03.00", "04.00", "05.00", "05.09", "05.10", "05.11"])
def test_every_baseline_is_read_whole(altered, baseline):
    product = read(altered(baseline=baseline))
    assert product.missing == () and len(product.layers) == 17
    assert {layer.offset for layer in product.layers[:12]} == {-0.1 if baseline >= "04.00" else 0.0}
    assert product.properties["s2:processing_baseline"] == baseline
    # Baseline 05.11 calls dark features cast shadow.
    assert "s2:dark_features_percentage" in product.properties


@pytest.mark.parametrize("file", ["MTD_MSIL2A.xml", "MTD_TL.xml"])
def test_unknown_tags_and_namespaces_are_ignored(altered, file):
    def change(root):
        for parent in list(root.iter(etree.Element)):
            parent.insert(0, etree.Element("SOMETHING_NEW", value="1"))
            parent.append(etree.Comment("SENSING_TIME"))
        for node in root:
            if isinstance(node.tag, str):
                node.tag = f"{{https://psd-99.sentinel2.eo.esa.int/PSD}}{etree.QName(node).localname}"

    plain = read(altered(of="34"))
    changed = read(altered(change, file=file))
    assert changed.sensed == plain.sensed and len(changed.layers) == len(plain.layers)
    same = {name for name in plain.properties if not name.startswith(("mgrs", "grid", "s2:product_uri", "s2:tile"))}
    assert {name: changed.properties[name] for name in ("s2:processing_baseline", "platform")} == {
        name: plain.properties[name] for name in ("s2:processing_baseline", "platform")
    }
    assert set(changed.properties) >= same


def test_metadata_may_be_named_in_small_letters(altered):
    path = altered()
    (path / "MTD_MSIL2A.xml").rename(path / "MTD_MSIL2a.xml")
    assert read(path).missing == ()


@pytest.mark.parametrize("name", ["a", "product (1)", "S2B_MSIL2A", "S2B_MSIL2A_20220715T101559_N0400"])
def test_the_id_is_the_metadata_s_whatever_the_folder_is_called(scenes, altered, name):
    path = altered()
    assert read(path.rename(path.with_name(name))).id == scenes["33"].name


def test_the_id_is_the_folder_s_where_the_metadata_has_another(altered):
    """Old L1C products state an id of the older format."""

    def change(root):
        element(root, "PRODUCT_URI").text = "S2A_OPER_PRD_MSIL1C_PDMC_20160101T000000_R065_V20160101T000000.SAFE"

    path = altered(change, of="33 L1C", file="MTD_MSIL1C.xml")
    assert read(path).id == path.name.removesuffix(".SAFE")


def test_a_negative_sun_or_a_view_that_is_no_number_is_no_harm(altered):
    def change(root):
        element(root, "Mean_Viewing_Incidence_Angle").find("ZENITH_ANGLE").text = "NaN"
        element(root, "Mean_Sun_Angle").find("ZENITH_ANGLE").text = "92.5"

    properties = read(altered(change, file="MTD_TL.xml")).properties
    assert properties["view:sun_elevation"] == -2.5
    assert 0 < properties["view:incidence_angle"] < 20


# What is refused, and how


def test_missing_bands_are_named(altered):
    path = altered()
    for gone in ("*_B03_10m.jp2", "*_SCL_20m.jp2", "MSK_SNWPRB_20m.jp2"):
        [file] = path.rglob(gone)
        file.unlink()
    product = read(path)
    assert product.missing == ("B03 (10 m) is missing", "SCL (20 m) is missing", "SNW (20 m) is missing")
    assert len(product.layers) == 14


@pytest.mark.parametrize("size", [0, 1, 11])
def test_files_of_a_few_bytes_are_missing_by_name(altered, size):
    path = altered()
    [file] = path.rglob("*_B04_10m.jp2")
    file.write_bytes(b"x" * size)
    [line] = read(path).missing
    assert "_B04_10m.jp2" in line and f"{size} bytes" in line


def test_aerosol_is_taken_at_another_resolution_where_20_m_is_missing(altered):
    path = altered()
    [file] = path.rglob("*_AOT_20m.jp2")
    file.unlink()
    aot = next(layer for layer in read(path).layers if layer.name == "AOT")
    assert aot.file.endswith("_AOT_10m.jp2") and aot.grid.resolution == 10


@pytest.mark.parametrize("file", ["MTD_MSIL2A.xml", "MTD_TL.xml"])
def test_missing_metadata_is_named(altered, file):
    path = altered()
    [document] = path.rglob(file)
    document.unlink()
    with pytest.raises(BrokenProduct, match=file.replace("2A", "")[:6]):
        read(path)


def test_a_manifest_alone_is_not_a_product(altered):
    path = altered()
    for entry in path.iterdir():
        if entry.name != "manifest.safe":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    with pytest.raises(BrokenProduct, match=r"MTD_MSIL.*missing"):
        read(path)


@pytest.mark.parametrize(
    ("file", "tag", "text"),
    [
        ("MTD_TL.xml", "SENSING_TIME", "yesterday"),
        ("MTD_TL.xml", "SENSING_TIME", None),
        ("MTD_TL.xml", "NCOLS", "many"),
        ("MTD_TL.xml", "NCOLS", None),
        ("MTD_TL.xml", "ULX", ""),
        ("MTD_TL.xml", "ULX", "nan"),
        ("MTD_TL.xml", "ULX", "1e999"),
        ("MTD_TL.xml", "NROWS", "-96"),
        ("MTD_TL.xml", "NROWS", "99999999999"),
        ("MTD_TL.xml", "NCOLS", "0.5"),
        ("MTD_TL.xml", "ULX", "1e12"),
        ("MTD_TL.xml", "ULY", "-1e9"),
        ("MTD_TL.xml", "HORIZONTAL_CS_CODE", None),
        ("MTD_TL.xml", "HORIZONTAL_CS_CODE", "EPSG:0"),
        ("MTD_TL.xml", "ZENITH_ANGLE", "high"),
        ("MTD_MSIL2A.xml", "PROCESSING_LEVEL", None),
        ("MTD_MSIL2A.xml", "SPACECRAFT_NAME", None),
        ("MTD_MSIL2A.xml", "BOA_ADD_OFFSET", "x"),
        ("MTD_MSIL2A.xml", "SPACECRAFT_NAME", "Landsat-8"),
        ("MTD_MSIL2A.xml", "BOA_ADD_OFFSET", "nan"),
        ("MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", "x"),
        ("MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", "nan"),
        ("MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", "inf"),
        ("MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", "-1"),
        ("MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", "0"),
        ("MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", None),
        ("MTD_MSIL2A.xml", "EXT_POS_LIST", "55 12 nan 13 56 13"),
        ("MTD_MSIL2A.xml", "EXT_POS_LIST", "1 2 3"),
        ("MTD_MSIL2A.xml", "EXT_POS_LIST", "here and there"),
        ("MTD_MSIL2A.xml", "Cloud_Coverage_Assessment", "cloudy"),
        ("MTD_MSIL2A.xml", "SENSING_ORBIT_NUMBER", "nan"),
    ],
)
def test_metadata_that_makes_no_sense_is_broken_and_named(altered, file, tag, text):
    def change(root):
        for found in list(root.iterfind(f".//{{*}}{tag}")):
            if text is None:
                found.getparent().remove(found)
            else:
                found.text = text

    path = altered(change, file=file)
    with pytest.raises(BrokenProduct, match=path.stem):
        read(path)


@pytest.mark.parametrize(
    ("file", "tag", "text", "property"),
    [
        ("MTD_MSIL2A.xml", "Cloud_Coverage_Assessment", "900", "eo:cloud_cover"),
        ("MTD_MSIL2A.xml", "GENERATION_TIME", "yesterday", "processing:datetime"),
        ("MTD_MSIL2A.xml", "SENSING_ORBIT_DIRECTION", "SIDEWAYS", "sat:orbit_state"),
        ("MTD_MSIL2A.xml", "SENSING_ORBIT_NUMBER", "1234", "sat:relative_orbit"),
        ("MTD_MSIL2A.xml", "WATER_PERCENTAGE", "-3", "s2:water_percentage"),
        ("MTD_TL.xml", "ZENITH_ANGLE", "290", "view:sun_elevation"),
    ],
)
def test_what_describes_and_can_not_be_true_is_left_out(altered, sample, file, tag, text, property):
    def change(root):
        for found in root.iterfind(f".//{{*}}{tag}"):
            found.text = text

    assert property in read(sample("33")).properties
    assert property not in read(altered(change, file=file)).properties


@pytest.mark.parametrize(
    "other",
    [
        "S2A_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400",
        "S2B_MSIL1C_20220715T101559_N0400_R065_T33VXG_20220715T142400",
        "S2B_MSIL2A_20200715T101559_N0400_R065_T33VXG_20220715T142400",
        "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXH_20220715T142400",
    ],
)
def test_an_id_is_taken_from_where_it_agrees_with_the_metadata_and_never_another_products(altered, other):
    """An item of another id would take that product's place in the catalog."""
    path = altered(lambda root: setattr(root.find(".//{*}PRODUCT_URI"), "text", f"{other}.SAFE"))
    assert read(path).id == path.stem
    with pytest.raises(
        BrokenProduct, match=f"is called {other}, but tells of Sentinel-2B, Level-2A, 20220715T101559, T33VXG"
    ):
        read(path.rename(path.with_name("mine.SAFE")))


@pytest.mark.parametrize("level", ["Level-3A", "Level-1B", "2"])
def test_a_level_that_is_not_converted_is_named(altered, level):
    path = altered(lambda root: setattr(root.find(".//{*}PROCESSING_LEVEL"), "text", level), file="MTD_MSIL2A.xml")
    with pytest.raises(UnsupportedProduct, match=f"'{level}'; converted are: Level-1C, Level-2A"):
        read(path)


def test_times_are_utc_wherever_the_machine_stands(altered, monkeypatch):
    path = altered(
        lambda root: setattr(root.find(".//{*}SENSING_TIME"), "text", "2022-07-15T10:19:50.1"), file="MTD_TL.xml"
    )
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert read(path).sensed == datetime(2022, 7, 15, 10, 19, 50, 100_000, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_mean_of_azimuths_around_north_is_north(altered):
    def change(root):
        for number, found in enumerate(root.iterfind(".//{*}Mean_Viewing_Incidence_Angle/{*}AZIMUTH_ANGLE")):
            found.text = ("350", "10", "nan")[number % 3]

    azimuth = read(altered(change, file="MTD_TL.xml")).properties["view:azimuth"]
    assert min(azimuth, 360 - azimuth) < 2


def test_several_granules_in_a_compact_product_are_refused(altered):
    path = altered()
    [granule] = (path / "GRANULE").iterdir()
    shutil.copytree(granule, granule.with_name("L2A_T33VXF_A027967_20220715T101601"))
    with pytest.raises(UnsupportedProduct, match="2 granules"):
        read(path)


@pytest.mark.parametrize("level", ["1C", "2A"])
def test_the_older_format_is_refused_by_name(tmp_path, level):
    name = f"S2A_{'OPER' if level == '1C' else 'USER'}_PRD_MSIL{level}_PDMC_20160101T000000_R065_V20160101T000000"
    root = tmp_path / f"{name}.SAFE"
    root.mkdir()
    (root / f"{name.replace('PRD_MSI', 'MTD_SAF')}.xml").write_text("<x/>")
    with pytest.raises(UnsupportedProduct, match=rf"{name}.*older format.*compact format"):
        read(root)


@pytest.mark.parametrize("name", ["S1A_IW_GRDH_1SDV_20190301T052343_20190301T052408_026140_02EABC_E6CF.SAFE", "x"])
def test_other_products_are_not_recognised(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.safe").write_text("<x/>")
    with pytest.raises(UnknownProduct, match="sentinel-2"):
        read(tmp_path / name)


def test_the_sensor_is_found_by_its_entry_point():
    assert SENTINEL2 in sensors()


# Genuine products

GENUINE = sorted(
    path.relative_to(DATA).as_posix()
    for path in {*(file.parent for file in DATA.glob("**/MTD_MSIL*.xml")), *DATA.glob("**/S2*_MSIL*.zip")}
    if list(path.glob("GRANULE/*/MTD_TL.xml")) or path.suffix == ".zip"
)


AMAZON = sorted(path.parent.relative_to(DATA).as_posix() for path in DATA.glob("**/tileInfo.json")
                if (path.parent / "metadata.xml").exists())  # fmt: skip
ELSEWHERE = [name for name in [*GENUINE, *AMAZON] if (DATA / name / "expected_output.json").exists()]
"""Products of which stactools-sentinel2 has made an item."""


def field(text, *tags):
    """The first such element's text, by a search that knows no XML."""
    for tag in tags:
        if found := re.search(rf"<(?:\w+:)?{tag}(?: [^>]*)?>([^<]+)<", text):
            return found[1].strip()
    return None


def test_there_are_genuine_products():
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent: the metadata of genuine products is not tested")
    assert len(GENUINE) >= 17 and len(AMAZON) >= 9 and len(ELSEWHERE) >= 11


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_product_is_read(name):
    product, files = read(DATA / name), open_product(DATA / name)
    main = files.read(next(file for file in files.names if file.upper().startswith("MTD_MSIL"))).decode()
    tile = files.read(next(file for file in files.names if file.endswith("MTD_TL.xml"))).decode()
    level = "L2A" if "2A" in field(main, "PROCESSING_LEVEL") else "L1C"
    assert product.collection.id == f"sentinel-2-{level.lower()}"
    if "test" not in name:
        assert COMPACT.fullmatch(product.id) and field(main, "SPACECRAFT_NAME")[-2:] in product.id
    sensed = datetime.fromisoformat(field(tile, "SENSING_TIME"))
    assert product.sensed == sensed
    assert product.footprint.is_valid and 0 < product.footprint.area < 10
    assert product.properties["s2:processing_baseline"] == field(main, "PROCESSING_BASELINE")
    shifted = product.properties["s2:processing_baseline"] >= "04.00"
    assert all(layer.offset == (-0.1 if shifted else 0) for layer in product.layers if layer.type.bands)
    assert len(product.layers) + len(product.missing) == (17 if level == "L2A" else 13)
    zone, _ = re.search(r"_T(\d\d)([C-X])", field(tile, "TILE_ID", "TILE_ID_2A")).groups()
    assert product.properties["mgrs:utm_zone"] == int(zone)
    for layer in product.layers:
        assert layer.grid.crs == field(tile, "HORIZONTAL_CS_CODE") and layer.grid.crs[-2:] == zone
        assert (layer.grid.left, layer.grid.top) == (float(field(tile, "ULX")), float(field(tile, "ULY")))
        assert layer.grid.columns * layer.grid.resolution == 109_800


@pytest.mark.parametrize("name", ELSEWHERE, ids=lambda name: name[-60:])
def test_properties_are_those_that_stactools_finds(name):
    """stactools-sentinel2's items of the same products; where both have a property they agree."""
    wanted = json.loads((DATA / name / "expected_output.json").read_text())["properties"]
    product = read(DATA / name)
    compared = 0
    for key, value in wanted.items():
        if key in ("datetime", "created", "updated", "providers", "instruments") or key not in product.properties:
            continue  # of SAFEs stactools takes the datatake's time
        mine = product.properties[key]
        assert mine == (pytest.approx(value, abs=1e-4) if isinstance(value, float) else value), key
        compared += 1
    assert compared >= 12
    if name in AMAZON:
        assert abs(product.sensed - datetime.fromisoformat(wanted["datetime"])) < timedelta(milliseconds=1)
    else:
        assert product.id.startswith(wanted["s2:product_uri"].removesuffix(".SAFE"))


@pytest.mark.parametrize("name", ELSEWHERE, ids=lambda name: name[-60:])
def test_footprints_are_those_that_stactools_finds(name):
    """Across 180 degrees and near the pole too."""
    wanted = shapely.make_valid(shape(json.loads((DATA / name / "expected_output.json").read_text())["geometry"]))
    mine = read(DATA / name).footprint
    west, _, east, _ = mine.bounds
    assert mine.is_valid and west >= -180 and east <= 180
    assert mine.intersection(wanted).area / mine.union(wanted).area > 0.98


@pytest.mark.parametrize("name", AMAZON)
def test_a_tile_of_amazon_is_read(name):
    product, tile = read(DATA / name), (DATA / name / "metadata.xml").read_text()
    info = json.loads((DATA / name / "tileInfo.json").read_text())
    assert product.id == info["productName"]
    assert product.sensed == datetime.fromisoformat(field(tile, "SENSING_TIME"))
    assert product.properties["s2:tile_id"] == field(tile, "TILE_ID")
    assert f"N{product.properties['s2:processing_baseline'].replace('.', '')}" in product.id
    level = "L2A" if "MSIL2A" in product.id else "L1C"
    assert product.collection.id == f"sentinel-2-{level.lower()}"
    assert len(product.layers) + len(product.missing) == (17 if level == "L2A" else 13)
    assert (product.footprint is None) == ("no-data" in name)


def test_the_bands_of_a_tile_of_amazon_are_its_files_with_the_offsets_of_their_baseline(tmp_path):
    tile = next((name for name in AMAZON if "T34VEL" in name), None)
    if tile is None:
        pytest.skip(f"{DATA} is absent")
    shutil.copytree(DATA / tile, tmp_path / "tile")
    for file in ("R10m/B02.jp2", "R20m/B05.jp2", "R20m/SCL.jp2", "R10m/SCL.jp2", "R20m/AOT.jp2", "qi/CLD_20m.jp2",
                 "preview/B03.jp2", "R60m/B02.jp2"):  # fmt: skip
        (tmp_path / "tile" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "tile" / file).write_bytes(b"x" * 100)
    found = {layer.name: layer for layer in read(tmp_path / "tile").layers}
    assert {name: layer.file for name, layer in found.items()} == {
        "B02": "R10m/B02.jp2", "B05": "R20m/B05.jp2", "SCL": "R20m/SCL.jp2", "AOT": "R20m/AOT.jp2",
        "CLD": "qi/CLD_20m.jp2",
    }  # fmt: skip
    assert found["B02"].href == str(tmp_path / "tile/R10m/B02.jp2")
    assert [(found[name].scale, found[name].offset) for name in ("B02", "SCL", "AOT")] == [
        (1e-4, -0.1), (1.0, 0.0), (1e-3, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metadata.xml", None, "metadata.xml is missing"),
        ("tileInfo.json", b"{", "tileInfo.json: not JSON"),
        ("tileInfo.json", b"[]", "tileInfo.json: not an object"),
        ("tileInfo.json", b"{}", "productName is ''"),
        ("metadata.xml", b"<a>", "metadata.xml: not well-formed"),
    ],
)
def test_a_tile_of_amazon_that_is_not_whole_is_named(tmp_path, file, content, said):
    tile = next((name for name in AMAZON if "T34VEL" in name), None)
    if tile is None:
        pytest.skip(f"{DATA} is absent")
    shutil.copytree(DATA / tile, tmp_path / "tile")
    (tmp_path / "tile" / file).unlink()
    if content is not None:
        (tmp_path / "tile" / file).write_bytes(content)
    with pytest.raises(BrokenProduct, match=f"^tile: .*{said}|^tile: {said}"):
        read(tmp_path / "tile")


OUTLINE = [[600000, 6600000], [700000, 6600000], [700000, 6700000], [600000, 6600000]]


@pytest.mark.parametrize(
    ("crs", "ring", "said"),
    [
        ("32634", [*OUTLINE[:2], [1e9, 6.7e6], OUTLINE[0]], "m long; 1e[+]07 m at most"),
        ("32634", [*OUTLINE[:2], [float("nan"), 6.7e6], OUTLINE[0]], "tileDataGeometry is no polygon"),
        ("32634", OUTLINE[:1], "tileDataGeometry is no polygon"),
        ("32634", 7, "tileDataGeometry is no polygon"),
        ("99999", OUTLINE, "99999"),
        ("", OUTLINE, "tileDataGeometry is no polygon"),
    ],
)  # fmt: skip
def test_an_outline_of_a_tile_of_amazon_that_can_not_be_is_refused(tmp_path, crs, ring, said):
    """Before it is made into points: 5 km apart, a ring around the sun is many."""
    tile = next((name for name in AMAZON if "T34VEL" in name), None)
    if tile is None:
        pytest.skip(f"{DATA} is absent")
    shutil.copytree(DATA / tile, tmp_path / "tile")
    info = json.loads((tmp_path / "tile/tileInfo.json").read_text())
    info["tileDataGeometry"] = {
        "crs": {"properties": {"name": f"urn:ogc:def:crs:EPSG:8.8.1:{crs}"}},
        "coordinates": [ring],
    }
    (tmp_path / "tile/tileInfo.json").write_text(json.dumps(info).replace("NaN", "null"))
    with pytest.raises(BrokenProduct, match=f"^tile: tileInfo.json: .*{said}"):
        read(tmp_path / "tile")


def test_metadata_beside_each_other_without_a_granules_folder_are_read():
    path = DATA / "stactools-sentinel2/S2A_MSIL2A_20150826T185436_N0212_R070_T11SLT_20210412T023147"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    product = read(path)
    assert product.id == path.name and product.properties["mgrs:grid_square"] == "LT"
    assert product.footprint.bounds == pytest.approx((-119.17378, 33.33277, -117.96938, 34.33774), abs=1e-5)


def test_genuine_old_products_are_refused_by_name():
    for name in ("fake_l1c/S2A_OPER_PRD_MSIL1C.SAFE", "fake_l2a/S2A_USER_PRD_MSIL2A.SAFE"):
        path = DATA / "gdal/sentinel2" / name
        if not path.exists():
            pytest.skip(f"{path} is absent")
        with pytest.raises(UnsupportedProduct, match=f"{path.name}.*older format"):
            read(path)


def test_a_genuine_pilot_product_has_the_cloud_figure_of_its_own_level():
    path = DATA / "gdal/sentinel2/fake_l2a_MSIL2Ap/S2A_MSIL2A_20170823T094031_N0205_R036_T34VFJ_20170823T094252.SAFE"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    assert read(path).properties["eo:cloud_cover"] == 84.4  # and not 86.3, the L1C's


# What holds for every sensor


def small(level):
    return next(dataclasses.replace(scene, pixels=600) for scene in samples.scenes() if scene.level == level)


class TestL2A(SensorContract):
    sensor = SENTINEL2

    @classmethod
    def make(cls, folder):
        return samples.write(small("L2A"), folder)


class TestL1C(SensorContract):
    sensor = SENTINEL2

    @classmethod
    def make(cls, folder):
        return samples.write(small("L1C"), folder)
