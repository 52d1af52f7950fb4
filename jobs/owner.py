"""Who holds a lease: a process on a machine, known from another that got its number."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

import psutil


def me() -> str:
    """This process, such as ``host/4711/1763740000.12``: machine, number, and when it began."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def gone(owners: Iterable[str]) -> list[str]:
    """Those of the owners that were processes of this machine and are no more; of others nothing is known."""
    return [owner for owner in owners if _gone(owner)]


def _gone(owner: str) -> bool:
    host, _, rest = owner.partition("/")
    number, _, began = rest.partition("/")
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        process = psutil.Process(int(number))
        return f"{process.create_time():.2f}" != began or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
