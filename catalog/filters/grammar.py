"""CQL2 as it is written, text or JSON → a tree of CQL2 JSON, within its caps before any parser sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cql2
import orjson

from kartotek.errors import BadRequest

MAX_BYTES = 16 * 1024
MAX_DEPTH = 64
MAX_NODES = 200
"""Operations of a filter."""
MAX_VALUES = 1_000
"""Values of one IN, or members of one array."""

Tree = Any
"""CQL2 JSON: an object with `op` and `args`, or a literal."""

MAX_PARENTHESES = 256
"""Of a text. Its parser recurses at each, and ends the process somewhere after the thousandth."""


def text(given: str) -> Tree:
    """The tree of CQL2 text. Raises BadRequest with the place where it ends being CQL2."""
    _check_length(given)
    if given.count("(") > MAX_PARENTHESES:
        raise BadRequest(f"filter: more than {MAX_PARENTHESES} parentheses; CQL2 JSON may have more")
    try:
        return cql2.parse_text(given).to_json()
    except (cql2.ParseError, ValueError, TypeError) as error:
        raise BadRequest(f"filter: no CQL2 text; {_reason(error)}") from None


def json(given: Mapping[str, Any] | bool) -> Tree:
    """The tree of CQL2 JSON that is parsed already; its form is checked where it is compiled."""
    try:
        content = orjson.dumps(given)
    except TypeError as error:  # an integer that no 64 bits hold
        raise BadRequest(f"filter: {error}") from None
    _check_length(content.decode())
    return given


def check(tree: Tree) -> Tree:
    """The tree, unless it is deeper or larger than is accepted, or holds what can't be compared."""
    nodes = 0

    def descend(node: Any, depth: int) -> None:
        nonlocal nodes
        if depth > MAX_DEPTH:
            raise BadRequest(f"filter: nested more than {MAX_DEPTH} deep")
        if isinstance(node, Mapping):
            if "op" in node:
                nodes += 1
                if nodes > MAX_NODES:
                    raise BadRequest(f"filter: more than {MAX_NODES} operations")
            if "coordinates" not in node:
                for value in node.values():
                    descend(value, depth + 1)
        elif isinstance(node, list):
            if len(node) > MAX_VALUES:
                raise BadRequest(f"filter: a list of {len(node)} values; at most {MAX_VALUES} are accepted")
            for value in node:
                descend(value, depth)
        elif isinstance(node, str):
            _check_letters(node)
        elif (isinstance(node, int) and not -(2**63) <= node < 2**64) or (
            isinstance(node, float) and not math.isfinite(node)
        ):
            raise BadRequest("filter: a number too large")

    descend(tree, 0)
    return tree


def _check_length(given: str) -> None:
    size = len(given.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise BadRequest(f"filter: {size} bytes; at most {MAX_BYTES} are accepted")
    _check_letters(given)


def _check_letters(given: str) -> None:
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in given):
        raise BadRequest("filter: a zero or half of a surrogate pair in it, which is no character")


def _reason(error: Exception) -> str:
    """The parser's message in a line."""
    return " ".join(str(error).split())[:300]
