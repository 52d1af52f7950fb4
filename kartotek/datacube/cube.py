"""Datacube: what an Open Data Cube's users know, on a kartotek server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas
import pystac
import requests
import xarray
from odc.geo import Geometry
from odc.geo.geobox import GeoBox
from pystac_client import Client
from pystac_client.exceptions import APIError

from kartotek.datacube import arrays, grid, options, query, reading
from kartotek.datacube.products import Product, products
from kartotek.datacube.query import Instant, Range
from kartotek.errors import BadRequest, NotFound, OriginError, in_a_line

PAGE = 200
"""Items that the server is asked for at a time."""


class Datacube:
    """A kartotek server, asked and loaded from as an Open Data Cube is."""

    def __init__(self, url: str | None = None, *, app: str | None = None) -> None:
        """`url` is the server's root, by default what KARTOTEK_URL says; it is asked when something is asked for.

        `app` names the program to the server, which has it in its log.
        """
        given = url if url is not None else os.environ.get("KARTOTEK_URL")
        if not given:
            raise BadRequest("Datacube() without a server: give its URL, or set KARTOTEK_URL")
        self.url = given
        self._app = app

    def __repr__(self) -> str:
        return f"Datacube({self.url!r})"

    def load(
        self,
        product: str | None = None,
        measurements: str | Sequence[str] | None = None,
        output_crs: Any = None,
        resolution: Any = None,
        resampling: str | Mapping[str, str] | None = None,
        align: Any = None,
        skip_broken_datasets: bool = False,
        dask_chunks: Mapping[str, int | str] | None = None,
        like: Any = None,
        datasets: Iterable[pystac.Item] | None = None,
        dataset_predicate: Callable[[pystac.Item], bool] | None = None,
        progress_cbk: Callable[[int, int], object] | None = None,
        limit: int | None = None,
        *,
        native: bool = False,
        time: Instant | Iterable[Instant] | None = None,
        group_by: str | None = "time",
        lat: Range | None = None,
        lon: Range | None = None,
        latitude: Range | None = None,
        longitude: Range | None = None,
        x: Range | None = None,
        y: Range | None = None,
        crs: Any = None,
        geopolygon: Any = None,
        cloud_cover: Range | None = None,
    ) -> xarray.Dataset:
        """The measurements of a product as an xarray.Dataset of (time, y, x); empty where nothing is found.

        Reflectances are given x 10 000, with the baseline's offset applied, in the type of the files: what is at or
        below zero is 1, since 0 is no data. With `native` all numbers are the agency's, bit for bit.

        `resolution` is one number, or (y, x) whose signs say which way the axes go. Ranges are in longitude and
        latitude unless `crs` says otherwise. `group_by` is "time", or "solar_day" for what one pass saw. With
        `dask_chunks` it is lazy: no pixel is read. `progress_cbk` is called with (files read, files in all) for each
        file, without Dask.

        Raises NotFound for an unknown product, BadRequest for what can't be answered as it stands, and OriginError
        where the server or a file of it can't be read.
        """
        if product is None and datasets is None:
            raise BadRequest("neither product nor datasets is given; list_products() tells what there is")
        area = _area(lat, lon, latitude, longitude, x, y, crs, geopolygon)
        if like is not None and (area is not None or output_crs is not None or resolution is not None or align):
            raise BadRequest("like has an area, a CRS and a resolution; give none of these beside it")
        box = None if like is None else grid.of(like)
        if datasets is None:
            items = self._found(
                str(product), area if box is None else box.extent, _period(time, like), limit=limit,
                predicate=dataset_predicate, clouds=cloud_cover,
            )  # fmt: skip
        else:
            items = list(datasets)[:limit]
        if not items:
            return xarray.Dataset()
        kind = self._product(product if product is not None else str(items[0].collection_id))
        if strange := {item.collection_id for item in items} - {kind.collection}:
            raise BadRequest(f"datasets of {', '.join(map(str, strange))} among those of {kind.name}: load them apart")
        chosen = kind.chosen(measurements)
        assets = [one.asset for one in chosen]
        if not (items := [item for item in items if any(key in item.assets for key in assets)]):
            raise BadRequest(f"{', '.join(one.name for one in chosen)}: kept by none of the items that were found")
        if box is None:
            box = grid.geobox(
                items=items, assets=assets, area=area, output_crs=output_crs, resolution=resolution, align=align
            )
        pixels = reading.read(
            items,
            chosen,
            box,
            day=options.grouping(group_by),
            resampling=options.by_asset(resampling, chosen),
            chunks=options.chunks(dask_chunks, box),
            native=native,
            skip_broken=skip_broken_datasets,
            progress=progress_cbk,
        )
        return arrays.dressed(pixels, chosen, box)

    def find_datasets(
        self,
        product: str,
        *,
        like: Any = None,
        dataset_predicate: Callable[[pystac.Item], bool] | None = None,
        limit: int | None = None,
        time: Instant | Iterable[Instant] | None = None,
        lat: Range | None = None,
        lon: Range | None = None,
        latitude: Range | None = None,
        longitude: Range | None = None,
        x: Range | None = None,
        y: Range | None = None,
        crs: Any = None,
        geopolygon: Any = None,
        cloud_cover: Range | None = None,
        measurements: Any = None,
        output_crs: Any = None,
        resolution: Any = None,
        align: Any = None,
        group_by: Any = None,
    ) -> list[pystac.Item]:
        """The items of a product that touch an area and a period, for a look at them or for `load(datasets=...)`.

        The last five, which say how items are loaded, are passed over, so that a whole query of `load` may be given.
        """
        area = _area(lat, lon, latitude, longitude, x, y, crs, geopolygon)
        if like is not None:
            if area is not None:
                raise BadRequest("like has an area; give none beside it")
            area = grid.of(like).extent
        return self._found(
            product, area, _period(time, like), limit=limit, predicate=dataset_predicate, clouds=cloud_cover
        )

    def list_products(self, with_pandas: bool = True) -> Any:
        """All products by all their names, as a pandas.DataFrame, or as a list of dictionaries."""
        rows = [
            {"name": one.name, "description": one.description, "license": one.license, "collection": one.collection}
            for one in self._products.values()
        ]
        return pandas.DataFrame(rows).set_index("name", drop=False) if with_pandas and rows else rows

    def list_measurements(self, with_pandas: bool = True) -> Any:
        """The measurements of all products, as a pandas.DataFrame, or as a list of dictionaries."""
        rows = [
            {
                "product": kind.name,
                "measurement": one.name,
                "name": one.name,
                "dtype": one.dtype,
                "units": one.units,
                "nodata": one.nodata,
                "asset": one.asset,
                "aliases": [name for name, key in kind.synonyms.items() if key == one.asset and name != one.name],
            }
            for kind in self._products.values()
            for one in kind.measurements
        ]
        return pandas.DataFrame(rows).set_index(["product", "measurement"]) if with_pandas and rows else rows

    @cached_property
    def _client(self) -> Client:
        try:
            return Client.open(self.url, headers={"User-Agent": f"kartotek {self._app}"} if self._app else None)
        except (APIError, requests.RequestException, pystac.STACError) as error:
            raise OriginError(f"{self.url}: no kartotek server that answers ({in_a_line(error)})") from error

    @cached_property
    def _products(self) -> dict[str, Product]:
        try:
            return products(one.to_dict(transform_hrefs=False) for one in self._client.get_collections())
        except (APIError, requests.RequestException) as error:
            raise OriginError(f"{self.url}: its collections can't be read ({in_a_line(error)})") from error

    def _product(self, name: str) -> Product:
        """The product of a name, a new one among them."""
        if name not in self._products:
            del self._products  # it may have come since
        if name not in self._products:
            raise NotFound(f"{name!r}: no product of {self.url}; there are: {', '.join(self._products) or 'none'}")
        return self._products[name]

    def _found(
        self,
        product: str,
        area: Geometry | None,
        period: str | None,
        *,
        limit: int | None,
        predicate: Callable[[pystac.Item], bool] | None,
        clouds: Range | None,
    ) -> list[pystac.Item]:
        """The items of a search."""
        kind = self._product(product)
        search = self._client.search(
            collections=[kind.collection],
            intersects=None if area is None else query.on_earth(area),
            datetime=period,
            query=None if clouds is None else {"eo:cloud_cover": query.between(clouds)},
            limit=PAGE if limit is None else min(PAGE, limit),
            max_items=limit,
        )
        try:
            found = list(search.items())
        except (APIError, requests.RequestException) as error:
            raise OriginError(f"{self.url}: {in_a_line(error)}") from error
        return found if predicate is None else [item for item in found if predicate(item)]


def _period(time: Instant | Iterable[Instant] | None, like: Any) -> str | None:
    """The period that is asked for, else that of what was loaded before."""
    if time is None and not isinstance(like, GeoBox) and (times := getattr(like, "coords", {}).get("time")) is not None:
        time = (pandas.Timestamp(times.values[0]), pandas.Timestamp(times.values[-1]))
    return query.period(time)


def _area(
    lat: Range | None, lon: Range | None, latitude: Range | None, longitude: Range | None,
    x: Range | None, y: Range | None, crs: Any, geopolygon: Any,
) -> Geometry | None:  # fmt: skip
    """The area that is asked for, by whichever words."""
    return query.area(
        across={"x": x, "lon": lon, "longitude": longitude},
        along={"y": y, "lat": lat, "latitude": latitude},
        crs=crs,
        geopolygon=geopolygon,
    )
