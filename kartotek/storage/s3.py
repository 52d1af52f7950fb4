"""Objects in a bucket of S3, or of what speaks its protocol; endpoint and credentials by the AWS_* variables."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from kartotek.errors import BadSettings, NotStored, StorageError
from kartotek.storage.keys import checked, is_key

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config

PATIENCE = timedelta(seconds=60)
"""How long a request is tried again after 5xx, cut and stalled answers."""
STALL = timedelta(seconds=15)
"""Without a byte for so long, an answer is given up."""
SIGNED = timedelta(hours=1)
"""How long a signed address is good for."""
CONFLICT = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between tries of a write that met another one under way."""
NEAR = 64
"""Bytes between two parts of an object that are read in one request."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_WRITE = "kartotek-write"
"""Object metadata: which attempt at writing made it."""

log = logging.getLogger(__name__)


class S3Storage:
    """A bucket, or the part of it under a prefix. Safe to share between threads, not to carry over a fork."""

    def __init__(self, place: str, endpoint: str | None = None) -> None:
        found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", place)
        prefix = (found[2] or "").strip("/") if found else ""
        if found is None or (prefix and not is_key(prefix)):
            raise BadSettings(f"KARTOTEK_STORAGE: {place!r} is no s3://BUCKET/PREFIX")
        self._place = place
        self.remote = True
        self._store = _store(found[1], prefix)
        self._signing = _store(found[1], prefix, endpoint) if endpoint else self._store
        """What signs addresses: the name of the endpoint is part of what is signed."""
        self._conditional = True

    def create(self, key: str, source: Path) -> None:
        """One PUT that the bucket refuses where the key is taken; a look before the PUT where it can't do that."""
        checked(key)
        if self._conditional:
            try:
                self._put(key, source, "create")
                return
            except _NotOffered:
                self._conditional = False
        with contextlib.suppress(NotStored):
            self.size(key)
            return
        self._put(key, source, "overwrite")

    def _put(self, key: str, source: Path, mode: Literal["create", "overwrite"]) -> None:
        write = uuid.uuid4().hex
        try:
            for pause in CONFLICT:
                try:
                    obstore.put(self._store, key, source, mode=mode, use_multipart=False, attributes={_WRITE: write})
                except AlreadyExistsError:
                    # Somebody else's, or our own, whose answer was lost before it was tried again: the same bytes
                    # either way, since keys carry their hash, and whoever publishes reads them back. Or 409: another
                    # write is under way, and may fail.
                    if not self._is_there(key, write):
                        time.sleep(pause)
                        continue
                return
            raise StorageError(f"{self._place}: can't write {key}: other writes of it are always under way, and fail")
        except (BaseError, OSError) as error:
            if mode == "create" and "501 Not Implemented" in str(error):
                raise _NotOffered from error
            self._fail("write", key, error)

    def _is_there(self, key: str, write: str) -> bool:
        """Whether an object lies under a key that a write found taken."""
        try:
            mine = obstore.get(self._store, key, options={"range": (0, 1)}).attributes.get(_WRITE) == write
        except FileNotFoundError:
            return False
        except (BaseError, OSError):  # an object of no bytes has no first one
            with contextlib.suppress(NotStored):
                return self.size(key) >= 0
            return False
        log.debug("%s: was there already, by %s", key, "this write" if mine else "another")
        return True

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """One GET of a range."""
        checked(key)
        if length == 0:
            self.size(key)
            return b""
        try:
            if length is None and start == 0:
                return bytes(obstore.get(self._store, key).bytes())
            if length is None:
                return bytes(obstore.get(self._store, key, options={"range": {"offset": start}}).bytes())
            return bytes(obstore.get_range(self._store, key, start=start, length=length))
        except FileNotFoundError:
            raise NotStored(f"{key}: no such object in {self._place}") from None
        except (BaseError, OSError) as error:
            # 416 is what a range gets that begins at the end or after it; but a key may hold these digits too.
            if "416" in str(error) and start >= self.size(key):
                return b""
            self._fail("read", key, error)

    def ranges(self, key: str, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """A GET for each run of neighbours, all at once."""
        starts, lengths = [start for start, _ in places], [length for _, length in places]
        try:
            found = obstore.get_ranges(self._store, checked(key), starts=starts, lengths=lengths, coalesce=NEAR)
        except FileNotFoundError:
            raise NotStored(f"{key}: no such object in {self._place}") from None
        except (BaseError, OSError) as error:
            if "416" in str(error):  # at least one lies beyond the end
                return [self.read(key, start, length) for start, length in places]
            self._fail("read", key, error)
        return [bytes(part) for part in found]

    def size(self, key: str) -> int:
        """The object's size, by HEAD."""
        return int(self._head(key)["size"])

    def modified(self, key: str) -> datetime:
        """When the object was written, to the second, by HEAD."""
        return self._head(key)["last_modified"]

    def tidy(self, age: timedelta) -> int:
        """Nothing: of an object that was not written whole there is none."""
        return 0

    def _head(self, key: str) -> ObjectMeta:
        try:
            return obstore.head(self._store, checked(key))
        except FileNotFoundError:
            raise NotStored(f"{key}: no such object in {self._place}") from None
        except (BaseError, OSError) as error:
            self._fail("look at", key, error)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with a prefix, a page at a time; what others put beside them is left out."""
        folder = prefix.rpartition("/")[0]
        try:
            for page in obstore.list(self._store, prefix=folder or None):
                paths = (str(found["path"]) for found in page)
                yield from (path for path in paths if path.startswith(prefix) and is_key(path))
        except (BaseError, OSError) as error:
            self._fail("list", prefix, error)

    def delete(self, key: str) -> None:
        """Remove the object; S3 says nothing where there was none."""
        try:
            obstore.delete(self._store, checked(key))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            self._fail("remove", key, error)

    def url(self, key: str) -> str:
        """A signed address."""
        try:
            return obstore.sign(self._signing, "GET", checked(key), SIGNED)
        except (BaseError, OSError) as error:
            self._fail("sign an address of", key, error)

    def _fail(self, what: str, key: str, error: Exception) -> NoReturn:
        reason = str(error).partition("\n")[0]
        raise StorageError(
            f"{self._place}: can't {what} {key}: {reason[:300]}; is the bucket there, and are AWS_ENDPOINT_URL, "
            "AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY right?"
        ) from error


def _store(bucket: str, prefix: str, endpoint: str = "") -> S3Store:
    """The bucket at an endpoint, or at that of the environment."""
    config: S3Config = {"checksum_algorithm": "SHA256"}
    if endpoint:
        config["aws_endpoint_url_s3"] = endpoint  # obstore's first choice, before those of the environment
    named = endpoint or next(filter(None, map(os.environ.get, ENDPOINTS)), "")
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={
            "allow_http": named.startswith("http://"),
            "connect_timeout": STALL,
            "read_timeout": STALL,
            "timeout": timedelta(minutes=10),
        },
        retry_config={
            "max_retries": 8,
            "retry_timeout": PATIENCE,
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=10), "base": 2},
        },
    )


class _NotOffered(Exception):
    """The bucket's server knows no conditional PUT."""
