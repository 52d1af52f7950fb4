"""The floor of a search: one SQL statement on one flat table of PostGIS, its bytes joined, and no model of anything.

The shapes of the benchmark's queries alone are known. Served by uvicorn; FLOOR names the database.
"""

import os
from datetime import datetime

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

SCHEMA = """
CREATE TABLE flat (collection text, id text, geometry geometry(Geometry, 4326), datetime timestamptz, cloud float8,
  snow float8, granule text, content text);
"""
INDEXES = """
CREATE UNIQUE INDEX ON flat (collection, id);
CREATE INDEX ON flat USING gist (geometry, datetime);
CREATE INDEX ON flat (datetime DESC, id DESC);
CREATE INDEX ON flat (cloud);
CREATE INDEX ON flat (granule, datetime DESC);
ANALYZE flat;
"""
FIELDS = (
    "json_build_object('id', id, 'type', 'Feature', 'geometry', ST_AsGeoJSON(geometry, 6)::json, 'properties', "
    "json_build_object('datetime', datetime, 'eo:cloud_cover', cloud))::text"
)
COLUMNS = {"eo:cloud_cover": "cloud", "eo:snow_cover": "snow", "grid:code": "granule", "datetime": "datetime"}


class Asked:
    """WHERE, with its values."""

    def __init__(self):
        self.where, self.values = [], []

    def value(self, value):
        """A placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def tree(self, node):
        """The operators that the queries have."""
        if node["op"] == "and":
            for part in node["args"]:
                self.tree(part)
            return
        column, value = COLUMNS[node["args"][0]["property"]], node["args"][1]
        if node["op"] == "in":
            self.where.append(f"{column} = ANY({self.value(value)})")
        else:
            self.where.append(f"{column} {node['op']} {self.value(float(value))}")


def asked(body):
    """A search."""
    found = Asked()
    if body.get("collections"):
        found.where.append(f"collection = ANY({found.value(body['collections'])})")
    if body.get("ids"):
        found.where.append(f"id = ANY({found.value(body['ids'])})")
    if body.get("bbox"):
        box = ", ".join(found.value(float(number)) for number in body["bbox"])
        found.where.append(f"ST_Intersects(geometry, ST_MakeEnvelope({box}, 4326))")
    if body.get("intersects"):
        found.where.append(
            f"ST_Intersects(geometry, ST_GeomFromGeoJSON({found.value(orjson.dumps(body['intersects']).decode())}))"
        )
    if body.get("datetime"):
        start, end = (datetime.fromisoformat(time.replace("Z", "+00:00")) for time in body["datetime"].split("/"))
        found.where.append(f"datetime BETWEEN {found.value(start)} AND {found.value(end)}")
    if body.get("filter"):
        found.tree(body["filter"])
    return found


async def search(request):
    """POST /search."""
    body = orjson.loads(await request.body())
    return await answer(request, body)


async def answer(request, body):
    """A page."""
    found = asked(body)
    where = " AND ".join(found.where) or "true"
    order = "datetime DESC, id DESC"
    if body.get("sortby"):
        field = body["sortby"][0]["field"].removeprefix("properties.")
        order = f"{COLUMNS[field]} {body['sortby'][0]['direction']}, id DESC"
    what = FIELDS if body.get("fields") else "content"
    matched = b""
    async with request.app.state.pool.acquire() as connection:
        rows = await connection.fetch(
            f"SELECT {what} FROM flat WHERE {where} ORDER BY {order} LIMIT {int(body.get('limit', 10))}", *found.values
        )
        if (body.get("conf") or {}).get("context"):
            number = await connection.fetchval(f"SELECT count(*) FROM flat WHERE {where}", *found.values)
            matched = b'"numberMatched":%d,' % number
    content = ",".join(row[0] for row in rows).encode()
    return Response(
        b'{"type":"FeatureCollection",' + matched + b'"features":[' + content + b"]}", media_type="application/geo+json"
    )


async def by_text(request):
    """GET /search with the one text filter that the queries have."""
    text = request.query_params["filter"]
    ring = [[float(number) for number in pair.split()] for pair in text.split("((")[1].split("))")[0].split(",")]
    times = [part.split("'")[1] for part in text.split("TIMESTAMP(")[1:]]
    cloud = float(text.split("<=")[1].split("AND")[0])
    body = {
        "collections": [request.query_params["collections"]],
        "intersects": {"type": "Polygon", "coordinates": [ring]},
        "datetime": "/".join(times),
        "filter": {"op": "<=", "args": [{"property": "eo:cloud_cover"}, cloud]},
        "limit": request.query_params["limit"],
    }
    return await answer(request, body)


async def page(request):
    """GET /collections/{id}/items."""
    body = {"collections": [request.path_params["collection"]], **request.query_params}
    return await answer(request, body)


async def item(request):
    """GET of an item."""
    async with request.app.state.pool.acquire() as connection:
        found = await connection.fetchval(
            "SELECT content FROM flat WHERE collection = $1 AND id = $2", *request.path_params.values()
        )
    return Response(found.encode(), media_type="application/geo+json")


async def connected(made):
    """Start with connections."""
    made.state.pool = await asyncpg.create_pool(
        os.environ["FLOOR"], min_size=10, max_size=10, server_settings={"plan_cache_mode": "force_custom_plan"}
    )


class Lifespan:
    """Starlette's way to start."""

    def __init__(self, made):
        self.made = made

    async def __aenter__(self):
        await connected(self.made)

    async def __aexit__(self, *_):
        await self.made.state.pool.close()


app = Starlette(
    routes=[
        Route("/search", search, methods=["POST"]),
        Route("/search", by_text),
        Route("/collections/{collection}/items", page),
        Route("/collections/{collection}/items/{item}", item),
    ],
    lifespan=Lifespan,
)
