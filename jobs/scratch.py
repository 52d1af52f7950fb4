"""Room for the files that are made of a product before they are stored."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from jobs import owner
from kartotek.errors import StorageError


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A temporary folder for the time of a block.

    An OSError inside, such as a full disk, is raised as a StorageError that says where files are made; `what` names
    whose they are.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=_prefix(os.getpid())) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(
            f"{what}: can't write files: {error.strerror or error}; they are made in {tempfile.gettempdir()} "
            "(TMPDIR names another folder)"
        ) from error


def clear() -> None:
    """Remove the temporary folders of processes of this machine that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("kartotek-*"):
        number = folder.name.removeprefix(_prefix("")[:-1]).partition("-")[0]
        if number.isdecimal() and folder.name.startswith(_prefix(number)) and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _prefix(process: object) -> str:
    """What the names of a process's temporary folders begin with."""
    return f"kartotek-{owner.machine()}-{process}-"
