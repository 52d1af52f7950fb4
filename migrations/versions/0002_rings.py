"""Whole outlines of items whose footprints are cut at 180 degrees or at a pole."""

from __future__ import annotations

import orjson
import shapely
import sqlalchemy as sa
from alembic import op

from catalog import dialects, rings
from catalog.dialects import Footprint, Ring

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_CUTS = shapely.MultiLineString([[(-180, -90), (-180, 90)], [(180, -90), (180, 90)]])
"""What every footprint that is cut touches; one around a pole is cut at 180 degrees too."""


def upgrade() -> None:
    connection = op.get_bind()
    database = dialects.of(connection)
    op.create_table(
        "rings",
        sa.Column("item", _KEY, nullable=False, autoincrement=False),
        sa.Column("ring", Ring, nullable=False),
        sa.PrimaryKeyConstraint("item", name="pk_rings"),
    )
    items = sa.table("items", sa.column("pk"), sa.column("footprint", Footprint), sa.column("content"))
    # The exact test alone, since the index of places is another one by now.
    *_, touches = database.relates("intersects", items.c.pk, items.c.footprint, database.place_values(_CUTS))
    cut = sa.select(items.c.pk, items.c.content).where(touches)
    table = sa.table("rings", sa.column("item"), sa.column("ring", Ring))
    for found in connection.execute(cut).yield_per(1_000).partitions():
        rows = [{"item": pk, "ring": rings.ring(orjson.loads(content))} for pk, content in found]
        if rows := [row for row in rows if row["ring"] is not None]:
            connection.execute(sa.insert(table), rows)


def downgrade() -> None:
    op.drop_table("rings")
