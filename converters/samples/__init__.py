"""Lifelike Sentinel-2 products of Swedish ground, made from nothing: the code behind `kartotek sample DIR`.

The ground is one function of place and day (`ground`), so that products of different zones, dates and levels agree on
what lies where; names, files and tags are the agency's. There is no Copernicus data in them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from converters.samples.safe import write
from converters.samples.scene import Scene

__all__ = ["Scene", "make", "scenes", "write"]


def make(folder: Path, *, full: bool = False) -> Iterator[Path]:
    """Write the standard set into a folder; each product's path comes as soon as it is whole."""
    # Two at a time, since the last image of a product leaves processors idle; whole granules one by one, for memory.
    with ThreadPoolExecutor(1 if full else 2) as threads:
        yield from threads.map(lambda scene: write(scene, folder), scenes(full=full))


def scenes(*, full: bool = False) -> tuple[Scene, ...]:
    """The standard set: small windows of genuine granules, or two whole granules that meet where zone 34 begins."""
    return _whole() if full else (*_overlaps(), *_oddities())


def _overlaps() -> tuple[Scene, ...]:
    """The same ground seen from two zones at 18, 12 and 24 degrees east; at 18 on three dates, once as L1C too."""
    uppsala = Scene(
        tile="33VXG",
        zone=33,
        left=662_340,
        top=6_649_560,
        sensed=_utc("2022-07-15T10:15:59.024"),
        platform="S2B",
        baseline="04.00",
        orbit=65,
    )
    spring = replace(uppsala, sensed=_utc("2023-04-21T10:15:59.024"), baseline="05.09", overcorrected=0.025)
    return (
        # The same day of two years, before and after the DN were moved by 1000: the reflectances are equal.
        replace(uppsala, sensed=_utc("2021-07-15T10:20:31.024"), platform="S2A", baseline="03.01"),
        uppsala,
        replace(uppsala, level="L1C"),
        replace(spring, packing="bare"),
        replace(uppsala, tile="34VCM", zone=34, left=326_700),
        *(
            Scene(
                tile=tile, zone=zone, left=left, top=6_449_280,
                sensed=_utc("2023-08-20T10:40:21.024"), platform="S2A", baseline="05.09", orbit=8,
            )
            for tile, zone, left in (("32VPK", 32, 671_280), ("33VUE", 33, 317_700))
        ),
        *(
            Scene(
                tile=tile, zone=zone, left=left, top=7_309_740,
                sensed=_utc("2023-08-25T09:50:31.024"), platform="S2A", baseline="05.09", orbit=79, clouds=0.05,
            )
            for tile, zone, left in (("34WFU", 34, 631_560), ("35WLP", 35, 357_480))
        ),
    )  # fmt: skip


def _oddities() -> tuple[Scene, ...]:
    """A swath's edge in Halland, snow at Kiruna in a zip, and clouds over Lulea in a zip without a root folder."""
    return (
        Scene(
            tile="33VUC", zone=33, left=371_460, top=6_271_260,
            sensed=_utc("2024-05-15T10:15:59.024"), platform="S2B", baseline="05.10", orbit=65,
            swath=((375_300, 6_260_280), (378_600, 6_271_260)),
        ),
        Scene(
            tile="34WDA", zone=34, left=462_660, top=7_530_000, pixels=732,
            sensed=_utc("2025-04-22T10:10:51.024"), platform="S2C", baseline="05.11", orbit=22, packing="zip",
        ),
        Scene(
            tile="34WET", zone=34, left=549_360, top=7_279_440, pixels=732,
            sensed=_utc("2023-08-23T09:55:59.024"), platform="S2B", baseline="05.09", orbit=122, clouds=0.9,
            packing="bare zip",
        ),
    )  # fmt: skip


def _whole() -> tuple[Scene, ...]:
    return tuple(
        Scene(
            tile=tile, zone=zone, left=left, top=6_700_020, pixels=10_980, complete=True,
            sensed=_utc("2024-05-15T10:15:59.024"), platform="S2B", baseline="05.10", orbit=65, overcorrected=0.025,
        )
        for tile, zone, left in (("33VXG", 33, 600_000), ("34VCM", 34, 300_000))
    )  # fmt: skip


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
