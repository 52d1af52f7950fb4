"""Who holds a lease: a process on a machine, known from another that got its number."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import psutil

STEP = 5.0
"""Seconds by which the beginning of the same process may differ when it is asked for again: it is counted back from a
clock that is set right now and then. No other process gets its number as soon."""


def me() -> str:
    """This process, such as ``host-0f3c1d2e-4026531836/4711/1763740000.12``: machine, number, and when it began."""
    return f"{machine()}/{os.getpid()}/{_began(os.getpid()):.2f}"


@lru_cache
def _began(number: int) -> float:
    """When a process began, as it is told at first."""
    began: float = psutil.Process(number).create_time()
    return began


@lru_cache
def machine() -> str:
    """Where a number means the same process: the host's name, when it was started, and the space of its processes.

    Containers may share the name of their host, and hosts that are made from one image share a name.
    """
    parts = [socket.gethostname(), kernel()]
    with suppress(OSError):
        parts.append("".join(filter(str.isdecimal, Path("/proc/self/ns/pid").readlink().name)))
    return "-".join(filter(None, parts))


@lru_cache
def kernel() -> str:
    """The running kernel, another after each start of the host; empty where that is not told."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().partition("-")[0]
    return ""


def gone(owners: Iterable[str]) -> list[str]:
    """Those of the owners that were processes of this machine and are no more; of others nothing is known."""
    return [owner for owner in owners if _gone(owner)]


def _gone(owner: str) -> bool:
    place, _, rest = owner.partition("/")
    number, _, began = rest.partition("/")
    if place != machine() or not number.isdecimal():
        return False
    try:
        process = psutil.Process(int(number))
        later: float = process.create_time() - float(began)
        return abs(later) > STEP or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
