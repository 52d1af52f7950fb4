"""How GDAL is set up in every process of ours: few drivers, no side files, bounded memory.

`prepare()` comes before the first import of rasterio, since GDAL reads GDAL_SKIP once, while it registers its drivers;
the packages that use GDAL (`converters`, `pixels`) call it in their `__init__`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DRIVERS = frozenset({"GTiff", "COG", "JP2OpenJPEG", "MEM", "Memory", "PNG", "VRT"})
"""The drivers that stay. What a product brings is opened as JP2OpenJPEG or GTiff only; the rest serve GDAL within."""

_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_TIMEOUT": "30",
    "GDAL_CACHEMAX": "200",
    # OpenJPEG's own threads wait for each other longer than they work; ours take whole tiles.
    "OPJ_NUM_THREADS": "0",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
}

# Every driver of the GDAL in rasterio's wheels (3.10) but those above. A newer GDAL may bring others: the tests count.
_SKIPPED = (
    "AAIGrid,ACE2,ADRG,AIG,AVCBin,AVCE00,AirSAR,BAG,BIGGIF,BLX,BMP,BSB,BT,BYN,CALS,CEOS,COASP,COSAR,CPG,CTG,"
    "CTable2,DAAS,DERIVED,DIMAP,DIPEx,DOQ1,DOQ2,DTED,ECRGTOC,EEDA,EEDAI,EHdr,EIR,ELAS,ENVI,ERS,ESAT,"
    "ESRI Shapefile,ESRIC,ESRIJSON,FAST,FIT,GFF,GIF,GNMDatabase,GNMFile,GPKG,GRASSASCIIGrid,GRIB,GS7BG,GSAG,GSBG,"
    "GSC,GTI,GTX,GXF,GenBin,GeoJSON,GeoJSONSeq,HDF5,HDF5Image,HF2,HFA,HTTP,ILWIS,IRIS,ISCE,ISG,ISIS2,ISIS3,"
    "JAXAPALSAR,JDEM,JPEG,KMLSUPEROVERLAY,KRO,L1B,LAN,LCP,LOSLAS,Leveller,MAP,MBTiles,MFF,MFF2,MRF,MSGN,MVT,"
    "NDF,NGSGEOID,NITF,NOAA_B,NSIDCbin,NTv2,NWT_GRC,NWT_GRD,OSM,OZI,PAux,PCIDSK,PCRaster,PDF,PDS,PDS4,"
    "PLMOSAIC,PNM,PRF,R,RIK,RMF,ROI_PAC,RPFTOC,RRASTER,RS2,RST,Rasterlite,S102,S104,S111,SAFE,SAGA,SAR_CEOS,SDTS,"
    "SENTINEL2,SGI,SIGDEM,SNAP_TIFF,SNODAS,SQLite,SRP,SRTMHGT,STACIT,STACTA,TGA,TIL,TSX,Terragen,TopoJSON,"
    "USGSDEM,VICAR,WCS,WEBP,WMS,WMTS,XPM,XYZ,ZMap,Zarr,netCDF"
)


def prepare() -> None:
    """Put our GDAL configuration into the environment; what stands there already is kept, but for GDAL_SKIP."""
    for name, value in _OPTIONS.items():
        os.environ.setdefault(name, value)
    os.environ["GDAL_SKIP"] = _SKIPPED


@contextmanager
def at_work(**options: Any) -> Iterator[None]:
    """GDAL with some options of its own for what this thread does here.

    Without a session rasterio makes its own, and where AWS's keys are in the environment, it has boto3 look
    at them each time, which takes 10 ms and more. Nothing is reached by GDAL that would need them.
    """
    import rasterio
    from rasterio.session import DummySession

    with rasterio.Env(session=DummySession(), **options):
        yield
