import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pyproj
import pytest
import rasterio
import shapely
from lxml import etree

from converters.convert import Recipe, convert, files
from converters.samples import Scene, jp2, metadata
from converters.samples import pixels as sample_pixels
from converters.sensors import read
from kartotek import indices
from kartotek.errors import BrokenProduct, OutsideGrid, UnsupportedProduct
from kartotek.grids import national_area

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def altered(scenes, sample, tmp_path):
    """Gives a copy of a small product, to be spoilt."""

    def copy(of="33", **facts):
        scene = dataclasses.replace(scenes[of], pixels=96, packing="SAFE", **facts)
        path = tmp_path / f"{scene.name}.SAFE"
        shutil.copytree(sample(scene), path)
        return path

    return copy


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def text(converted):
    return json.dumps(converted.item.to_dict(include_self_link=False, transform_hrefs=False))


def check_copied(converted, product, wanted=None):
    """Every band's COG holds the pixels of its JP2, and nothing else."""
    assert product.layers
    for layer in product.layers:
        with rasterio.open(layer.href) as source, rasterio.open(converted.folder / f"{layer.name}.tif") as file:
            delivered, found = source.read(), file.read()
            row, column = (
                round((file.transform.f - (source.transform.f if source.crs else layer.grid.top)) / file.transform.a),
                round(((source.transform.c if source.crs else layer.grid.left) - file.transform.c) / file.transform.a),
            )
        window = np.s_[:, row : row + delivered.shape[1], column : column + delivered.shape[2]]
        assert delivered.any(), layer.name
        assert np.array_equal(found[window], delivered), layer.name
        found[window] = layer.type.nodata
        assert (found == layer.type.nodata).all(), layer.name


# The same input, the same bytes


@pytest.mark.parametrize("name", ["33", "34"])
def test_the_same_product_gives_the_same_bytes_whatever_the_threads_and_the_process(
    scenes, conversion, sample, out, name
):
    scene = dataclasses.replace(scenes[name], pixels=300)
    first = conversion(scene)
    again = convert(read(sample(scene)), out, Recipe(threads=1))
    assert digests(out) == digests(first.folder) and text(again) == text(first)
    script = (
        "import json, sys; from pathlib import Path\n"
        "from converters.convert import Recipe, convert; from converters.sensors import read\n"
        "made = convert(read(Path(sys.argv[1])), Path(sys.argv[2]), Recipe(threads=4))\n"
        "print(json.dumps(made.item.to_dict(include_self_link=False, transform_hrefs=False)))\n"
    )
    other = out.with_name("other")
    other.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", script, sample(scene), other],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert digests(other) == digests(first.folder) and run.stdout.strip() == text(first)


def test_a_product_in_a_zip_gives_the_bytes_of_the_one_in_a_folder(scenes, conversion):
    scene = dataclasses.replace(scenes["34"], pixels=96)
    folder, packed = conversion(scene), conversion(dataclasses.replace(scene, packing="bare zip"))
    assert digests(folder.folder) == digests(packed.folder) and text(folder) == text(packed)


# What comes out


@pytest.mark.parametrize(("name", "visual"), [("33", False), ("33 L1C", False), ("34", True)])
def test_there_is_a_file_for_each_asset_and_no_other(conversion, sample, out, name, visual):
    converted = convert(read(sample(name), visual=visual), out, Recipe()) if visual else conversion(name)
    names = [layer.name for layer in read(sample(name), visual=visual).layers]
    assert list(converted.item.assets) == [*names, "thumbnail", "squares"] and ("TCI" in names) == visual
    assert {path.name for path in files(converted).values()} == {path.name for path in converted.folder.iterdir()}
    assert all(path.exists() for path in files(converted).values())


def test_the_picture_is_converted_when_asked_for(sample, out):
    """Three bands in one file, as delivered."""
    product = read(sample("33"), visual=True)
    only = dataclasses.replace(product, layers=tuple(layer for layer in product.layers if layer.name in ("TCI", "B02")))
    check_copied(convert(only, out, Recipe()), only)


def test_progress_goes_from_nothing_to_all(altered, out):
    told = []
    convert(read(altered()), out, Recipe(), lambda what, share: told.append((what, share)))
    assert told[0][1] == 0 and told[-1][1] == 1 and len(told) == 18
    assert [share for _, share in told] == sorted(share for _, share in told)


def test_the_thumbnail_shows_the_ground_and_is_transparent_beside_it(conversion):
    image = pytest.importorskip("PIL.Image")
    picture = np.asarray(image.open(conversion("swath").folder / "thumbnail.png"))
    assert picture.ndim == 3 and picture.shape[2] == 4 and 200 < max(picture.shape) <= 512
    assert set(np.unique(picture[..., 3])) == {0, 255} and picture[picture[..., 3] == 255][:, :3].std() > 5


@pytest.mark.parametrize("name", ["33", "33 L1C", "34", "swath", "zip"])
def test_the_squares_are_what_the_published_files_give(conversion, name):
    """Counted anew from the COGs: the mask, and the level of each band whose pixels have 20 m."""
    converted = conversion(name)
    table = pyarrow.parquet.read_table(converted.folder / "squares.parquet").to_pylist()
    level = "SCL" in converted.item.assets
    at_20 = {}
    for key in ("SCL", "B03", "B04", "B08", "B11", "B12") if level else ("B03", "B04", "B08", "B11", "B12"):
        # The first overview of a 10 m band has 20 m.
        options = {"overview_level": 0} if key in ("B03", "B04", "B08") else {}
        with rasterio.open(converted.folder / f"{key}.tif", **options) as file:
            assert file.transform.a == 20
            at_20[key] = file.read(1), file.transform
            scale, offset = file.scales[0], file.offsets[0]
    assert len({transform for _, transform in at_20.values()}) == 1
    values = {key: pixels for key, (pixels, _) in at_20.items()}
    transform = at_20["B04"][1]
    shape = values["B04"].shape
    east, north = transform.c + 20 * np.arange(shape[1]) + 10, transform.f - 20 * np.arange(shape[0]) - 10
    valid = values["SCL"] > 0 if level else np.logical_or.reduce([pixels > 0 for pixels in values.values()])
    clear = np.isin(values["SCL"], (4, 5, 6, 11)) if level else valid
    common = {"green": "B03", "red": "B04", "nir": "B08", "swir16": "B11", "swir22": "B12"}
    counted = 0
    for row, square in zip(table, converted.squares, strict=True):
        assert (row["east"], row["north"]) == (square.east, square.north)
        here = np.ix_(
            (north >= row["north"]) & (north < row["north"] + 5000), (east >= row["east"]) & (east < row["east"] + 5000)
        )
        assert row["valid"] == valid[here].sum() > 0
        assert row["clear"] == ((valid & clear)[here].sum() if level else None)
        if level:
            codes = np.bincount(values["SCL"][here][valid[here]], minlength=12)
            assert dict(row["classes"]) == {code: count for code, count in enumerate(codes) if count}
        for index in indices.COUNTED.values():
            first, second = (values[common[band]][here][(valid & clear)[here]] for band in (index.first, index.second))
            both = (first > 0) & (second > 0)
            first, second = first[both] * scale + offset, second[both] * scale + offset
            with np.errstate(divide="ignore", invalid="ignore"):
                found = (first - second) / (first + second)
            found = found[np.isfinite(found)]
            assert row[index.name]["count"] == len(found) == sum(row[index.name]["histogram"])
            if len(found):
                assert row[index.name]["mean"] == pytest.approx(found.mean(), abs=1e-9)
                assert row[index.name]["deviation"] == pytest.approx(found.std(), abs=1e-9)
                counted += len(found)
        valid[here] = False
    assert not valid.any(), "pixels that no square counts"
    assert counted > 50_000


# Genuine products


def test_a_genuine_zip_with_all_bands_is_copied(beside, out):
    """13 bands, thinned by eo-datasets to 250 m, in zone 56 south."""
    product = read(beside("data/eo-datasets/S2A_MSIL1C_20180629T000241_N0206_R030_T56JMM_20180629T012042.zip"))
    assert len(product.layers) == 13 and product.missing == ()
    converted = convert(product, out, Recipe(crs="native"))
    check_copied(converted, product)
    assert converted.item.properties["proj:code"] == "EPSG:32756" and converted.squares == ()
    assert shapely.geometry.shape(converted.item.geometry).buffer(1e-6).within(product.footprint.buffer(0.05))


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("S2A_MSIL1C_20210713T032051_N0301_R032_T48LWP_20210713T054224.zip", 5_490),
        ("sinergise_s2_l1c", pytest.approx(998.18, abs=0.01)),
    ],
)
def test_genuine_products_of_very_large_pixels_are_copied(beside, out, name, pixel):
    """A zip of GeoTIFFs called .jp2, and a tile in Amazon's layout; both thinned by eo-datasets."""
    product = read(beside(f"data/eo-datasets/{name}"))
    assert len(product.layers) == 13 and product.missing == ()
    converted = convert(product, out, Recipe(crs="native"))
    check_copied(converted, product)
    assert converted.item.assets["B02"].extra_fields["gsd"] == pixel


def test_a_genuine_folder_with_one_band_is_copied(beside, out):
    product = read(beside("data/eodag/S2A_MSIL1C_20180101T105441_N0206_R051_T31TDH_20180101T124911"))
    assert len(product.missing) == 12
    with pytest.raises(BrokenProduct, match=r"B02 \(10 m\) is missing.*B12 \(20 m\) is missing.*--allow-partial"):
        convert(product, out, Recipe(crs="native"))
    converted = convert(product, out, Recipe(crs="native", allow_partial=True))
    check_copied(converted, product)
    assert converted.item.properties["kartotek:missing"] == list(product.missing)
    with rasterio.open(out / "B01.tif") as file:
        seen = np.count_nonzero(file.read(1))
        assert seen / 1830**2 == pytest.approx(0.591, abs=0.001)
        assert 0.99 < covered(converted, file.crs) / (seen * 3600) <= 1


def covered(converted, crs):
    """Square metres within the item's footprint."""
    change = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    dense = shapely.segmentize(shapely.geometry.shape(converted.item.geometry), 0.001)
    return shapely.transform(dense, lambda x, y: change.transform(x, y), interleaved=False).area


@pytest.mark.parametrize(
    ("file", "share"),
    [
        ("S2A_OPER_MSI_L2A_TL_ATOS_20220620T162319_A036527_T32TLS_N04.00_R60m_B01.jp2", 0.159),
        ("S2B_OPER_MSI_L2A_TL_2BPS_20220618T135630_A027590_T32TLS_N04.00_R60m_B01.jp2", 1.0),
    ],
)
def test_a_genuine_jp2_of_the_agency_is_copied(beside, tmp_path, out, file, share):
    """Coded by Kakadu; a product is made around it of the metadata of a sample."""
    genuine = beside(f"data/stactools/{file}")
    scene = Scene(
        tile="32TLS", zone=32, left=300_000, top=5_200_020, pixels=10_980,
        sensed=datetime(2022, 6, 18, 10, 26, tzinfo=UTC), platform=file[:3], baseline="04.00", orbit=108,
    )  # fmt: skip
    root = tmp_path / f"{scene.name}.SAFE"
    tally = sample_pixels.Tally(classes=(0,) * 4 + (1,) * 8, land=1, cloudy_land=0, aot=0.1, wvp=1.0)
    for name, content in metadata.documents(scene, sample_pixels.images(scene), tally).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    image = root / scene.granule / "IMG_DATA/R60m" / f"{scene.stem}_B01_60m.jp2"
    image.parent.mkdir(parents=True)
    shutil.copyfile(genuine, image)
    product = read(root)
    [layer] = product.layers
    assert layer.name == "B01" and layer.grid.columns == 1830
    converted = convert(product, out, Recipe(crs="native", allow_partial=True))
    check_copied(converted, product)
    with rasterio.open(out / "B01.tif") as tif:
        pixels = tif.read(1)
    assert np.count_nonzero(pixels) / 1830**2 == pytest.approx(share, abs=0.001)
    if share == 1.0:
        assert 0 < pixels[pixels > 0].min() < 1000  # a reflectance below zero is no hole
    assert 0.99 < covered(converted, 32632) / (np.count_nonzero(pixels) * 3600) <= 1
    # It lies a thousand kilometres to the south.
    with pytest.raises(OutsideGrid):
        convert(product, out, Recipe(allow_partial=True))


# What is refused, and how


def test_a_product_outside_sweden_is_refused_with_the_area_and_the_way_out(scenes, tmp_path, sample, out):
    scene = dataclasses.replace(scenes["33"], pixels=96, left=399_960, top=5_000_040)  # in Croatia
    product = read(sample(scene))
    with pytest.raises(OutsideGrid) as refused:
        convert(product, out, Recipe())
    said, area = str(refused.value), national_area()
    for part in (scene.name, "EPSG:3006", f"{area.left}", f"{area.top}", "--crs native", "45.1", "13.7"):
        assert part in said, (part, said)
    assert list(out.iterdir()) == []
    assert convert(product, out, Recipe(crs="native")).item.properties["proj:code"] == "EPSG:32633"


@pytest.mark.parametrize("stated", ["", "<EXT_POS_LIST>60 17 60 18 61 18 61 17 60 17</EXT_POS_LIST>"])
@pytest.mark.parametrize(("left", "top"), [(399_960, 5_000_040), (399_960, 100_020)])
def test_a_product_outside_sweden_is_refused_whatever_footprint_it_states(altered, out, stated, left, top):
    """By where its pixels lie."""
    path = altered(left=left, top=top)
    document = path / "MTD_MSIL2A.xml"
    document.write_text(re.sub(r"<EXT_POS_LIST>[^<]*</EXT_POS_LIST>", stated, document.read_text()))
    with pytest.raises(OutsideGrid, match=path.name):
        convert(read(path), out, Recipe())


@pytest.mark.parametrize("size", [0, 1])
def test_a_band_of_no_bytes_is_named(altered, out, size):
    path = altered()
    [file] = path.rglob("*_B04_10m.jp2")
    file.write_bytes(b"x" * size)
    with pytest.raises(BrokenProduct, match=rf"{path.name}.*_B04_10m\.jp2 has {size} bytes.*--allow-partial"):
        convert(read(path), out, Recipe())
    partial = convert(read(path), out, Recipe(allow_partial=True))
    assert "B04" not in partial.item.assets and "B03" in partial.item.assets
    [line] = partial.notes
    assert "_B04_10m.jp2" in line


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("of", ["33", "34"])
def test_a_band_that_is_cut_off_is_named(sample, scenes, tmp_path, out, share, of):
    scene = dataclasses.replace(scenes[of], pixels=96)
    path = tmp_path / f"{scene.name}.SAFE"
    shutil.copytree(sample(scene), path)
    [file] = path.rglob("*_B04_10m.jp2")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenProduct, match=rf"{path.name}.*_B04_10m\.jp2"):
        convert(read(path), out, Recipe())
    partial = convert(read(path), out, Recipe(allow_partial=True))
    assert "B04" not in partial.item.assets and len(partial.notes) == 1
    assert not (out / "B04.tif").exists() or "B04" in partial.item.assets


def test_a_large_band_that_is_cut_off_is_named(sample, tmp_path, out):
    """Of many tiles, of which the last are missing."""
    path = tmp_path / sample("swath").name
    shutil.copytree(sample("swath"), path)
    [file] = path.rglob("*_B04_10m.jp2")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(BrokenProduct, match=r"_B04_10m\.jp2"):
        convert(read(path), out, Recipe())


def test_a_band_of_rubbish_is_named(altered, out):
    path = altered()
    [file] = path.rglob("*_B04_10m.jp2")
    for content in (os.urandom(5000), b"\0" * 5000, file.read_bytes()[:200] + os.urandom(5000)):
        file.write_bytes(content)
        with pytest.raises(BrokenProduct, match=rf"{path.name}.*_B04_10m\.jp2"):
            convert(read(path), out, Recipe())


@pytest.mark.parametrize("change", ["rows", "columns", "both"])
def test_a_band_that_covers_another_area_than_the_metadata_says_is_named(altered, out, change):
    def shrink(root):
        for size in root.iterfind(".//{*}Size[@resolution='10']"):
            for tag in ("NROWS", "NCOLS"):
                if change in ("both", {"NROWS": "rows", "NCOLS": "columns"}[tag]):
                    size.find(f"{{*}}{tag}").text = "90"

    path = altered()
    [document] = path.rglob("MTD_TL.xml")
    tree = etree.parse(document)
    shrink(tree.getroot())
    tree.write(document)
    with pytest.raises(BrokenProduct, match=r"_B\d\d_10m.*96 x 96 pixels of 10 m .*but the metadata says"):
        convert(read(path), out, Recipe())


def test_a_band_of_coarser_pixels_than_stated_says_so(altered, out):
    path = altered()
    [fine], [coarse] = path.rglob("*_B08_10m.jp2"), path.rglob("*_B8A_20m.jp2")
    shutil.copy(coarse, fine)
    asset = convert(read(path), out, Recipe()).item.assets["B08"]
    assert (asset.extra_fields["gsd"], asset.extra_fields["raster:spatial_resolution"]) == (20, 20)


@pytest.mark.parametrize("suffix", [".tif", ".JP2", ".j2k", ".TIFF"])
def test_a_band_may_have_another_suffix(altered, out, conversion, scenes, suffix):
    path = altered()
    [file] = path.rglob("*_B04_10m.jp2")
    file.rename(file.with_suffix(suffix))
    converted = convert(read(path), out, Recipe())
    sound = conversion(dataclasses.replace(scenes["33"], pixels=96))
    assert digests(out) == digests(sound.folder) and text(converted) == text(sound)


@pytest.mark.parametrize("suffix", [".png", ".jp2.part", ".txt", ""])
def test_a_band_with_a_suffix_of_something_else_is_missing(altered, suffix):
    path = altered()
    [file] = path.rglob("*_B04_10m.jp2")
    file.rename(file.with_name(file.name.replace(".jp2", suffix)))
    assert read(path).missing == ("B04 (10 m) is missing",)


def test_a_product_without_any_valid_pixel_is_refused_by_name(altered, out):
    path = altered()
    [file] = path.rglob("*_B03_10m.jp2")
    with rasterio.open(file) as source:
        left, top = source.transform.c, source.transform.f
    jp2.encode(np.zeros((1, 96, 96), np.uint16), file, 32633, left=left, top=top, resolution=10, bits=15)
    with pytest.raises(UnsupportedProduct, match=f"{path.name}.*no area with data"):
        convert(read(path), out, Recipe())


def test_a_product_with_no_readable_band_is_refused_by_name(altered, out):
    path = altered()
    for file in path.rglob("*.jp2"):
        file.write_bytes(b"x")
    with pytest.raises(BrokenProduct, match=path.name):
        convert(read(path), out, Recipe(allow_partial=True))


@pytest.mark.parametrize("gone", ["SCL", "B08", "B04", "B11", "B01"])
def test_a_part_of_a_product_has_what_can_be_made_of_it(altered, out, gone):
    """Without the class mask nothing is counted; without a band its indices and the thumbnail are left out."""
    path = altered()
    [file] = path.rglob(f"*_{gone}_{ {'SCL': 20, 'B11': 20, 'B01': 60}.get(gone, 10) }m.jp2".replace(" ", ""))
    file.unlink()
    converted = convert(read(path), out, Recipe(allow_partial=True))
    assert converted.item.properties["kartotek:missing"] and gone not in converted.item.assets
    assert ("thumbnail" in converted.item.assets) == (gone != "B04")
    assert ("squares" in converted.item.assets) == (gone != "SCL") == bool(converted.squares)
    if gone != "SCL":
        found = {name for name, spread in converted.squares[0].indices.items() if spread.count}
        wanted = {"B08": set(), "B04": {"ndwi", "ndmi", "nbr"}, "B11": {"ndvi", "ndwi", "nbr"},
                  "B01": {"ndvi", "ndwi", "ndmi", "nbr"}}  # fmt: skip
        assert found == wanted[gone]


@pytest.mark.parametrize("crs", ["EPSG:3031", "EPSG:3976"])
def test_a_crs_that_would_stretch_a_product_beyond_reason_is_refused(sample, out, crs):
    """Polar stereographic projections of the other pole."""
    with pytest.raises(OutsideGrid, match=rf"{crs} is not made for where it lies.*--crs native"):
        convert(read(sample("33")), out, Recipe(crs=crs))
    assert list(out.iterdir()) == []


# Whole granules: python -m pytest -m full -s tests/converters


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The two full-size samples, and what each became in a process of its own, with its time and memory."""
    from converters import samples

    folder = tmp_path_factory.mktemp("whole")
    made = {}
    for scene in samples.scenes(full=True):
        path = samples.write(scene, folder)
        (folder / f"out-{scene.zone}").mkdir()
        script = (
            "import re, sys, time; from pathlib import Path\n"
            "from converters.convert import Recipe, convert; from converters.sensors import read\n"
            "start = time.monotonic(); made = convert(read(Path(sys.argv[1])), Path(sys.argv[2]), Recipe())\n"
            # Not getrusage: a child's begins with the memory of the process that started it.
            "memory = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
            "print(time.monotonic() - start, time.process_time(), int(memory) / 1024)\n"
            "import json; print(json.dumps(made.item.to_dict(include_self_link=False, transform_hrefs=False)))\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", script, path, folder / f"out-{scene.zone}"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        figures, item = run.stdout.splitlines()
        elapsed, cpu, memory = map(float, figures.split())
        print(f"zone {scene.zone}: {elapsed:.0f} s, {cpu:.0f} CPU s, at most {memory:.0f} MB")
        made[scene.zone] = read(path), folder / f"out-{scene.zone}", json.loads(item), memory
    return made


@pytest.mark.full
def test_a_whole_granule_of_zone_33_is_copied_pixel_for_pixel(whole):
    product, folder, item, memory = whole[33]
    for layer in product.layers:
        with rasterio.open(layer.href) as source, rasterio.open(folder / f"{layer.name}.tif") as file:
            wanted, window = source.read(), file.window(*source.bounds).round_offsets().round_lengths()
            assert np.array_equal(file.read(window=window), wanted), layer.name
            assert np.count_nonzero(file.read() != layer.type.nodata) == np.count_nonzero(wanted != layer.type.nodata)
    assert memory < 2048 and len(shapely.get_coordinates(shapely.geometry.shape(item["geometry"]))) < 200


@pytest.mark.full
def test_a_whole_granule_of_zone_34_is_as_gdal_warps_it(whole):
    """In windows at its corners, its edges and its middle."""
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT
    from rasterio.windows import Window

    product, folder, item, memory = whole[34]
    for layer in product.layers:
        if layer.name not in ("B02", "B08", "B11", "B09", "SCL"):
            continue
        classes = layer.name == "SCL"
        with rasterio.open(layer.href) as source, rasterio.open(folder / f"{layer.name}.tif") as file:
            options = {"tolerance": 1e-6, "XSCALE": "1", "YSCALE": "1", "src_nodata": 0, "nodata": 0}
            resampling = Resampling.nearest if classes else Resampling.bilinear
            with WarpedVRT(
                source, crs=file.crs, transform=file.transform, width=file.width, height=file.height,
                resampling=resampling, **options,
            ) as warped:  # fmt: skip
                size = min(700, file.width // 3)
                agreed = valid = 0
                for row in (0, (file.height - size) // 2, file.height - size):
                    for column in (0, (file.width - size) // 2, file.width - size):
                        window = Window(column, row, size, size)
                        mine, theirs = file.read(1, window=window), warped.read(1, window=window)
                        assert np.array_equal(mine > 0, theirs > 0)
                        off = np.abs(mine.astype(int) - theirs)[mine > 0]
                        agreed, valid = agreed + (off <= (0 if classes else 1)).sum(), valid + len(off)
                print(f"{layer.name}: {agreed / valid:.6f} of {valid} pixels")
                assert agreed / valid >= 0.999
    assert memory < 2048 and len(shapely.get_coordinates(shapely.geometry.shape(item["geometry"]))) < 300
