"""The documents of WMTS 1.0.0 (OGC 07-057r7): what is served, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import islice
from urllib.parse import quote

from lxml import etree
from morecantile import TileMatrixSet

from api.layers import Layer
from kartotek import matrices

XML = "application/xml"
MOST_MONTHS = 120
"""Months that a layer's dimension names, the newest ones; any other time is answered too."""

_WMTS, _OWS = "http://www.opengis.net/wmts/1.0", "http://www.opengis.net/ows/1.1"
_XLINK = "http://www.w3.org/1999/xlink"
_SPACES = {None: _WMTS, "ows": _OWS, "xlink": _XLINK}
_HREF = f"{{{_XLINK}}}href"
_KNOWN = {"WebMercatorQuad": "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible"}
"""Well-known scale sets."""


def document(title: str, where: str, layers: Iterable[Layer], forms: dict[str, str]) -> bytes:
    """The capabilities; `where` is the address of KVP, `forms` are suffixes by media type, the usual one first."""
    # A namespace without a prefix is None to lxml, of which its types know nothing.
    root = etree.Element(f"{{{_WMTS}}}Capabilities", nsmap=_SPACES, version="1.0.0")  # type: ignore[arg-type]
    service = _ows(root, "ServiceIdentification")
    _ows(service, "Title", title)
    _ows(service, "ServiceType", "OGC WMTS")
    _ows(service, "ServiceTypeVersion", "1.0.0")
    operations = _ows(root, "OperationsMetadata")
    for name in ("GetCapabilities", "GetTile"):
        operation = _ows(operations, "Operation")
        operation.set("name", name)
        get = _ows(_ows(_ows(operation, "DCP"), "HTTP"), "Get")
        get.set(_HREF, f"{where}?")
        constraint = _ows(get, "Constraint")
        constraint.set("name", "GetEncoding")
        _ows(_ows(constraint, "AllowedValues"), "Value", "KVP")
    contents = _wmts(root, "Contents")
    for layer in layers:
        _layer(contents, layer, where, forms)
    for tms in matrices.served().values():
        _matrices(contents, tms)
    _wmts(root, "ServiceMetadataURL").set(_HREF, f"{where}/1.0.0/WMTSCapabilities.xml")
    return _bytes(root)


def _layer(contents: etree._Element, layer: Layer, where: str, forms: dict[str, str]) -> None:
    made = _wmts(contents, "Layer")
    _ows(made, "Title", layer.title)
    west, south, east, north = layer.bounds if layer.bounds and len(layer.bounds) == 4 else (-180, -90, 180, 90)
    box = _ows(made, "WGS84BoundingBox")
    _ows(box, "LowerCorner", f"{min(west, east):.7f} {south:.7f}")
    _ows(box, "UpperCorner", f"{max(west, east):.7f} {north:.7f}")
    _ows(made, "Identifier", layer.name)
    style = _wmts(made, "Style")
    style.set("isDefault", "true")
    _ows(style, "Identifier", "default")
    for kind in forms:
        _wmts(made, "Format", kind)
    dimension = _wmts(made, "Dimension")
    _ows(dimension, "Identifier", "Time")
    _ows(dimension, "UOM", "ISO8601")
    _wmts(dimension, "Default", "default")
    _wmts(dimension, "Value", "default")
    if layer.start and layer.end:
        _wmts(dimension, "Value", f"{layer.start[:10]}/{layer.end[:10]}/P1D")
        # Who uses QGIS chooses one of the values, and can write none.
        for month in islice(_months(layer.start, layer.end), MOST_MONTHS):
            _wmts(dimension, "Value", month)
    for name in matrices.served():
        _wmts(_wmts(made, "TileMatrixSetLink"), "TileMatrixSet", name)
    # One, though each format has its own: OpenLayers and Leaflet take several for mirrors, and would mix the formats.
    kind, form = next(iter(forms.items()))
    link = _wmts(made, "ResourceURL")
    link.set("format", kind)
    link.set("resourceType", "tile")
    parts = "{style}/{Time}/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}"
    link.set("template", f"{where}/1.0.0/{quote(layer.name, safe=':')}/{parts}.{form}")


def _months(start: str, end: str) -> Iterator[str]:
    """The months from one time to another, the last one first, as the periods that TIME takes."""
    first, last = date.fromisoformat(start[:10]), date.fromisoformat(end[:10])
    while last >= first:
        begin = last.replace(day=1)
        yield f"{begin}/{last}"
        if begin <= first:
            return
        last = begin - timedelta(days=1)


def _matrices(contents: etree._Element, tms: TileMatrixSet) -> None:
    made = _wmts(contents, "TileMatrixSet")
    _ows(made, "Title", str(tms.title or tms.id))
    _ows(made, "Identifier", str(tms.id))
    _ows(made, "SupportedCRS", matrices.urn(tms))
    if str(tms.id) in _KNOWN:
        _wmts(made, "WellKnownScaleSet", _KNOWN[str(tms.id)])
    for matrix in tms.tileMatrices:
        level = _wmts(made, "TileMatrix")
        _ows(level, "Identifier", str(matrix.id))
        _wmts(level, "ScaleDenominator", repr(float(matrix.scaleDenominator)))
        # In the order of the CRS's own axes, as the set has it: northing first for EPSG:3006.
        _wmts(level, "TopLeftCorner", " ".join(_number(float(part)) for part in matrix.pointOfOrigin))
        for name, number in (
            ("TileWidth", matrix.tileWidth),
            ("TileHeight", matrix.tileHeight),
            ("MatrixWidth", matrix.matrixWidth),
            ("MatrixHeight", matrix.matrixHeight),
        ):
            _wmts(level, name, str(number))


def exception(code: str, locator: str | None, words: str) -> bytes:
    """What went wrong, as OWS Common 1.1 tells it."""
    root = etree.Element(f"{{{_OWS}}}ExceptionReport", nsmap={"ows": _OWS}, version="1.1.0")
    one = _ows(root, "Exception")
    one.set("exceptionCode", code)
    if locator:
        one.set("locator", locator)
    _ows(one, "ExceptionText", "".join(letter if letter.isprintable() else " " for letter in words))
    return _bytes(root)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _ows(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    return _child(parent, _OWS, name, text)


def _wmts(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    return _child(parent, _WMTS, name, text)


def _child(parent: etree._Element, space: str, name: str, text: str | None) -> etree._Element:
    made = etree.SubElement(parent, f"{{{space}}}{name}")
    made.text = text
    return made


def _bytes(root: etree._Element) -> bytes:
    found: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return found
