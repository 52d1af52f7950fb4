"""The catalogue walked by its links alone."""

import pystac
import pytest
from pystac.stac_io import DefaultStacIO


@pytest.fixture
def client(six):
    return six()


class OverHTTP(DefaultStacIO):
    """pystac's reader, by the test's client."""

    client = None

    def read_text_from_href(self, href, *_, **__):
        answer = self.client.get(href)
        assert answer.status_code == 200, f"{href}: {answer.text}"
        return answer.text


def test_all_items_are_reached_by_links(client, monkeypatch):
    monkeypatch.setattr(OverHTTP, "client", client)
    root = pystac.Catalog.from_file("http://catalog.test/", stac_io=OverHTTP())
    found = [item.id for item in root.get_items(recursive=True)]
    assert sorted(found) == [f"item-{number}" for number in range(6)]


def test_the_children_are_the_collections(client):
    [address] = [link["href"] for link in client.get("/").json()["links"] if link["rel"] == "children"]
    found = client.get(address).json()
    assert found["children"] == client.get("/collections").json()["collections"] != []


@pytest.mark.parametrize(
    "path", ["secret/browse", "none/browse", "generated/browse/1999", "generated/browse/24",
             "generated/browse/2024/13", "generated/browse/2024/06/31", "generated/browse/0000",
             "generated/browse/２０２４", "generated/browse/2024/6"],
)  # fmt: skip
def test_where_nothing_is_there_is_nothing(client, path):
    assert client.get(f"/collections/{path}").status_code == 404
