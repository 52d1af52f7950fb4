"""Products to items: read, convert and publish each, and go on after one that can't be."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.store import Catalog
from converters import sensors
from converters.convert import Converted, Progress, Recipe, convert
from jobs.publish import Published, publish
from kartotek.errors import BadFile, BrokenProduct, Corrupted, KartotekError, ProductError, StorageError
from kartotek.storage import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failed:
    """A product that could not be converted; nothing of it is visible."""

    path: Path
    error: ProductError | BadFile | Corrupted


def run(
    paths: Iterable[Path],
    recipe: Recipe,
    storage: Storage,
    catalog: Catalog,
    *,
    visual: bool = False,
    progress: Callable[[Path], Progress] | None = None,
) -> Iterator[Published | Failed]:
    """Convert and publish products one after the other, and yield each outcome as it comes.

    A product that can't be converted doesn't stop the others. Errors of storage and database do: they would meet every
    product.
    """
    for path in paths:
        try:
            with tempfile.TemporaryDirectory(prefix="kartotek-") as folder:
                report = progress(path) if progress else None
                converted = _converted(path, Path(folder), recipe, visual=visual, progress=report)
                yield publish(converted, storage, catalog)
        except (ProductError, BadFile, Corrupted) as error:
            yield Failed(path, error)
        except OSError as error:
            raise StorageError(
                f"{path.name}: can't write its files: {error.strerror or error}; they are made in "
                f"{tempfile.gettempdir()} (TMPDIR names another folder)"
            ) from error


def _converted(path: Path, folder: Path, recipe: Recipe, *, visual: bool, progress: Progress | None) -> Converted:
    """The product read and converted; whatever a product or a sensor does that nobody foresaw is that product's own."""
    try:
        return convert(sensors.read(path, visual=visual), folder, recipe, progress)
    except (KartotekError, OSError):
        raise
    except Exception as error:
        log.debug("%s", path, exc_info=error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BrokenProduct(
            f"{path.name}: can't be converted ({reason}); fetch the product again, and where that doesn't help, tell "
            "us what `kartotek -v convert` says"
        ) from error
