"""Norrsken-1, a satellite that does not exist: reflectance and temperature as float32, and a mask of its own codes."""

import json
import math
from datetime import UTC, datetime

from kartotek.grids import Grid
from kartotek.product import Band, ClassValue, CollectionType, Kind, Layer, LayerType, Product, Render


def measured(name, title, common_name, micrometres, unit=None):
    band = Band(name=name, common_name=common_name, description=title, center_wavelength=micrometres)
    return LayerType(name=name, kind=Kind.MEASUREMENT, resolution=30, title=title, data_type="float32", nodata=math.nan,
                     bands=(band,), unit=unit, roles=("data",) if unit else ("data", "reflectance"))  # fmt: skip


CLASSES = (ClassValue(value=10, name="land", description="Land", color="3A7D44", clear=True),
           ClassValue(value=20, name="lake", description="Lake or sea", color="2F6DB5", clear=True),
           ClassValue(value=700, name="cloud", description="Cloud", color="FFFFFF"))  # fmt: skip
LAYERS = (measured("VIOLET", "Violet", "coastal", 0.42), measured("YELLOW", "Yellow", "yellow", 0.60),
          measured("RED", "Red", "red", 0.66), measured("NIR", "Near infrared", "nir", 0.86),
          measured("HEAT", "Temperature of the ground", "lwir11", 10.8, unit="K"),
          LayerType(name="QA", kind=Kind.CLASSES, resolution=30, title="Classes", data_type="uint16", nodata=65_535,
                    classes=CLASSES))  # fmt: skip
COLLECTION = CollectionType(
    id="norrsken-1", title="Norrsken-1", description="Reflectance and temperature of the ground, in physical units.",
    license="CC0-1.0", license_href="https://creativecommons.org/publicdomain/zero/1.0/", attribution="Norrsken",
    provider="Nobody", provider_href="https://example.org", start=datetime(2024, 1, 1, tzinfo=UTC),
    constellation="norrsken", platforms=("norrsken-1",), instruments=("eye",), keywords=("norrsken",), layers=LAYERS,
    mask="QA", renders={"infrared": Render(title="Infrared", assets=("NIR", "RED", "YELLOW"), rescale=(0.0, 0.5)),
                        "heat": Render(title="Temperature", assets=("HEAT",), rescale=(270.0, 310.0))})  # fmt: skip


class Norrsken:
    name = "norrsken"
    collections = (COLLECTION,)

    def recognise(self, files):
        return "norrsken.json" in files.names

    def read(self, files, *, visual=False):
        facts = json.loads(files.read("norrsken.json"))
        grid = Grid(**{name: facts[name] for name in ("crs", "left", "top", "resolution", "columns", "rows")})
        found = {kind: f"{kind.name}.tif" for kind in LAYERS if f"{kind.name}.tif" in files.names}
        return Product(
            id=facts["id"], path=files.path, collection=COLLECTION, footprint=None,
            sensed=datetime.fromisoformat(facts["sensed"]).astimezone(UTC),
            properties={"platform": "norrsken-1", "instruments": ["eye"], "gsd": 30, "eo:cloud_cover": facts["cloud"]},
            layers=tuple(Layer(type=kind, file=name, href=files.href(name), grid=grid) for kind, name in found.items()),
            missing=tuple(f"{kind.name}.tif is missing" for kind in LAYERS if kind not in found))  # fmt: skip


NORRSKEN = Norrsken()
