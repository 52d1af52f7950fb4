/** The outlines of the items on the map: all of them beneath the picture, the chosen one above it. */

import { createEmpty } from 'ol/extent.js';
import Feature from 'ol/Feature.js';
import GeoJSON from 'ol/format/GeoJSON.js';
import VectorLayer from 'ol/layer/Vector.js';
import VectorSource from 'ol/source/Vector.js';
import Fill from 'ol/style/Fill.js';
import Stroke from 'ol/style/Stroke.js';
import Style from 'ol/style/Style.js';
import { colour, paintWith } from './colours.js';
import { SWEREF99TM } from './grid.js';
import { keyOf, timeOf } from './item.js';
import { say } from './language.js';

const format = new GeoJSON({ dataProjection: 'EPSG:4326', featureProjection: SWEREF99TM });

export function createFootprints() {
  const all = new VectorSource({ wrapX: false });
  const one = new VectorSource({ wrapX: false, attributions: () => credit });
  // a layer of its own for the inside: with the opacity on the layer, a hundred scenes of one place are no darker than one
  const inside = new VectorLayer({ source: all, className: 'inside', opacity: 0.1 });
  const outlines = new VectorLayer({ source: all });
  const above = new VectorLayer({ source: one });
  let credit = say('credit', { year: '' }).trim();

  paintWith(() => {
    inside.setStyle(new Style({ fill: new Fill({ color: colour('footprint') }) }));
    outlines.setStyle(outline(colour('footprint'), 1));
    above.setStyle([outline(colour('halo'), 5), outline(colour('chosen'), 2)]);
  });

  return {
    beneath: [inside, outlines],
    above: [above],

    /** Draw the footprints of these items too. */
    append(items) {
      all.addFeatures(items.map(footprint).filter(Boolean));
    },

    /** Draw none. */
    clear: () => all.clear(),

    /** Highlight this item's footprint, and no other (null: none); the credit names the year of its data. */
    mark(item) {
      one.clear();
      const feature = item && footprint(item);
      credit = say('credit', { year: item ? timeOf(item).slice(0, 4) : '' }).trim();
      if (feature) one.addFeature(feature);
    },

    /** The keys of the items that cover the place, in no order. */
    keysAt(coordinate) {
      return new Set(all.getFeaturesAtCoordinate(coordinate).map((feature) => feature.getId()));
    },

    /** The bounds of the item's footprint in EPSG:3006; empty where it has none on this map. */
    extentOf(item) {
      return footprint(item)?.getGeometry().getExtent() ?? createEmpty();
    },
  };
}

/** The item's footprint in EPSG:3006, or null where it has none there (no geometry, or one too far off to be projected). */
function footprint(item) {
  const geometry = item.geometry && format.readGeometry(item.geometry);
  if (!geometry?.getExtent().every(Number.isFinite)) return null;
  const feature = new Feature(geometry);
  feature.setId(keyOf(item));
  return feature;
}

function outline(color, width) {
  return new Style({ stroke: new Stroke({ color, width }) });
}
