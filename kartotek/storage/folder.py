"""Files in a folder."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from kartotek.errors import NotStored, StorageError
from kartotek.storage.keys import checked, is_key

_CHUNK = 1 << 20


class FolderStorage:
    """Files in a folder; a file appears under its name when all of it is on the disk, and not before."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

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
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read() if length is None else file.read(length)
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
        """All keys that start with a prefix; files that are being written are none."""
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        yield from sorted(key for key in found if key.startswith(prefix) and is_key(key))

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


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
