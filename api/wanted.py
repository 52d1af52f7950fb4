"""What of an item or a mosaic is asked for: layers, indices or formulas by their names, and what is left out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from kartotek.errors import BadRequest
from pixels import style
from pixels.formula import Formula
from pixels.style import MAX_BANDS, Style

_RENDER = "A render of the collection, such as true-colour; the usual one where nothing else is said."
_ASSETS = (
    "Layers by their names or common names, with commas between: B08,red,SCL. A picture is made of one, or of three as "
    f"red, green and blue; of numbers there may be {MAX_BANDS}."
)
_INDEX = "A spectral index of the registry: ndvi; of numbers several, with commas between."
_EXPRESSION = "Formulas of layers, in physical values, with ; between: (nir - red) / (nir + red); as many as of assets."
_MASK = "`clear` leaves out what the collection's class mask says to be hidden; codes, 4,5,6, all but these classes."

Text = str | None
LAYERS = ("render", "assets", "index", "expression")
"""The ways of naming values, one at a time."""


class Wanted(BaseModel):
    """Which values."""

    model_config = ConfigDict(frozen=True)

    render: Annotated[Text, Field(description=_RENDER, max_length=200)] = None
    assets: Annotated[Text, Field(description=_ASSETS, max_length=400)] = None
    index: Annotated[Text, Field(description=_INDEX, max_length=400)] = None
    expression: Annotated[Text, Field(description=_EXPRESSION, max_length=6200)] = None
    mask: Annotated[Text, Field(description=_MASK, max_length=400)] = None

    @property
    def wanted(self) -> "Wanted":
        """Which values, without what else is asked for."""
        return Wanted(**{name: getattr(self, name) for name in Wanted.model_fields})

    def numbers(self, collection: Mapping[str, Any]) -> tuple[Style, tuple[str, ...]]:
        """The values that are asked for of a collection's items, each once, and what each of them is called.

        Raises BadRequest, or NotFound.
        """
        self.check()
        found, names = self._values(collection)
        # Formulas may be written differently and be the same; a render may show a layer twice.
        each = dict(zip(names, found.values, strict=True))
        return self.masked(found.of_values(tuple(each.values())), collection), tuple(each)

    def check(self) -> None:
        """Raises BadRequest where values are named in several ways."""
        named = [name for name in LAYERS if getattr(self, name) is not None]
        if len(named) > 1:
            raise BadRequest(f"{' and '.join(named)}: one of these at a time")

    def masked(self, style_: Style, collection: Mapping[str, Any]) -> Style:
        """A style without what the mask leaves out. Raises BadRequest where there is no such mask."""
        if self.mask is None:
            return style_
        name, clear = style.mask(collection)
        return replace(style_, mask=name, keep=clear if self.mask == "clear" else _codes(self.mask))

    def _values(self, collection: Mapping[str, Any]) -> tuple[Style, tuple[str, ...]]:
        if self.assets is not None:
            names = _listed("assets", self.assets, ",", "layers")
            return Style(values=names), names
        if self.index is not None:
            names = _listed("index", self.index, ",", "indices")
            styles = [style.of_index(name) for name in names]
            return replace(styles[0], values=tuple(one.values[0] for one in styles)), names
        if self.expression is not None:
            found = style.of_formulas(_listed("expression", self.expression, ";", "formulas"))
        else:
            found = style.of_render(collection, self.render or style.usual(collection))
        return found, tuple(value.text if isinstance(value, Formula) else value for value in found.values)


def _listed(parameter: str, text: str, between: str, what: str) -> tuple[str, ...]:
    """Names, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(between)))
    if not all(names) or len(names) > MAX_BANDS:
        raise BadRequest(
            f"{parameter}: {text[:60]!r} names {len(names)} {what}; 1 to {MAX_BANDS} with {between} between will do"
        )
    return names


def _codes(text: str) -> frozenset[int]:
    """Numbers of classes."""
    try:
        found = frozenset(int(part) for part in text.split(","))
    except ValueError:
        found = frozenset()
    if not found or not all(0 <= code < 65_536 for code in found):
        raise BadRequest(f"mask: {text[:60]!r} is neither `clear` nor numbers of classes, such as 4,5,6")
    return found
