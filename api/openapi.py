"""The OpenAPI document: FastAPI's, with the errors that we answer in the place of those that it expects."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "A problem document (RFC 9457), with `code` and `description` as the STAC API asks.",
    "required": ["type", "title", "status", "detail", "code", "description"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong, and what would do."},
        "code": {"type": "string"},
        "description": {"type": "string"},
    },
}
_UNUSED = ("HTTPValidationError", "ValidationError")


def complete(app: FastAPI) -> None:
    """Make the application's document tell of problem documents; it is put together once, when it is asked for."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The document, each of whose operations may end in a problem."""
    schemas = document["components"]["schemas"]
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"] |= {
                "4XX": {"description": "A wrong request, or nothing there; `detail` says what", "content": content},
                "503": {
                    "description": "The database or the storage does not answer, or all places are taken; come again",
                    "content": content,
                },
            }
    return document
