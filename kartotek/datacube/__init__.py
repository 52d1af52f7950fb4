"""The old cube's way to pixels, for notebooks: `Datacube.load`, over HTTP only, from any kartotek server.

Thin over pystac-client, which searches, and odc-stac, which reads. What the parameters of `load` mean is what they
mean to the Open Data Cube 1.9.
"""

try:
    import odc.stac  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(f"kartotek.Datacube needs odc-stac ({error}): install kartotek[analysis]") from error

from kartotek.datacube.cube import Datacube
from kartotek.datacube.masking import mask

__all__ = ["Datacube", "mask"]
