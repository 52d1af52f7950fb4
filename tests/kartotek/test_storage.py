import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kartotek.errors import BadSettings, NotStored, StorageError
from kartotek.storage import FolderStorage, digest, open_storage

KEY = "sentinel-2-l2a/S2B_MSIL2A/B02.0123.tif"
ROOT = Path(__file__).resolve().parents[2]

NO_KEYS = (
    "", "/", ".", "..", "../secret", "a/../../secret", "a/../b", "./a", "a/./b", "/etc/passwd", "a//b", "a/", "/a",
    ".hidden", "a/.hidden", ".a.tif.0123.part", "a\\b", "a b", "a\0b", "a\n", "å", "a%2fb", "a?b", "a*", "C:x", "~/x",
    "x" * 901, "x" * 256, "a/" * 500 + "a",
)  # fmt: skip


@pytest.fixture
def storage(tmp_path):
    """One of each kind; adding a kind is adding it here."""
    return FolderStorage(tmp_path / "store")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


def test_what_is_created_is_read_back_in_whole_and_in_part(storage, source):
    content = source.read_bytes()
    storage.create(KEY, source)
    assert storage.read(KEY) == content
    assert storage.size(KEY) == len(content)
    for start, length in ((0, 1), (1000, 5), (len(content) - 3, 10), (len(content), 4), (len(content) + 9, 4), (7, 0)):
        assert storage.read(KEY, start, length) == content[start : start + length]
    assert storage.read(KEY, 17) == content[17:]


def test_an_empty_file_is_a_file(storage, tmp_path):
    (tmp_path / "empty").touch()
    storage.create("empty", tmp_path / "empty")
    assert storage.read("empty") == b"" and storage.size("empty") == 0
    assert digest(storage, "empty") == (hashlib.sha256().hexdigest(), 0)


def test_what_lies_under_a_key_is_never_overwritten(storage, source, tmp_path):
    storage.create(KEY, source)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    before = storage.read(KEY)
    storage.create(KEY, other)
    assert storage.read(KEY) == before


def test_the_source_stays(storage, source):
    content = source.read_bytes()
    storage.create(KEY, source)
    assert source.read_bytes() == content


def test_nothing_lies_under_a_key_that_was_not_written(storage, source):
    storage.create("a/b", source)
    for key in ("missing", "a", "a/c", "a/b/c"):
        with pytest.raises(NotStored):
            storage.read(key)
        with pytest.raises(NotStored):
            storage.size(key)
        with pytest.raises(NotStored):
            digest(storage, key)


@pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
def test_what_is_no_key_reaches_no_file(storage, source, tmp_path, key):
    (tmp_path / "secret").write_text("secret")
    for use in (storage.read, storage.size, storage.delete, lambda key: storage.create(key, source)):
        with pytest.raises(NotStored):
            use(key)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["secret", "source"]
    assert list(storage.keys()) == []


def test_keys_come_in_order_and_by_prefix(storage, source):
    names = ["b/2", "b/10", "a/x.tif", "c", "b-2/1"]
    for name in names:
        storage.create(name, source)
    assert list(storage.keys()) == sorted(names)
    assert list(storage.keys("b/")) == ["b/10", "b/2"]
    assert list(storage.keys("b")) == ["b-2/1", "b/10", "b/2"]
    assert list(storage.keys("none")) == []


def test_a_storage_that_was_never_written_has_no_keys(tmp_path):
    assert list(FolderStorage(tmp_path / "none").keys()) == []
    assert not (tmp_path / "none").exists()


def test_deleting_removes_one_object_and_deleting_again_is_no_error(storage, source):
    storage.create("a/b", source)
    storage.create("a/c", source)
    storage.delete("a/b")
    storage.delete("a/b")
    storage.delete("a/c/d")
    with pytest.raises(StorageError):
        storage.delete("a")
    assert list(storage.keys()) == ["a/c"]


def test_a_key_below_another_object_can_not_be_written(storage, source):
    storage.create("a", source)
    with pytest.raises(StorageError):
        storage.create("a/b", source)
    assert list(storage.keys()) == ["a"] and storage.read("a") == source.read_bytes()


def test_a_source_that_is_missing_leaves_nothing(storage, tmp_path):
    with pytest.raises(StorageError, match="B02"):
        storage.create(KEY, tmp_path / "missing")
    assert everything(storage.root) == []


def test_digest_is_the_sha_256_and_the_size_of_what_is_stored(storage, tmp_path):
    content = os.urandom((8 << 20) + 12_345)  # more than a piece
    (tmp_path / "large").write_bytes(content)
    storage.create("large", tmp_path / "large")
    assert digest(storage, "large") == (hashlib.sha256(content).hexdigest(), len(content))


def test_digest_reads_what_lies_there_now(storage, source):
    storage.create(KEY, source)
    with (storage.root / KEY).open("r+b") as file:
        file.seek(100)
        file.write(b"!")
    assert digest(storage, KEY)[0] != hashlib.sha256(source.read_bytes()).hexdigest()


def test_writers_of_one_key_do_not_disturb_each_other(storage, source):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: storage.create(KEY, source), range(40)))
    assert everything(storage.root) == [KEY]
    assert storage.read(KEY) == source.read_bytes()


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


def test_a_place_that_is_no_folder_is_refused():
    with pytest.raises(BadSettings, match="KARTOTEK_STORAGE"):
        open_storage("gopher://bucket/prefix")
    assert isinstance(open_storage("some/folder"), FolderStorage)
