"""The XML of a sample product, with the agency's tags.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), versions 14 and 15, and genuine products.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from lxml import etree
from lxml.builder import ElementMaker

from converters.samples.elements import E, datatake, positions, psd_root, section, time_text, to_bytes
from converters.samples.granule import datastrip, granule
from converters.samples.ground import BANDS
from converters.samples.pixels import NATIVE, Image, Tally
from converters.samples.quality import CLASSES, class_names, cloudy, contents, share_of
from converters.samples.scene import Scene

GMD = "http://www.isotc211.org/2005/gmd"
GCO = "http://www.isotc211.org/2005/gco"
DOIS = {"L1C": "https://doi.org/10.5270/S2_-742ikth", "L2A": "https://doi.org/10.5270/S2_-znk9xsj"}
WAVELENGTHS: Mapping[str, tuple[float, ...]] = {
    "S2A": (442.7, 492.7, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4),
    "S2B": (442.3, 492.3, 559.0, 665.0, 703.8, 739.1, 779.7, 833.0, 864.0, 943.2, 1376.9, 1610.4, 2185.7),
    # B09 and B10 are those of Sentinel-2A, for want of a source.
    "S2C": (444.2, 489.0, 560.6, 666.5, 707.1, 741.1, 784.7, 834.6, 865.6, 945.1, 1373.5, 1612.0, 2191.3),
}
"""Central wavelengths in nm."""
WIDTHS = (45, 76, 46, 39, 20, 18, 28, 133, 32, 27, 76, 141, 238)
"""From the shortest to the longest wavelength of each band, nm."""
IRRADIANCES: Mapping[str, tuple[float, ...]] = {
    "S2A": (1884.69, 1959.66, 1823.24, 1512.06, 1424.64, 1287.61, 1162.08, 1041.63, 955.32, 812.92, 367.15, 245.59,
            85.25),
    "S2B": (1874.3, 1959.75, 1824.93, 1512.79, 1425.78, 1291.13, 1175.57, 1041.28, 953.93, 817.58, 365.41, 247.08,
            87.75),
}  # fmt: skip


def documents(scene: Scene, images: Sequence[Image], tally: Tally) -> dict[str, bytes]:
    """Every XML document of the product but the manifest, by its path below the root."""
    return {
        f"MTD_MSI{scene.level}.xml": to_bytes(_product(scene, images, tally)),
        "INSPIRE.xml": to_bytes(_inspire(scene)),
        f"{scene.granule}/MTD_TL.xml": to_bytes(granule(scene, images, tally)),
        f"{scene.datastrip}/MTD_DS.xml": to_bytes(datastrip(scene)),
    }


def _product(scene: Scene, images: Sequence[Image], tally: Tally) -> etree._Element:
    early = "L2A_" if scene.early else ""
    level = f"Level-{scene.level[1:]}"
    indicators = [
        E.Cloud_Coverage_Assessment(f"{cloudy(scene, tally):.6f}"),
        *([] if scene.level == "L2A" else [E.Snow_Coverage_Assessment(f"{share_of(tally, 11):.6f}")]),
        E.Technical_Quality_Assessment(E.DEGRADED_ANC_DATA_PERCENTAGE("0.0"), E.DEGRADED_MSI_DATA_PERCENTAGE("0")),
        E.Quality_Control_Checks(
            E.Quality_Inspections(
                *(
                    E.quality_check("PASSED", checkType=check)
                    for check in (
                        *("FORMAT_CORRECTNESS", "GENERAL_QUALITY", "GEOMETRIC_QUALITY"),
                        *("RADIOMETRIC_QUALITY", "SENSOR_QUALITY"),
                    )
                )
            ),
            E.Failed_Inspections(),
        ),
    ]
    content = E.Image_Content_QI(*contents(scene, tally))
    root = psd_root(scene, f"{level}_User_Product", f"User_Product_{level}.xsd")
    general = section(root, "General_Info")
    general.append(E(f"{early}Product_Info", *_product_info(scene, images)))
    general.append(E(f"{early}Product_Image_Characteristics", *_characteristics(scene)))
    section(root, "Geometric_Info").extend(
        [
            E.Product_Footprint(
                E.Product_Footprint(E.Global_Footprint(E.EXT_POS_LIST(f"{positions(scene)} "))),
                E.RASTER_CS_TYPE("POINT"),
                E.PIXEL_ORIGIN("1"),
            ),
            E.Coordinate_Reference_System(E.GEO_TABLES("EPSG", version="1"), E.HORIZONTAL_CS_TYPE("GEOGRAPHIC")),
        ]
    )
    quality = section(root, "Quality_Indicators_Info")
    quality.extend(indicators)
    if scene.early:
        section(root, "L2A_Quality_Indicators_Info").append(content)
    elif scene.level == "L2A":
        quality.append(content)
    return root


def _product_info(scene: Scene, images: Sequence[Image]) -> Iterator[etree._Element]:
    name = f"{scene.name}.SAFE"
    start = time_text(scene.sensed)
    suffix = "p" if scene.early else ""
    yield E.PRODUCT_START_TIME(start)
    yield E.PRODUCT_STOP_TIME(start)
    if scene.early:
        yield E.PRODUCT_URI_1C(name.replace("MSIL2A", "MSIL1C"))
        yield E.PRODUCT_URI_2A(name)
    else:
        yield E.PRODUCT_URI(name)
    yield E.PROCESSING_LEVEL(f"Level-{scene.level[1:]}{suffix}")
    yield E.PRODUCT_TYPE(f"S2MSI{scene.level[1:]}{suffix}")
    yield E.PROCESSING_BASELINE(scene.baseline)
    if scene.baseline >= "04.00":
        yield E.PRODUCT_DOI(DOIS[scene.level])
    yield E.GENERATION_TIME(time_text(scene.generated))
    yield E.PREVIEW_IMAGE_URL("Not applicable")
    yield E.PREVIEW_GEO_INFO("Not applicable")
    yield datatake(scene, "Datatake")
    yield E.Query_Options(E.PRODUCT_FORMAT("SAFE_COMPACT"), completeSingleTile="true")
    measured = [image for image in images if image.measured]
    # Level-2Ap lists its granule once for each resolution.
    groups = [[each for each in measured if each.resolution == size] for size in (60, 20, 10)]
    yield E(
        f"{'L2A_' if scene.early else ''}Product_Organisation",
        *(
            E.Granule_List(
                E.Granule(
                    *(
                        E(f"IMAGE_FILE{'_2A' if scene.early else ''}", image.path.removesuffix(".jp2"))
                        for image in group
                    ),
                    datastripIdentifier=scene.datastrip_id(scene.level),
                    granuleIdentifier=scene.granule_id(scene.level),
                    imageFormat="JPEG2000",
                )
            )
            for group in (groups if scene.early else [measured])
        ),
    )


def _characteristics(scene: Scene) -> Iterator[etree._Element]:
    for text, value in (("NODATA", 0), ("SATURATED", 65535)):
        yield E.Special_Values(E.SPECIAL_VALUE_TEXT(text), E.SPECIAL_VALUE_INDEX(str(value)))
    yield E.Image_Display_Order(E.RED_CHANNEL("3"), E.GREEN_CHANNEL("2"), E.BLUE_CHANNEL("1"))
    if scene.level == "L1C":
        yield E.QUANTIFICATION_VALUE("10000", unit="none")
    else:
        early = "L2A_" if scene.early else ""
        toa = [E.L1C_TOA_QUANTIFICATION_VALUE("10000", unit="none")] if scene.early else []
        yield E(
            "L1C_L2A_Quantification_Values_List" if scene.early else "QUANTIFICATION_VALUES_LIST",
            *toa,
            E(f"{early}BOA_QUANTIFICATION_VALUE", "10000", unit="none"),
            E(f"{early}AOT_QUANTIFICATION_VALUE", "1000.0", unit="none"),
            E(f"{early}WVP_QUANTIFICATION_VALUE", "1000.0", unit="cm"),
        )
    if scene.offset:
        listed, tag = (
            ("Radiometric_Offset_List", "RADIO_ADD_OFFSET")
            if scene.level == "L1C"
            else ("BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET")
        )
        yield E(listed, *(E(tag, str(-scene.offset), band_id=str(number)) for number in range(len(BANDS))))
    irradiances = IRRADIANCES.get(scene.platform, IRRADIANCES["S2B"])
    yield E.Reflectance_Conversion(
        E.U(f"{_sun_nearness(scene.sensed):.12f}"),
        E.Solar_Irradiance_List(
            *(
                E.SOLAR_IRRADIANCE(str(value), bandId=str(number), unit="W/m²/µm")
                for number, value in enumerate(irradiances)
            )
        ),
    )
    if not scene.early:
        yield E.Spectral_Information_List(*_spectra(scene))
    if scene.level == "L2A":
        early = "L2A_" if scene.early else ""
        yield E(
            f"{early}Scene_Classification_List",
            *(
                E(
                    f"{early}Scene_Classification_ID",
                    E(f"{early}SCENE_CLASSIFICATION_TEXT", class_names(scene, number)[0]),
                    E(f"{early}SCENE_CLASSIFICATION_INDEX", str(number)),
                )
                for number in range(len(CLASSES))
            ),
        )


def _spectra(scene: Scene) -> Iterator[etree._Element]:
    for number, (band, centre, width) in enumerate(zip(BANDS, WAVELENGTHS[scene.platform], WIDTHS, strict=True)):
        resolution = next(size for size, bands in NATIVE.items() if band in bands)
        yield E.Spectral_Information(
            E.RESOLUTION(str(resolution)),
            E.Wavelength(
                E.MIN(f"{centre - width / 2:.0f}", unit="nm"),
                E.MAX(f"{centre + width / 2:.0f}", unit="nm"),
                E.CENTRAL(f"{centre:g}", unit="nm"),
            ),
            bandId=str(number),
            physicalBand=band.replace("B0", "B"),
        )


def _inspire(scene: Scene) -> etree._Element:
    gmd = ElementMaker(namespace=GMD, nsmap={"gmd": GMD, "gco": GCO})
    text = ElementMaker(namespace=GCO, nsmap={"gco": GCO}).CharacterString
    found: etree._Element = gmd.MD_Metadata(
        gmd.fileIdentifier(text(f"{scene.name}.SAFE")),
        gmd.identificationInfo(
            gmd.MD_DataIdentification(
                gmd.citation(gmd.CI_Citation(gmd.title(text(f"{scene.name}.SAFE")))),
                gmd.abstract(text(positions(scene))),
            )
        ),
    )
    return found


def _sun_nearness(time: datetime) -> float:
    """The square of the mean distance to the sun by that day's."""
    return (1 + 0.01673 * math.cos(math.radians(0.9856 * (time.timetuple().tm_yday - 4)))) ** 2
