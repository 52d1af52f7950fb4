"""Logging: lines of text or of JSON on standard error, each with the id of the request that it was written for."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

request: ContextVar[str | None] = ContextVar("request", default=None)
"""The id of the request that is being answered; None where there is none."""


OURS = ("api", "catalog", "converters", "jobs", "kartotek", "migrations", "pixels")
"""Whose lines are wanted from the level on that is asked for; libraries tell at INFO what nobody wants to know."""


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error as it is when a line comes: a progress bar puts itself there, and lines above itself."""

    @property
    def stream(self) -> TextIO:
        """That."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


class Text(logging.Formatter):
    """One line a record, whatever a caller put into its names; a traceback follows on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line."""
        whose = f" [{stamped['request_id']}]" if (stamped := vars(record))["request_id"] else ""
        return printable(f"{stamped['time']} {record.levelname} {record.name}{whose}: {record.message}")


def as_json() -> logging.Formatter:
    """One object a line; what is given as `extra` stands in it under its own name."""
    return JsonFormatter(
        ["time", "levelname", "name", "request_id", "message"],
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
    )


FORMATS = {"text": Text, "json": as_json}
"""Name → what makes its formatter."""


def set_up(level: str, form: str) -> None:
    """Write from this level on, in one of FORMATS; of libraries, warnings at least, unless it is debug.

    Nothing happens where logging is set up already, and to loggers of ours nothing where they are.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = _Stderr()
    handler.addFilter(stamp)
    handler.setFormatter(FORMATS[form]())
    root.addHandler(handler)
    root.setLevel("WARNING" if level == "info" else level.upper())
    for name in OURS:
        if not logging.getLogger(name).handlers:
            logging.getLogger(name).setLevel(level.upper())
    if form == "json":
        logging.captureWarnings(True)  # Python prints them as text


def adopt(library: str) -> None:
    """Have a library's lines written as those of all others, whatever it has set up by itself."""
    for name in [name for name in logging.root.manager.loggerDict if f"{name}.".startswith(f"{library}.")]:
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()
        logger.propagate = True


def stamp(record: logging.LogRecord) -> bool:
    """Write on a record when it was made, and for which request; a filter, which runs in the thread that logs."""
    record.time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    record.request_id = request.get()
    return True


def printable(text: str) -> str:
    r"""A text on one line, without what terminals obey.

    >>> printable("Södermalm\nERROR forged \x1b[31m")
    'Södermalm\\nERROR forged \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
