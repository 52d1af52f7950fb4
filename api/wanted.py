"""Which numbers are asked for: layers, indices or formulas by their names, and what is left out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api import display
from kartotek.errors import BadRequest
from pixels import style
from pixels.formula import Formula
from pixels.style import MAX_BANDS, Style

_RENDER = "A render of the collection, whose layers are meant; the usual one where nothing is said."
_ASSETS = f"Up to {MAX_BANDS} layers by their names or common names, with commas between: B08,red,SCL."
_INDEX = "Spectral indices of the registry, with commas between: ndvi,nbr."
_EXPRESSION = "Formulas of layers, in physical values, with ; between: (nir - red) / (nir + red)."
_MASK = "`clear` leaves out what the collection's class mask says to be hidden; codes, 4,5,6, all but these classes."

Text = str | None


class Wanted(BaseModel):
    """Numbers of an item."""

    model_config = ConfigDict(frozen=True)

    render: Annotated[Text, Field(description=_RENDER, max_length=200)] = None
    assets: Annotated[Text, Field(description=_ASSETS, max_length=400)] = None
    index: Annotated[Text, Field(description=_INDEX, max_length=400)] = None
    expression: Annotated[Text, Field(description=_EXPRESSION, max_length=4000)] = None
    mask: Annotated[Text, Field(description=_MASK, max_length=400)] = None

    def style(self, collection: Mapping[str, Any]) -> tuple[Style, tuple[str, ...]]:
        """What is asked for of a collection's items, and what each of its values is called.

        Raises BadRequest, or NotFound.
        """
        named = [name for name in ("render", "assets", "index", "expression") if getattr(self, name) is not None]
        if len(named) > 1:
            raise BadRequest(f"{' and '.join(named)}: one of these at a time")
        found, names = self._values(collection)
        if self.mask is not None:
            name, clear = style.mask(collection)
            found = replace(found, mask=name, keep=clear if self.mask == "clear" else display.codes(self.mask))
        return found, names

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
