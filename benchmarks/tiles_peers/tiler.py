"""titiler.core's STAC factory as an application, and nothing else; TILEMATRIXSET_DIRECTORY names its further sets."""

from fastapi import FastAPI
from rio_tiler.io import STACReader
from titiler.core.errors import DEFAULT_STATUS_CODES, add_exception_handlers
from titiler.core.factory import MultiBaseTilerFactory

app = FastAPI()
app.include_router(MultiBaseTilerFactory(reader=STACReader).router)
add_exception_handlers(app, DEFAULT_STATUS_CODES)
