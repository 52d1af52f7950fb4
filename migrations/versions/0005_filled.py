"""Indexes over the columns of 0004."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_items_collection", "items", ["collection", sa.text("datetime DESC"), "id"])
    op.create_index("ix_items_cloud", "items", ["collection", "cloud_cover"])
    op.create_index("ix_items_granule", "items", ["granule", sa.text("datetime DESC")])


def downgrade() -> None:
    for name in ("ix_items_granule", "ix_items_cloud", "ix_items_collection"):
        op.drop_index(name, "items")
