"""What all XML of a sample product is made with."""

from datetime import datetime

from lxml import etree
from lxml.builder import ElementMaker

from converters.samples.scene import Scene

E = ElementMaker()
XSI = "http://www.w3.org/2001/XMLSchema-instance"


def psd_root(scene: Scene, tag: str, schema: str) -> etree._Element:
    """The root of one of the agency's documents, in the namespace of its specification."""
    version = 15 if scene.baseline >= "05.11" else 12 if scene.early and schema.startswith("S2_PDI") else 14
    namespace = f"https://psd-{version}.sentinel2.eo.esa.int/PSD/{schema}"
    root = etree.Element(f"{{{namespace}}}{tag}", nsmap={"n1": namespace, "xsi": XSI})
    root.set(f"{{{XSI}}}schemaLocation", namespace)
    return root


def section(root: etree._Element, tag: str, **attributes: str) -> etree._Element:
    """A section of the document, in its root's namespace as none of the elements below it are."""
    return etree.SubElement(root, f"{{{etree.QName(root).namespace}}}{tag}", attributes)


def to_bytes(root: etree._Element) -> bytes:
    """The document as it stands in its file."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)


def time_text(time: datetime) -> str:
    """A time as the agency writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def positions(scene: Scene) -> str:
    """The footprint's corners, latitude before longitude."""
    return " ".join(f"{lat:.9f} {lon:.9f}" for lon, lat in scene.footprint().exterior.coords)


def datatake(scene: Scene, tag: str, **attributes: str) -> etree._Element:
    """The datatake, under the tag that the document has for it."""
    found: etree._Element = E(
        tag,
        E.SPACECRAFT_NAME(f"Sentinel-{scene.platform[1:]}"),
        E.DATATAKE_TYPE("INS-NOBS"),
        E.DATATAKE_SENSING_START(time_text(scene.sensed)),
        E.SENSING_ORBIT_NUMBER(str(scene.orbit)),
        E.SENSING_ORBIT_DIRECTION(scene.direction),
        datatakeIdentifier=scene.datatake,
        **attributes,
    )
    return found
