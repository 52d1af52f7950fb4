"""What workers must have in common with whoever sends them products, for their results to be the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from jobs import owner

OURS = "kartotek"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The software of a process, and the file that is its database."""

    software: Mapping[str, str]
    """Package → version."""
    file: Path | None
    """The database, where it is a file."""
    identity: str
    """What tells this file from others of its name."""

    @classmethod
    def here(cls, file: Path | None) -> Surroundings:
        """Those of this process."""
        return cls(software=software(), file=file, identity=_identity(file))

    def differences(self) -> str:
        """What is different in this process, and what to do; empty where nothing is."""
        found = software()
        others = [
            f"{name} {found.get(name, 'is not there')} instead of {version}"
            for name, version in self.software.items()
            if found.get(name) != version
        ]
        if others:
            return f"{', '.join(others)}; install there what is installed here, or files would differ"
        if _identity(self.file) != self.identity:
            return f"{self.file} is not the same file; workers on other machines need PostGIS (KARTOTEK_DATABASE)"
        return ""


@lru_cache
def software() -> Mapping[str, str]:
    """What decides which bytes a product becomes: kartotek, what it needs, and packages with sensors."""
    needed = [re.split(r"[^\w.-]", one)[0] for one in metadata.requires(OURS) or () if "extra ==" not in one]
    found = {name: metadata.version(name) for name in [OURS, *needed]}
    sensors = [point.dist for point in metadata.entry_points(group="kartotek.sensors") if point.dist]
    return found | {one.name: one.version for one in sensors}


def _identity(file: Path | None) -> str:
    """Kernel, file system and number of a file: SQLite's log can be shared by processes of one kernel alone."""
    if file is None or not file.exists():
        return ""
    found = file.stat()
    return f"{owner.kernel()}/{found.st_dev}/{found.st_ino}"
