"""The sensors that kartotek knows: its own, and those of installed packages (entry point `kartotek.sensors`)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from converters.safe import open_product
from kartotek.errors import BrokenProduct, KartotekError, UnknownProduct, in_a_line
from kartotek.product import ID, CollectionType, Files, Product, Sensor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unloaded:
    """An entry point that gives no sensor."""

    name: str
    value: str
    """What it points to: module:object."""
    reason: str


@cache
def found() -> tuple[tuple[Sensor, ...], tuple[Unloaded, ...]]:
    """All sensors that can be loaded, ours first and else by name; and what can't be."""
    loaded: list[Sensor] = []
    unloaded: list[Unloaded] = []
    # Ours first: what is installed beside them takes neither their products nor their collections from them.
    points = sorted(
        entry_points(group="kartotek.sensors"),
        key=lambda point: (not point.value.startswith(f"{__name__}."), point.name),
    )
    for point in points:
        try:
            loaded.append(_sensor(point, loaded))
        except Exception as error:  # an outside package may fail in any way
            unloaded.append(Unloaded(point.name, point.value, in_a_line(error)))
    return tuple(loaded), tuple(unloaded)


def _sensor(point: EntryPoint, others: list[Sensor]) -> Sensor:
    """What an entry point gives. Raises ValueError where it is no sensor, or takes another's place."""
    sensor = point.load()
    if isinstance(sensor, type) or not isinstance(sensor, Sensor):
        raise ValueError(f"{point.value} is no sensor, which has name, collections, recognise and read")
    if not isinstance(sensor.name, str) or not ID.fullmatch(sensor.name):
        raise ValueError(f"its name {sensor.name!r} is not of letters, digits, '.', '-' and '_' alone")
    kinds = sensor.collections
    if not isinstance(kinds, tuple) or not kinds or not all(isinstance(kind, CollectionType) for kind in kinds):
        raise ValueError("its collections are no tuple of CollectionType")
    ids = [kind.id for kind in kinds]
    for other in others:
        if other.name == sensor.name:
            raise ValueError(f"there is another sensor called {sensor.name}")
        ids += [kind.id for kind in other.collections]
    if taken := [kind.id for kind in kinds if ids.count(kind.id) > 1]:
        raise ValueError(f"the collection {taken[0]} is there already")
    return sensor


@cache
def sensors() -> tuple[Sensor, ...]:
    """All sensors that can be loaded; one that can't is named in the log, and the others serve."""
    loaded, unloaded = found()
    for point in unloaded:
        log.warning("the sensor %s (%s) can't be loaded: %s", point.name, point.value, point.reason)
    return loaded


def collections() -> dict[str, CollectionType]:
    """Id → collection, of all sensors."""
    return {kind.id: kind for sensor in sensors() for kind in sensor.collections}


def read(product: Path | Files, *, visual: bool = False) -> Product:
    """The product at a path, or that files are of, read by the sensor that recognises it; no pixel is touched.

    `visual` asks for pictures for the eye too. Raises a ProductError that names the file and what to do.
    """
    path = product if isinstance(product, Path) else product.path
    try:
        files = open_product(product) if isinstance(product, Path) else product
        for sensor in sensors():
            if _recognises(sensor, files):
                return sensor.read(files, visual=visual)
    except OSError as error:
        raise BrokenProduct(f"{path.name}: can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BrokenProduct(
            f"{path.name}: its metadata makes no sense ({type(error).__name__}: {error}); fetch the product again"
        ) from error
    names = ", ".join(sensor.name for sensor in sensors())
    raise UnknownProduct(f"{path.name}: no sensor recognises it; sensors: {names}")


def recognised(product: Path | Files) -> bool:
    """Whether a sensor knows what lies at a path, or files."""
    try:
        files = open_product(product) if isinstance(product, Path) else product
        return any(_recognises(sensor, files) for sensor in sensors())
    except (KartotekError, OSError):
        return False


def _recognises(sensor: Sensor, files: Files) -> bool:
    """Whether a sensor knows the product; one that fails doesn't, so that the products of others are read."""
    try:
        return sensor.recognise(files)
    except (KartotekError, OSError):
        raise  # it is the product that can't be looked at
    except Exception as error:
        log.warning("the sensor %s fails on %s: %s: %s", sensor.name, files.path.name, type(error).__name__, error)
        return False
