"""The tables: collections, items, the outlines of those that are cut, the counts of their index squares, what items are
together, mosaics, the ledger, the holds.

A plain table of items, without partitions and triggers: typed columns for what is searched and sorted by, and the
item's JSON as it goes out. On SQLite an R*Tree stands beside it (`catalog.dialects`).
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from catalog.dialects import Facts, Footprint, Instant, Name, Ring

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the column is called INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")

collections = Table(
    "collections",
    metadata,
    Column("id", Name, primary_key=True),
    Column("private", Boolean, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("collection", Name, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("id", Name, nullable=False),
    Column("footprint", Footprint, nullable=False),
    Column("datetime", Instant, nullable=False),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("platform", Text),
    Column("cloud_cover", Float),
    Column("snow_cover", Float),
    Column("granule", Name),
    Column("content", LargeBinary, nullable=False),
    # Last: SQLite reads a row from its beginning, and only as far as it must.
    Column("facts", Facts),
    UniqueConstraint("collection", "id"),
)
"""`facts` is what filters compare of the properties that have no column here (`catalog.facts`). `datetime` is what
items are sorted by; `start` and `end` are what they are searched by, equal for most."""

# Newest first, the order in which pages are walked; the tie-breakers make it total.
Index("ix_items_newest", items.c.datetime.desc(), items.c.collection, items.c.id)
Index("ix_items_id", items.c.id)
Index("ix_items_collection", items.c.collection, items.c.datetime.desc(), items.c.id)
Index("ix_items_cloud", items.c.collection, items.c.cloud_cover)
# With all that searches of granules ask for most: who must look at the rows looks at ten times as many pages.
Index(
    "ix_items_granule",
    items.c.granule,
    items.c.datetime.desc(),
    items.c.collection,
    items.c.cloud_cover,
    items.c.snow_cover,
)

slacks = Table(
    "slacks",
    metadata,
    Column("collection", Name, primary_key=True),
    Column("seconds", BigInteger, nullable=False),
)
"""The most by which `start` or `end` of any item of a collection is away from its `datetime`, so that an index by that
serves searches by time too; no row where that is nothing."""

rings = Table(
    "rings",
    metadata,
    Column("item", _Key, primary_key=True, autoincrement=False),
    Column("ring", Ring, nullable=False),
)
"""The outline of an item whose footprint is cut at 180 degrees or at a pole: whole, in the CRS of its pixels.

A table of its own, since hardly any item has one, and without a foreign key, so that it comes and goes without a lock
on the items: whoever writes and removes items sees to it.
"""

squares = Table(
    "squares",
    metadata,
    Column("item", _Key, ForeignKey("items.pk", ondelete="CASCADE"), primary_key=True),
    Column("east", Integer, primary_key=True, autoincrement=False),
    Column("north", Integer, primary_key=True, autoincrement=False),
    Column("valid", Integer, nullable=False),
    Column("clear", Integer),
    Column("classes", JSON, nullable=False),
    Column("indices", JSON, nullable=False),
    Column("recipe", Text, nullable=False),
    Index("ix_squares_place", "east", "north"),
)
"""Counts per 5 km square of an item; `east` and `north` are metres in EPSG:3006."""

changes = Table(
    "changes",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("collection", Name, nullable=False),
    Column("content", JSON, nullable=False),
    Index("ix_changes_collection", "collection"),
)
"""What writers added to collections since these were summed up last (`catalog.summaries`)."""

summaries = Table(
    "summaries",
    metadata,
    Column("collection", Name, primary_key=True),
    Column("content", JSON, nullable=False),
)
"""What the items of each collection are together, but for the changes."""

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("collection", Name, nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
)
"""What the items of a collection have in common, by which their JSON is packed (`catalog.contents`)."""

intakes = Table(
    "intakes",
    metadata,
    Column("source", Name, primary_key=True),
    Column("place", JSON, nullable=False),
)
"""How far items of other catalogues have come in (`catalog.intakes`)."""

directories = Table(
    "directories",
    metadata,
    Column("key", Name, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""Where the blocks of files lie, by the files' keys (`catalog.directories`)."""

mosaics = Table(
    "mosaics",
    metadata,
    Column("id", Name, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""Searches that were registered, as JSON, by the hash of it (`catalog.mosaics`)."""

products = Table(
    "products",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("place", Name, nullable=False),
    Column("sensed", Instant),
    Column("take", Name),
    Column("zone", Integer),
    Column("ground", Ring),
    Column("href", Text),
    Column("state", Name, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("owner", Text),
    Column("leased_until", Instant),
    Column("not_before", Instant),
    Column("started", Instant),
    Column("finished", Instant),
    Column("collection", Name),
    Column("item", Name),
    Column("cause", Text),
    Column("error", Text),
    Column("log", Text),
    Column("timings", JSON),
    Column("bytes_read", BigInteger),
    Column("bytes_written", BigInteger),
    Column("recipe", Text),
    Column("checksum", Text),
    Column("original", Text),
    UniqueConstraint("place"),
)
"""The ledger (`catalog.ledger`)."""

Index("ix_products_next", products.c.state, products.c.attempts, products.c.pk)
Index("ix_products_finished", products.c.state, products.c.finished)
Index("ix_products_sensed", products.c.state, products.c.attempts, products.c.sensed)
Index("ix_products_take", products.c.take, products.c.zone, products.c.state)
Index("ix_products_item", products.c.collection, products.c.item)

holds = Table(
    "holds",
    metadata,
    Column("collection", Name, primary_key=True),
    Column("item", Name, primary_key=True),
    Column("token", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("until", Instant, nullable=False),
)
"""Items whose files somebody works at (`catalog.holds`); hardly ever more than there are workers."""
