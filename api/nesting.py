"""How deep JSON is nested, known before any parser sees it: parsers recurse, and some end the process by it."""

from __future__ import annotations

import re

from kartotek.errors import BadRequest

MAX_DEPTH = 64

# Possessive, and with an end for strings that have none: in proportion to the length, whatever comes.
_PART = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def check(what: str, content: bytes | bytearray) -> None:
    """Raise BadRequest where JSON is nested more than MAX_DEPTH deep; whether it is JSON at all is not looked at.

    >>> check("body", b'{"a": [[1], "[[[["]}')
    """
    depth = 0
    for part in _PART.finditer(content):
        if part[0] in b"[{":
            depth += 1
        elif part[0] in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise BadRequest(f"{what}: JSON nested more than {MAX_DEPTH} deep")
