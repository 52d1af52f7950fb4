"""The sensors that kartotek knows: its own, and those of installed packages (entry point `kartotek.sensors`)."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from converters.safe import open_product
from kartotek.errors import BrokenProduct, UnknownProduct
from kartotek.product import Product, Sensor

log = logging.getLogger(__name__)


@cache
def sensors() -> tuple[Sensor, ...]:
    """All sensors that can be loaded, ordered by name; one that can't is named in the log, and the others serve."""
    found = []
    for point in sorted(entry_points(group="kartotek.sensors"), key=lambda point: point.name):
        try:
            found.append(point.load())
        except Exception as error:  # an outside package may fail in any way
            log.warning(
                "the sensor %s (%s) can't be loaded: %s: %s", point.name, point.value, type(error).__name__, error
            )
    return tuple(found)


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
