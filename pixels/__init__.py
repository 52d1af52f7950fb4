"""Blocks of COGs in, arrays and pictures out; is given items, never searches for them."""

from kartotek import gdal

gdal.prepare()
