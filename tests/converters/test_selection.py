import dataclasses
import hashlib

import pyarrow.parquet
import pytest
import rasterio

from converters.convert import Recipe, convert, files
from converters.profiles import Profile
from converters.selection import everywhere, selection
from converters.sensors import read
from kartotek.errors import BadSettings, UnsupportedProduct

L2A, L1C = "sentinel-2-l2a", "sentinel-2-l1c"


def test_what_is_kept_comes_in_the_collections_order_with_its_mask():
    assert selection({}) == {}
    assert selection({L2A: ["B08", "B04"]}) == {L2A: ("B04", "B08", "SCL")}
    assert selection({L1C: ["B10"]}) == {L1C: ("B10",)}


def test_bands_of_the_command_line_are_those_that_each_collection_has():
    assert everywhere(["B10", "B04"]) == {L1C: ("B04", "B10"), L2A: ("B04", "SCL")}
    assert everywhere(["B10"]) == {L1C: ("B10",), L2A: ()}


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"sentinel-9": ["B04"]}, "KARTOTEK_BANDS: no collection sentinel-9; there are: .*sentinel-2-l2a"),
        ({L2A: ["B04", "b8"]}, "KARTOTEK_BANDS: sentinel-2-l2a: no layer 'b8'; there are: .*B04.*SCL"),
        ({L2A: ["B10"]}, "no layer 'B10'"),
    ],
)
def test_unknown_names_are_told_with_those_that_there_are(chosen, told):
    with pytest.raises(BadSettings, match=told):
        selection(chosen)


def test_an_unknown_name_on_the_command_line_is_told_likewise():
    with pytest.raises(BadSettings, match=r"--bands: no layer 'B4', ''; there are: B01, .*SCL"):
        everywhere(["B4", ""])


def digests(folder):
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["33", "34"])
def test_what_is_kept_is_as_it_is_with_all_and_the_rest_is_named(conversion, sample, tmp_path, name):
    whole = conversion(name)
    made = convert(read(sample(name)), tmp_path, Recipe(bands=selection({L2A: ["B04", "B08"]})))
    assert list(made.item.assets) == ["B04", "B08", "SCL", "squares"]
    assert {path.name for path in files(made).values()} == {path.name for path in tmp_path.iterdir()}
    before = digests(whole.folder)
    assert all(digests(tmp_path)[band] == before[band] for band in ("B04", "B08", "SCL"))
    said = made.item.properties
    names = [layer.name for layer in read(sample(name)).layers]
    assert sorted(said["kartotek:left_out"]) == sorted({*names} - {"B04", "B08", "SCL"})
    assert "kartotek:missing" not in said and not made.notes
    assert "kartotek:left_out" not in whole.item.properties


def test_squares_count_the_indices_whose_bands_are_kept_and_those_as_before(conversion, sample, tmp_path):
    whole = conversion("33")
    made = convert(read(sample("33")), tmp_path, Recipe(bands=selection({L2A: ["B04", "B08"]})))
    before = {(square.east, square.north): square for square in whole.squares}
    assert {(square.east, square.north) for square in made.squares} == set(before)
    for square in made.squares:
        was = before[square.east, square.north]
        assert (square.valid, square.clear, square.classes) == (was.valid, was.clear, was.classes)
    table = pyarrow.parquet.read_table(tmp_path / "squares.parquet").to_pylist()
    assert table and any(row["ndvi"] for row in table) and not any(row["nbr"] for row in table)


def test_the_thumbnail_is_made_where_its_bands_are_kept(conversion, sample, tmp_path):
    made = convert(read(sample("33")), tmp_path, Recipe(bands=selection({L2A: ["B02", "B03", "B04"]})))
    assert digests(tmp_path)["thumbnail"] == digests(conversion("33").folder)["thumbnail"]
    assert "thumbnail" in made.item.assets


def test_layers_beside_the_instruments_bands_can_be_all_that_is_kept(sample, tmp_path):
    made = convert(read(sample("33")), tmp_path, Recipe(bands=selection({L2A: ["SCL"]})))
    assert list(made.item.assets) == ["SCL", "squares"] and made.item.geometry["coordinates"]


def test_a_product_of_which_nothing_is_kept_is_refused_with_what_there_is(sample, tmp_path):
    with pytest.raises(UnsupportedProduct, match=r"none of its bands is to be kept; .* of sentinel-2-l2a's: B"):
        convert(read(sample("33")), tmp_path, Recipe(bands=everywhere(["B10"])))


def test_the_item_names_its_profile_and_pixels_are_the_same_in_both(conversion, sample, tmp_path):
    scene = "34"
    whole = conversion(scene)
    made = convert(read(sample(scene)), tmp_path, Recipe(profile=Profile.COMPACT))
    assert whole.item.properties["kartotek:profile"] == "standard"
    assert made.item.properties["kartotek:profile"] == "compact"
    for name, path in files(made).items():
        if path.suffix == ".tif":
            with rasterio.open(path) as ours, rasterio.open(whole.folder / path.name) as other:
                assert (ours.read() == other.read()).all(), name
    same = {name for name, value in digests(tmp_path).items() if value == digests(whole.folder)[name]}
    assert same == {"thumbnail", "squares"}
    assert dataclasses.replace(made, item=whole.item, folder=whole.folder, timings=whole.timings) == whole
