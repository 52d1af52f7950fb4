"""The tables' history, by Alembic; shipped with the package, so that `kartotek migrate` works once installed."""
