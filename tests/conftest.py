"""What all tests share: the sample products, published once, and servers on them; an empty catalog; small items."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import shapely
from shapely.geometry import mapping

import converters  # noqa: F401  its import sets GDAL up, which must come before rasterio's
from catalog.store import Catalog
from kartotek.settings import Settings
from kartotek.storage import FolderStorage

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Schemas and genuine metadata, beside the project where there are any."""

MAIN = "from kartotek.cli import main; main()"
"""What `kartotek` runs, whether it is installed or not."""

DATABASES: dict[str, Callable[[Path], str]] = {"sqlite": lambda folder: f"sqlite:///{folder / 'catalog.db'}"}
"""Databases that the catalog's tests run on; adding one is adding an entry that gives the URL of an empty one."""


@dataclass(frozen=True)
class Published:
    """The sample products as items."""

    folder: Path
    settings: Settings
    storage: FolderStorage
    catalog: Catalog
    said: str
    """What `kartotek demo` printed while it made them."""


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside():
    """The environment of whoever runs the tests decides nothing."""
    for name in [name for name in os.environ if name.startswith("KARTOTEK_") and "TEST" not in name]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="session")
def products(published):
    """The folder of the standard samples: twelve small products, ten folders and two zips."""
    return published.folder / "products"


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Iterator[Published]:
    """The standard samples, made, converted and published by `kartotek demo`, once for all tests."""
    from click.testing import CliRunner

    from kartotek.cli import cli

    folder = Path(os.environ.get("KARTOTEK_TEST_DEMO") or tmp_path_factory.mktemp("demo"))
    said = CliRunner().invoke(cli, ["demo", "--no-serve", str(folder)], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    settings = Settings(
        database=f"sqlite:///{folder / 'kartotek.db'}", storage=str(folder / "store"), url="http://catalog.test"
    )
    catalog = Catalog(settings.database)
    yield Published(folder, settings, FolderStorage(folder / "store"), catalog, said.output)
    catalog.close()


@pytest.fixture(scope="session")
def client(published):
    """HTTP without a network, on the published samples; an error that nobody foresaw fails the test."""
    from fastapi.testclient import TestClient

    from api.app import create_app

    return TestClient(create_app(published.settings, published.catalog, published.storage))


@pytest.fixture(scope="session")
def server(published) -> Iterator[str]:
    """The root URL of `kartotek serve` in a process of its own, on the published samples."""
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", "--database", published.settings.database]
    with subprocess.Popen(
        [*command, "--storage", published.settings.storage], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            said = process.stdout.readline().split()
            assert said[:1] == ["page"], f"kartotek serve ended with status {process.wait(10)}"
            yield said[1].rstrip("/")
        finally:
            process.terminate()


@pytest.fixture(params=DATABASES)
def catalog(request, tmp_path) -> Iterator[Catalog]:
    """An empty catalog, on each database."""
    made = Catalog(DATABASES[request.param](tmp_path))
    made.migrate()
    yield made
    made.close()


@pytest.fixture(scope="session")
def make_item() -> Callable[..., bytes]:
    """Makes the JSON of a small valid item, as conversion would store it."""

    def make(
        name="item", *, collection="generated", footprint=None, at=None, start=None, end=None, assets=None, **more
    ):
        footprint = footprint or shapely.box(17, 59, 18, 60)
        at = datetime(2024, 6, 1, 10, tzinfo=UTC) if at is None and start is None else at
        times = {"datetime": at, "start_datetime": start, "end_datetime": end}
        properties = {key: _text(time) for key, time in times.items() if time is not None or key == "datetime"}
        return orjson.dumps(
            {
                "type": "Feature",
                "stac_version": "1.1.0",
                "stac_extensions": [],
                "id": name,
                "geometry": mapping(footprint),
                "bbox": list(footprint.bounds),
                "properties": {**properties, **more},
                "collection": collection,
                "assets": assets or {},
                "links": [],
            }
        )

    return make


@pytest.fixture(scope="session")
def make_collection() -> Callable[[str], bytes]:
    """Makes the JSON of a small valid collection."""

    def make(name="generated", **more):
        return orjson.dumps(
            {
                "type": "Collection",
                "stac_version": "1.1.0",
                "stac_extensions": [],
                "id": name,
                "title": name.title(),
                "description": "Made for a test",
                "license": "CC0-1.0",
                "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                **more,
                "links": [],
            }
        )

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of schemas beside the project; what needs it is skipped, aloud, where it is not there."""
    if not (SHARED / "schemas").is_dir():
        pytest.skip(f"no {SHARED}: STAC's JSON schemas are not at hand")
    return SHARED


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")
