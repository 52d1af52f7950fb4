"""How a picture is asked for: which bands, index or formula of them, in which colours, and what is left out."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kartotek.errors import BadRequest
from pixels import colors, style
from pixels.style import Style

_RENDER = "A render of the collection, such as true-colour; the usual one where nothing else is said."
_ASSETS = "One layer, or three as red, green and blue with commas between: B08,B04,B03 or nir,red,green."
_INDEX = "A spectral index of the registry, in its own range and colours: ndvi."
_EXPRESSION = "A formula of layers, in physical values: (nir - red) / (nir + red); or three, with ; between them."
_RESCALE = "LOW,HIGH: the physical values that are black and white; one pair for all, or one for each."
_GAMMA = "Above 1 it makes lighter what is dark."
_COLORS = "The colours of one value: viridis, rdylgn_r."
_MASK = "`clear` leaves out what the collection's class mask says to be hidden; codes, 4,5,6, all but these classes."
_EMPTY = "204 for an answer without a body where a tile would be empty; 200 for a transparent one."

_VERSION = "The version of what is shown, as links to tiles have it: such a tile may be kept for ever."

Text = str | None


class Shown(BaseModel):
    """What of an item is shown."""

    model_config = ConfigDict(frozen=True)

    render: Annotated[Text, Field(description=_RENDER, max_length=200)] = None
    assets: Annotated[Text, Field(description=_ASSETS, max_length=400)] = None
    index: Annotated[Text, Field(description=_INDEX, max_length=40)] = None
    expression: Annotated[Text, Field(description=_EXPRESSION, max_length=6200)] = None
    rescale: Annotated[Text, Field(description=_RESCALE, max_length=200)] = None
    gamma: Annotated[float, Field(description=_GAMMA, ge=0.1, le=10, allow_inf_nan=False)] = 1.0
    colormap_name: Annotated[Text, Field(description=_COLORS, max_length=40)] = None
    mask: Annotated[Text, Field(description=_MASK, max_length=400)] = None

    def style(self, collection: Mapping[str, Any]) -> Style:
        """The style that is asked for of a collection's items. Raises BadRequest, or NotFound."""
        named = [name for name in ("render", "assets", "index", "expression") if getattr(self, name) is not None]
        if len(named) > 1:
            raise BadRequest(f"{' and '.join(named)}: one of these at a time")
        found = self._values(collection)
        if self.rescale is not None:
            found = replace(found, rescale=_limits(self.rescale))
        if len(found.limits) < len(found.values) and not style.is_classes(collection, found.values):
            raise BadRequest(
                "rescale: say which physical values are black and white, as rescale=0,0.3; no render of collection "
                f"{collection['id']!r} does for these"
            )
        if self.colormap_name is not None:
            found = replace(found, colors=colors.known(self.colormap_name))
        if self.mask is not None:
            name, clear = style.mask(collection)
            found = replace(found, mask=name, keep=clear if self.mask == "clear" else codes(self.mask))
        return replace(found, gamma=self.gamma)

    def _values(self, collection: Mapping[str, Any]) -> Style:
        if self.assets is not None:
            names = [name.strip() for name in self.assets.split(",")]
            if not all(names) or len(names) not in (1, 3):
                raise BadRequest(f"assets: {self.assets[:60]!r} names {len(names)} layers; one or three make a picture")
            return style.of_layers(collection, names)
        if self.index is not None:
            return style.of_index(self.index)
        if self.expression is not None:
            texts = self.expression.split(";")
            if len(texts) not in (1, 3):
                raise BadRequest(f"expression: {len(texts)} formulas; one or three make a picture")
            return style.of_formulas(texts)
        return style.of_render(collection, self.render or style.usual(collection))


class TileQuery(Shown):
    """Of a tile."""

    empty: Annotated[Literal["200", "204"], Field(description=_EMPTY)] = "200"
    v: Annotated[Text, Field(description=_VERSION, max_length=64)] = None

    @property
    def shown(self) -> Shown:
        """What is shown, without what else is said of a tile."""
        return Shown(**{name: getattr(self, name) for name in Shown.model_fields})


def _limits(text: str) -> tuple[tuple[float, float], ...]:
    """LOW,HIGH, or several of these."""
    try:
        numbers = [float(part) for part in text.split(",")]
        pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    except ValueError:
        pairs = ()
    if len(pairs) not in (1, 3) or any(low == high or not math.isfinite(high - low) for low, high in pairs):
        raise BadRequest(f"rescale: {text[:60]!r} is not LOW,HIGH: two different numbers, or three times two")
    return pairs


def codes(text: str) -> frozenset[int]:
    """Numbers of classes."""
    try:
        found = frozenset(int(part) for part in text.split(","))
    except ValueError:
        found = frozenset()
    if not found or not all(0 <= code < 65_536 for code in found):
        raise BadRequest(f"mask: {text[:60]!r} is neither `clear` nor numbers of classes, such as 4,5,6")
    return found
