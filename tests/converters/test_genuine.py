"""What the genuine Sentinel-2 products beside the project give: the table of docs/reference/genuine-products.md."""

import re
from pathlib import Path

import pytest

from converters import sensors
from converters.convert import Recipe, convert
from converters.safe import open_product, parse_xml
from converters.sensors.sentinel2 import SENTINEL2
from kartotek.errors import BrokenProduct, KartotekError, UnsupportedProduct

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared/data"
PAGE = ROOT / "docs/reference/genuine-products.md"
TABLE = {
    name: (metadata, pixels)
    for name, metadata, pixels in re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
}
MARKS = re.compile(r"MTD_MSIL.*\.xml|S2._(OPER|USER)_MTD.*\.xml|(granule_)?metadata\.xml|tileInfo\.json")
BLANK = ("baseline_5_09", "safecompact")
"""In the names of full-size products without any data, which take their time."""
LISTS = sorted((DATA / "sentinelhub-py/aws_safe").glob("*.csv"))
"""Names on Amazon, and in the SAFE, of all files of a product; one list for each processing baseline up to 04.00."""
DONORS = {
    "L1C": ("S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248.SAFE",
            "S2A_OPER_MSI_L1C_TL_SGS__20181231T203637_A018414_T10SDG"),
    "L2A": ("S2A_MSIL2A_20190212T192651_N0212_R013_T07HFE_20201007T160857.SAFE",
            "S2A_OPER_MSI_L2A_TL_SGS__20181231T210250_A018414_T10SDG"),
}  # fmt: skip
"""Whose metadata the lists are read with: as a SAFE, and on Amazon."""


def products():
    """Folders and zips that hold a Sentinel-2 product's metadata, or its images under the names of a catalog's item."""
    found = {path.parent for path in DATA.rglob("*") if MARKS.fullmatch(path.name)} | set(DATA.rglob("S2*.zip"))
    found |= {path.parent for path in (DATA / "rio-tiler-pds/sentinel-cogs").rglob("*.json")}
    return sorted(path for path in found if not found & set(path.parents))


def told(error, path):
    """An error's reason, without the path and the advice."""
    return "refused: " + re.split(r"; |: (?:B01|GRANULE/L1C)", str(error).replace(f"{path.name}: ", ""))[0]


def gives(path, folder):
    """(what its metadata gives, what its pixels give), in words."""
    try:
        product = sensors.read(path)
    except KartotekError as error:
        return told(error, path), "-"
    facts, there, missing = product.properties, len(product.layers), len(product.missing)
    metadata = f"{facts['processing:level']} {facts['s2:processing_baseline']}, {facts['grid:code']}"
    layers = f"{there} of {there + missing} layers"
    try:
        item = convert(product, folder, Recipe(crs="native", allow_partial=True)).item
    except KartotekError as error:
        return metadata, f"{layers}; {told(error, path)}"
    files = sum(asset.media_type.startswith("image/tiff") for asset in item.assets.values())
    return metadata, f"{layers}; item with {files}"


def test_every_genuine_product_stands_in_the_table():
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent: no genuine products")
    assert set(TABLE) == {path.relative_to(DATA).as_posix() for path in products()}


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full) if any(word in name for word in BLANK) else name for name in TABLE],
)
def test_a_genuine_product_gives_what_the_table_says(name, tmp_path):
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is absent")
    assert gives(DATA / name, tmp_path) == TABLE[name]


class Listed:
    """A product of which the files' names are known, with another's metadata."""

    def __init__(self, path, names, donor):
        self.path, self.names, self.donor = path, tuple(sorted(names)), donor

    def read(self, name):
        return self.donor.read(next(one for one in self.donor.names if Path(one).name == Path(name).name))

    def size(self, name):
        return 100

    def href(self, name):
        return name


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_the_layers_of_every_baseline_are_found_by_their_names(path):
    """In the SAFE and on Amazon. Products before December 2016 are refused as SAFEs; on Amazon a tile is a tile."""
    safe, amazon = (open_product(DATA / "stactools-sentinel2" / name) for name in DONORS[path.name[:3]])
    rows = [line.split(";") for line in path.read_text().split()]
    tile = re.compile(r".*/tiles/\d+/\w/\w\w/\d+/\d+/\d+/\d+/(.*)")
    names = {found[1] for given, _ in rows if (found := tile.fullmatch(given))} | {"metadata.xml", "tileInfo.json"}
    wanted = 13 if path.name.startswith("L1C") else 17
    product = SENTINEL2.read(Listed(Path("tile"), names, amazon))
    assert (len(product.layers), product.missing) == (wanted, ())
    root = Path(rows[0][1].split("/")[0])
    product = Listed(root, [name.partition("/")[2] for _, name in rows], safe)
    if root.name.startswith(("S2A_OPER", "S2A_USER")):
        with pytest.raises((UnsupportedProduct, BrokenProduct), match=r"older format|is missing"):
            SENTINEL2.read(product)
        return
    product = SENTINEL2.read(product)
    assert (len(product.layers), product.missing) == (wanted, ())


def test_metadata_in_another_encoding_than_it_says_is_refused():
    path = DATA / "satmeta/s2/MTD_with_specialchar.xml"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with pytest.raises(
        BrokenProduct, match=r"MTD_with.*not well-formed XML \(Invalid bytes in character encoding, line 63"
    ):
        parse_xml(path.name, path.read_bytes())
