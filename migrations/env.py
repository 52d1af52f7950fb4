"""What Alembic runs: on the connection and in the transaction of `Catalog.migrate`, or on KARTOTEK_DATABASE."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from catalog import dialects
from catalog.models import metadata
from kartotek import settings


def run() -> None:
    """Run the migrations in one transaction: all of them take effect, or none."""
    given = context.config.attributes.get("connection")
    if given is not None:
        _run_on(given)
        return
    engine = dialects.engine(settings.load().database)
    with engine.connect() as connection, dialects.writing(connection).begin():
        _run_on(connection)


def _run_on(connection: Connection) -> None:
    """Run them on a connection whose transaction has begun: Alembic would commit after each revision on SQLite."""
    dialects.of(connection).prepare(connection)
    context.configure(connection=connection, target_metadata=metadata)
    context.run_migrations()


run()
