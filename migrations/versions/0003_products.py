"""The ledger of products that are to be converted, and the holds on items whose files are worked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from catalog.dialects import Instant, Name, Ring

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "products",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("place", Name, nullable=False),
        sa.Column("sensed", Instant),
        sa.Column("take", Name),
        sa.Column("zone", sa.Integer),
        sa.Column("ground", Ring),
        sa.Column("href", sa.Text),
        sa.Column("state", Name, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("leased_until", Instant),
        sa.Column("not_before", Instant),
        sa.Column("started", Instant),
        sa.Column("finished", Instant),
        sa.Column("collection", Name),
        sa.Column("item", Name),
        sa.Column("cause", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("log", sa.Text),
        sa.Column("timings", sa.JSON),
        sa.Column("bytes_read", sa.BigInteger),
        sa.Column("bytes_written", sa.BigInteger),
        sa.Column("recipe", sa.Text),
        sa.Column("checksum", sa.Text),
        sa.Column("original", sa.Text),
        sa.PrimaryKeyConstraint("pk", name="pk_products"),
        sa.UniqueConstraint("place", name="uq_products_place"),
    )
    op.create_index("ix_products_next", "products", ["state", "attempts", "pk"])
    op.create_index("ix_products_finished", "products", ["state", "finished"])
    op.create_index("ix_products_sensed", "products", ["state", "attempts", "sensed"])
    op.create_index("ix_products_take", "products", ["take", "zone", "state"])
    op.create_index("ix_products_item", "products", ["collection", "item"])
    op.create_table(
        "holds",
        sa.Column("collection", Name, nullable=False),
        sa.Column("item", Name, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", Instant, nullable=False),
        sa.PrimaryKeyConstraint("collection", "item", name="pk_holds"),
    )


def downgrade() -> None:
    op.drop_table("holds")
    op.drop_table("products")
