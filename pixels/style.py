"""What a tile shows, whatever the item: bands or what is computed of them, in which colours, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kartotek.errors import BadRequest, NotFound
from kartotek.indices import INDICES
from kartotek.product import usual_render
from pixels import colors, formula
from pixels.formula import Formula

MAX_BANDS = 13
"""Layers that one tile may need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One value as grey or in the colours of a map, or three as red, green and blue."""

    values: tuple[str | Formula, ...]
    """Names of layers, whose numbers are shown as they are measured, or formulas of such names."""
    rescale: tuple[tuple[float, float], ...] = ()
    """Lowest and highest physical value of each; one pair holds for all. None: classes in their own colours."""
    gamma: float = 1.0
    """Exponent by which 1/gamma brightens what lies between, as in image software."""
    colors: str | None = None
    """A colour map, for one value."""
    floor: float | None = None
    """What physical values are raised to before a formula is computed, where they are below it."""
    mask: str | None = None
    """The layer of classes by which pixels are left out."""
    keep: frozenset[int] = frozenset()
    """Its classes that are shown."""

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that are needed, each once."""
        needed = [name for value in self.values for name in ([value] if isinstance(value, str) else value.names)]
        return tuple(dict.fromkeys([*needed, *([self.mask] if self.mask else [])]))

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest of each value; fewer where too few are said."""
        # More pairs than values are let pass: collections of ours say three, also for one layer.
        return self.rescale * len(self.values) if len(self.rescale) == 1 else self.rescale[: len(self.values)]

    def of_values(self, values: tuple[str | Formula, ...]) -> Style:
        """The same of other values."""
        return replace(self, values=values)


def usual(collection: Mapping[str, Any]) -> str:
    """The name of the render that shows a collection's items: in true colour, else its first. NotFound without any."""
    found = usual_render(collection.get("renders") or {})
    if found is None:
        raise NotFound(f"collection {collection['id']!r} has no renders, so that no picture of its items can be drawn")
    return found


def of_render(collection: Mapping[str, Any], name: str) -> Style:
    """A render of a collection (STAC's render extension).

    Raises NotFound where there is none of that name, or it says what it shows in a way that we don't know.
    """
    renders = collection.get("renders") or {}
    if name not in renders:
        raise NotFound(f"no render {name!r} in collection {collection['id']!r}; there are: {', '.join(renders)}")
    try:
        return _of_render(collection, renders[name])
    except KeyError as error:
        reason = f"no {error.args[0]!r}"
    except (TypeError, ValueError, AttributeError, BadRequest) as error:
        reason = str(error)
    raise NotFound(f"nothing can be shown by {name!r} of collection {collection['id']!r}: {reason}")


def _of_render(collection: Mapping[str, Any], render: Mapping[str, Any]) -> Style:
    rescale = render.get("rescale")
    if "expression" in render:
        values: tuple[str | Formula, ...] = (formula.parse(str(render["expression"])),)
    else:
        values = tuple(str(name) for name in render["assets"])
    if rescale is None and is_classes(collection, values):
        return Style(values=values)
    if rescale is None:
        raise KeyError("rescale")
    return Style(values=values, rescale=_pairs(rescale), colors=_map(render.get("colormap_name")))


def of_index(name: str) -> Style:
    """An index of the registry, in its own range and colours. Raises BadRequest where there is none of that name."""
    index = INDICES.get(name.lower())
    if index is None:
        raise BadRequest(f"index: no {name[:40]!r}; there are: {', '.join(INDICES)}")
    shown = (formula.parse(index.formula),)
    return Style(values=shown, rescale=((index.low, index.high),), colors=index.colors, floor=0.0)


def of_layers(collection: Mapping[str, Any], names: Sequence[str]) -> Style:
    """Layers by their names: classes in their own colours, measurements as a render of the collection shows them."""
    if is_classes(collection, names):
        return Style(values=tuple(names))
    return Style(values=tuple(names), rescale=_usual_limits(collection, names))


def of_formulas(texts: Sequence[str]) -> Style:
    """What is computed of layers, in physical values. Raises BadRequest where a formula can't be read."""
    return Style(values=tuple(formula.parse(text) for text in texts))


def _usual_limits(collection: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[float, float], ...]:
    """The limits that renders of the collection give to these layers; none where they say nothing of one."""
    known: dict[str, tuple[float, float]] = {}
    for render in (collection.get("renders") or {}).values():
        try:
            for name, pair in zip(render["assets"], _pairs(render["rescale"], len(render["assets"])), strict=False):
                known.setdefault(str(name), pair)
        except (KeyError, TypeError, ValueError):
            continue  # another way of showing, of which nothing is to be learned here
    return tuple(known[name] for name in names) if all(name in known for name in names) else ()


def is_classes(collection: Mapping[str, Any], values: Sequence[str | Formula]) -> bool:
    """Whether what is shown is one layer, of classes, which have colours of their own."""
    assets = collection.get("item_assets") or {}
    return len(values) == 1 and "classification:classes" in (assets.get(values[0]) or {})


def _pairs(rescale: Any, count: int = 1) -> tuple[tuple[float, float], ...]:
    """Limits as a render gives them; one pair holds for all."""
    try:
        pairs = [(float(low), float(high)) for low, high in rescale]
    except (TypeError, ValueError):
        pairs = []
    if not pairs or any(low == high or not math.isfinite(high - low) for low, high in pairs):
        raise ValueError(f"its rescale is {rescale}, not a list of [lowest, highest]: one for all, or one a layer")
    return tuple(pairs * count if len(pairs) == 1 else pairs)


def _map(name: Any) -> str | None:
    """A colour map that we have; None where nothing is said."""
    return None if name is None else colors.known(str(name))


def mask(collection: Mapping[str, Any]) -> tuple[str, frozenset[int]]:
    """The layer of classes by which a collection's items are masked, and those in which the ground is seen.

    Raises BadRequest where the collection names none, as one of radar.
    """
    try:
        found = collection["kartotek:mask"]
        return str(found["asset"]), frozenset(int(code) for code in found["clear"])
    except (KeyError, TypeError, ValueError):
        raise BadRequest(f"mask: the items of collection {collection['id']!r} have no class mask") from None
