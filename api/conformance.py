"""What this server conforms to, as it says itself; a test has the same list, so that nothing is dropped quietly."""

from __future__ import annotations

_OGC = "http://www.opengis.net/spec"
_STAC = "https://api.stacspec.org"

CONFORMANCE = (
    f"{_STAC}/v1.0.0/core",
    f"{_STAC}/v1.0.0/collections",
    f"{_STAC}/v1.0.0/ogcapi-features",
    f"{_STAC}/v1.0.0/item-search",
    *(f"{_OGC}/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "oas30", "geojson")),
    *(f"{_STAC}/v1.0.0/{place}#{name}" for name in ("fields", "query") for place in ("item-search", "ogcapi-features")),
    # pystac-client knows the first version of sort alone.
    *(
        f"{_STAC}/{version}/{place}#sort"
        for version in ("v1.0.0", "v1.1.0")
        for place in ("item-search", "ogcapi-features")
    ),
    f"{_STAC}/v1.1.0/item-search#sortables",
    f"{_OGC}/ogcapi-features-5/1.0/conf/sortables",
    *(f"{_STAC}/v1.0.0-rc.2/{name}" for name in ("browseable", "children")),
    f"{_STAC}/v1.0.0-rc.1/collection-search",
    *(f"{_STAC}/v1.0.0-rc.1/collection-search#{name}" for name in ("fields", "filter", "free-text", "sort")),
    f"{_OGC}/ogcapi-common-2/1.0/conf/simple-query",
    f"{_STAC}/v0.3.0/aggregation",
    *(f"{_OGC}/ogcapi-tiles-1/1.0/conf/{name}" for name in ("core", "tileset", "tilesets-list", "geodata-tilesets")),
    *(f"{_OGC}/tms/2.0/conf/{name}" for name in ("tilematrixset", "json-tilematrixset")),
    *(f"{_STAC}/v1.0.0-rc.1/{place}#free-text" for place in ("item-search", "ogcapi-features")),
    *(f"{_STAC}/{version}/item-search#filter" for version in ("v1.0.0", "v1.0.0-rc.2")),
    *(f"{_OGC}/ogcapi-features-3/1.0/conf/{name}" for name in ("filter", "features-filter")),
    *(
        f"{_OGC}/cql2/1.0/conf/{name}"
        for name in (
            *("cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison"),
            *("accent-insensitive-comparison", "basic-spatial-functions", "basic-spatial-functions-plus"),
            *("spatial-functions", "temporal-functions", "array-functions", "arithmetic", "property-property"),
        )
    ),
)

TRANSACTIONS = (
    f"{_STAC}/v1.0.0/ogcapi-features/extensions/transaction",
    f"{_STAC}/v1.0.0/collections/extensions/transaction",
    f"{_OGC}/ogcapi-features-4/1.0/conf/simpletx",
)
"""And this, where items and collections may be changed."""
