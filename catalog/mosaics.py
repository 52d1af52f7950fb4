"""Mosaics: searches that somebody registered, by the hash of what they say; what they find is not kept.

Anybody may register, so that there is an end to how large one is and how many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from operator import attrgetter
from threading import Lock

from cachetools import TTLCache, cachedmethod
from sqlalchemy import delete, func, select

from catalog import dialects
from catalog.connections import Connections
from catalog.models import mosaics
from kartotek.errors import BadRequest, Conflict, NotFound

MAX_BYTES = 16 * 1024
"""Of a mosaic's definition."""
_MEMORY = 4 << 20
"""Bytes of definitions that are at hand, as tiles of one mosaic come in numbers."""
_FRESH = 60.0
"""Seconds for which they are: another process may remove one. Nothing else can become of it: an id is a hash."""
_PAGE = 200
"""Mosaics that are read, or removed, at a time."""


class Mosaics:
    """The mosaics in the catalog's database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._kept: TTLCache[tuple[str], bytes] = TTLCache(_MEMORY, _FRESH, getsizeof=len)
        self._lock = Lock()

    def put(self, content: bytes, *, most: int) -> str:
        """Register a definition, as canonical JSON; its id, which is the same each time.

        Raises BadRequest where it is too long, and Conflict where `most` are there already.
        """
        if len(content) > MAX_BYTES:
            raise BadRequest(f"the mosaic's definition has {len(content)} bytes; at most {MAX_BYTES} will do")
        name = hashlib.sha256(content).hexdigest()[:20]
        if self._found(name) is not None:
            return name
        with self._connections.writing() as connection:
            if (connection.scalar(select(func.count()).select_from(mosaics)) or 0) >= most:
                raise Conflict(
                    f"{most} mosaics are registered, and this server keeps no more; /mosaics/inline needs none"
                )
            row = {"id": name, "content": content}
            connection.execute(dialects.of(connection).insert(mosaics).on_conflict_do_nothing(), [row])
        return name

    @cachedmethod(attrgetter("_kept"), lock=attrgetter("_lock"))
    def get(self, name: str) -> bytes:
        """A definition. Raises NotFound."""
        found = self._found(name)
        if found is None:
            raise NotFound(f"no mosaic {name[:40]!r}")
        return found

    def each(self) -> Iterator[tuple[str, bytes]]:
        """Ids and definitions of all, some of them in memory at a time."""
        last = ""
        while True:
            wanted = select(mosaics).where(mosaics.c.id > last).order_by(mosaics.c.id).limit(_PAGE)
            with self._connections.reading() as connection:
                rows = [(row.id, row.content) for row in connection.execute(wanted)]
            yield from rows
            if len(rows) < _PAGE:
                return
            last, _ = rows[-1]

    def remove(self, names: Sequence[str]) -> int:
        """Forget some; how many there were. Servers that know one serve it for another minute."""
        count = 0
        for start in range(0, len(names), _PAGE):
            with self._connections.writing() as connection:
                some = mosaics.c.id.in_(names[start : start + _PAGE])
                count += connection.execute(delete(mosaics).where(some)).rowcount
        with self._lock:
            self._kept.clear()
        return count

    def _found(self, name: str) -> bytes | None:
        if not (name.isascii() and name.isalnum()):
            return None
        with self._connections.reading() as connection:
            found: bytes | None = connection.scalar(select(mosaics.c.content).where(mosaics.c.id == name))
        return found
