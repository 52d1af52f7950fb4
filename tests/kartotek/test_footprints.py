import math
import warnings

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon

from kartotek import footprints, grids
from kartotek.grids import Bounds

SQUARE = [55.0, 12.0, 55.0, 13.0, 56.0, 13.0, 56.0, 12.0, 55.0, 12.0]


def anticlockwise(polygon):
    return shapely.is_ccw(polygon.exterior) and not any(shapely.is_ccw(ring) for ring in polygon.interiors)


def test_positions_are_latitude_before_longitude():
    assert footprints.from_positions(SQUARE).bounds == (12, 55, 13, 56)


def test_positions_may_have_a_height_of_zero():
    flat = [number for pair in zip(SQUARE[::2], SQUARE[1::2], strict=True) for number in (*pair, 0.0)]
    assert footprints.from_positions(flat).equals(footprints.from_positions(SQUARE))


def test_a_ring_need_not_be_closed():
    assert footprints.from_positions(SQUARE[:-2]).equals(footprints.from_positions(SQUARE))


@pytest.mark.parametrize("positions", [[], [55.0], [55.0, 12.0, 56.0, 13.0], [55.0, 12.0, 56.0, 13.0, 57.0]])
def test_what_is_no_ring_is_refused(positions):
    with pytest.raises(ValueError):
        footprints.from_positions(positions)


@pytest.mark.parametrize("ring", [SQUARE, [*SQUARE[8:10], *SQUARE[6:8], *SQUARE[4:6], *SQUARE[2:4], *SQUARE[:2]]])
def test_rings_are_wound_as_geojson_says(ring):
    assert anticlockwise(footprints.from_positions(ring))


def test_holes_are_wound_the_other_way():
    hole = Polygon(shapely.box(0, 0, 10, 10).exterior, [shapely.box(2, 2, 4, 4).exterior])
    assert anticlockwise(footprints.valid(hole)) and footprints.valid(hole).area == pytest.approx(96)


def test_a_granule_across_180_degrees_is_cut_there():
    # The ring of a genuine granule (01WCP), clockwise as the agency winds it, with and without the sign turned.
    ring = [66.7, 178.1, 66.6, -179.4, 65.7, -179.6, 65.8, 178.0, 66.7, 178.1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = footprints.from_positions(ring)
    assert isinstance(found, MultiPolygon) and found.is_valid and len(found.geoms) == 2
    assert sorted(part.bounds[::2] for part in found.geoms) == [(-180, -179.4), (178.0, 180)]
    beyond = [number if k % 2 == 0 or number > 0 else number + 360 for k, number in enumerate(ring)]
    assert footprints.from_positions(beyond).equals_exact(found, 1e-6)


def test_a_ring_that_crosses_itself_is_mended():
    bow = footprints.from_positions([0, 0, 1, 1, 0, 1, 1, 0, 0, 0])
    assert bow.is_valid and bow.area == pytest.approx(0.5)


def test_lines_and_points_that_mending_leaves_are_dropped():
    spike = Polygon([(0, 0), (1, 0), (1, 1), (1, 3), (1, 1), (0, 1)])
    found = footprints.valid(spike)
    assert isinstance(found, Polygon) and found.area == pytest.approx(1) and found.bounds == (0, 0, 1, 1)


def test_nothing_stays_nothing():
    assert footprints.valid(Polygon()).is_empty
    assert footprints.valid(Polygon([(0, 0), (1, 1), (0, 0)])).is_empty


@given(st.floats(-178, 178), st.floats(-80, 79), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(3, 12))
def test_corners_are_rounded_to_a_centimetre(west, south, width, height, corners):
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    shape = Polygon(np.c_[west + width * np.cos(angles), south + height * np.sin(angles)])
    found = footprints.valid(shape)
    numbers = shapely.get_coordinates(found)
    np.testing.assert_array_equal(numbers, np.round(numbers, footprints.DIGITS))
    assert found.is_valid and found.symmetric_difference(shape).area <= shape.length * 1e-6


def farthest(outline, reference):
    return max(reference.exterior.distance(point) for point in shapely.points(shapely.get_coordinates(outline)))


@pytest.mark.parametrize(("left", "top"), [(300_000, 6_200_040), (800_000, 7_600_020), (499_980, 6_900_000)])
def test_a_granule_s_outline_in_degrees_is_a_metre_off_at_most(left, top):
    """Between the corners too, since edges are broken every 5 km."""
    area = footprints.box(Bounds(left, top - 109_800, left + 109_800, top))
    footprint = footprints.from_projected(area, grids.NATIONAL)
    back = grids.transformer("EPSG:4326", grids.NATIONAL)
    dense = shapely.transform(
        shapely.segmentize(footprint, 0.001), lambda x, y: back.transform(x, y), interleaved=False
    )
    assert farthest(dense.exterior, area) < 2.0
    assert dense.area == pytest.approx(area.area, rel=1e-4)


def test_to_projected_is_the_way_back():
    area = footprints.box(Bounds(600_000, 6_600_000, 700_000, 6_700_000))
    back = footprints.to_projected(footprints.from_projected(area, grids.NATIONAL), grids.NATIONAL)
    assert back.symmetric_difference(area).area / area.area < 1e-4


def test_a_box_is_the_bounds():
    assert footprints.box(Bounds(1, 2, 3, 5)).bounds == (1, 2, 3, 5)


def test_edges_are_broken_as_geos_breaks_them_in_less_time():
    """Of each ring, without a look at whether they cross."""
    hole = shapely.Polygon([(0, 0), (4, 0), (4, 3)], [[(2, 0.5), (3, 1), (3.5, 0.7)]])
    for area in (hole, shapely.MultiPolygon([hole, shapely.box(5, 0, 6, 1)]), shapely.LineString([(0, 0), (1, 1)])):
        assert shapely.equals_exact(footprints.dense(area, 0.3), shapely.segmentize(area, 0.3))
    assert footprints.dense(shapely.Polygon(), 0.3).is_empty
