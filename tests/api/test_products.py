"""Products as the agency delivered them, over HTTP: those of items that the caller may see, and nothing else."""

import io
import shutil
import zipfile

import orjson
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from catalog.access import OPERATOR
from converters import sensors
from jobs.register import register
from jobs.sources import find
from jobs.worker import Limits
from kartotek.settings import Settings
from kartotek.storage import FolderStorage


@pytest.fixture
def served(small_products, catalog, tmp_path):
    """A client, and the paths of a zip and a folder that are registered."""
    [zipped], [folder] = small_products.glob("*T34WET*.zip"), small_products.glob("*MSIL1C*.SAFE")
    (tmp_path / "archive").mkdir()
    zipped = shutil.copy(zipped, tmp_path / "archive" / zipped.name)
    storage = FolderStorage(tmp_path / "store")
    list(register(find([str(zipped), str(folder)]), storage, catalog, Limits(), processes=1))
    app = create_app(Settings(url="http://catalog.test"), catalog, storage)
    return TestClient(app), zipped, folder


def href(client, path):
    """The address of a product, as its item has it, below the server's root."""
    name = path.name.partition(".")[0]
    collection = "sentinel-2-l1c" if "MSIL1C" in name else "sentinel-2-l2a"
    item = client.get(f"/collections/{collection}/items/{name}").json()
    assert item["assets"]["product"]["href"] == f"http://catalog.test/products/{collection}/{name}.zip"
    return item["assets"]["product"]["href"].removeprefix("http://catalog.test")


def test_a_zip_comes_as_it_lies_whole_and_in_part(served):
    client, path, _ = served
    content, address = path.read_bytes(), href(client, path)
    whole = client.get(address)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["content-type"] == "application/zip" and whole.headers["cache-control"] == "public, no-cache"
    assert whole.headers["content-disposition"] == f'attachment; filename="{path.stem}.zip"'
    tag = {"If-Range": whole.headers["etag"], "Range": "bytes=-100"}
    rest = client.get(address, headers=tag)
    assert (rest.status_code, rest.content) == (206, content[-100:])
    assert client.head(address).headers["content-length"] == str(len(content))
    assert client.get(address, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    with path.open("ab") as file:
        file.write(b"x")
    assert client.get(address, headers=tag).status_code == 200, "it is another one now"


def test_a_folder_comes_as_a_zip_that_is_the_same_product(served, tmp_path):
    client, _, path = served
    answer = client.get(href(client, path))
    assert answer.status_code == 200 and client.head(href(client, path)).status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
    (tmp_path / "came.zip").write_bytes(answer.content)
    came, own = sensors.read(tmp_path / "came.zip"), sensors.read(path)
    assert (came.id, came.properties, came.footprint) == (own.id, own.properties, own.footprint)
    assert [layer.file for layer in came.layers] == [layer.file for layer in own.layers]


def test_of_a_private_item_there_is_none(served, catalog):
    client, path, _ = served
    address = href(client, path)
    catalog.put_collection(catalog.collection(OPERATOR, "sentinel-2-l2a"), private=True)
    hidden = client.get(address)
    absent = client.get(address.replace("sentinel-2-l2a", "no-such"))
    assert hidden.status_code == absent.status_code == 404
    assert hidden.text.replace("sentinel-2-l2a", "no-such") == absent.text


def test_what_lies_elsewhere_is_gone_or_was_never_there_is_404_without_a_path(served, catalog, tmp_path):
    client, path, folder = served
    address = href(client, path)
    for other in ("x", "..%2f..%2fkartotek", "%2fetc%2fpasswd", f"{path.stem}%00", path.stem.lower()):
        assert client.get(f"/products/sentinel-2-l2a/{other}.zip").status_code == 404
    path.unlink()
    gone = client.get(address)
    assert gone.status_code == 404 and str(tmp_path) not in gone.text
    # An item whose product is said to lie somewhere else is no way to the place that the ledger knows.
    sources = find([str(folder)], root="https://x.se")
    list(register(sources, FolderStorage(tmp_path / "store"), catalog, Limits(), processes=1))
    assert client.get(f"/products/sentinel-2-l1c/{folder.stem}.zip").status_code == 404


def test_at_rest_no_path_and_no_address_stands_in_the_item(served, catalog):
    client, path, _ = served
    href(client, path)
    content = catalog.item(OPERATOR, "sentinel-2-l2a", path.stem)
    assert orjson.loads(content)["assets"]["product"]["href"] == f"product:///sentinel-2-l2a/{path.stem}.zip"
