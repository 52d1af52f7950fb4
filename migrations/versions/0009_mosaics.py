"""Searches that tiles are made of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from catalog.dialects import Name

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mosaics",
        sa.Column("id", Name, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mosaics"),
    )


def downgrade() -> None:
    op.drop_table("mosaics")
