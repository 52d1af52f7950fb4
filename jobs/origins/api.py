"""Another STAC API, page by page, by pystac-client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pystac
import requests
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import mapping

from jobs.origins import BATCH, Batch, Wanted
from kartotek.errors import OriginError

_FAILURES = (APIError, requests.RequestException, pystac.STACError, ValueError, KeyError, TypeError)


class Api:
    """A search of another API: of its own accord in pages, each with the address of the next."""

    def __init__(self, client: Client, wanted: Wanted, *, rate: float) -> None:
        self._client, self._wanted, self._pause = client, wanted, 1 / rate
        self.size: int | None = None

    @classmethod
    def opened(cls, url: str, wanted: Wanted, *, rate: float) -> Api | None:
        """None where there is a file of a static catalogue. Raises OriginError where nothing answers."""
        try:
            client = Client.open(url, stac_io=StacApiIO(max_retries=5, timeout=60))
            return cls(client, wanted, rate=rate) if client.get_search_link() is not None else None
        except pystac.STACTypeError:
            return None  # a collection or an item
        except _FAILURES as error:
            raise OriginError(f"{url}: {error}") from error

    def batches(self, place: Any | None) -> Iterator[Batch]:
        """The collections, then the items; a place is the request for the next page, and how many came before it."""
        try:
            request, done = place or (None, 0)
            if request is None:
                described = self._collections()
                yield Batch(tuple(described), [None, 0], 0, tuple(f"collection {one['id']}" for one in described))
                request = self._first()
            while request is not None:
                began = time.monotonic()
                page = self._client._stac_io.read_json(  # type: ignore[union-attr]
                    request["href"], method=request["method"], parameters=request["parameters"]
                )
                features = page["features"]
                self.size = page.get("numberMatched") or page.get("context", {}).get("matched") or self.size
                done += len(features)
                request = _next(page, request)
                labels = tuple(str(one.get("id")) for one in features)
                yield Batch(tuple(features), [request, done] if request else None, done, labels)
                time.sleep(max(0.0, self._pause - (time.monotonic() - began)))
        except _FAILURES as error:
            raise OriginError(f"{self._client.self_href}: {error}") from error

    def _collections(self) -> list[dict[str, Any]]:
        if self._wanted.collections is None:
            return [one.to_dict(transform_hrefs=False) for one in self._client.get_collections()]
        found = (self._client.get_collection(name) for name in self._wanted.collections)
        return [one.to_dict(transform_hrefs=False) for one in found if one is not None]

    def _first(self) -> dict[str, Any]:
        """The request for the first page."""
        asked = self._client.search(
            collections=list(self._wanted.collections) if self._wanted.collections else None,
            intersects=mapping(self._wanted.area) if self._wanted.area else None,
            datetime=self._wanted.period,
            limit=BATCH,
        )
        return {"href": asked.url, "method": asked.method or "POST", "parameters": asked.get_parameters()}


def _next(page: dict[str, Any], request: dict[str, Any]) -> dict[str, Any] | None:
    """The request for the page after this one."""
    link = next((one for one in page.get("links", ()) if one.get("rel") == "next"), None)
    if link is None or not page["features"]:
        return None
    body = link.get("body") or {}
    if link.get("merge"):
        body = {**request["parameters"], **body}
    method = link.get("method") or "GET"
    return {"href": link["href"], "method": method, "parameters": body if method == "POST" else {}}
