"""Processors that there are for this process."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""A container's own share of time, as Linux's control groups (version 2) have it: microseconds, and of how many."""


def count() -> int:
    """How many it may run on, and no more than its container has time for, rounded up; 1 at least."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, _QUOTA.read_text().split())
    except (OSError, ValueError):  # no container, or "max", which is no limit
        return allowed
    return max(1, min(allowed, -(-quota // period)))
