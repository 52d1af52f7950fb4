"""Where the blocks of items' files lie."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from catalog.dialects import Name

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "directories",
        sa.Column("key", Name, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_directories"),
    )


def downgrade() -> None:
    op.drop_table("directories")
