"""Who asks, and what they may see: one predicate, in the SQL of every read.

To an outsider a private collection answers as one that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, true

from catalog.models import collections


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who asks."""

    collections: frozenset[str] = frozenset()
    """Private collections that this reader may see."""
    everything: bool = False
    """Whether the reader runs the system: the command line, a bulk job."""


PUBLIC = Reader()
"""Anyone."""
OPERATOR = Reader(everything=True)
"""Who has the database in their hands anyway."""


def visible(reader: Reader, collection: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the reader may know of the collection whose id stands in a column."""
    if reader.everything:
        return true()
    hidden = select(collections.c.id).where(collections.c.private == true())
    if reader.collections:
        hidden = hidden.where(collections.c.id.not_in(sorted(reader.collections)))
    # Said by what is hidden: by what may be seen, databases would go through items collection by collection.
    return collection.not_in(hidden)
