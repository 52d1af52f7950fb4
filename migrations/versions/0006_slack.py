"""How far items' times reach from where they are sorted, and what SQLite's planner has to know of the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from catalog.dialects import Name

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

REACH = {
    "sqlite": """
SELECT collection, (max("end" - datetime) + 999999) / 1000000, (max(datetime - start) + 999999) / 1000000
FROM items GROUP BY collection
""",
    "postgresql": """
SELECT collection, CAST(ceil(extract(epoch FROM max("end" - datetime))) AS bigint),
    CAST(ceil(extract(epoch FROM max(datetime - start))) AS bigint)
FROM items GROUP BY collection
""",
}
# Rows of an index, and rows that have the same first columns of it: those of a large catalog, where plans matter.
# Without them SQLite takes any index for one that leads to ten rows, and with those of a small one for what it was.
STATISTICS = {
    "ix_items_newest": "200000 1 1 1",
    "ix_items_id": "200000 1",
    "ix_items_collection": "200000 50000 1 1",
    "ix_items_cloud": "200000 50000 40",
    "ix_items_granule": "200000 2000 1",
    "uq_items_collection": "200000 50000 1",
}


def upgrade() -> None:
    connection = op.get_bind()
    slacks = op.create_table(
        "slacks",
        sa.Column("collection", Name, nullable=False),
        sa.Column("seconds", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("collection", name="pk_slacks"),
    )
    for name, *most in connection.execute(sa.text(REACH[connection.dialect.name])).all():
        if max(most):
            connection.execute(sa.insert(slacks).values(collection=name, seconds=max(most)))
    if connection.dialect.name == "sqlite":
        _tell_sqlite(connection)


def _tell_sqlite(connection: sa.Connection) -> None:
    """As https://www.sqlite.org/optoverview.html, "Manual Control", has it."""
    connection.execute(sa.text("ANALYZE sqlite_schema"))  # makes the table of statistics
    connection.execute(sa.text("DELETE FROM sqlite_stat1"))
    unique = "SELECT name FROM pragma_index_list('items') WHERE origin = 'u'"
    names = {"uq_items_collection": connection.scalar(sa.text(unique))}
    rows = [{"idx": names.get(name, name), "stat": stat} for name, stat in STATISTICS.items()]
    connection.execute(sa.text("INSERT INTO sqlite_stat1 VALUES ('items', :idx, :stat)"), rows)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DELETE FROM sqlite_stat1")
    else:
        op.execute("LOCK TABLE items")  # first, as who reads does
    op.drop_table("slacks")
