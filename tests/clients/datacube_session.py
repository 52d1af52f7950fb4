"""An Open Data Cube of version 1.9 on PostgreSQL, with the items of a kartotek server; both load the same.

Run by the Python of an environment with datacube, odc-stac and pystac-client (requirements-datacube.txt), which has
nothing of ours but `kartotek.datacube`. The question is JSON on standard input, the answer JSON on standard output:

    {"do": "index", "database": URL, "server": URL, "name": NAME}   → how many datasets are in the cube
    {"do": "compare", "database": URL, "server": URL, "query": {...}}  → how what is loaded looks, if it is identical
    {"do": "load", "by": "datacube" | "odc.stac" | "kartotek" | "kartotek native", ...}  → seconds, peak memory in MB,
                                                                        and checksums of the measurements
"""

import json
import os
import resource
import sys
import time
import uuid
import zlib

import odc.stac
import xarray
from odc.geo import CRS, Geometry, resyx_
from pystac_client import Client

EO3 = "https://schemas.opendatacube.org/dataset"


def cube(database, *, made=True):
    """The real one, on a database."""
    import datacube

    raw = {"default": {"index_driver": "postgres", "db_url": database}}
    return datacube.Datacube(raw_config=raw, validate_connection=made)


def product(name, measurements):
    """The definition of a product, as its users wrote it."""
    return {
        "name": name,
        "description": "Sentinel-2 Level-2A",
        "metadata_type": "eo3",
        "license": "other",
        "metadata": {"product": {"name": name}},
        "measurements": [
            {"name": one["measurement"], "dtype": one["dtype"], "nodata": one["nodata"], "units": one["units"]}
            for one in measurements
        ],
    }


def dataset(number, item, name, assets):
    """The document of an item (eo3); its id sorts as the item's does, since that is the order of what overlaps."""
    assets = {measurement: item.assets[key] for measurement, key in assets.items() if key in item.assets}
    grids, places = {}, {}
    for measurement, asset in assets.items():
        shape, transform = asset.extra_fields["proj:shape"], asset.extra_fields["proj:transform"]
        place = "default" if transform[0] == 10 else f"of_{transform[0]:g}m"
        grids[place] = {"shape": shape, "transform": transform}
        places[measurement] = {"path": asset.href} | ({} if place == "default" else {"grid": place})
    crs = item.properties["proj:code"]
    return {
        "$schema": EO3,
        "id": str(uuid.UUID(int=number)),
        "label": item.id,
        "product": {"name": name},
        "crs": crs.lower(),
        "geometry": Geometry(item.geometry, "EPSG:4326").to_crs(CRS(crs)).json,
        "grids": grids,
        "properties": {
            "datetime": item.properties["datetime"],
            "odc:processing_datetime": item.properties["processing:datetime"],
            "eo:platform": item.properties["platform"],
        },
        "measurements": places,
        "lineage": {},
    }


def index(database, server, name):
    """Fill a cube with all items of a product."""
    from datacube.index.hl import Doc2Dataset

    from kartotek import Datacube

    ours = Datacube(server)
    items = sorted(ours.find_datasets(name), key=lambda item: (item.datetime, item.id))
    kinds = [one for one in ours.list_measurements(with_pandas=False) if one["product"] == name]
    kinds = [one for one in kinds if all(one["asset"] in item.assets for item in items)]
    assets = {one["measurement"]: one["asset"] for one in kinds}
    real = cube(database, made=False)
    real.index.init_db(with_default_types=True, with_permissions=True)
    real.index.products.add(real.index.products.from_doc(product(name, kinds)))
    resolve = Doc2Dataset(real.index, skip_lineage=True)
    for number, item in enumerate(items, 1):
        document = dataset(number, item, name, assets)
        found, error = resolve(document, f"{server}/items/{item.id}.yaml")
        assert error is None, error
        real.index.datasets.add(found)
    return {"datasets": len(real.find_datasets(product=name))}


def compare(database, server, query):
    """Load by both, and raise where anything differs: values, types, coordinates, order, attributes."""
    from kartotek import Datacube

    told, ours_told = [], []
    real = cube(database).load(progress_cbk=lambda *one: told.append(one), **query)
    ours = Datacube(server).load(progress_cbk=lambda *one: ours_told.append(one), native=True, **query)
    for measurement in ours.data_vars.values():  # what kinds of ground there are, the old cube's users had on paper
        for name in ("flag_values", "flag_meanings", "clear_values"):
            measurement.attrs.pop(name, None)
    xarray.testing.assert_identical(ours, real)
    assert {name: one.dtype for name, one in ours.variables.items()} == {
        name: one.dtype for name, one in real.variables.items()
    }
    assert ours_told == told, (ours_told[-1:], told[-1:])
    return {
        "sizes": dict(ours.sizes),
        "times": [str(one) for one in ours.time.values],
        "y": ours.y.values[:2].tolist(),
        "x": ours.x.values[:2].tolist(),
        "types": sorted({str(one.dtype) for one in ours.data_vars.values()}),
        "valid": float((ours.to_dataarray() != 0).mean()),
        "told": len(told),
    }


def load(by, database, server, query, dask=False, files=None):
    """Load by one of them, in a process of its own; imports and connections are not counted.

    With `dask` in chunks of 1024, computed at once; with `files`, from the folder of the server's files itself.
    """
    chunks = {"x": 1024, "y": 1024} if dask else None
    more = {} if files is None else {"patch_url": lambda url: url.replace(f"{server}/files", files)}
    if by == "datacube":
        dc = cube(database)
        began = time.perf_counter()
        found = dc.load(dask_chunks=chunks, **query, **more)
    elif by == "odc.stac":
        area = {"bbox": [query["lon"][0], query["lat"][0], query["lon"][1], query["lat"][1]]}
        client = Client.open(server)
        began = time.perf_counter()
        items = client.search(collections=["sentinel-2-l2a"], datetime="/".join(query["time"]), **area).items()
        found = odc.stac.load(
            items, bands=[one.partition("_")[0] for one in query["measurements"]], crs=query["output_crs"],
            resolution=resyx_(*query["resolution"]), groupby=query.get("group_by", "time"), chunks=chunks,
            **area, **more,
        )  # fmt: skip
    else:
        from kartotek import Datacube

        dc = Datacube(server)
        dc.list_products(with_pandas=False)
        began = time.perf_counter()
        found = dc.load(native=by == "kartotek native", dask_chunks=chunks, **query)
    found = found.compute()
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "sizes": dict(found.sizes),
        "checksum": [zlib.crc32(one.values.tobytes()) for one in found.data_vars.values()],
    }


if __name__ == "__main__":
    os.environ["NO_PROXY"] = "127.0.0.1"
    asked = json.load(sys.stdin)
    do = {"index": index, "compare": compare, "load": load}[asked.pop("do")]
    print(json.dumps(do(**asked)))
