"""The compiled loops against those of NumPy: the same to the last bit."""

import dataclasses
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import cog
from converters.convert import Recipe, convert
from converters.sensors import read
from converters.warp import Placing
from kartotek import fast, squares
from kartotek.grids import NATIONAL, Grid
from kartotek.indices import COUNTED
from kartotek.product import ClassValue, Kind, LayerType

if importlib.util.find_spec("numba") is None:
    pytest.skip("Numba is not installed (the extra `fast`)", allow_module_level=True)

TYPES = ["uint8", "uint16"]


def both(something):
    """What it gives with NumPy and compiled."""
    fast.load()
    compiled, fast._kernels = fast._kernels, None
    try:
        plain = something()
    finally:
        fast._kernels = compiled
    assert fast.kernels(np.dtype("uint16")) is not None
    return plain, something()


def kind(dtype, nodata, kind=Kind.MEASUREMENT):
    return LayerType(
        name="X", kind=kind, resolution=10, title="", data_type=dtype, nodata=nodata,
        classes=(ClassValue(value=7, name="x", description="", color="000000"),) if kind is Kind.CLASSES else (),
    )  # fmt: skip


def numbers(seed, dtype, nodata, shape, share):
    """Noise with holes, close to the limits of the type and to nodata too."""
    rng = np.random.default_rng(seed)
    highest = np.iinfo(dtype).max
    low = rng.choice([0, highest - 3, max(0, int(nodata) - 2)])
    values = rng.integers(low, min(low + rng.choice([5, 300, highest]), highest), shape, endpoint=True).astype(dtype)
    values[rng.random(shape) < share] = nodata
    return values


cases = given(
    seed=st.integers(0, 2**32), dtype=st.sampled_from(TYPES), nodata=st.sampled_from([0, 1, 100, 255]),
    share=st.sampled_from([0, 0.01, 0.3, 0.9, 1]),
)  # fmt: skip
often = settings(max_examples=40, deadline=None)


@often
@cases
@pytest.mark.parametrize("sort", [Kind.MEASUREMENT, Kind.CLASSES])
def test_warps_are_equal(seed, dtype, nodata, share, sort):
    """At every edge of the source, and where it is so small that all is edge."""
    side = 3 + seed % 150
    source = Grid(crs="EPSG:32634", left=300_000, top=6_700_020, resolution=10, columns=side, rows=side + 7)
    pixels = numbers(seed, dtype, nodata, (2, side + 7, side), share)
    placing = Placing(source, kind(dtype, nodata, sort), NATIONAL)
    rows, columns = placing.grid.shape
    top, left = max(0, rows - 300), max(0, columns - 300) // 16 * 16
    plain, compiled = both(lambda: placing.block(pixels, slice(top, rows), slice(left, columns)))
    assert np.array_equal(plain, compiled) and plain.dtype == compiled.dtype


@often
@cases
def test_overviews_are_equal(seed, dtype, nodata, share):
    depth = seed % 7
    pixels = numbers(seed, dtype, nodata, (1, 2**depth * 3, 2**depth * (1 + seed % 3)), share)
    wide = np.zeros((1, 400, 400), dtype)
    wide[:, 50 : 50 + pixels.shape[1], 7 : 7 + pixels.shape[2]] = pixels
    part = wide[:, 50 : 50 + pixels.shape[1], 7 : 7 + pixels.shape[2]]  # a block is a part of rows that are longer
    plain, compiled = both(lambda: cog.pyramid(part, kind(dtype, nodata), depth=depth))
    assert all(np.array_equal(one, other) for one, other in zip(plain, compiled, strict=True))


@often
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(TYPES), rows=st.integers(1, 512), columns=st.integers(1, 512))
def test_blocks_are_equal(seed, dtype, rows, columns):
    pixels = numbers(seed, dtype, 0, (1, rows, columns), 0.1)
    plain, compiled = both(lambda: cog.encode(pixels))
    assert plain == compiled


@often
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(TYPES), share=st.sampled_from([0, 0.3, 1]))
def test_squares_are_equal(seed, dtype, share):
    """Of values below zero, of one square and of many, and of bands without a number for no data."""
    grid = Grid(crs=NATIONAL, left=301_000, top=6_700_000, resolution=20, columns=1 + seed % 600, rows=1 + seed % 300)
    bands = {
        name: squares.Physical(
            numbers=numbers(seed + n, dtype, 0, grid.shape, share), nodata=(0, None, 0, -9999)[n], scale=0.0001,
            offset=-0.1,
        )
        for n, name in enumerate(("green", "red", "nir", "swir16"))
    }  # fmt: skip
    chosen = np.random.default_rng(seed)
    mask = chosen.integers(0, 4, grid.shape, np.uint8)
    plain, compiled = both(
        lambda: [
            *squares.count(grid, valid=mask > 0, mask=mask, clear=[1, 2], bands=bands, indices=[*COUNTED.values()])
        ]
    )
    assert plain == compiled and (plain or not (mask > 0).any())


@pytest.mark.parametrize("name", ["33", "34", "swath"])
def test_a_product_becomes_the_same_bytes(sample, tmp_path, name):
    product, folders = read(sample(name)), iter([tmp_path / "plain", tmp_path / "compiled"])

    def converted():
        folder = next(folders)
        folder.mkdir()
        item = convert(product, folder, Recipe()).item.to_dict()
        return item, {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}

    plain, compiled = both(converted)
    assert plain == compiled


def test_small_products_do_not_wait_for_numba(sample, scenes, tmp_path):
    """It takes a second to load, as long as such a product takes altogether."""
    path = sample(dataclasses.replace(scenes["33"], pixels=96))
    script = (
        "import sys; from pathlib import Path\n"
        "from converters.convert import Recipe, convert; from converters.sensors import read\n"
        "convert(read(Path(sys.argv[1])), Path(sys.argv[2]), Recipe())\n"
        "print('numba' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path], cwd=Path(__file__).resolve().parents[2], capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.stdout.strip() == "False", run.stderr


def test_a_block_that_can_not_be_written_is_packed_as_any_other():
    """As a view of one number is, which stands for a picture of it."""
    fast.load()
    same = np.broadcast_to(np.uint8(7), (1, cog.BLOCK, cog.BLOCK))
    assert cog.encode(same) == cog.encode(same.copy())
