"""HTTP: a STAC API, tiles, files and a page."""

import logging

# stac-fastapi warns about its own default settings when it is imported; ours are given in `api.search`.
logging.getLogger("stac_fastapi.types.config").setLevel(logging.ERROR)
