import dataclasses

import numpy as np
import pyproj
import pytest
import rasterio
import shapely

from converters.extent import Extent
from kartotek import footprints
from kartotek.grids import NATIONAL, Grid


def valid_pixels(converted):
    """Where all bands of reflectance have data, at 10 m, by brute force: (mask, left, top)."""
    assets = [asset for asset in converted.item.assets.values() if "reflectance" in (asset.roles or ())]
    boxes = [asset.extra_fields["proj:bbox"] for asset in assets]
    left, top = min(box[0] for box in boxes), max(box[3] for box in boxes)
    right, bottom = max(box[2] for box in boxes), min(box[1] for box in boxes)
    whole = np.ones((round((top - bottom) / 10), round((right - left) / 10)), bool)
    for asset, box in zip(assets, boxes, strict=True):
        with rasterio.open(converted.folder / asset.href) as file:
            own = (file.read(1) != 0).repeat(round(file.transform.a / 10), 0).repeat(round(file.transform.a / 10), 1)
        row, column = round((top - box[3]) / 10), round((box[0] - left) / 10)
        mine = np.zeros_like(whole)
        mine[row : row + own.shape[0], column : column + own.shape[1]] = own
        whole &= mine
    return whole, left, top


def in_metres(footprint, spacing=0.0001):
    """The footprint in EPSG:3006 as software draws it: its edges are straight in degrees, so they are broken first."""
    change = pyproj.Transformer.from_crs(4326, 3006, always_xy=True)
    dense = shapely.segmentize(footprint, spacing)
    return shapely.transform(dense, lambda x, y: change.transform(x, y), interleaved=False)


def lost(footprint, mask, left, top):
    """Share of the valid area that the footprint leaves out, after checking that it covers nothing else."""
    drawn = in_metres(footprint)
    corners = shapely.get_coordinates(drawn)
    rows, columns = ((top - corners[:, 1]) // 10).astype(int), ((corners[:, 0] - left) // 10).astype(int)
    assert mask[rows, columns].all(), "a point of the outline lies on a pixel without data"
    east, north = left + 5 + 10 * np.arange(mask.shape[1]), top - 5 - 10 * np.arange(mask.shape[0])
    shapely.prepare(drawn)
    holes_and_outside = np.argwhere(~mask)
    inside = shapely.contains_xy(drawn, east[holes_and_outside[:, 1]], north[holes_and_outside[:, 0]])
    assert not inside.any(), f"{inside.sum()} pixels without data lie inside"
    return 1 - drawn.area / (100 * mask.sum())


OTHERS = ("33", "33 spring", "32", "35")


@pytest.mark.parametrize(
    "name", ["33 L1C", "swath", "34", "zip", *(pytest.param(one, marks=pytest.mark.full) for one in OTHERS)]
)
def test_the_footprint_lies_inside_the_valid_pixels_and_is_less_than_1_percent_smaller(conversion, name):
    converted = conversion(name)
    footprint = shapely.geometry.shape(converted.item.geometry)
    share = lost(footprint, *valid_pixels(converted))
    print(f"{name}: {100 * share:.2f} % lost, {len(shapely.get_coordinates(footprint))} corners")
    assert 0 <= share < 0.01
    assert footprint.is_valid and len(shapely.get_coordinates(footprint)) < 1000


def test_a_swath_s_edge_in_another_zone_is_followed(scenes, conversion):
    scene = dataclasses.replace(scenes["34"], pixels=1098, swath=((665_000, 6_638_000), (669_000, 6_651_000)))
    converted = conversion(scene)
    mask, left, top = valid_pixels(converted)
    assert 0.1 < mask.sum() / 1098**2 < 0.9
    share = lost(shapely.geometry.shape(converted.item.geometry), mask, left, top)
    print(f"{100 * share:.2f} % lost")
    assert 0 <= share < 0.01


def test_the_box_is_that_of_the_footprint(conversion):
    item = conversion("34").item
    assert item.bbox == pytest.approx(shapely.geometry.shape(item.geometry).bounds, abs=1e-7)


def test_a_small_corner_of_a_swath_is_a_small_triangle(scenes, conversion):
    """Of which only a hundredth of the granule is left."""
    scene = dataclasses.replace(scenes["swath"], pixels=600, swath=((376_500, 6_265_260), (377_460, 6_266_800)))
    converted = conversion(scene)
    mask, *_ = valid_pixels(converted)
    assert 0 < mask.sum() < 0.04 * 600 * 600
    drawn = in_metres(shapely.geometry.shape(converted.item.geometry))
    # The steps of 60 m pixels along the edge are a part of so small an area that can't be neglected.
    assert 0.9 < drawn.area / (100 * mask.sum()) <= 1


# Masks by themselves


def extent(mask, resolution=20):
    made = Extent()
    grid = Grid(
        crs=NATIONAL, left=600_000, top=6_600_000, resolution=resolution, columns=mask.shape[1], rows=mask.shape[0]
    )
    made.add(mask, grid)
    return made


def check(mask, polygon, most=0.01, resolution=20):
    times = resolution // 10
    share = lost(polygon, mask.repeat(times, 0).repeat(times, 1), 600_000, 6_600_000)
    assert 0 <= share < most
    return share


def test_a_lake_without_data_is_a_hole():
    mask = np.ones((500, 600), bool)
    y, x = np.mgrid[0:500, 0:600]
    mask[(x - 300) ** 2 + (y - 200) ** 2 < 60**2] = False
    found = extent(mask).outline().footprint()
    assert len(found.interiors) == 1
    check(mask, found)


def test_two_islands_are_two_polygons():
    mask = np.zeros((500, 600), bool)
    mask[20:400, 10:200] = mask[100:480, 300:590] = True
    found = extent(mask).outline().footprint()
    assert len(found.geoms) == 2
    check(mask, found)


def test_specks_are_overlooked():
    """A few lost pixels make no hole, and a few found ones no island."""
    mask = np.ones((1000, 1000), bool)
    mask[:, :300] = False
    mask[500, 600:605] = False
    mask[100, 50:55] = True
    found = extent(mask).outline().footprint()
    assert found.geom_type == "Polygon" and len(found.interiors) == 0 and len(shapely.get_coordinates(found)) < 20


def test_where_one_band_has_no_data_the_scene_has_none():
    """Bands of 10, 20 and 60 m on grids with other corners."""
    rng = np.random.default_rng(0)
    whole, left, top = np.ones((900, 900), bool), 600_000, 6_600_000
    made = Extent()
    for resolution, row, column in ((60, 3, 2), (10, 40, 0), (20, 0, 15)):
        count = 9000 // resolution
        band = np.ones((count, count), bool)
        band[:row, :] = band[:, :column] = False
        band[count // 2 :, rng.integers(count * 3 // 4, count) :] = False
        margin = 600 // resolution  # a file is larger than what is in it
        padded = np.pad(band, margin)
        grid = Grid(crs=NATIONAL, left=left - 600, top=top + 600, resolution=resolution,
                    columns=padded.shape[1], rows=padded.shape[0])  # fmt: skip
        made.add(padded, grid)
        times = resolution // 10
        whole &= band.repeat(times, 0).repeat(times, 1)
    assert 0 <= lost(made.outline().footprint(), whole, left, top) < 0.01


def test_bands_that_do_not_meet_leave_nothing():
    made = extent(np.ones((50, 50), bool))
    grid = Grid(crs=NATIONAL, left=700_000, top=6_600_000, resolution=20, columns=50, rows=50)
    made.add(np.ones((50, 50), bool), grid)
    assert made.outline().footprint().is_empty


def test_a_scene_without_data_has_no_footprint():
    assert Extent().outline().footprint().is_empty
    assert extent(np.zeros((50, 50), bool)).outline().footprint().is_empty


@pytest.mark.parametrize("side", [1, 3, 20])
def test_a_scene_of_a_few_pixels_has_a_footprint(side):
    mask = np.zeros((50, 50), bool)
    mask[10 : 10 + side, 10 : 10 + side] = True
    check(mask, extent(mask).outline().footprint())


@pytest.mark.parametrize("slope", [0.05, 0.5, 3])
@pytest.mark.parametrize("resolution", [pytest.param(20, marks=pytest.mark.full), 60])
def test_the_stairs_of_a_slanting_edge_are_smoothed(slope, resolution):
    count = 60_000 // resolution
    y, x = np.mgrid[0:count, 0:count]
    mask = x > y * slope * 0.9 - 40 * slope
    found = extent(mask, resolution).outline().footprint()
    assert len(shapely.get_coordinates(found)) < 800
    check(mask, found, resolution=resolution)


def test_the_footprint_of_a_whole_granule_at_kiruna_is_inside():
    """A granule of 110 km in the far north-west, where straight lines bend most between metres and degrees."""
    mask = np.zeros((5632, 5632), bool)
    mask[60:5550, 70:5560] = True
    made = Extent()
    grid = Grid(crs=NATIONAL, left=716_800, top=7_618_560, resolution=20, columns=5632, rows=5632)
    made.add(mask, grid)
    found = made.outline().footprint()
    drawn = in_metres(found, 0.001)
    seen = shapely.box(716_800 + 70 * 20, 7_618_560 - 5550 * 20, 716_800 + 5560 * 20, 7_618_560 - 60 * 20)
    assert seen.contains(drawn) and 0.99 < drawn.area / seen.area < 1
    assert len(shapely.get_coordinates(found)) < 300
    assert footprints.valid(found).equals(found)
