"""What filters compare, what items are together, and how far others came in; `Catalog.migrate` fills it before 0005."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from catalog.contents import Contents
from catalog.dialects import Facts, Name

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without a default and without NOT NULL: a table of any size has them at once, and readers wait for nothing.
    op.add_column("items", sa.Column("snow_cover", sa.Float))
    op.add_column("items", sa.Column("granule", Name))
    op.add_column("items", sa.Column("facts", Facts))
    op.create_table(
        "changes",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("collection", Name, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_changes"),
    )
    op.create_index("ix_changes_collection", "changes", ["collection"])
    op.create_table(
        "summaries",
        sa.Column("collection", Name, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("collection", name="pk_summaries"),
    )
    op.create_table(
        "dictionaries",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("collection", Name, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dictionaries"),
        sa.UniqueConstraint("collection", name="uq_dictionaries_collection"),
    )
    op.create_table(
        "intakes",
        sa.Column("source", Name, nullable=False),
        sa.Column("place", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_intakes"),
    )


def downgrade() -> None:
    _unpack(op.get_bind())
    for name in ("intakes", "dictionaries", "summaries", "changes"):
        op.drop_table(name)
    for name in ("facts", "granule", "snow_cover"):
        op.drop_column("items", name)


def _unpack(connection: sa.Connection) -> None:
    """Items' JSON as it was before: not packed."""
    dictionaries = sa.table("dictionaries", sa.column("id"), sa.column("content"))
    items = sa.table("items", sa.column("pk"), sa.column("content"))
    contents = Contents(
        lambda number: connection.scalar(sa.select(dictionaries.c.content).where(dictionaries.c.id == number))
    )
    last, batch = 0, sa.select(items).order_by(items.c.pk).limit(1_000)
    while rows := connection.execute(batch.where(items.c.pk > last)).all():
        packed = [{"row": row.pk, "content": contents.whole(row.content)} for row in rows if row.content[:1] != b"{"]
        if packed:
            connection.execute(sa.update(items).where(items.c.pk == sa.bindparam("row")), packed)
        last = rows[-1].pk
