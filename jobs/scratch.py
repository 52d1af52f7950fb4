"""Room for the files that are made of a product before they are stored."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kartotek.errors import StorageError


@contextmanager
def scratch(what: str, *, prefix: str = "kartotek-") -> Iterator[Path]:
    """A temporary folder for the time of a block.

    An OSError inside, such as a full disk, is raised as a StorageError that says where files are made; `what` names
    whose they are.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=prefix) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(
            f"{what}: can't write files: {error.strerror or error}; they are made in {tempfile.gettempdir()} "
            "(TMPDIR names another folder)"
        ) from error
