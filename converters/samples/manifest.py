"""The manifest of a sample product: what it is, and every file in it with its checksum."""

import hashlib
from pathlib import Path

from lxml.builder import ElementMaker

from converters.samples.elements import E, positions, time_text, to_bytes
from converters.samples.scene import Scene

XFDU = "urn:ccsds:schema:xfdu:1"
SAFE = "http://www.esa.int/safe/sentinel/1.1"
GML = "http://www.opengis.net/gml"
IDENTIFIERS = {"S2A": "2015-000A", "S2B": "2017-013A", "S2C": "2024-157A"}


def manifest(scene: Scene, root: Path) -> bytes:
    """The manifest of the files below `root`."""
    safe = ElementMaker(namespace=SAFE, nsmap={"safe": SAFE})
    wraps = {
        "acquisitionPeriod": safe.acquisitionPeriod(safe.startTime(time_text(scene.sensed))),
        "measurementOrbitReference": safe.orbitReference(
            safe.orbitNumber(f"{scene.absolute_orbit:06}", type="start", groundTrackDirection=scene.direction.lower()),
            safe.relativeOrbitNumber(f"{scene.orbit:03}", type="start"),
        ),
        "platform": safe.platform(
            safe.nssdcIdentifier(IDENTIFIERS[scene.platform]),
            safe.familyName("SENTINEL"),
            safe.number(scene.platform[1:]),
            safe.instrument(safe.familyName("Multi-Spectral Instrument", abbreviation="MSI")),
        ),
        "measurementFrameSet": safe.frameSet(
            safe.footPrint(
                ElementMaker(namespace=GML, nsmap={"gml": GML}).coordinates(positions(scene)),
                srsName="http://www.opengis.net/gml/srs/epsg.xml#4326",
            )
        ),
    }
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    objects = {f"File_{number:03}_Data": file for number, file in enumerate(files, 1)}
    # The agency changed the kind of its checksums in 2021.
    kind = "MD5" if scene.baseline < "03.00" else "SHA3-256"
    xfdu = ElementMaker(namespace=XFDU, nsmap={"xfdu": XFDU, "safe": SAFE, "gml": GML})
    level = scene.level[1:]
    return to_bytes(
        xfdu.XFDU(
            E.informationPackageMap(
                xfdu.contentUnit(
                    *(
                        xfdu.contentUnit(E.dataObjectPointer(dataObjectID=each), unitType="Data Unit")
                        for each in objects
                    ),
                    textInfo=f"SENTINEL-2 MSI Level-{level} User Product",
                    unitType=f"Product_Level-{level}",
                )
            ),
            E.metadataSection(
                *(
                    E.metadataObject(
                        E.metadataWrap(E.xmlData(element), mimeType="text/xml", vocabularyName="Sentinel-SAFE"),
                        ID=name,
                        classification="DESCRIPTION",
                        category="DMD",
                    )
                    for name, element in wraps.items()
                )
            ),
            E.dataObjectSection(
                *(
                    E.dataObject(
                        E.byteStream(
                            E.fileLocation(locatorType="URL", href=f"./{file}"),
                            E.checksum(_checksum(root / file, kind), checksumName=kind),
                            mimeType="text/xml" if file.endswith(".xml") else "application/octet-stream",
                            size=str((root / file).stat().st_size),
                        ),
                        ID=name,
                    )
                    for name, file in objects.items()
                )
            ),
            version=f"esa/safe/sentinel/1.1/sentinel-2/msi/archive_l{level.lower()}_user_product",
        )
    )


def _checksum(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        if kind == "MD5":
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return hashlib.file_digest(file, hashlib.sha3_256).hexdigest()
