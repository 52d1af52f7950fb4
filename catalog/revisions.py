"""Which revision the tables are of, and other ones made of them by Alembic.

Alembic is loaded where tables change, not where they are looked at: it takes a fifth of a second, as long as the rest
of a command that only looks.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from kartotek.errors import BadRequest

if TYPE_CHECKING:
    from alembic.config import Config

_VERSION = table("alembic_version", column("version_num"))
"""Where Alembic notes it."""


def current(connection: Connection) -> str | None:
    """The revision of the tables; None where there are none."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    found: str | None = connection.scalar(select(_VERSION.c.version_num))
    return found


def newest() -> str:
    """The newest revision of the tables that this program knows; its files are called by their numbers."""
    names = (file.name for file in (resources.files("migrations") / "versions").iterdir())
    return max(found[1] for name in names if (found := re.fullmatch(r"(\d{4})_\w+\.py", name)))


def change(connection: Connection, revision: str, *, upwards: bool = False) -> None:
    """Bring the tables to a revision, or to `head` or `base`; where `upwards` is said, never down, as where somebody
    else brought them further meanwhile. Raises BadRequest where there is no such revision.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    config, now = _alembic(), current(connection)
    if upwards and now is not None and now >= revision:
        return
    backwards = revision == "base" or (now is not None and revision != "head" and revision < now)
    config.attributes["connection"] = connection
    try:
        (command.downgrade if backwards else command.upgrade)(config, revision)
    except CommandError as error:
        raise BadRequest(f"{error}; the newest revision of this program is {newest()}") from error


def _alembic() -> Config:
    """Alembic's configuration; the migrations are a package of the wheel."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")))
    return config
