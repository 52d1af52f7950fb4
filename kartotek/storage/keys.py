"""Keys: relative paths of letters, digits, dots, hyphens and underscores."""

from __future__ import annotations

import re

from kartotek.errors import NotStored

_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}/)*[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
LONGEST = 900
"""Characters; S3 takes 1024 bytes, of which a prefix needs some."""


def is_key(text: str) -> bool:
    """Whether a text is a key.

    >>> is_key("sentinel-2-l2a/B02.tif"), is_key("../secret"), is_key("/etc/passwd"), is_key(".part")
    (True, False, False, False)
    """
    return len(text) <= LONGEST and _KEY.fullmatch(text) is not None


def checked(key: str) -> str:
    """The key itself. Raises NotStored where it is none, since nothing can lie there."""
    if not is_key(key):
        raise NotStored(f"{key[:100]!r}: not a key")
    return key
