"""Items and collections checked by STAC's JSON schemas: those that are at hand, and nothing from the web.

STAC's own come with pystac. Those of extensions lie in a folder that a setting names, each under its address without
`https://`: `stac-extensions.github.io/eo/v2.0.0/schema.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from kartotek.errors import BadRequest, BadSettings

_KINDS = {"Feature": "item", "Collection": "collection", "Catalog": "catalog"}
_OWN = "https://schemas.stacspec.org/v{version}/{kind}-spec/json-schema/{kind}.json"
MOST = 5
"""Errors of one document that are told."""
_ANY_BUT = re.compile(rb'"\^\(\?!([a-z0-9_-]+:)\)"')
"""How extensions name all properties but their own: a look-ahead, for which the validator has a slow engine alone."""


class Schemas:
    """The schemas at hand. One thread's at a time."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises BadSettings where there is no such folder, or a schema in it is no JSON."""
        self._known = {**_of_pystac(), **(_of_folder(folder) if folder else {})}
        # What a schema refers to and is not at hand lets everything pass.
        self._registry = jsonschema_rs.Registry(self._known.items(), retriever=lambda _: {})
        self._validators: dict[str, Any] = {}
        self.missing: set[str] = set()
        """Addresses of schemas that documents name and that are not at hand."""

    def check(self, document: Mapping[str, Any]) -> None:
        """Raise BadRequest where an item or a collection, which has an id, is not valid as far as is known."""
        if errors := self.errors(document):
            raise BadRequest(f"{document['id']}: not valid: {'; '.join(errors)}")

    def errors(self, document: Mapping[str, Any]) -> list[str]:
        """What is wrong with an item or a collection, a few of many; nothing where it is valid as far as is known."""
        kind = _KINDS.get(str(document.get("type")))
        if kind is None:
            return ["type: neither Feature nor Collection"]
        version, extensions = document.get("stac_version"), document.get("stac_extensions") or []
        if not isinstance(version, str) or not isinstance(extensions, list):
            return ["stac_version must be a text, stac_extensions a list"]
        links = document.get("links") or []
        if kind == "item" and document.get("collection") is not None and isinstance(links, list):
            # The schema wants a link to it, which the server puts in on the way out.
            document = {**document, "links": [*links, {"rel": "collection", "href": "."}]}
        found: list[str] = []
        for address in (_OWN.format(version=version, kind=kind), *map(str, extensions)):
            validator = self._validator(address.rstrip("#"))
            if validator is None or validator.is_valid(document):
                continue
            found += [_told(error) for error, _ in zip(validator.iter_errors(document), range(MOST), strict=False)]
        return found[:MOST]

    def _validator(self, address: str) -> Any:
        """What checks by a schema; None where it is not at hand."""
        if address not in self._validators:
            schema = self._known.get(address)
            if schema is None:
                self.missing.add(address)
            self._validators[address] = (
                None
                if schema is None
                else jsonschema_rs.validator_for(schema, registry=self._registry, base_uri=address, offline=True)
            )
        return self._validators[address]


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error.instance_path) or "the document"
    return f"{place}: {error.message[:200]}"


def _schema(content: bytes) -> dict[str, Any]:
    """A schema as it is read, but that it names the properties which are not its own without look-ahead."""
    return orjson.loads(_ANY_BUT.sub(lambda found: f'"{_any_but(found[1].decode())}"'.encode(), content))  # type: ignore[no-any-return]


def _any_but(start: str) -> str:
    """A pattern of all texts that do not begin so: each ends, or goes another way, at one of its letters.

    >>> _any_but("eo:")
    '^(?:$|[^e]|e(?:$|[^o]|o(?:$|[^:])))'
    """
    pattern = f"(?:$|[^{start[-1]}])"
    for letter in reversed(start[:-1]):
        pattern = f"(?:$|[^{letter}]|{letter}{pattern})"
    return f"^{pattern}"


def _of_pystac() -> dict[str, Any]:
    """Address → schema, of what comes with pystac."""
    root = resources.files("pystac") / "validation" / "jsonschemas"
    found = {}
    for file in (root / "geojson").iterdir():
        found[f"https://geojson.org/schema/{file.name}"] = _schema(file.read_bytes())
    for version in (root / "stac-spec").iterdir():
        for file in version.iterdir():
            # By their places, as they refer to each other: one of them names itself wrongly.
            name = file.name.removesuffix(".json")
            kind = name if name in _KINDS.values() else "item"
            address = f"https://schemas.stacspec.org/{version.name}/{kind}-spec/json-schema/{file.name}"
            found[address] = _schema(file.read_bytes())
    return found


def _of_folder(folder: Path) -> dict[str, Any]:
    """Address → schema, of the JSON files in a folder."""
    if not folder.is_dir():
        raise BadSettings(f"KARTOTEK_SCHEMAS: {folder}: no such folder")
    found = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            found[f"https://{path.relative_to(folder).as_posix()}"] = _schema(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise BadSettings(f"KARTOTEK_SCHEMAS: {path}: no JSON ({error})") from None
    return found
