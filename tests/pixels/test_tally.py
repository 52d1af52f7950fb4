import tracemalloc

import numpy as np
import pytest

from kartotek import fast
from pixels import tally
from pixels.tally import Counted, Measured, Wanted

WANTED = Wanted(percentiles=(0, 2, 33.3, 98, 100), bins=7)


def add(found, numbers):
    """Among others, which are not seen."""
    numbers = np.vstack([numbers, numbers[::-1]])
    found.add(numbers, np.broadcast_to([[True], [False]], numbers.shape).copy())


def check(told, values, **within):
    assert told["min"] == values.min() and told["max"] == values.max()
    assert told["mean"] == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
    assert told["std"] == pytest.approx(values.std(), rel=1e-9)
    for percentile, number in {**told["percentiles"], "50": told["median"]}.items():
        assert number == pytest.approx(np.percentile(values, float(percentile)), **(within or {"rel": 1e-12}))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("kind", "scale"), [("uint8", 0.5), ("uint16", 1e-4), ("uint16", -1e-4), ("int16", -0.01)])
def test_numbers_that_are_counted_give_what_numpy_gives(monkeypatch, kind, scale, compiled):
    fast.load()
    if not compiled:
        monkeypatch.setattr(fast, "_kernels", None)
    chance, limits = np.random.default_rng(1), np.iinfo(kind)
    parts = [chance.integers(limits.min, limits.max, size, dtype=kind, endpoint=True) for size in (1, 0, 999, 40)]
    found = Counted(np.dtype(kind), scale, -0.1)
    for part in parts:
        add(found, part)
    values = np.concatenate(parts) * np.float64(scale) - 0.1
    told = tally.told(found, WANTED)
    check(told, values)
    assert told["histogram"]["counts"] == np.histogram(values, 7)[0].tolist() and told["method"] == "counted"


@pytest.mark.parametrize(("fits", "method"), [(10_000, "kept"), (300, "binned")])
def test_numbers_with_decimals_are_kept_or_binned(fits, method):
    chance = np.random.default_rng(1)
    parts = [chance.normal(0.2, 0.5, size) for size in (1, 0, 999, 40, 200)]
    found = Measured(fits, np.asarray)
    for part in parts:
        add(found, np.append(part, [np.inf, np.nan]))
    values = np.concatenate(parts)
    told = tally.told(found, WANTED)
    check(told, values, **({"rel": 1 / 2048} if method == "binned" else {}))
    assert told["method"] == method and found.count == values.size
    assert sum(told["histogram"]["counts"]) == values.size


def test_no_numbers_and_one_number_have_statistics():
    assert tally.told(Measured(5, np.asarray), WANTED)["median"] is None
    one = Measured(5, np.asarray)
    add(one, np.array([3.5]))
    told = tally.told(one, WANTED)
    assert (told["median"], told["std"], sum(told["histogram"]["counts"])) == (3.5, 0, 1)


@pytest.mark.parametrize("values", [[0, 5e-324], [1, 1 + 2**-52], [-1e308, 1e308]])
def test_a_histogram_whose_bins_float64_cannot_tell_apart_is_none(values):
    found = Measured(100, np.asarray)
    add(found, np.array(values))
    told = tally.told(found, WANTED)
    assert told["histogram"] is None and told["max"] == values[-1]


def test_what_is_held_is_bounded_however_many_numbers_come():
    chance, found = np.random.default_rng(1), Measured(1 << 18, np.asarray)
    tracemalloc.start()
    for _ in range(40):
        add(found, chance.random(1 << 17))
    tally.told(found, WANTED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.count == 40 << 17 and peak < 48 << 20, peak
