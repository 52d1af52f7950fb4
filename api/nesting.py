"""How deep JSON is nested, known before any parser sees it: parsers recurse, and some end the process by it."""

from __future__ import annotations

import re

from kartotek.errors import BadRequest

MAX_DEPTH = 64

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def check(what: str, content: bytes | bytearray) -> None:
    """Raise BadRequest where JSON is nested more than MAX_DEPTH deep; whether it is JSON at all is not looked at.

    >>> check("body", b'{"a": [[1], "[[[["]}')
    """
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", content)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            raise BadRequest(f"{what}: JSON nested more than {MAX_DEPTH} deep")
