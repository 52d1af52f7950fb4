"""Files in a folder."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path

from kartotek.errors import NotStored, StorageError
from kartotek.storage.keys import checked, is_key

_CHUNK = 1 << 20
_PART = re.compile(r"\..{1,80}\.[0-9a-f]{32}\.part")
"""Name of a file that is being written."""


class FolderStorage:
    """Files in a folder; a file appears under its name when all of it is on the disk, and not before."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.remote = False

    def create(self, key: str, source: Path) -> None:
        """Write under a temporary name, flush to the disk, and give it its name."""
        path = self._path(key)
        temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.part")
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as given, temporary.open("xb") as file:
                    while chunk := given.read(_CHUNK):
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            self._sync_folders(path.parent)
        except OSError as error:
            raise StorageError(f"{self.root}: can't write {key}: {error.strerror}") from error
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                temporary.unlink()

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file, which is opened for each read, so that threads don't disturb each other."""
        with self._opened(key) as file:
            file.seek(start)
            return file.read() if length is None else file.read(length)

    def ranges(self, key: str, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, which is opened once."""
        with self._opened(key) as file:
            return [os.pread(file.fileno(), length, start) for start, length in places]

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[FileIO]:
        try:
            # Unbuffered: what is asked for is large, or but a few bytes.
            with self._path(key).open("rb", buffering=0) as file:
                yield file
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotStored(f"{key}: no such file in {self.root.name}") from None
        except OSError as error:
            raise StorageError(f"{self.root}: can't read {key}: {error.strerror}") from error

    def size(self, key: str) -> int:
        """The file's size."""
        path = self._path(key)
        if not path.is_file():
            raise NotStored(f"{key}: no such file in {self.root.name}")
        return path.stat().st_size

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with a prefix, a folder at a time; files that are being written are none."""
        above = prefix.rpartition("/")[0]
        if not above or is_key(above):
            found = _files(self.root / above, f"{above}/" if above else "")
            yield from (key for key in found if key.startswith(prefix) and is_key(key))

    def modified(self, key: str) -> datetime:
        """When the file was written."""
        try:
            return datetime.fromtimestamp(self._path(key).stat().st_mtime, UTC)
        except (FileNotFoundError, NotADirectoryError):
            raise NotStored(f"{key}: no such file in {self.root.name}") from None

    def tidy(self, age: timedelta) -> int:
        """Remove what those left who died while they wrote a file."""
        late, count = time.time() - age.total_seconds(), 0
        for path in self.root.rglob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if _PART.fullmatch(path.name) and path.stat().st_mtime < late:
                    path.unlink()
                    count += 1
        return count

    def delete(self, key: str) -> None:
        """Remove the file."""
        try:
            self._path(key).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise StorageError(f"{self.root}: can't remove {key}: {error.strerror}") from error

    def url(self, key: str) -> None:
        """None: a folder is read through the API alone."""
        checked(key)

    def _path(self, key: str) -> Path:
        return self.root / checked(key)

    def _sync_folders(self, folder: Path) -> None:
        """Flush the names in a folder, and those of the folders that lead to it, to the disk.

        Whoever made the folders, or wrote the file before, may have died before they came so far.
        """
        while folder != self.root.parent:
            _sync_folder(folder)
            folder = folder.parent
        with contextlib.suppress(PermissionError):  # the root may lie in a folder that is not ours to read
            _sync_folder(folder)


def _files(folder: Path, above: str) -> Iterator[str]:
    """The files in a folder and below it, in the order of their keys, in which a/b comes after a-b."""
    try:
        with os.scandir(folder) as entries:
            inside = sorted((f"{entry.name}/" if entry.is_dir() else entry.name, entry.path) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageError(f"{folder}: can't be listed: {error.strerror}") from error
    for name, path in inside:
        if name.endswith("/"):
            yield from _files(Path(path), above + name)
        else:
            yield above + name


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
