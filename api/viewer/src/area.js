/** The area that is searched, dashed on the map: a box in degrees, whose sides are curves in EPSG:3006. */

import Feature from 'ol/Feature.js';
import Polygon from 'ol/geom/Polygon.js';
import VectorLayer from 'ol/layer/Vector.js';
import { fromLonLat, transformExtent } from 'ol/proj.js';
import VectorSource from 'ol/source/Vector.js';
import Stroke from 'ol/style/Stroke.js';
import Style from 'ol/style/Style.js';
import { getIntersection } from 'ol/extent.js';
import { colour, paintWith } from './colours.js';
import { SURROUNDINGS, SWEREF99TM } from './grid.js';

const STEPS = 24; // points a side

export function createArea() {
  const source = new VectorSource({ wrapX: false });
  const layer = new VectorLayer({ source });
  paintWith(() => layer.setStyle(new Style({ stroke: new Stroke({ color: colour('chosen'), width: 2, lineDash: [8, 6] }) })));

  return {
    layer,

    /** Draw this box (west, south, east, north), or none. */
    show(bbox) {
      source.clear();
      const ring = bbox && outline(bbox).map((place) => fromLonLat(place, SWEREF99TM));
      if (ring?.flat().every(Number.isFinite)) source.addFeature(new Feature(new Polygon([ring])));
    },
  };
}

/** The box in degrees around an extent in EPSG:3006, which is cut to where that is of use. */
export function boxAround(extent) {
  const box = transformExtent(getIntersection(extent, SURROUNDINGS), SWEREF99TM, 'EPSG:4326', 16);
  return box.map((degrees) => Number(degrees.toFixed(4)));
}

function outline([west, south, east, north]) {
  const corners = [[west, south], [east, south], [east, north], [west, north], [west, south]];
  const side = (from, to) =>
    Array.from({ length: STEPS }, (_, i) => from.map((start, axis) => start + ((to[axis] - start) * i) / STEPS));
  return [...corners.slice(1).flatMap((corner, i) => side(corners[i], corner)), corners[0]];
}
