"""The tile matrix sets beside their documents, and those that a setting adds."""

from functools import cache

import morecantile
import pyproj
import pytest

from kartotek import grids, matrices
from kartotek.errors import BadSettings, NotFound
from kartotek.grids import BLOCK, NATIONAL, Bounds


@pytest.mark.parametrize(
    ("name", "cell", "matrix", "tile", "corner", "deepest", "finest"),
    [
        ("SWEREF99TM", 4096, (4, 4), 256, (-1_200_000, 8_500_000), 13, 0.5),
        ("SWEREF99TM10", 2560, (1, 2), 512, (0, 7_864_320), 8, 10),
    ],
)
def test_tile_matrix_sets_are_as_they_are_documented(name, cell, matrix, tile, corner, deepest, finest):
    tms = matrices.served()[name]
    assert str(tms.id) == name and (tms.minzoom, tms.maxzoom) == (0, deepest)
    for zoom in range(deepest + 1):
        level = tms.matrix(zoom)
        assert level.cellSize == pytest.approx(cell / 2**zoom, rel=1e-12)
        assert (level.matrixWidth, level.matrixHeight) == (matrix[0] * 2**zoom, matrix[1] * 2**zoom)
        assert (level.tileWidth, level.tileHeight) == (tile, tile)
        # The document's axes are the CRS's: northing, easting.
        assert tuple(level.pointOfOrigin) == (corner[1], corner[0])
    assert tms.matrix(deepest).cellSize == finest


@pytest.mark.parametrize(("zoom", "resolution"), [(8, 10), (7, 20), (6, 40)])
def test_the_tiles_of_the_native_set_are_blocks_of_files(zoom, resolution):
    """Edges of tiles at 10, 20 and 40 m lie on edges of the blocks of 10 and 20 m files and their overviews."""
    tms = matrices.served()["SWEREF99TM10"]
    for delivered in (10, 20):
        if delivered > resolution:
            continue
        file = grids.snapped(NATIONAL, delivered, Bounds(600_000, 6_590_220, 709_800, 6_700_020))
        block = BLOCK * resolution
        for column, row in ((120, 230), (121, 231)):
            bounds = tms.xy_bounds(column >> (8 - zoom), row >> (8 - zoom), zoom)
            assert (bounds.left - file.left) % block == 0 and (file.top - bounds.top) % block == 0
            assert bounds.right - bounds.left == block == bounds.top - bounds.bottom


def test_the_documents_of_the_national_sets_name_the_order_of_their_axes():
    """Without it QGIS draws nothing (or takes eastings for northings)."""
    for name in ("SWEREF99TM", "SWEREF99TM10"):
        tms = matrices.served()[name]
        assert [axis.upper()[0] for axis in tms.orderedAxes or ()] == ["N", "E"]


@pytest.fixture
def serving(monkeypatch):
    """Sets that are added are there until the test ends."""
    usual = dict(matrices.served())
    monkeypatch.setattr(matrices, "_served", cache(lambda: usual))


def test_a_setting_names_others_by_their_ids_or_documents(serving, tmp_path):
    document = matrices.find("SWEREF99TM10").model_dump_json(exclude_none=True).replace("SWEREF99TM10", "County")
    (tmp_path / "county.json").write_text(document)
    matrices.serve_also(["EuropeanETRS89_LAEAQuad", str(tmp_path / "county.json")])
    assert list(matrices.served())[:3] == ["WebMercatorQuad", "SWEREF99TM", "SWEREF99TM10"]
    assert matrices.find("EuropeanETRS89_LAEAQuad").crs.to_epsg() == 3035
    assert matrices.find("County").tileMatrices == matrices.find("SWEREF99TM10").tileMatrices


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Nowhere", "no 'Nowhere'; there are: CanadianNAD83_LCC, EuropeanETRS89_LAEAQuad, .*, or FILE.json"),
        ("GNOSISGlobalGrid", "GNOSISGlobalGrid: its rows have tiles of several widths"),
        ("/nowhere/there.json", "/nowhere/there.json: .*No such file"),
        ("https://example.org/tms.json", "No such file"),
    ],
)
def test_a_set_that_we_cannot_cut_is_told_before_anything_is_served(serving, name, words):
    with pytest.raises(BadSettings, match=f"KARTOTEK_TILE_MATRIX_SETS: .*{words}|KARTOTEK_TILE_MATRIX_SETS: {words}"):
        matrices.serve_also([name])


def test_a_crs_that_nobody_has_a_code_for_is_told(serving, tmp_path):
    here = pyproj.CRS.from_proj4("+proj=laea +lat_0=61.5 +lon_0=16.2 +ellps=GRS80 +units=m +no_defs")
    tms = morecantile.TileMatrixSet.custom([-1e6, -1e6, 1e6, 1e6], here, maxzoom=3, id="Mine", title="Mine")
    (tmp_path / "mine.json").write_text(tms.model_dump_json(exclude_none=True))
    with pytest.raises(BadSettings, match=r"mine\.json: its CRS has no code of EPSG's or OGC's"):
        matrices.serve_also([str(tmp_path / "mine.json")])


def test_a_document_that_is_none_is_told(serving, tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"type": "Feature"}')
    for name in ("broken", "other"):
        with pytest.raises(BadSettings, match=f"KARTOTEK_TILE_MATRIX_SETS: .*{name}.json: "):
            matrices.serve_also([str(tmp_path / f"{name}.json")])


def test_an_unknown_set_is_told_with_those_that_there_are():
    with pytest.raises(NotFound, match="no tile matrix set 'Q'; there are: WebMercatorQuad, SWEREF99TM, SWEREF99TM10"):
        matrices.find("Q")
