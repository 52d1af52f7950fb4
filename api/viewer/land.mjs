/**
 * Writes src/land.json, the ground of the map, from Natural Earth's 1:10m countries; run when the page is bundled.
 *
 * Projected, simplified and cut to the surroundings of Sweden: polygons of rings, each ring [e, n, de, dn, de, dn, ...]
 * in units of 500 m of SWEREF 99 TM, which is all that a background needs.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import proj4 from 'proj4';
import { feature } from 'topojson-client';
import { planarRingArea, planarTriangleArea, presimplify, simplify } from 'topojson-simplify';

const UNIT = 500; // metres
const SMALLEST = 2e6; // square metres that a corner, or an island, must have to be drawn
const [WEST, SOUTH, EAST, NORTH] = [-14, 49, 50, 74]; // degrees; farther out than the map shows
const sweref99tm = proj4('+proj=utm +zone=33 +ellps=GRS80 +units=m +no_defs');

const within = ([longitude, latitude]) => WEST < longitude && longitude < EAST && SOUTH < latitude && latitude < NORTH;

/** Easting and northing; what lies outside is laid onto the edge, which keeps the inside as it is. */
function place([longitude, latitude]) {
  const eastwards = longitude < -30 ? EAST : longitude; // Russia's ring goes on beyond 180 degrees
  return sweref99tm.forward([Math.min(Math.max(eastwards, WEST), EAST), Math.min(Math.max(latitude, SOUTH), NORTH)]);
}

function ring(points) {
  const placed = points.map((point) => place(point).map((metres) => Math.round(metres / UNIT)));
  const steps = placed.slice(0, -1).map(([e, n], i) => (i ? [e - placed[i - 1][0], n - placed[i - 1][1]] : [e, n]));
  return steps.filter(([e, n], i) => i === 0 || e || n).flat();
}

function polygons({ geometry }) {
  const parts = geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.coordinates;
  const large = (points) => planarRingArea(points.map(place)) >= SMALLEST;
  return parts.filter(([outer]) => outer.some(within) && large(outer)).map((rings) => rings.filter(large).map(ring));
}

const atlas = createRequire(import.meta.url).resolve('world-atlas/countries-10m.json');
const weighed = presimplify(JSON.parse(readFileSync(atlas)), (triangle) => planarTriangleArea(triangle.map(place)));
const countries = feature(simplify(weighed, SMALLEST), weighed.objects.countries).features;
const named = (wanted) => countries.filter(({ properties }) => (properties.name === 'Sweden') === wanted).flatMap(polygons);
writeFileSync(new URL('src/land.json', import.meta.url), JSON.stringify({ sweden: named(true), neighbours: named(false) }));
