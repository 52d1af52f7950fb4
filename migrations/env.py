"""What Alembic runs: on the connection that `Catalog.migrate` hands over, or on KARTOTEK_DATABASE."""

from __future__ import annotations

from alembic import context

from catalog import dialects
from catalog.models import metadata
from kartotek import settings


def run() -> None:
    """Run the migrations in one transaction."""
    connection = context.config.attributes.get("connection")
    if connection is None:
        connection = dialects.writing(dialects.engine(settings.load().database).connect())
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


run()
