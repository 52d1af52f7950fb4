/** What OpenLayers shows: a page of another origin, which knows of kartotek what a WMTS or an address of tiles tells it. */

// With the axes that EPSG gives it (neu), so that OpenLayers reads a WMTS's corners as northing, easting.
proj4.defs('EPSG:3006', '+proj=utm +zone=33 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +axis=neu +units=m +no_defs');
ol.proj.proj4.register(proj4);

/** A layer of a WMTS, by what its capabilities say. */
async function wmts({ capabilities, layer, matrixSet, encoding, time }) {
  const answer = await fetch(capabilities);
  const said = new ol.format.WMTSCapabilities().read(await answer.text());
  const wanted = { layer, matrixSet, requestEncoding: encoding, format: 'image/png', crossOrigin: 'anonymous' };
  const options = ol.source.WMTS.optionsFromCapabilities(said, wanted);
  if (time) options.dimensions.Time = time;
  return new ol.source.WMTS({ ...options, transition: 0 });
}

/** Tiles by z, x and y; those of Web Mercator need no more than their address. */
function xyz({ url, projection, grid }) {
  const tileGrid = grid && new ol.tilegrid.TileGrid(grid);
  return new ol.source.XYZ({ url, projection, tileGrid, crossOrigin: 'anonymous', transition: 0 });
}

/** A map of one layer: its canvas as the address of a PNG; an error where a tile does not come. */
window.draw = async ({ kind, asked, projection, center, resolution, width, height }) => {
  const source = await { wmts, xyz }[kind](asked);
  const target = document.getElementById('map');
  Object.assign(target.style, { width: `${width}px`, height: `${height}px` });
  const view = new ol.View({ projection, center, resolution });
  const map = new ol.Map({ target, controls: [], pixelRatio: 1, layers: [new ol.layer.Tile({ source })], view });
  try {
    await new Promise((done, fail) => {
      source.on('tileloaderror', ({ tile }) => fail(new Error(`no tile ${tile.key ?? tile.tileCoord}`)));
      map.once('rendercomplete', done);
    });
    return target.querySelector('canvas').toDataURL();
  } finally {
    map.setTarget(null);
  }
};
