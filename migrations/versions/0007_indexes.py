"""An item's datetime is one of its times; an index of granules that answers more; in SQLite one of places by months."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MONTH = 30 * 86_400
# Most items of a catalog lie in one collection or two, and a granule has some hundreds of a collection. (index, rows
# of it, then rows that have the same first columns of it)
STATISTICS = {
    "ix_items_newest": "200000 1 1 1",
    "ix_items_id": "200000 1",
    "ix_items_collection": "200000 100000 1 1",
    "ix_items_cloud": "200000 100000 40",
    "ix_items_granule": "200000 1000 1 1 1 1",
    "uq_items_collection": "200000 100000 1",
}
BEFORE = STATISTICS | {
    "ix_items_collection": "200000 50000 1 1",
    "ix_items_cloud": "200000 50000 40",
    "ix_items_granule": "200000 2000 1",
    "uq_items_collection": "200000 50000 1",
}


def upgrade() -> None:
    op.execute('UPDATE items SET "start" = datetime WHERE "start" > datetime')
    op.execute('UPDATE items SET "end" = datetime WHERE "end" < datetime')
    _index("collection", "cloud_cover", "snow_cover")
    if op.get_bind().dialect.name == "sqlite":
        first, last = "min(first, start / 1000000.0)", 'max(last, "end" / 1000000.0)'
        _place("items_place", "items_months", f"{first} / {MONTH}", f"{last} / {MONTH}", back=f"* {MONTH}")
        _tell_planner(STATISTICS)


def downgrade() -> None:
    _index()
    if op.get_bind().dialect.name == "sqlite":
        _place("items_months", "items_place", f"first * {MONTH}.0", f"last * {MONTH}.0", back=f"/ {MONTH}.0")
        _tell_planner(BEFORE)


def _index(*more: str) -> None:
    columns: list[str | sa.TextClause] = ["granule", sa.text("datetime DESC"), *more]
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_items_granule")
        op.create_index("ix_items_granule", "items", columns)
        return
    # Readers wait no longer than it takes to change the names.
    op.create_index("ix_items_granule_new", "items", columns)
    op.drop_index("ix_items_granule")
    op.execute("ALTER INDEX ix_items_granule_new RENAME TO ix_items_granule")


def _place(before: str, after: str, first: str, last: str, *, back: str) -> None:
    """Make the R*Tree anew, of times in another unit, and under another name.

    What was there becomes a view of it: a program of the other version goes on reading, and to write fails aloud.
    """
    op.execute(f"DROP VIEW IF EXISTS {after}")
    op.execute(f"CREATE VIRTUAL TABLE {after} USING rtree(pk, west, east, south, north, first, last)")
    op.execute(
        f"INSERT INTO {after} SELECT pk, west, east, south, north, {first}, {last} "  # noqa: S608
        f"FROM {before} JOIN items USING (pk)"
    )
    op.execute(f"DROP TABLE {before}")
    times = f"first {back} AS first, last {back} AS last"
    op.execute(f"CREATE VIEW {before} AS SELECT pk, west, east, south, north, {times} FROM {after}")  # noqa: S608


def _tell_planner(statistics: dict[str, str]) -> None:
    """As https://www.sqlite.org/optoverview.html, "Manual Control", has it."""
    connection = op.get_bind()
    connection.execute(sa.text("DELETE FROM sqlite_stat1"))
    unique = "SELECT name FROM pragma_index_list('items') WHERE origin = 'u'"
    names = {"uq_items_collection": connection.scalar(sa.text(unique))}
    rows = [{"idx": names.get(name, name), "stat": stat} for name, stat in statistics.items()]
    connection.execute(sa.text("INSERT INTO sqlite_stat1 VALUES ('items', :idx, :stat)"), rows)
