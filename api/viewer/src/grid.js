/** SWEREF 99 TM and the native tile matrix set, as kartotek/grids.py has them. */

import { get } from 'ol/proj.js';
import { register } from 'ol/proj/proj4.js';
import TileGrid from 'ol/tilegrid/TileGrid.js';
import proj4 from 'proj4';

proj4.defs('EPSG:3006', '+proj=utm +zone=33 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m +no_defs');
register(proj4);

/** Axes as in OpenLayers always: easting, northing. */
export const SWEREF99TM = get('EPSG:3006');

/** 512 px tiles from (0, 7 864 320) to the south-east; level 0 is 2560 m and 1 x 2 tiles, level 8 is 10 m. */
export const SWEREF99TM10 = new TileGrid({
  origin: [0, 7_864_320],
  extent: [0, 5_242_880, 1_310_720, 7_864_320],
  resolutions: Array.from({ length: 9 }, (_, level) => 2560 / 2 ** level),
  tileSize: 512,
});

/** Where the map begins. */
export const SWEDEN = [260_000, 6_130_000, 930_000, 7_690_000];

/** How far one can move. */
export const SURROUNDINGS = [-400_000, 5_850_000, 1_700_000, 8_000_000];

SWEREF99TM.setExtent(SURROUNDINGS); // the graticule wants both
SWEREF99TM.setWorldExtent([2, 52, 34, 72]);
