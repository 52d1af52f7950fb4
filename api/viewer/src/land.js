/** The ground of the map: land and water, and a graticule. land.json is made by ../land.mjs when the page is bundled. */

import Feature from 'ol/Feature.js';
import Polygon from 'ol/geom/Polygon.js';
import Graticule from 'ol/layer/Graticule.js';
import VectorLayer from 'ol/layer/Vector.js';
import VectorSource from 'ol/source/Vector.js';
import Fill from 'ol/style/Fill.js';
import Stroke from 'ol/style/Stroke.js';
import Style from 'ol/style/Style.js';
import Text from 'ol/style/Text.js';
import { colour, paintWith } from './colours.js';
import { say } from './language.js';
import land from './land.json';

const UNIT = 500; // metres

export function createLand() {
  const layers = ['neighbours', 'sweden'].map((name) => {
    const layer = new VectorLayer({ source: new VectorSource({ features: land[name].map(polygon), wrapX: false }) });
    paintWith(() => layer.setStyle(style(colour(name), colour('coast'))));
    return layer;
  });
  return [...layers, createGraticule()];
}

function style(inside, edge) {
  return new Style({ fill: new Fill({ color: inside }), stroke: new Stroke({ color: edge }) });
}

function polygon(rings) {
  return new Feature(new Polygon(rings.map(points)));
}

function points(ring) {
  let [east, north] = ring;
  const all = [[east * UNIT, north * UNIT]];
  for (let i = 2; i < ring.length; i += 2) {
    east += ring[i];
    north += ring[i + 1];
    all.push([east * UNIT, north * UNIT]);
  }
  return [...all, all[0]];
}

function createGraticule() {
  const words = { font: '11px system-ui, sans-serif', fill: new Fill({ color: 'rgb(128 128 128)' }) };
  return new Graticule({
    strokeStyle: new Stroke({ color: 'rgba(128, 128, 128, 0.3)' }),
    showLabels: true,
    wrapX: false,
    targetSize: 160,
    intervals: [10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01],
    lonLabelPosition: 0.98,
    latLabelPosition: 0.02,
    lonLabelFormatter: (degrees) => say('east', { degrees: Number(degrees.toFixed(2)) }),
    latLabelFormatter: (degrees) => say('north', { degrees: Number(degrees.toFixed(2)) }),
    lonLabelStyle: new Text({ ...words, textBaseline: 'top' }),
    latLabelStyle: new Text({ ...words, textAlign: 'start' }),
  });
}
