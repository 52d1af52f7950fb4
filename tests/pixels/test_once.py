"""What many want at once: each has what it asks for, or what is wrong with that and nothing else."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cachetools import LRUCache

from pixels.once import Once


def slowly(begun, go, read):
    """Reads once it is told to."""

    def reading(keys):
        begun.set()
        assert go.wait(10)
        return read(keys)

    return reading


def lengths(keys):
    """Of words; of one there is none."""
    if "bad" in keys:
        raise ValueError("bad")
    return {key: len(key) for key in keys}


def test_who_waits_for_a_good_one_has_it_whatever_is_wrong_with_others():
    once, begun, go = Once(LRUCache(100)), threading.Event(), threading.Event()
    again = []

    def read(keys):
        again.append(list(keys))
        return lengths(keys)

    with ThreadPoolExecutor(6) as pool:
        leader = pool.submit(once.get, ["good", "bad"], slowly(begun, go, lengths))
        assert begun.wait(10)
        waiters = [pool.submit(once.get, ["good"], read) for _ in range(3)]
        other = pool.submit(once.get, ["bad", "fine"], read)
        while len(again) < 1:  # `fine` is its own to read
            pass
        go.set()
        with pytest.raises(ValueError, match="bad"):
            leader.result(10)
        assert [waiter.result(10) for waiter in waiters] == [{"good": 4}] * 3
        with pytest.raises(ValueError, match="bad"):
            other.result(10)
    assert once.get(["fine", "good"], read) == {"fine": 4, "good": 4}
    assert sorted(again) == [["bad"], ["fine"], ["good"]]


def test_what_is_left_out_is_an_error_to_all_and_nobody_waits_for_ever():
    once, begun, go = Once(LRUCache(100)), threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(once.get, ["here", "lacking"], slowly(begun, go, lambda keys: {"here": 1}))
        assert begun.wait(10)
        waiter = pool.submit(once.get, ["lacking"], lambda keys: {})
        go.set()
        for one in (leader, waiter):
            with pytest.raises(KeyError):
                one.result(10)
    assert once.get(["lacking"], lambda keys: {"lacking": 2}) == {"lacking": 2}
