"""Products to items: read, convert and publish each, and go on after one that can't be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.store import Catalog
from converters.convert import Progress, Recipe
from jobs import worker
from jobs.publish import Published, publish
from jobs.scratch import scratch
from jobs.worker import Limits
from kartotek.errors import BadFile, Corrupted, ProductError
from kartotek.storage import Storage


@dataclass(frozen=True, slots=True)
class Failed:
    """A product that could not be converted; nothing of it is visible."""

    path: Path
    error: ProductError | BadFile | Corrupted


def convert_all(
    paths: Iterable[Path],
    recipe: Recipe,
    storage: Storage,
    catalog: Catalog,
    *,
    limits: Limits = Limits(),  # noqa: B008  frozen
    visual: bool = False,
    progress: Callable[[Path], Progress] | None = None,
) -> Iterator[Published | Failed]:
    """Convert and publish products one after the other, and yield each outcome as it comes.

    Each is converted in a process of its own, which may cost so much and no more. A product that can't be converted
    doesn't stop the others. Errors of storage and database do: they would meet every
    product.
    """
    for path in paths:
        try:
            with scratch(path.name) as folder:
                report = progress(path) if progress else None
                converted = worker.converted(path, folder, recipe, limits, visual=visual, progress=report)
                yield publish(converted, storage, catalog)
        except (ProductError, BadFile, Corrupted) as error:
            yield Failed(path, error)
