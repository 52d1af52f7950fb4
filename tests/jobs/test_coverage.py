"""Ground that is covered, against brute force: no point of what is left out lies further off than a pixel."""

import math
import random

import numpy as np
import pyproj
import pytest
import shapely

from converters import samples, sensors
from converters.extent import stated
from jobs.coverage import TOLERANCE, covering, ground

NEAR = 33, 34
"""Zones that meet at 18 degrees east."""


def granule(zone, west, south, width, height, tilt=0.0):
    """An area of a zone, metres from where 18 E meets 60 N, turned by degrees."""
    to_zone = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{32600 + zone}", always_xy=True)
    east, north = to_zone.transform(18.0, 60.0)
    area = shapely.affinity.rotate(shapely.box(west, south, west + width, south + height), tilt, origin=(0, 0))
    return shapely.set_srid(shapely.affinity.translate(area, east, north), 32600 + zone)


def moved(points, source, target):
    transformer = pyproj.Transformer.from_crs(f"EPSG:{source}", f"EPSG:{target}", always_xy=True)
    return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))


def samples_of(area, chance, count=400):
    """Points in an area: on its rim, where it matters, and inside."""
    west, south, east, north = area.bounds
    inside = shapely.points([(chance.uniform(west, east), chance.uniform(south, north)) for _ in range(count)])
    rim = [area.exterior.interpolate(chance.random(), normalized=True) for _ in range(count)]
    return shapely.get_coordinates([*inside[shapely.contains(area, inside)], *rim])


def brute_force(wanted, others, chance):
    """How far the worst point of an area lies from all others, in metres; each is asked in its own zone."""
    points, source = samples_of(wanted, chance), shapely.get_srid(wanted)
    away = np.full(len(points), math.inf)
    for other in others:
        own = shapely.points(moved(points, source, shapely.get_srid(other)))
        away = np.minimum(away, shapely.distance(other, own))
    return away.max()


def test_what_is_covered_and_what_is_not_agrees_with_points(seed=5):
    """300 pairs of zones: one in three is made to be covered, or nearly."""
    chance, answers = random.Random(seed), []
    for _ in range(300):
        zone = chance.choice(NEAR)
        width = chance.uniform(1_000, 60_000)
        wanted = granule(
            zone, chance.uniform(-30_000, 0), chance.uniform(-30_000, 0), width, width, chance.uniform(-9, 9)
        )
        others = {
            str(number): granule(chance.choice(NEAR), *(chance.uniform(-70_000, -20_000) for _ in "xy"),
                                 *(chance.uniform(40_000, 120_000) for _ in "xy"), chance.uniform(-9, 9))
            for number in range(chance.randint(1, 4))
        }  # fmt: skip
        names = covering(wanted, others)
        worst = brute_force(wanted, others.values(), chance)
        if names is not None:
            assert worst <= TOLERANCE, (wanted, others)
            assert brute_force(wanted, [others[name] for name in names], chance) <= TOLERANCE
        elif worst == 0:  # a strip that no point has met
            left = wanted
            for other in others.values():
                left = left - shapely.Polygon(
                    moved(
                        shapely.get_coordinates(other.segmentize(200)),
                        shapely.get_srid(other),
                        shapely.get_srid(wanted),
                    )
                )
            assert left.area < 0.05 * wanted.area
        answers.append(names is not None)
    assert 40 < sum(answers) < 260, "both answers occur"


@pytest.mark.parametrize(("gap", "wanted"), [(TOLERANCE - 1, ["a", "b"]), (TOLERANCE + 1, None)])
def test_a_pixel_decides(gap, wanted):
    """Of what the same zone shows: a gap between two, and a third far away."""
    others = {"a": granule(34, 0, 0, 12_000, 20_000), "b": granule(34, 12_000 + gap, 0, 8_000 - gap, 20_000),
              "far": granule(33, 200_000, 0, 5, 5)}  # fmt: skip
    assert covering(granule(34, 0, 0, 20_000, 20_000), others) == wanted


def test_nothing_is_covered_by_nothing():
    assert covering(granule(33, 0, 0, 100, 100), {}) is None


def test_the_ground_of_a_whole_granule_is_its_square(tmp_path):
    """The agency states four corners, whose straight lines in degrees lie up to 500 m beside the pixels' edges."""
    scene = samples.scenes()[1]
    product = sensors.read(samples.write(scene, tmp_path))
    grid = product.layers[0].grid.bounds
    square = shapely.box(grid.left, grid.bottom, grid.right, grid.top)
    assert square.contains(found := ground(stated(product))) and shapely.get_srid(found) == 32633
    assert shapely.hausdorff_distance(found, square) < 30, "the samples state what lies two pixels within"
