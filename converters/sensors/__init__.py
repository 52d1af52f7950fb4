"""The sensors that kartotek knows: its own, and those of installed packages (entry point `kartotek.sensors`)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from converters.safe import open_product
from kartotek.errors import UnknownProduct
from kartotek.product import Product, Sensor


@cache
def sensors() -> tuple[Sensor, ...]:
    """All sensors, ordered by name."""
    found = {point.name: point for point in entry_points(group="kartotek.sensors")}
    return tuple(found[name].load() for name in sorted(found))


def read(path: Path, *, visual: bool = False) -> Product:
    """The product at a path, read by the sensor that recognises it; no pixel is touched.

    `visual` asks for pictures for the eye too. Raises a ProductError that names the file and what to do.
    """
    files = open_product(path)
    for sensor in sensors():
        if sensor.recognise(files):
            return sensor.read(files, visual=visual)
    names = ", ".join(sensor.name for sensor in sensors())
    raise UnknownProduct(f"{path.name}: no sensor recognises it; sensors: {names}")
