"""Items on each other: who is opened, and whose pixels are seen, beside a loop that looks at one after the other."""

import dataclasses
import itertools

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from kartotek.errors import BadFile, BadRequest, NotFound, NotStored
from kartotek.grids import NATIONAL, Grid, unit
from kartotek.stopwatch import Stopwatch
from kartotek.storage import FolderStorage
from pixels import stack
from pixels.blocks import Blocks
from pixels.coverage import REACH, Coverage
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


class Thing:
    """What has data somewhere; of one layer."""

    coverage = Coverage(items=((TARGET,),))

    def __init__(self, data):
        self.data = data


def candidates(items):
    for number, (box, data) in enumerate(items):
        outline = shapely.transform(shapely.segmentize(shapely.box(*box), 200), TO_LONLAT.transform, interleaved=False)
        yield Candidate(number=number, footprint=outline, open=lambda data=data: Thing(data))


def pixels(thing, holes):
    """What is read of a thing."""
    return (thing.data.copy(),), thing.data


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

    def shown(thing, holes):
        read.append(thing)
        return (np.where(thing.data, 7, 0),), thing.data

    found = stack.first(blocks, candidates(items), TARGET, most, shown, Stopwatch())
    source, opened = one_by_one(items, most)
    assert list(found.opened) == opened and len(read) == len(opened)
    assert np.array_equal(found.source, source)
    assert found.channels is None if not opened else np.array_equal(found.channels[0] == 7, source >= 0)


@pytest.mark.parametrize(
    ("remote", "layers", "wanted"),
    [(True, 1, [8]), (True, 130, [3, 3, 2]), (True, 20_000, [1] * 8), (False, 1, [1] * 8)],
)
def test_those_that_lie_side_by_side_are_read_at_once(tmp_path, monkeypatch, remote, layers, wanted):
    """Eight stripes beside each other are one group; what lies under them waits, and is not opened.

    They are read in parts where all would take too much memory, and by themselves where that brings nothing.
    """
    monkeypatch.setattr(Thing, "coverage", Coverage(items=((TARGET,) * layers,)))
    wide = TARGET.columns * TARGET.resolution / 8
    low, high = TARGET.top - 9000, TARGET.top + 3000
    stripes = [(TARGET.left + number * wide, low, TARGET.left + (number + 1) * wide, high) for number in range(8)]
    items = [(box, pixels_in(box)) for box in [*stripes, (TARGET.left - 9e3, low, TARGET.left + 9e4, high)]]
    storage, parts = FolderStorage(tmp_path), []
    storage.remote = remote

    class Noted(Blocks):
        def side_by_side(self, work, given):
            parts.append(len(given))
            return super().side_by_side(work, given)

    found = stack.first(Noted(storage, memory=1 << 20), candidates(items), TARGET, 64, pixels, Stopwatch())
    assert parts == wanted and found.opened == tuple(range(8)) and (found.source >= 0).all()


@pytest.mark.parametrize("kind", [NotStored, BadFile, NotFound])
@pytest.mark.parametrize("wrong", [{0}, {1}, {0, 2}, {0, 1, 2}])
def test_what_cannot_be_read_is_passed_over_and_told_of(tmp_path, kind, wrong):
    whole = (TARGET.left - 3e3, TARGET.top - 9e3, TARGET.left + 9e3, TARGET.top + 3e3)
    things = [Thing(np.ones(TARGET.shape, np.bool_)) for _ in range(3)]
    things[1].data[:40] = False
    blocks, asked = Blocks(FolderStorage(tmp_path), memory=1 << 20), []

    def read(thing, holes):
        asked.append(thing)
        if things.index(thing) in wrong:
            raise kind("it is gone")
        return pixels(thing, holes)

    def stacked():
        three = zip(candidates([(whole, None)] * 3), things, strict=True)
        each = [dataclasses.replace(one, open=lambda thing=thing: thing) for one, thing in three]
        return stack.first(blocks, each, TARGET, 9, read, Stopwatch())

    if wrong == {0, 1, 2}:
        with pytest.raises(kind, match="it is gone"):
            stacked()
        return
    found = stacked()
    assert found.opened == tuple(map(things.index, asked)) and set(found.unread) == wrong & set(found.opened)
    left = [number for number in range(3) if number not in wrong]
    expected = np.where(things[left[0]].data, left[0], left[-1] if len(left) > 1 else -1)
    assert np.array_equal(found.source, expected)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", NATIONAL])
def test_items_far_away_are_not_opened_in_any_crs(tmp_path, crs):
    """Whatever a unit of it is."""
    places = [(13.0, 56.0), (20.0, 66.0), (18.0, 60.0), (18.003, 60.0), (18.1, 60.0)]
    boxes = [shapely.box(x, y, x + 0.3, y + 0.3) for x, y in places]
    change = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    left, top = change.transform(18.01, 60.2)
    step = 10 / unit(crs)
    target = Grid(crs=crs, left=left, top=top, resolution=step, columns=256, rows=256)
    data = Thing(np.ones(target.shape, np.bool_))
    each = [Candidate(number=n, footprint=box, open=lambda: data) for n, box in enumerate(boxes)]
    found = stack.first(Blocks(FolderStorage(tmp_path), memory=1 << 20), each, target, 1, pixels, Stopwatch())
    assert found.opened == (2,)


@pytest.mark.parametrize("wide", [100, 900, 2500, 9000])
def test_what_is_narrower_than_pixels_is_seen_at_coarse_levels(tmp_path, wide):
    target = Grid(crs=NATIONAL, left=600_000, top=6_700_000, resolution=1000, columns=64, rows=64)
    box = (620_400, 6_660_400, 620_400 + wide, 6_680_400)
    data = Thing(np.zeros(target.shape, np.bool_))
    data.data[20:40, 20:22] = True
    [one] = candidates([(box, None)])
    each = [dataclasses.replace(one, open=lambda: data)]
    found = stack.first(Blocks(FolderStorage(tmp_path), memory=1 << 20), each, target, 1, pixels, Stopwatch())
    assert found.opened == (0,) and np.array_equal(found.source >= 0, data.data)


def test_items_that_lack_a_layer_are_passed_over_unless_all_do(tmp_path):
    blocks = Blocks(FolderStorage(tmp_path), memory=1 << 20)
    whole = (TARGET.left - 3e3, TARGET.top - 9e3, TARGET.left + 9e3, TARGET.top + 3e3)
    outline = next(candidates([(whole, None)])).footprint

    def lacking():
        raise NotFound("no layer")

    def one(number, opening):
        return Candidate(number=number, footprint=outline, open=opening)

    def shown(thing, holes):
        return (thing.data.copy(),), np.ones(TARGET.shape, np.bool_)

    there = one(1, lambda: Thing(np.zeros(TARGET.shape)))
    found = stack.first(blocks, [one(0, lacking), there], TARGET, 9, shown, Stopwatch())
    assert found.opened == (1,)
    with pytest.raises(NotFound, match="no layer"):
        stack.first(blocks, [one(0, lacking)], TARGET, 9, shown, Stopwatch())
    uneven = one(2, lambda: Thing(np.zeros((*TARGET.shape, 3))))
    nothing = np.zeros(TARGET.shape, np.bool_)
    with pytest.raises(BadRequest, match=r"of some items and .* of others"):
        stack.first(blocks, [there, uneven], TARGET, 9, lambda thing, holes: ((thing.data,), nothing), Stopwatch())


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
