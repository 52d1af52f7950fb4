"""Values in SQL: where they stand, or by name, so that one statement serves all searches that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, bindparam, literal
from sqlalchemy.types import TypeEngine


class Binding(Protocol):
    """How values come into a statement; they are bound either way."""

    def one(self, name: str, value: Any, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
        """A value."""
        ...

    def many(self, name: str, values: Sequence[Any]) -> Any:
        """What `in_` takes."""
        ...


class Here:
    """Each with its value."""

    def one(self, name: str, value: Any, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
        """A literal."""
        return literal(value, kind)

    def many(self, name: str, values: Sequence[Any]) -> Any:
        """As they are."""
        return values


class ByName:
    """By names alone: who executes the statement gives the values, of which only their being there counts here."""

    def one(self, name: str, value: Any, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
        """A parameter."""
        return bindparam(name, type_=kind)

    def many(self, name: str, values: Sequence[Any]) -> Any:
        """A parameter of any number of values."""
        return bindparam(name, expanding=True)


HERE = Here()
BY_NAME = ByName()
