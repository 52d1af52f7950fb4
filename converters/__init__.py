"""SAFE products in, COGs and STAC items out; no database."""

from kartotek import gdal

gdal.prepare()
