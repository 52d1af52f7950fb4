"""Items on each other: who is opened, and whose pixels are seen, beside a loop that looks at one after the other."""

import itertools

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from kartotek.errors import BadRequest, NotFound
from kartotek.grids import NATIONAL, Grid
from kartotek.stopwatch import Stopwatch
from kartotek.storage import FolderStorage
from pixels import stack
from pixels.blocks import Blocks
from pixels.coverage import REACH
from pixels.stack import Candidate

TARGET = Grid(crs=NATIONAL, left=600_000, top=6_700_000, resolution=40, columns=160, rows=130)
TO_LONLAT = Transformer.from_crs(NATIONAL, "EPSG:4326", always_xy=True)


def centres():
    """Eastings and northings of the target's pixels, (rows, columns) each."""
    x = TARGET.left + (np.arange(TARGET.columns) + 0.5) * TARGET.resolution
    y = TARGET.top - (np.arange(TARGET.rows) + 0.5) * TARGET.resolution
    return np.meshgrid(x, y)


def pixels_in(box):
    """Where the centres of the target's pixels lie in a box of its CRS."""
    x, y = centres()
    left, bottom, right, top = box
    return (y >= bottom) & (y <= top) & (x >= left) & (x <= right)


def some(chance, count):
    """Boxes here and there, some over all of the target, and what of each has data: not what its clouds hide."""
    found = []
    for _ in range(count):
        x, y = chance.uniform(-3000, 7000), chance.uniform(-6000, 3000)
        wide, high = chance.uniform(500, 9000, 2)
        if chance.random() < 0.15:
            x, y, wide, high = -1000, -7000, 9000, 9000
        box = (TARGET.left + x, TARGET.top + y, TARGET.left + x + wide, TARGET.top + y + high)
        data = pixels_in(box)
        if chance.random() < 0.4:
            data &= chance.random((TARGET.rows, TARGET.columns)) < chance.random()
        found.append((box, data))
    return found


def candidates(items):
    for number, (box, data) in enumerate(items):
        outline = shapely.transform(shapely.segmentize(shapely.box(*box), 200), TO_LONLAT.transform, interleaved=False)
        yield Candidate(number=number, footprint=outline, open=lambda data=data: data)


def one_by_one(items, most):
    """Each is opened that may fill a hole, until there is none."""
    source, opened = np.full(TARGET.shape, -1), []
    for number, (box, data) in enumerate(items):
        if len(opened) == most or (source >= 0).all():
            break
        # As its outline comes back from longitude and latitude.
        outline = next(candidates([(box, data)])).outline(NATIONAL, 0.0)[0]
        may = outline.buffer(REACH + 2 * TARGET.resolution, join_style="mitre")
        if TARGET.resolution > 200:
            may = outline.buffer(-TARGET.resolution, join_style="mitre")
        if not shapely.contains_xy(may, *centres())[source < 0].any():
            continue
        opened.append(number)
        source[(source < 0) & data] = number
    return source, opened


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_who_is_opened_is_the_same_as_one_by_one(tmp_path, seed, remote):
    chance = np.random.default_rng(seed)
    items, most = some(chance, int(chance.integers(1, 25))), int(chance.choice([3, 64]))
    storage = FolderStorage(tmp_path)
    storage.remote = remote  # then they are read side by side
    blocks = Blocks(storage, memory=1 << 20)
    read = []

    def shown(data, holes):
        read.append(data)
        return (np.where(data, 7, 0),), data

    found = stack.first(blocks, candidates(items), TARGET, most, shown, Stopwatch())
    source, opened = one_by_one(items, most)
    assert list(found.opened) == opened and len(read) == len(opened)
    assert np.array_equal(found.source, source)
    assert found.channels is None if not opened else np.array_equal(found.channels[0] == 7, source >= 0)


def test_those_that_lie_side_by_side_are_read_at_once(tmp_path):
    """Eight stripes beside each other are one group; what lies under them waits, and is not opened."""
    wide = TARGET.columns * TARGET.resolution / 8
    low, high = TARGET.top - 9000, TARGET.top + 3000
    stripes = [(TARGET.left + number * wide, low, TARGET.left + (number + 1) * wide, high) for number in range(8)]
    items = [(box, pixels_in(box)) for box in [*stripes, (TARGET.left - 9e3, low, TARGET.left + 9e4, high)]]
    groups = []

    class Noted(Blocks):
        def side_by_side(self, work, given):
            groups.append(len(given))
            return super().side_by_side(work, given)

    blocks = Noted(FolderStorage(tmp_path), memory=1 << 20)
    found = stack.first(blocks, candidates(items), TARGET, 64, lambda data, holes: ((data,), data), Stopwatch())
    assert groups == [8] and found.opened == tuple(range(8)) and (found.source >= 0).all()


def test_items_that_lack_a_layer_are_passed_over_unless_all_do(tmp_path):
    blocks = Blocks(FolderStorage(tmp_path), memory=1 << 20)
    whole = (TARGET.left - 3e3, TARGET.top - 9e3, TARGET.left + 9e3, TARGET.top + 3e3)
    outline = next(candidates([(whole, None)])).footprint

    def lacking():
        raise NotFound("no layer")

    def one(number, opening):
        return Candidate(number=number, footprint=outline, open=opening)

    def shown(data, holes):
        return (data,), np.ones(TARGET.shape, np.bool_)

    there = one(1, lambda: np.zeros(TARGET.shape))
    found = stack.first(blocks, [one(0, lacking), there], TARGET, 9, shown, Stopwatch())
    assert found.opened == (1,)
    with pytest.raises(NotFound, match="no layer"):
        stack.first(blocks, [one(0, lacking)], TARGET, 9, shown, Stopwatch())
    uneven = one(2, lambda: np.zeros((*TARGET.shape, 3)))
    nothing = np.zeros(TARGET.shape, np.bool_)
    with pytest.raises(BadRequest, match=r"of some items and .* of others"):
        stack.first(blocks, [there, uneven], TARGET, 9, lambda data, holes: ((data,), nothing), Stopwatch())


@pytest.mark.parametrize("count", range(1, 13))
def test_a_network_sorts_whatever_there_is(count):
    """What sorts all rows of zeros and ones sorts all numbers (Knuth 5.3.4, Z)."""
    layers = np.array(list(itertools.product((0, 1), repeat=count)), np.float32).T.copy()
    wanted = np.sort(layers, axis=0)
    stack._sort(layers)
    assert np.array_equal(layers, wanted)


@pytest.mark.parametrize("count", [17, 31, 32])
def test_many_items_are_sorted_too(count):
    layers = np.random.default_rng(count).normal(size=(count, 40, 30)).astype(np.float32)
    wanted = np.sort(layers, axis=0)
    stack._sort(layers)
    assert np.array_equal(layers, wanted)
