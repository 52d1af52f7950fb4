"""stac-fastapi-pgstac as somebody who knows it would tune it: its answers go out as orjson's bytes, unchecked.

What its setting ENABLE_DIRECT_RESPONSE means to do, which does nothing with FastAPI from 0.137 on.
"""

import functools

import orjson
from stac_fastapi.pgstac.core import CoreCrudClient
from starlette.responses import Response


def direct(method):
    """A method whose answer nobody looks at again."""

    @functools.wraps(method)
    async def answer(*args, **kwargs):
        found = await method(*args, **kwargs)
        return (
            found if isinstance(found, Response) else Response(orjson.dumps(found), media_type="application/geo+json")
        )

    return answer


for name in ("get_search", "post_search", "item_collection", "get_item", "all_collections", "get_collection"):
    setattr(CoreCrudClient, name, direct(getattr(CoreCrudClient, name)))

from stac_fastapi.pgstac.app import create_app  # noqa: E402

app = create_app()
