"""Which layers of a collection are kept: what a setting or an option says of it, checked against what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from converters import sensors
from kartotek.errors import BadSettings
from kartotek.product import CollectionType

Selection = Mapping[str, tuple[str, ...]]
"""Collection → names of the layers that are kept, in the collection's order; of one that isn't there, all are."""


def selection(chosen: Mapping[str, Sequence[str]]) -> Selection:
    """What `KARTOTEK_BANDS` says, its names checked.

    A class mask is kept with whatever is chosen, since index squares are counted by it. Raises BadSettings.
    """
    there = sensors.collections()
    if unknown := [name for name in chosen if name not in there]:
        raise BadSettings(f"KARTOTEK_BANDS: no collection {', '.join(unknown)}; there are: {', '.join(there)}")
    for name, bands in chosen.items():
        _check(f"KARTOTEK_BANDS: {name}", bands, _names(there[name]))
    return {name: _kept(there[name], bands) for name, bands in chosen.items()}


def everywhere(bands: Sequence[str]) -> Selection:
    """Of each collection those of the bands that it has: what `--bands` says. Raises BadSettings."""
    there = sensors.collections()
    _check("--bands", bands, list(dict.fromkeys(name for kind in there.values() for name in _names(kind))))
    return {name: _kept(kind, bands) for name, kind in there.items()}


def _names(kind: CollectionType) -> list[str]:
    return [layer.name for layer in kind.layers]


def _check(what: str, bands: Sequence[str], there: Sequence[str]) -> None:
    if unknown := [band for band in bands if band not in there]:
        raise BadSettings(f"{what}: no layer {', '.join(map(repr, unknown))}; there are: {', '.join(there)}")


def _kept(kind: CollectionType, bands: Sequence[str]) -> tuple[str, ...]:
    """A collection's layers among those, with its mask; none where it has none of them."""
    found = [name for name in _names(kind) if name in bands]
    return tuple(name for name in _names(kind) if name in found or name == kind.mask) if found else ()
