"""Whether memory ran out: libraries tell it in many ways."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from pathlib import Path

MARGIN = 8
"""A process that has come within one part of so many of its limit may have met it."""
_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmPeak:\s+(\d+) kB$", re.MULTILINE)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, or may say so in other words.

    A failed allocation is told as a tile that can't be decoded, a projection that can't be parsed, a thread that can't
    start. Near the limit of this process such an error says nothing about the file that was read.
    """
    for one in _with_causes(error):
        # The latter is GDAL's, as rasterio has it.
        if isinstance(one, MemoryError) or type(one).__name__ == "CPLE_OutOfMemoryError":
            return True
        if isinstance(one, OSError) and one.errno is not None:
            return one.errno == errno.ENOMEM  # the system says what it is: a full disk, for one
    return near_limit()


def near_limit() -> bool:
    """Whether this process has been close to its limit of addresses (RLIMIT_AS), at any time.

    False where there is no limit, and on systems that don't tell the peak.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or not _STATUS.exists():
        return False
    peak = _PEAK.search(_STATUS.read_text())
    return peak is not None and (int(peak[1]) << 10) > limit - limit // MARGIN


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
