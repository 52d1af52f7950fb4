"""What a sample product says that its image shows: percentages of the classes, counted from its own pixels."""

from collections.abc import Iterator

from lxml import etree

from converters.samples.elements import E
from converters.samples.pixels import Tally
from converters.samples.scene import Scene

CLASSES = (
    ("SC_NODATA", "NODATA_PIXEL"),
    ("SC_SATURATED_DEFECTIVE", "SATURATED_DEFECTIVE_PIXEL"),
    ("SC_DARK_FEATURE_SHADOW", "DARK_FEATURES"),
    ("SC_CLOUD_SHADOW", "CLOUD_SHADOW"),
    ("SC_VEGETATION", "VEGETATION"),
    ("SC_NOT_VEGETATED", "NOT_VEGETATED"),
    ("SC_WATER", "WATER"),
    ("SC_UNCLASSIFIED", "UNCLASSIFIED"),
    ("SC_CLOUD_MEDIUM_PROBA", "MEDIUM_PROBA_CLOUDS"),
    ("SC_CLOUD_HIGH_PROBA", "HIGH_PROBA_CLOUDS"),
    ("SC_THIN_CIRRUS", "THIN_CIRRUS"),
    ("SC_SNOW_ICE", "SNOW_ICE"),
)
"""The classes 0 to 11: the text and the stem of the percentage's tag."""
EARLY_CLASSES = {5: ("SC_BARE_SOIL_DESERT", "BARE_SOILS"), 7: ("SC_CLOUD_LOW_PROBA", "LOW_PROBA_CLOUDS")}
"""What Level-2Ap called two of them."""


def contents(scene: Scene, tally: Tally) -> Iterator[etree._Element]:
    """What L2A says that the image shows."""
    if scene.offset:
        over_land = 100 * tally.cloudy_land / max(tally.land, 1)
        yield E.CLOUDY_PIXEL_OVER_LAND_PERCENTAGE(f"{over_land:.6f}")
    for stem, share in percentages(scene, tally).items():
        if stem == "SNOW_ICE" and scene.early:
            yield E.CLOUD_COVERAGE_PERCENTAGE(f"{share_of(tally, 8, 9, 10):.6f}")
        yield E(f"{stem}_PERCENTAGE", f"{share:.6f}")
    for tag in ("RADIATIVE_TRANSFER_ACCURACY", "WATER_VAPOUR_RETRIEVAL_ACCURACY", "AOT_RETRIEVAL_ACCURACY"):
        yield E(tag, "0.0")
    if scene.offset:
        yield E.AOT_RETRIEVAL_METHOD("SEN2COR_DDV")
        yield E.GRANULE_MEAN_AOT(f"{tally.aot:.6f}")
        yield E.GRANULE_MEAN_WV(f"{tally.wvp:.6f}")
        yield E.OZONE_SOURCE("AUX_ECMWFT")
        yield E.OZONE_VALUE("331.500000")


def percentages(scene: Scene, tally: Tally) -> dict[str, float]:
    """By the tag's stem: nodata in percent of all pixels, each class in percent of those with values."""
    nodata = 100 * tally.classes[0] / sum(tally.classes)
    return {
        class_names(scene, number)[1]: share_of(tally, number) if number else nodata for number in range(len(CLASSES))
    }


def share_of(tally: Tally, *classes: int) -> float:
    """Percent of the pixels with values that are of these classes."""
    return 100 * sum(tally.classes[number] for number in classes) / max(sum(tally.classes[1:]), 1)


def cloudy(scene: Scene, tally: Tally) -> float:
    """The cloud figure at the head of the metadata; L1C, and Level-2Ap which repeats it, only tells thick clouds."""
    return share_of(tally, 8, 9) if scene.level == "L1C" or scene.early else share_of(tally, 8, 9, 10)


def class_names(scene: Scene, number: int) -> tuple[str, str]:
    """What the product calls a class of the scene classification: in words, and in the percentage's tag."""
    text, stem = EARLY_CLASSES.get(number, CLASSES[number]) if scene.early else CLASSES[number]
    return text, "CAST_SHADOW" if number == 2 and scene.baseline >= "05.11" else stem
