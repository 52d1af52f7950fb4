/** The map: SWEREF 99 TM, land, footprints, and the picture of the chosen item. */

import Attribution from 'ol/control/Attribution.js';
import ScaleLine from 'ol/control/ScaleLine.js';
import Zoom from 'ol/control/Zoom.js';
import ZoomToExtent from 'ol/control/ZoomToExtent.js';
import { isEmpty } from 'ol/extent.js';
import { defaults as defaultInteractions } from 'ol/interaction/defaults.js';
import OlMap from 'ol/Map.js';
import View from 'ol/View.js';
import { SURROUNDINGS, SWEDEN, SWEREF99TM } from './grid.js';
import { createLand } from './land.js';
import { say } from './language.js';

const FIT = { padding: [40, 40, 48, 40], minResolution: 10 };
const still = window.matchMedia('(prefers-reduced-motion: reduce)');

export function createMap({ target, footprints, area, picture, onClick, onMove }) {
  const view = new View({
    projection: SWEREF99TM,
    extent: SURROUNDINGS,
    constrainOnlyCenter: true,
    enableRotation: false,
    maxResolution: 5120,
    minResolution: 1,
  });
  const map = new OlMap({
    target,
    view,
    layers: [...createLand(), ...footprints.beneath, picture.layer, area.layer, ...footprints.above],
    controls: [
      new Zoom({ zoomInTipLabel: say('zoom-in'), zoomOutTipLabel: say('zoom-out') }),
      new ZoomToExtent({ extent: SWEDEN, label: '⤢', tipLabel: say('sweden') }),
      new ScaleLine({ minWidth: 80 }),
      new Attribution({ collapsible: false }),
    ],
    interactions: defaultInteractions({ altShiftDragRotate: false, pinchRotate: false }),
  });
  view.fit(SWEDEN, { size: map.getSize(), padding: [16, 16, 16, 16] });

  for (const button of target.querySelectorAll('button[title]')) button.setAttribute('aria-label', button.title); // not "⤢"

  map.on('moveend', onMove);
  target.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target === target) onClick(view.getCenter());
  });
  map.on('singleclick', ({ coordinate }) => onClick(coordinate));
  map.on('pointermove', ({ coordinate, dragging }) => {
    if (!dragging) target.classList.toggle('over-item', footprints.keysAt(coordinate).size > 0);
  });

  /** When nothing is left to load or to draw. */
  function rendered() {
    return new Promise((done) => {
      map.once('rendercomplete', () => done());
      map.render();
    });
  }

  return {
    ol: map,
    rendered,

    /** Where the map is: its middle in EPSG:3006 and metres a pixel. */
    place: () => ({ middle: view.getCenter(), resolution: view.getResolution() }),

    /** Go there at once. */
    setPlace({ middle, resolution }) {
      view.cancelAnimations();
      view.setCenter(middle);
      view.setResolution(resolution);
    },

    /** What is in sight, in EPSG:3006. */
    extent: () => view.calculateExtent(map.getSize()),

    /** Move until the extent fills the view (an empty one moves nothing); done when all is drawn there. */
    async goTo(extent) {
      const duration = still.matches ? 0 : 400;
      if (!isEmpty(extent)) await new Promise((callback) => view.fit(extent, { ...FIT, duration, callback }));
      await rendered();
    },

    /** What the picture's canvas shows at a place in EPSG:3006: [r, g, b, a], or null outside the view. */
    pixelAt(coordinate) {
      map.renderSync();
      const [x, y] = map.getPixelFromCoordinate(coordinate);
      const [width, height] = map.getSize();
      if (x < 0 || y < 0 || x >= width || y >= height) return null;
      const canvas = map.getViewport().querySelector('.picture canvas');
      if (!canvas) return [0, 0, 0, 0];
      const [outer, inner] = [map.getViewport(), canvas].map((element) => element.getBoundingClientRect());
      const column = (x + outer.left - inner.left) * (canvas.width / inner.width);
      const row = (y + outer.top - inner.top) * (canvas.height / inner.height);
      const probe = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true }); // spares the map's own canvas
      probe.drawImage(canvas, Math.floor(column), Math.floor(row), 1, 1, 0, 0, 1, 1);
      return Array.from(probe.getImageData(0, 0, 1, 1).data);
    },
  };
}
