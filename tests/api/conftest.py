"""A small catalog whose items differ in what can be asked for, and an application on it."""

import contextlib

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from catalog.store import Catalog
from kartotek.settings import Settings

ROOT = "http://catalog.test"
CLOUDS = (5, 90, None, 40, 5, 60)


@pytest.fixture
def six(catalog, tmp_path, make_item, make_collection):
    """Makes a client of an application, with settings, on six items of a public collection and one of a private one."""
    for number, cloud in enumerate(CLOUDS):
        properties = {
            "platform": f"sentinel-2{'abc'[number % 3]}",
            "title": f"Scene {number} over Österåker",
            "keywords": ["snow" if number % 2 else "summer"],
            "sat:relative_orbit": number,
            "created": f"2024-06-0{number + 1}T00:00:00Z",
            **({} if cloud is None else {"eo:cloud_cover": cloud}),
        }
        catalog.publish(make_item(f"item-{number}", **properties), collection=make_collection())
    catalog.put_collection(make_collection("secret"), private=True)
    hidden = make_item("hidden", collection="secret", **{"secret:code": "x", "eo:cloud_cover": 77})
    catalog.publish(hidden, collection=make_collection("secret"))
    with contextlib.ExitStack() as stack:

        def made(**more):
            settings = Settings(database=catalog.place, storage=str(tmp_path), url=ROOT, **more)
            app = create_app(settings, Catalog(catalog.place))
            return stack.enter_context(TestClient(app, base_url=ROOT))

        yield made
