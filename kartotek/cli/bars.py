"""Progress for people: a bar on standard error, and nothing where nobody watches it or a script reads lines."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def bar(*columns: str | ProgressColumn, quiet: bool) -> Progress:
    """A bar with these columns between a task's description and its time, taken and left; how many of how many else."""
    shown = columns or (BarColumn(), MofNCompleteColumn())
    return Progress(
        TextColumn("{task.description}"), *shown, TimeElapsedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True,
    )  # fmt: skip
