"""The preferred UTM zone: whether a product of another one is left out."""

from __future__ import annotations

from shapely import Geometry

from catalog.ledger import Lease, Ledger, Source
from jobs import reading
from jobs.coverage import covering
from jobs.reading import Metadata
from jobs.worker import Limits

CAUSE = "Covered"
"""What the ledger says of products that are left out."""


def covered(lease: Lease, ledger: Ledger, *, prefer: int | None, limits: Limits) -> str | None:
    """Why a product need not be converted: what is published of its datatake in the zone covers its ground; else None.

    Its metadata is read under the limits where it has not been registered. What can't be read is left to conversion,
    which tells why.
    """
    if prefer is None or lease.take is None or lease.zone in (None, prefer):
        return None
    others = ledger.published(lease.take, prefer)
    ground = (lease.ground or _ground(lease, limits)) if others else None
    names = None if ground is None else covering(ground, others)
    return None if names is None else f"UTM zone {prefer} shows its ground of the same pass: {', '.join(names)}"


def _ground(lease: Lease, limits: Limits) -> Geometry | None:
    """Where a product has data, by its metadata; None where that can't be read, or tells of another datatake."""
    [found] = reading.read([Source(place=lease.place)], limits, processes=1)
    if isinstance(found, Metadata) and (found.source.take, found.source.zone) == (lease.take, lease.zone):
        return found.ground
    return None
