"""The XML of a sample product's granule and of the datastrip that it was cut from.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), versions 14 and 15, and genuine products.
"""

import math
from collections.abc import Sequence

from lxml import etree
from pyproj import Transformer

from converters.samples.elements import E, datatake, psd_root, section, time_text
from converters.samples.ground import BANDS
from converters.samples.pixels import NATIVE, Image, Tally
from converters.samples.quality import cloudy, contents, share_of
from converters.samples.scene import Scene


def granule(scene: Scene, images: Sequence[Image], tally: Tally) -> etree._Element:
    """MTD_TL.xml: where the granule's pixels lie, the angles of sun and instrument, and what the image shows."""
    level = f"Level-{scene.level[1:]}"
    suffix = "_2A" if scene.early else ""
    root = psd_root(scene, f"{level}_Tile_ID", f"S2_PDI_{level}_Tile_Metadata.xsd")
    origin = [E.L1C_TILE_ID(scene.granule_id("L1C"), metadataLevel="Brief")]
    section(root, "General_Info").extend(
        [
            *(origin if scene.level == "L2A" and not scene.early else []),
            E(f"TILE_ID{suffix}", scene.granule_id(scene.level), metadataLevel="Brief"),
            E(f"DATASTRIP_ID{suffix}", scene.datastrip_id(scene.level), metadataLevel="Standard"),
            E.DOWNLINK_PRIORITY("NOMINAL", metadataLevel="Standard"),
            E.SENSING_TIME(time_text(scene.passed), metadataLevel="Standard"),
            E.Archiving_Info(
                E.ARCHIVING_CENTRE(scene.centre),
                E.ARCHIVING_TIME(time_text(scene.generated)),
                metadataLevel="Expertise",
            ),
        ]
    )
    section(root, "Geometric_Info").extend([_geocoding(scene), _angles(scene)])
    quality = section(root, "Quality_Indicators_Info", metadataLevel="Standard")
    clouds = E.CLOUDY_PIXEL_PERCENTAGE(f"{cloudy(scene, tally):.6f}")
    degraded = E.DEGRADED_MSI_DATA_PERCENTAGE("0")
    if scene.early:
        quality.append(E.L1C_Image_Content_QI(clouds, degraded))
        quality.append(E.L2A_Image_Content_QI(*contents(scene, tally)))
    elif scene.level == "L2A":
        quality.append(E.Image_Content_QI(clouds, degraded, *contents(scene, tally)))
    else:
        snow = E.SNOW_PIXEL_PERCENTAGE(f"{share_of(tally, 11):.6f}")
        quality.append(E.Image_Content_QI(clouds, degraded, *([snow] if scene.offset else [])))
    masks = [image for image in images if "/MSK_" in image.path]
    quality.append(
        E.Pixel_Level_QI(
            *(E.MASK_FILENAME(mask.path, type=mask.path.rpartition("/")[2][:10]) for mask in masks),
            geometry="FULL_RESOLUTION",
        )
    )
    quality.append(E.PVI_FILENAME(next(image.path for image in images if image.name == "PVI")))
    return root


def datastrip(scene: Scene) -> etree._Element:
    """MTD_DS.xml: the stretch of the orbit that the granule was cut from."""
    level = f"Level-{scene.level[1:]}"
    root = psd_root(scene, f"{level}_DataStrip_ID", f"S2_PDI_{level}_Datastrip_Metadata.xsd")
    section(root, "General_Info").extend(
        [
            datatake(scene, "Datatake_Info", metadataLevel="Brief"),
            E.Datastrip_Time_Info(
                E.DATASTRIP_SENSING_START(time_text(scene.strip_start)),
                E.DATASTRIP_SENSING_STOP(time_text(scene.passed)),
                metadataLevel="Brief",
            ),
            E.Processing_Info(
                E.PROCESSING_BASELINE(scene.baseline),
                E.PROCESSING_CENTER(scene.centre),
                E.UTC_DATE_TIME(time_text(scene.generated)),
                metadataLevel="Expertise",
            ),
        ]
    )
    tile = E.Tile(tileId=scene.granule_id(scene.level))
    section(root, "Image_Data_Info").append(E.Tiles_Information(E.Tile_List(tile), metadataLevel="Standard"))
    return root


def _geocoding(scene: Scene) -> etree._Element:
    found: etree._Element = E.Tile_Geocoding(
        E.HORIZONTAL_CS_NAME(f"WGS84 / UTM zone {scene.zone}N"),
        E.HORIZONTAL_CS_CODE(f"EPSG:{scene.crs}"),
        *(
            E.Size(E.NROWS(str(scene.size(size))), E.NCOLS(str(scene.size(size))), resolution=str(size))
            for size in NATIVE
        ),
        *(
            E.Geoposition(
                E.ULX(str(scene.left)), E.ULY(str(scene.top)), E.XDIM(str(size)), E.YDIM(str(-size)),
                resolution=str(size),
            )
            for size in NATIVE
        ),
        metadataLevel="Brief",
    )  # fmt: skip
    return found


def _angles(scene: Scene) -> etree._Element:
    zenith, azimuth = _sun(scene)
    across, towards = 3 + scene.orbit % 7, 284 if scene.orbit % 2 else 104
    found: etree._Element = E.Tile_Angles(
        E.Mean_Sun_Angle(E.ZENITH_ANGLE(f"{zenith:.6f}", unit="deg"), E.AZIMUTH_ANGLE(f"{azimuth:.6f}", unit="deg")),
        E.Mean_Viewing_Incidence_Angle_List(
            *(
                E.Mean_Viewing_Incidence_Angle(
                    E.ZENITH_ANGLE(f"{across + 0.05 * number:.6f}", unit="deg"),
                    E.AZIMUTH_ANGLE(f"{towards + 0.2 * number:.6f}", unit="deg"),
                    bandId=str(number),
                )
                for number in range(len(BANDS))
            )
        ),
        metadataLevel="Standard",
    )
    return found


def _sun(scene: Scene) -> tuple[float, float]:
    """Zenith and azimuth of the sun in degrees at the granule's middle, to about a degree."""
    half = 5 * scene.pixels
    to_degrees = Transformer.from_crs(scene.crs, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(scene.left + half, scene.top - half)
    time = scene.passed
    season = 2 * math.pi * (time.timetuple().tm_yday - 81) / 365
    declination = math.radians(23.45) * math.sin(season)
    equation = 9.87 * math.sin(2 * season) - 7.53 * math.cos(season) - 1.5 * math.sin(season)
    hours = time.hour + time.minute / 60 + time.second / 3600 + longitude / 15 + equation / 60
    hour_angle, lat = math.radians(15 * (hours - 12)), math.radians(latitude)
    height = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(hour_angle)
    south = math.sin(lat) * math.cos(declination) * math.cos(hour_angle) - math.cos(lat) * math.sin(declination)
    west = math.cos(declination) * math.sin(hour_angle)
    return math.degrees(math.acos(height)), math.degrees(math.atan2(west, south)) + 180
