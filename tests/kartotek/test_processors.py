import os
import subprocess
import sys

import pytest

from kartotek import processors


@pytest.mark.parametrize(
    ("quota", "wanted"),
    [("max 100000", 6), ("200000 100000", 2), ("50000 100000", 1), ("150000 100000", 2), ("6400000 100000", 6),
     ("what", 6), (None, 6)],
)  # fmt: skip
def test_no_more_than_a_container_has_time_for(monkeypatch, tmp_path, quota, wanted):
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(processors, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert processors.count() == wanted


def test_no_more_than_the_process_may_run_on():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from kartotek import processors; print(processors.count())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout == b"1\n"
