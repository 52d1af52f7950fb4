/** The true colour of one item: tiles of the native matrix set. Beyond its last level (10 m) the browser enlarges them. */

import { buffer, getHeight, getWidth, isEmpty } from 'ol/extent.js';
import TileLayer from 'ol/layer/Tile.js';
import ImageTile from 'ol/source/ImageTile.js';
import { tile } from './catalog.js';
import { SWEREF99TM, SWEREF99TM10 } from './grid.js';

const GRID = { projection: SWEREF99TM, tileGrid: SWEREF99TM10, wrapX: false };

export function createPicture({ extentOf, onFailure }) {
  // a class name of its own gives it a canvas of its own, on which pixelAt finds nothing else
  const layer = new TileLayer({ className: 'picture', extent: [0, 0, 0, 0] });

  return {
    layer,

    /** Show this item in place of the one before; the counts in the answer grow as its tiles come. */
    show(item) {
      const tiles = { drawn: 0, failed: 0 };
      const load = async (z, x, y, { signal }) => {
        try {
          const image = await tile(item, z, x, y, signal);
          tiles.drawn += 1;
          return image;
        } catch (error) {
          if (!signal.aborted) {
            tiles.failed += 1;
            if (layer.getSource() === source) onFailure(item, tiles.failed, error);
          }
          throw error;
        }
      };
      const source = new ImageTile({ ...GRID, loader: load, transition: 150 });
      layer.setExtent(around(extentOf(item)));
      layer.setSource(source);
      return tiles;
    },

    /** Show none. */
    hide: () => layer.setSource(null),
  };
}

/** Where tiles are asked for: a little more than the footprint, whose straight edges bulge when projected. */
function around(extent) {
  return isEmpty(extent) ? undefined : buffer(extent, 0.1 * Math.max(getWidth(extent), getHeight(extent)));
}
