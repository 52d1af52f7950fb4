/** The page: a list of items beside a map, and what happens when one is chosen. */

import 'ol/ol.css';
import '../style.css';
import * as catalog from './catalog.js';
import { createFootprints } from './footprints.js';
import { keyOf, label } from './item.js';
import { createList } from './list.js';
import { createMap } from './map.js';
import { createPicture } from './picture.js';
import { createStatus } from './status.js';

const status = createStatus(document.getElementById('status'));
const list = createList({
  element: document.getElementById('list'),
  count: document.getElementById('count'),
  more: document.getElementById('more'),
  onChoose: (item) => choose(item),
  onMore: () => showPage(),
});
const footprints = createFootprints();
const picture = createPicture({
  extentOf: footprints.extentOf,
  onFailure: (item, count, error) => {
    const tiles = count === 1 ? 'A tile' : `${count} tiles`;
    status.fail(`${tiles} of ${label(item)} could not be drawn: ${error.message}. Choose the item again to retry.`);
  },
});
const map = createMap({ target: document.getElementById('map'), footprints, picture, onClick: chooseAt });

const items = new Map(); // by key, in the order of the list
let titles = new Map(); // of collections, by id
let next = null; // the address of the next page; null: none, or none read yet
let chosen = null; // the key of the item on the map

/** Read one more page into the list and onto the map, and give how many items are shown; a failure is shown, never thrown. */
async function showPage() {
  list.busy(true);
  try {
    const [page, named] = await Promise.all([catalog.search(next), titles.size ? titles : catalog.titles()]);
    titles = named;
    const fresh = page.items.filter((item) => !items.has(keyOf(item)));
    for (const item of fresh) items.set(keyOf(item), item);
    list.append(fresh, titles);
    footprints.append(fresh);
    status.say(greeting(fresh.length));
    next = page.next;
    list.shown(items.size, page.matched, next !== null);
  } catch (error) {
    list.offerRetry();
    status.fail(`The list could not be read: ${error.message}.`);
  } finally {
    list.busy(false);
  }
  return items.size;
}

function greeting(fresh) {
  if (items.size === 0) return 'The catalog has no items yet.';
  return fresh < items.size ? `${fresh} more items.` : 'Choose an item in the list or on the map.';
}

/** Choose the newest item whose footprint covers the place; where one of them is chosen already, the one beneath it. */
function chooseAt(coordinate) {
  const there = footprints.keysAt(coordinate);
  const keys = [...items.keys()].filter((key) => there.has(key));
  if (keys.length) choose(items.get(keys[(keys.indexOf(chosen) + 1) % keys.length]));
}

/** Draw the item's true colour and go there; the promise gives how many tiles were drawn and how many failed. */
async function choose(item) {
  const key = keyOf(item);
  chosen = key;
  list.mark(key);
  footprints.mark(item);
  status.say(`Drawing ${label(item)} …`);
  const tiles = picture.show(item);
  await map.goTo(footprints.extentOf(item));
  if (chosen === key && tiles.failed === 0) status.say(label(item));
  return { drawn: tiles.drawn, failed: tiles.failed };
}

const ready = showPage();

/*
 * For tests, and for the curious in the console.
 *   kartotek.map                     the OpenLayers map; its view is in EPSG:3006
 *   await kartotek.ready             the number of items listed, once the first page of them is (0 where it failed)
 *   await kartotek.select(coll, id)  as a click on the item, listed or not; {drawn, failed} tiles, once they are on the canvas
 *   await kartotek.rendered()        when nothing is left to load or to draw
 *   kartotek.pixelAt([e, n])         [r, g, b, a] of the true colour on the canvas at a place in EPSG:3006, a = 0 where there
 *                                    is none; null outside the view
 *   kartotek.chosen                  'collection/id' of the item shown, or null
 */
window.kartotek = {
  map: map.ol,
  ready,
  rendered: map.rendered,
  pixelAt: map.pixelAt,
  select: async (collection, id) => choose(items.get(`${collection}/${id}`) ?? (await catalog.item(collection, id))),
  get chosen() {
    return chosen;
  },
};
