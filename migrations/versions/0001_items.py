"""Collections, items and their index squares."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from catalog.dialects import Footprint, Instant, Name

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "collections",
        sa.Column("id", Name, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
    )
    op.create_table(
        "items",
        sa.Column("pk", _KEY, nullable=False),
        sa.Column("collection", Name, nullable=False),
        sa.Column("id", Name, nullable=False),
        sa.Column("footprint", Footprint, nullable=False),
        sa.Column("datetime", Instant, nullable=False),
        sa.Column("start", Instant, nullable=False),
        sa.Column("end", Instant, nullable=False),
        sa.Column("platform", sa.Text),
        sa.Column("cloud_cover", sa.Float),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_items"),
        sa.UniqueConstraint("collection", "id", name="uq_items_collection_id"),
        sa.ForeignKeyConstraint(["collection"], ["collections.id"], ondelete="CASCADE", name="fk_items_collection"),
    )
    op.create_index("ix_items_newest", "items", [sa.text("datetime DESC"), "collection", "id"])
    op.create_index("ix_items_id", "items", ["id"])
    op.create_table(
        "squares",
        sa.Column("item", _KEY, nullable=False),
        sa.Column("east", sa.Integer, nullable=False),
        sa.Column("north", sa.Integer, nullable=False),
        sa.Column("valid", sa.Integer, nullable=False),
        sa.Column("clear", sa.Integer),
        sa.Column("classes", sa.JSON, nullable=False),
        sa.Column("indices", sa.JSON, nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("item", "east", "north", name="pk_squares"),
        sa.ForeignKeyConstraint(["item"], ["items.pk"], ondelete="CASCADE", name="fk_squares_item"),
    )
    op.create_index("ix_squares_place", "squares", ["east", "north"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE items_place USING rtree(pk, west, east, south, north, first, last)")
    else:
        op.execute('CREATE INDEX ix_items_place ON items USING gist (footprint, "start", "end")')


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP VIEW IF EXISTS items_months")  # which 0007 makes
        op.execute("DROP TABLE items_place")
    else:
        op.execute("DROP INDEX ix_items_place")
    op.drop_table("squares")
    op.drop_table("items")
    op.drop_table("collections")
