"""The sensors that kartotek knows: its own, and those of installed packages (entry point `kartotek.sensors`)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from converters.safe import open_product
from kartotek.errors import BrokenProduct, UnknownProduct
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
    try:
        files = open_product(path)
        for sensor in sensors():
            if sensor.recognise(files):
                return sensor.read(files, visual=visual)
    except OSError as error:
        raise BrokenProduct(f"{path.name}: can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BrokenProduct(
            f"{path.name}: its metadata makes no sense ({type(error).__name__}: {error}); fetch the product again"
        ) from error
    names = ", ".join(sensor.name for sensor in sensors())
    raise UnknownProduct(f"{path.name}: no sensor recognises it; sensors: {names}")
