"""What filters compare, and what items are together; `Catalog.migrate` fills it, in many transactions, before 0005."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

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


def downgrade() -> None:
    op.drop_table("summaries")
    op.drop_table("changes")
    for name in ("facts", "granule", "snow_cover"):
        op.drop_column("items", name)
