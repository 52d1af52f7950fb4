"""How a picture is asked for: of which layers, index or formula, and in which colours."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from api.wanted import Text, Wanted
from kartotek.errors import BadRequest
from pixels import colors, style
from pixels.style import Style

_RESCALE = "LOW,HIGH: the physical values that are black and white; one pair for all, or one for each."
_GAMMA = "Above 1 it makes lighter what is dark."
_COLORS = "The colours of one value: viridis, rdylgn_r."
_EMPTY = "204 for an answer without a body where a tile would be empty; 200 for a transparent one."

_VERSION = "The version of what is shown, as links to tiles have it: such a tile may be kept for ever."


class Shown(Wanted):
    """What of an item is shown."""

    rescale: Annotated[Text, Field(description=_RESCALE, max_length=200)] = None
    gamma: Annotated[float, Field(description=_GAMMA, ge=0.1, le=10, allow_inf_nan=False)] = 1.0
    colormap_name: Annotated[Text, Field(description=_COLORS, max_length=40)] = None

    @property
    def shown(self) -> "Shown":
        """What is shown, without what else is asked for."""
        return Shown(**{name: getattr(self, name) for name in Shown.model_fields})

    def style(self, collection: Mapping[str, Any]) -> Style:
        """The style that is asked for of a collection's items. Raises BadRequest, or NotFound."""
        self.check()
        found = self._layers(collection)
        if self.rescale is not None:
            found = replace(found, rescale=_limits(self.rescale))
        if len(found.limits) < len(found.values) and not style.is_classes(collection, found.values):
            raise BadRequest(
                "rescale: say which physical values are black and white, as rescale=0,0.3; no render of collection "
                f"{collection['id']!r} does for these"
            )
        if self.colormap_name is not None:
            found = replace(found, colors=colors.known(self.colormap_name))
        return replace(self.masked(found, collection), gamma=self.gamma)

    def _layers(self, collection: Mapping[str, Any]) -> Style:
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
