"""Documents checked by JSON schemas in a folder: what an extension calls its own, and what is anybody's."""

from __future__ import annotations

import orjson
import pytest

from catalog.schemas import Schemas
from kartotek.errors import BadSettings

ADDRESS = "https://example.com/eo/v9/schema.json"


@pytest.fixture
def schemas(tmp_path):
    """A schema as STAC's extensions write theirs: all properties but its own are anyone's."""
    path = tmp_path / "example.com/eo/v9/schema.json"
    path.parent.mkdir(parents=True)
    fields = {
        "properties": {"eo:snow": {"type": "number"}}, "patternProperties": {"^(?!eo:)": {}},
        "additionalProperties": False,
    }  # fmt: skip
    path.write_bytes(orjson.dumps({"type": "object", "properties": {"properties": fields}}))
    return Schemas(tmp_path)


@pytest.mark.parametrize(
    "name", ["", "e", "eo", "eo;", "x", "Eo:cover", "x:eo:cover", "ö", "eö:", " eo:", "\n", "e\no:"]
)
def test_what_does_not_begin_as_an_extension_is_anybodys(schemas, make_item, name):
    document = orjson.loads(make_item("one", **{name: 1})) | {"stac_extensions": [ADDRESS]}
    assert schemas.errors(document) == []


def test_a_schema_that_is_no_json_is_told_by_its_file(tmp_path):
    (tmp_path / "schema.json").write_bytes('{"title": "ö"}'.encode("latin-1"))
    with pytest.raises(BadSettings, match=r"schema\.json"):
        Schemas(tmp_path)


@pytest.mark.parametrize("name", ["eo:", "eo:cover", "eo:snow:", "eo:\n"])
def test_what_begins_as_an_extension_must_be_of_it(schemas, make_item, name):
    document = orjson.loads(make_item("one", **{name: 1})) | {"stac_extensions": [ADDRESS]}
    [error] = schemas.errors(document)
    assert error.startswith("properties: ")
    assert schemas.errors(orjson.loads(make_item("one", **{"eo:snow": 1})) | {"stac_extensions": [ADDRESS]}) == []
