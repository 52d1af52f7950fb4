"""Sample products for the notebooks: a field near Uppsala through a year, and one day of two years in two UTM zones.

python docs/tutorials/a_year.py products
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from converters import samples
from converters.samples import Scene

FIELD = Scene(
    tile="33VXG", zone=33, left=662_340, top=6_649_560, pixels=366,
    sensed=datetime(2021, 7, 15, 10, 20, 31, tzinfo=UTC), platform="S2A", baseline="03.01", orbit=65,
)  # fmt: skip
LATER = replace(FIELD, sensed=datetime(2022, 7, 15, 10, 15, 59, tzinfo=UTC), platform="S2B", baseline="04.00")
OTHER_ZONE = replace(LATER, tile="34VCM", zone=34, left=326_700)
YEAR = tuple(
    replace(
        LATER, sensed=datetime(2023, month, day, 10, 15, 59, tzinfo=UTC), baseline="05.09", clouds=clouds,
    )
    for month, day, clouds in ((4, 6, 0.1), (5, 11, 0.3), (6, 15, 0.1), (7, 20, 0.4), (8, 24, 0.1), (10, 3, 0.2))
)  # fmt: skip

if __name__ == "__main__":
    for scene in (FIELD, LATER, OTHER_ZONE, *YEAR):
        print(samples.write(scene, Path(sys.argv[1])).name)
