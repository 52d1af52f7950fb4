"""The running server before tools of others: stac-api-validator, and schemathesis by our own OpenAPI document."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from catalog import documents
from catalog.access import PUBLIC
from catalog.search import Search
from kartotek.settings import Settings

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
OFFLINE = SHARED / "schemas/offline"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance," \
         "response_schema_conformance"  # fmt: skip


def tool(name):
    """A tool that is installed beside us."""
    found = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def test_stac_api_validator_finds_no_error(server, published):
    """Its status is 0 whatever happens: its text is read."""
    if not OFFLINE.exists():
        pytest.skip(f"{OFFLINE} is absent: stac-api-validator would fetch schemas from the web")
    item = orjson.loads(published.catalog.search(PUBLIC, Search(collections=("sentinel-2-l2a",), limit=1)).items[0])
    classes = [word for name in ("core", "collections", "features", "item-search") for word in ("--conformance", name)]
    run = subprocess.run(
        [sys.executable, tool("stac-api-validator"), "--root-url", f"{server}/", *classes,
         "--collection", "sentinel-2-l2a", "--geometry", orjson.dumps(item["geometry"]).decode()],
        env={**os.environ, "PYTHONPATH": str(OFFLINE)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    said = run.stdout + run.stderr
    assert "Traceback" not in said, said
    assert "Validating STAC API - Item Search" in said and re.search(r"^Errors: none", said, re.MULTILINE), said


CLASSES = (
    *("core", "browseable", "item-search", "features", "collections", "children", "filter", "transaction"),
    *(f"{place}#{name}" for place in ("item-search", "features") for name in ("sort", "fields", "query")),
)


def test_stac_api_validator_finds_no_error_with_all_of_its_classes(
    catalog, make_item, make_collection, serving, tmp_path
):
    """On items of our own, since it enters some and removes them."""
    if not OFFLINE.exists():
        pytest.skip(f"{OFFLINE} is absent: stac-api-validator would fetch schemas from the web")
    for number in range(30):
        # It looks for each letter of a value in those that `in` has, names a property `mission`, takes what is empty
        # for missing, and removes an item before it enters it.
        properties = {"eo:cloud_cover": number * 3, "platform": f"sentinel-2{'abc'[number % 3]}",
                      "letter": "ab"[number % 2], "mission": "sentinel"}  # fmt: skip
        name = f"item-{number:02}" if number else "S2A_47XNF_20230423_0_L2A"
        item = orjson.loads(make_item(name, at=datetime(2024, 6, 1 + number % 20, tzinfo=UTC), **properties))
        item["assets"] = {"B02": {"href": "https://example.org/B02.tif"}}
        catalog.publish(documents.stored(item), collection=make_collection())
    settings = Settings(database=catalog.place, storage=str(tmp_path))
    geometry = '{"type":"Polygon","coordinates":[[[17,59],[18,59],[18,60],[17,60],[17,59]]]}'
    with serving(settings, KARTOTEK_TRANSACTIONS="true") as server:
        classes = [word for name in CLASSES for word in ("--conformance", name)]
        compared = [word for op in ("eq", "neq", "lt", "lte", "gt", "gte")
                    for word in (f"--query-{op}-value", "45")]  # fmt: skip
        run = subprocess.run(
            [sys.executable, tool("stac-api-validator"), "--root-url", f"{server.root}/", *classes,
             "--collection", "generated", "--geometry", geometry, "--transaction-collection", "generated",
             "--fields-nested-property", "properties.eo:cloud_cover", "--validate-pagination",
             "--query-comparison-field", "eo:cloud_cover", *compared, "--query-substring-field", "platform",
             "--query-starts-with-value", "sentinel", "--query-ends-with-value", "2b",
             "--query-contains-value", "nel", "--query-in-field", "letter", "--query-in-values", "a,b"],
            env={**os.environ, "PYTHONPATH": str(OFFLINE)}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    said = run.stdout + run.stderr
    assert "Traceback" not in said, said
    assert "ransaction" in said, said
    assert re.search(r"^Errors: none", said, re.MULTILINE), said


@pytest.mark.parametrize("examples", [5, pytest.param(600, marks=pytest.mark.full)])
def test_generated_requests_get_answers_that_fit_the_document(server, tmp_path, examples):
    """No 5xx, no status, type or body that the OpenAPI document does not tell of."""
    run = subprocess.run(
        [sys.executable, tool("schemathesis"), "run", f"{server}/api", "--url", server, "--checks", CHECKS,
         "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", "1", "--no-color"],
        cwd=tmp_path, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    generated = int(re.search(r"(\d+) generated", run.stdout)[1])
    print(f"{generated} cases")
    assert run.returncode == 0, run.stdout[-5000:]
    assert generated >= (3000 if examples == 600 else 100)
