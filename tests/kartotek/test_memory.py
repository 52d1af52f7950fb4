"""In processes of their own, since a limit can't be taken back and a peak never falls."""

import subprocess
import sys

import pytest

PROGRAM = """
import errno, mmap, resource
from kartotek import memory
{}
def told(error):
    try:
        try:
            raise error
        except Exception as cause:
            raise ValueError("a tile that can't be decoded") from cause
    except ValueError as found:
        return memory.ran_out(found)
print(memory.near_limit(), told(ValueError()), told(MemoryError()), told(OSError(errno.ENOMEM, "")),
      memory.ran_out(OSError(errno.ENOSPC, "")), memory.ran_out(OSError("no number")))
"""
PEAK = "mmap.mmap(-1, 3 << 30).close()\n"
LIMIT = "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"


@pytest.mark.parametrize(
    ("before", "near"),
    [
        ("", False),
        (PEAK, False),
        (LIMIT, False),
        (LIMIT + PEAK.replace("3 << 30", "2 << 30"), False),
        (LIMIT + PEAK.replace("3 << 30", "(4 << 30) - (400 << 20)"), True),
    ],
    ids=["nothing", "a peak without a limit", "a limit", "half of it", "nearly all of it, once"],
)
def test_an_error_may_be_of_memory_where_it_says_so_or_the_process_was_near_its_limit(before, near):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(before)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(near), str(near), "True", "True", "False", str(near)], done.stderr


def test_one_allocation_beyond_the_limit_is_told_though_the_process_never_came_near_it(tmp_path):
    """GDAL says so, and rasterio in the cause of its own error."""
    path = tmp_path / "large.tif"
    program = f"""
import resource
import converters  # sets GDAL up
import rasterio
size = dict(width=20_000, height=20_000, blockxsize=20_000, blockysize=20_000)
form = dict(driver="GTiff", count=1, dtype="uint8", tiled=True, SPARSE_OK=True, **size)
rasterio.open({str(path)!r}, "w", **form).close()
from kartotek import memory
resource.setrlimit(resource.RLIMIT_AS, (512 << 20,) * 2)
try:
    with rasterio.open({str(path)!r}) as file:
        file.read(1, window=((0, 10), (0, 10)))
except Exception as error:
    print(memory.ran_out(error), memory.near_limit())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "False"], done.stdout + done.stderr
