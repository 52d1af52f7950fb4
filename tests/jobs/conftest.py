"""A small archive, and what it becomes where nothing goes wrong."""

import shutil

import orjson
import pytest

from catalog.access import PUBLIC
from catalog.search import Search
from catalog.store import Catalog
from converters.convert import Recipe
from jobs.convert import convert_all
from kartotek.storage import FolderStorage


@pytest.fixture(scope="session")
def archive(once, small_products):
    """Four small products: of zones 33 and 34, as folders and as a zip."""

    def fill(folder):
        for pattern in ("*T33VXG_20220715T142400*", "*T33VUE*", "*T34VCM*", "*T34WET*"):
            [path] = small_products.glob(pattern)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)

    return once("archive", fill)


@pytest.fixture(scope="session")
def undisturbed_store(tmp_path_factory):
    """The storage that they are in."""
    return FolderStorage(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def undisturbed(archive, undisturbed_store, make_database):
    """What the archive becomes where nothing goes wrong: id → JSON."""
    catalog = Catalog(make_database("sqlite"))
    catalog.migrate()
    list(convert_all(sorted(archive.iterdir()), Recipe(), undisturbed_store, catalog))
    found = catalog.search(PUBLIC, Search(limit=100)).items
    catalog.close()
    return {orjson.loads(content)["id"]: content for content in found}
