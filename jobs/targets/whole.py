"""Files and folders that are there once all of them is, and not before."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kartotek.errors import TargetError


@contextmanager
def file(path: Path) -> Iterator[Path]:
    """Another name beside a file's, to write to; at the end it becomes the file's, where nothing failed.

    An OSError inside, such as a full disk, is raised as a TargetError.
    """
    part = path.with_name(_part(path.name))
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def folder(path: Path, last: str) -> Iterator[Path]:
    """A folder inside an empty one, which is made where it isn't there; at the end all that is in it moves up.

    What is called `last` moves last. Where something fails the folder is as it was. Errors as `file` raises them.
    """
    made, part = not path.exists(), path / _part(path.name)
    try:
        path.mkdir(exist_ok=True)
        try:
            part.mkdir()
            yield part
            # Not the folder itself: it may be where somebody is, or where a disk is mounted.
            for one in sorted(part.iterdir(), key=lambda one: one.name == last):
                one.rename(path / one.name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            if made:
                with suppress(OSError):  # it isn't empty, since nothing failed
                    path.rmdir()
    except OSError as error:
        raise _failed(path, error) from error


def _part(name: str) -> str:
    return f".{name[:80]}.{uuid.uuid4().hex}.part"


def _failed(path: Path, error: OSError) -> TargetError:
    return TargetError(f"{path}: can't be written: {error.strerror or error}")
