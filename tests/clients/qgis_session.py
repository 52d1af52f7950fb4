"""What QGIS sees: run by the system's Python, to which QGIS belongs; questions come in, answers go into a folder."""

import json
import os
import sys
from urllib.parse import urlencode

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsCoordinateReferenceSystem,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRasterProjector,
    QgsRectangle,
    QgsSingleBandGrayRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize, Qt


def checked(layer):
    """The layer, which must be one that QGIS can show."""
    if not layer.isValid():
        raise SystemExit(f"{layer.source()}: {layer.error().summary()}")
    return layer


def picture(layer, asked, path):
    """Draw a layer onto a map of so many pixels, and keep it as PNG."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem(asked["crs"]))
    settings.setExtent(QgsRectangle(*asked["bounds"]))
    settings.setOutputSize(QSize(*asked["size"]))
    settings.setOutputDpi(96)
    settings.setBackgroundColor(Qt.transparent)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    if job.errors():
        raise SystemExit(f"{layer.source()}: {[error.message for error in job.errors()]}")
    if not job.renderedImage().save(path):
        raise SystemExit(f"{path} can't be written")


def xyz(asked, path):
    """XYZ tiles as a layer."""
    layer = checked(QgsRasterLayer(f"type=xyz&url={asked['url']}&zmin=0&zmax={asked['zmax']}", "tiles", "wms"))
    # Of its own accord QGIS approximates coordinates, to a third of a pixel.
    layer.pipe().projector().setPrecision(QgsRasterProjector.Exact)
    picture(layer, asked, path)
    return {"crs": layer.crs().authid()}


def wmts(asked, path):
    """A layer of a WMTS in one of its tile matrix sets, and at a time where one is asked for."""
    said = {"url": asked["url"], "layers": asked["layer"], "tileMatrixSet": asked["tms"], "crs": asked["crs"]}
    said |= {"styles": "default", "format": "image/png"}
    if "time" in asked:
        said["tileDimensions"] = f"Time={asked['time']}"
    layer = checked(QgsRasterLayer(urlencode(said), "tiles", "wms"))
    picture(layer, asked, path)
    place = layer.extent()
    bounds = [place.xMinimum(), place.yMinimum(), place.xMaximum(), place.yMaximum()]
    return {"crs": layer.crs().authid(), "bounds": bounds}


def cog(asked, path):
    """A COG over HTTP as a layer, its first band stretched between two numbers."""
    layer = checked(QgsRasterLayer(f"/vsicurl/{asked['url']}", "cog", "gdal"))
    renderer = QgsSingleBandGrayRenderer(layer.dataProvider(), 1)
    stretch = QgsContrastEnhancement(layer.dataProvider().dataType(1))
    stretch.setMinimumValue(asked["low"], False)
    stretch.setMaximumValue(asked["high"], False)
    stretch.setContrastEnhancementAlgorithm(QgsContrastEnhancement.StretchToMinimumMaximum, True)
    renderer.setContrastEnhancement(stretch)
    layer.setRenderer(renderer)
    picture(layer, asked, path)
    return {"crs": layer.crs().authid(), "width": layer.width(), "height": layer.height()}


def features(asked, path):
    """A collection's items as OGC API Features."""
    layer = checked(
        QgsVectorLayer(f"url='{asked['url']}' typename='{asked['collection']}' pageSize='3'", "items", "OAPIF")
    )
    found = []
    for feature in layer.getFeatures():
        found.append({"name": feature["id"] if "id" in layer.fields().names() else None,
                      "wkt": feature.geometry().asWkt(9), "datetime": str(feature["datetime"].toString(Qt.ISODate)
                      if hasattr(feature["datetime"], "toString") else feature["datetime"])})  # fmt: skip
    return {"crs": layer.crs().authid(), "fields": layer.fields().names(), "features": found}


application = QgsApplication([], False)
application.initQgis()
answers = []
for number, asked in enumerate(json.load(sys.stdin)):
    kind = {"xyz": xyz, "wmts": wmts, "cog": cog, "features": features}[asked["kind"]]
    answers.append(kind(asked, os.path.join(sys.argv[1], f"{number}.png")))
with open(os.path.join(sys.argv[1], "answers.json"), "w") as file:
    json.dump(answers, file)
sys.stdout.flush()
os._exit(0)  # QGIS 3.22 may crash while it takes itself apart
