import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kartotek.errors import NotStored, StorageError
from kartotek.storage import FolderStorage, digest

KEY = "sentinel-2-l2a/S2B_MSIL2A/B02.0123.tif"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "store")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


def test_a_storage_that_was_never_written_has_no_keys(tmp_path):
    assert list(FolderStorage(tmp_path / "none").keys()) == []
    assert not (tmp_path / "none").exists()


def test_a_key_below_another_object_can_not_be_written(storage, source):
    storage.create("a", source)
    with pytest.raises(StorageError):
        storage.create("a/b", source)
    assert list(storage.keys()) == ["a"] and storage.read("a") == source.read_bytes()


def test_a_folder_is_not_deleted(storage, source):
    storage.create("a/b", source)
    with pytest.raises(StorageError):
        storage.delete("a")
    assert list(storage.keys()) == ["a/b"]


def test_digest_reads_what_lies_there_now(storage, source):
    storage.create(KEY, source)
    with (storage.root / KEY).open("r+b") as file:
        file.seek(100)
        file.write(b"!")
    assert digest(storage, KEY)[0] != hashlib.sha256(source.read_bytes()).hexdigest()


def everything(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_file_has_no_name_before_it_is_whole(storage, tmp_path):
    """A reader that looks while a pipe is still being read finds nothing; then it finds all."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(storage.create, KEY, pipe)
        with pipe.open("wb") as writer:
            for _ in range(64):
                writer.write(b"x" * 65_536)
            writer.flush()
            assert list(storage.keys()) == []
            with pytest.raises(NotStored):
                storage.read(KEY)
            assert len(everything(storage.root)) == 1  # the temporary file, which is no key
        done.result(10)
    assert everything(storage.root) == [KEY] and storage.size(KEY) == 64 * 65_536


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, source):
    """The limit of a process's file size stands for the disk's; the storage can be used again when there is room."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from kartotek.errors import StorageError; from kartotek.storage import FolderStorage\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: FolderStorage(Path(sys.argv[1])).create('a/b', Path(sys.argv[2]))\n"
        "except StorageError as error: sys.exit(f'said: {error}')\n"
    )
    store = tmp_path / "store"
    run = subprocess.run(
        [sys.executable, "-c", script, store, source], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1 and "said:" in run.stderr and "a/b" in run.stderr
    assert everything(store) == []
    FolderStorage(store).create("a/b", source)
    assert FolderStorage(store).read("a/b") == source.read_bytes()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is absent: the order of writing can't be watched")
@pytest.mark.parametrize("before", ["nothing", "folders", "file"])
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_create_returns(tmp_path, source, before):
    """A power cut at any moment leaves the whole file under its name, or nothing under it.

    Also where somebody else has made the folders, or the file, and died before they had flushed their names.
    """
    if before == "folders":
        (tmp_path / "store/a/b").mkdir(parents=True)
    if before == "file":
        FolderStorage(tmp_path / "store").create("a/b/c", source)
    script = (
        "import sys; from pathlib import Path; from kartotek.storage import FolderStorage\n"
        "FolderStorage(Path(sys.argv[1])).create('a/b/c', Path(sys.argv[2])); Path('/returned').exists()\n"
    )
    log, store = tmp_path / "log", tmp_path / "store"
    calls = "trace=fsync,rename,renameat,renameat2,mkdir,openat,stat,newfstatat,statx"
    command = ["strace", "-f", "-y", "-e", calls, "-o", log, sys.executable, "-c", script, store, source]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if "ptrace" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    lines = [line for line in log.read_text().splitlines() if str(tmp_path) in line or "/returned" in line]
    lines = lines[: next(n for n, line in enumerate(lines) if "/returned" in line)]
    rename = 0
    if before != "file":
        rename = next(n for n, line in enumerate(lines) if "rename" in line)
        synced = [n for n, line in enumerate(lines) if "fsync(" in line and ".part>" in line]
        assert synced and max(synced) < rename
    for folder in (store / "a/b", store / "a", store, tmp_path):
        assert any("fsync(" in line and f"<{folder}>" in line for line in lines[rename:])
