"""How much of the memory that a process may have it has had."""

from __future__ import annotations

import re
import resource
from pathlib import Path

MARGIN = 8
"""A process that has come within one part of so many of its limit is told to have met it."""
_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmPeak:\s+(\d+) kB$", re.MULTILINE)


def short() -> bool:
    """Whether this process has come close to its limit of addresses (RLIMIT_AS).

    Libraries tell a failed allocation in many ways (a tile that can't be decoded, a projection that can't be parsed, a
    thread that can't start), so that an error near the limit says nothing about the file that was read. False where
    there is no limit, and on systems that don't tell the peak.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or not _STATUS.exists():
        return False
    peak = _PEAK.search(_STATUS.read_text())
    return peak is not None and (int(peak[1]) << 10) > limit - limit // MARGIN
