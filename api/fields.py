"""Which members of an item an answer has: the fields extension."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kartotek.errors import BadRequest

MAX_FIELDS = 1_000
_HEADS = frozenset({"type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "properties", "collection"})
_DEFAULT = ("type", "stac_version", "id", "geometry", "bbox", "links", "assets", "properties.datetime")
"""The set that the fields extension recommends where none are named."""
_ALWAYS = frozenset({"type", "stac_version", "id", "collection"})
"""What makes out an item whatever else of it is named."""
_FORM = 'such as {"include": ["id", "properties.datetime"], "exclude": ["links"]}'


class Paths:
    """Members by their paths, such as `properties.eo:cloud_cover`.

    A member's own name may have dots too: `x.y` is the member of that name, and what is called y in x. What is meant of
    a member is looked at where a document has it: a path may have any number of parts.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.names = frozenset(paths)

    @cached_property
    def inner(self) -> Mapping[str, Paths]:
        """Member → what of it is meant."""
        found: dict[str, list[str]] = {}
        for path in self.names:
            head, dot, rest = path.partition(".")
            if dot:
                found.setdefault(head, []).append(rest)
        return {head: Paths(rest) for head, rest in found.items()}

    def of(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """These members alone, in their order."""
        found = {}
        for name, value in document.items():
            if name in self.names:
                found[name] = value
            elif name in self.inner and isinstance(value, Mapping) and (some := self.inner[name].of(value)):
                found[name] = some
        return found

    def out_of(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """All members but these."""
        found = {name: value for name, value in document.items() if name not in self.names}
        for name, paths in self.inner.items():
            if isinstance(value := found.get(name), Mapping):
                found[name] = paths.out_of(value)
        return found


@dataclass(frozen=True)
class Fields:
    """Members by their paths, such as `properties.eo:cloud_cover`; all are in the answer where none is included."""

    include: Paths
    exclude: Paths

    @cached_property
    def links(self) -> bool:
        """Whether links are in the answer."""
        include = self.include.names
        wanted = not include or any(path.partition(".")[0] == "links" for path in include)
        return wanted and "links" not in self.exclude.names

    @property
    def of_heads(self) -> bool:
        """Whether all that is asked for stands before an item's assets."""
        include = self.include.names
        return bool(include) and {path.partition(".")[0] for path in include} <= _HEADS

    def of(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The members of an item that are asked for.

        >>> Fields(Paths(["properties.gsd", "id"]), Paths([])).of({"id": "x", "properties": {"gsd": 10, "a": 1}})
        {'id': 'x', 'properties': {'gsd': 10}}
        """
        return self.exclude.out_of(self.include.of(item) if self.include.names else item)


def asked(given: str | Mapping[str, Any] | None) -> Fields | None:
    """Fields as GET writes them, `id,-links`, or POST; None where all are asked for. Raises BadRequest.

    As the fields extension has it (STAC API v1.0.0): what is left empty means the default set, and what is included is
    there whatever of it, or of what it is part of, is excluded. What makes out an item comes too unless it is excluded.
    """
    if given is None:
        return None
    if isinstance(given, str):
        parts = [part.strip() for part in given.split(",") if part.strip(" +-")]
        include = [part.lstrip("+") for part in parts if not part.startswith("-")]
        exclude = [part[1:] for part in parts if part.startswith("-")]
    else:
        include, exclude = (_names(given.get(name)) for name in ("include", "exclude"))
    only_excluded = bool(exclude) and (isinstance(given, str) or "include" not in given)
    if len(include) + len(exclude) > MAX_FIELDS:
        raise BadRequest(f"fields: {len(include) + len(exclude)} given; at most {MAX_FIELDS} are accepted")
    if not include and not only_excluded:
        return Fields(Paths(_DEFAULT), Paths(exclude))
    kept = {path for path in exclude if not any(f"{one}.".startswith(f"{path}.") for one in include)}
    return Fields(Paths(_ALWAYS | set(include) if include else ()), Paths(kept))


def _names(given: Any) -> list[str]:
    if given is not None and not (isinstance(given, list) and all(isinstance(one, str) for one in given)):
        raise BadRequest(f"fields: {_FORM}")
    return given or []
