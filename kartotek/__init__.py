"""The words of kartotek, and the ground that all its parts stand on.

`kartotek.Datacube` and `kartotek.mask` are for notebooks; they are imported when they are asked for, as they stand on
odc-stac (the extra `analysis`) and on nothing else of ours.
"""

TYPE_CHECKING = False  # typing's, without its import
if TYPE_CHECKING:
    from kartotek.datacube import Datacube as Datacube
    from kartotek.datacube import mask as mask

__all__ = ["Datacube", "mask"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from kartotek import datacube

        return getattr(datacube, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
