/** The page: a search, a list of items beside a map, and what happens when one is chosen. */

import 'ol/ol.css';
import '../style.css';
import { boxAround, createArea } from './area.js';
import * as catalog from './catalog.js';
import { ALL, countOf, createFilters } from './filters.js';
import { createFootprints } from './footprints.js';
import { keyOf, label, shortName } from './item.js';
import { language, say, translate } from './language.js';
import { createLink, read as readLink, write as writeLink } from './link.js';
import { createList } from './list.js';
import { createMap } from './map.js';
import { createPicture } from './picture.js';
import { createStatus } from './status.js';

translate(document);

const found = createStatus(document.getElementById('found'));
const status = createStatus(document.getElementById('status'));
const list = createList({
  element: document.getElementById('list'),
  more: document.getElementById('more'),
  onChoose: (item) => choose(item),
  onMore: () => showPage(),
});
const area = createArea();
const footprints = createFootprints();
const picture = createPicture({
  extentOf: footprints.extentOf,
  onFailure: (item, count, error) => status.fail(say('tiles-failed', { count, name: label(item), reason: error.message })),
});
const map = createMap({
  ...{ target: document.getElementById('map'), footprints, area, picture },
  onClick: chooseAt,
  onMove: () => link.follow(),
});
const form = createFilters({
  element: document.getElementById('filters'),
  form: document.getElementById('search'),
  view: () => boxAround(map.extent()),
  onSearch: (wanted) => {
    link.step(() => (filters = wanted));
    ready = start();
  },
});
const link = createLink({
  state: () => ({ language, filters, item: chosen, view: map.place() }),
  restore: (state) => (ready = restore(state)),
  onChange: () => {
    for (const other of document.querySelectorAll('#languages a')) {
      other.href = writeLink({ ...readLink(), language: other.lang });
    }
  },
});

const items = new Map(); // by key, in the order of the list
let filters = ALL; // what is searched for
let titles = new Map(); // of collections, by id
let next = null; // the address of the next page; null: none, or none read yet
let reading = new AbortController(); // of the search under way, which a new one ends
let cloudier = 0; // items that were left out since they have more cloud than asked for
let chosen = null; // the key of the item on the map

/** Search for what the filters say, in place of the search before. */
function start() {
  reading.abort();
  reading = new AbortController();
  items.clear();
  list.clear();
  list.offerMore(false);
  footprints.clear();
  form.show(filters);
  area.show(filters.bbox);
  next = null;
  cloudier = 0;
  return showPage();
}

/** Read one more page into the list and onto the map, and give how many items are shown; a failure is shown, never thrown. */
async function showPage() {
  const { signal } = reading;
  list.busy(true);
  found.say(say('searching'));
  try {
    const [page, named] = await Promise.all([catalog.search(filters, next, signal), titles.size ? titles : catalog.titles()]);
    if (signal.aborted) return items.size;
    if (!titles.size) form.offer(named, filters.collections);
    titles = named;
    const fresh = page.items.filter((item) => !items.has(keyOf(item)));
    for (const item of fresh) items.set(keyOf(item), item);
    list.append(fresh, titles);
    footprints.append(fresh);
    if (fresh.some((item) => keyOf(item) === chosen)) list.mark(chosen);
    next = page.next;
    cloudier += page.cloudier;
    list.offerMore(next !== null);
    found.say(outcome());
  } catch (error) {
    if (signal.aborted) return items.size;
    list.offerRetry();
    found.fail(say('search-failed', { reason: error.message }));
  }
  list.busy(false);
  return items.size;
}

/** What the search came to, in words. */
function outcome() {
  const count = items.size;
  const left = cloudier ? ` (${say('cloudier', { count: cloudier })})` : '';
  if (count) return say(next ? 'found-more' : 'found', { count }) + left;
  return say(next ? 'none-yet' : countOf(filters) ? 'none' : 'empty') + left;
}

/** Choose the newest item whose footprint covers the place; where one of them is chosen already, the one beneath it. */
function chooseAt(coordinate) {
  const there = footprints.keysAt(coordinate);
  const keys = [...items.keys()].filter((key) => there.has(key));
  if (keys.length) choose(items.get(keys[(keys.indexOf(chosen) + 1) % keys.length]));
  else status.say(say('none-there'));
}

/** Choose the item, so that back leads to what was shown before, and go there. */
function choose(item) {
  link.step(() => (chosen = keyOf(item)));
  return show(item, { go: true });
}

/** Draw the chosen item's true colour; the promise gives how many tiles were drawn and how many failed. */
async function show(item, { go }) {
  const key = keyOf(item);
  list.mark(key);
  footprints.mark(item);
  document.title = `${shortName(item)} · kartotek`;
  status.say(say('drawing', { name: label(item) }));
  const tiles = picture.show(item);
  await (go ? map.goTo(footprints.extentOf(item)) : map.rendered());
  if (chosen === key && tiles.failed === 0) status.say(label(item));
  return { drawn: tiles.drawn, failed: tiles.failed };
}

/** Show no item. */
function letGo() {
  list.mark(null);
  footprints.mark(null);
  picture.hide();
  document.title = 'kartotek';
  status.say(say('choose'));
}

/** Show what a link says; the promise gives how many items are listed once all is there. */
async function restore({ filters: wanted, item: key, view }) {
  const same = JSON.stringify(wanted) === JSON.stringify(filters);
  filters = wanted;
  const listed = same && items.size ? items.size : start();
  if (view) map.setPlace(view);
  const before = chosen;
  chosen = key;
  if (!key) letGo();
  else if (key !== before) await showKey(key, { go: !view });
  link.follow();
  await listed;
  return items.size;
}

/** Show the item with this key, listed or not; why that fails is told. */
async function showKey(key, { go }) {
  const slash = key.indexOf('/');
  try {
    const item = items.get(key) ?? (await catalog.item(key.slice(0, slash), key.slice(slash + 1)));
    if (chosen === key) await show(item, { go });
  } catch (error) {
    if (chosen !== key) return;
    letGo();
    status.fail(say('item-failed', { name: key.slice(slash + 1), reason: error.message }));
  }
}

for (const skip of document.querySelectorAll('.skip')) {
  skip.addEventListener('click', (event) => {
    event.preventDefault(); // the address is the state's
    if (skip.hash === '#list') list.focus();
    else document.querySelector(skip.hash).focus();
  });
}

/* Escape leads from the map back to the list, and there lets go of the chosen item. */
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.target.matches('input')) return;
  if (document.getElementById('map').contains(event.target)) list.focus();
  else if (chosen) {
    link.step(() => (chosen = null));
    letGo();
  }
});

document.querySelector(`#languages [lang="${language}"]`).setAttribute('aria-current', 'true');
document.getElementById('filters').open = window.matchMedia('(min-width: 45.01rem)').matches;
let ready = restore(readLink());

/*
 * For tests, and for the curious in the console.
 *   kartotek.map                     the OpenLayers map; its view is in EPSG:3006
 *   await kartotek.ready             the number of items listed, once all that the address asks for is there (0 where it failed)
 *   await kartotek.select(coll, id)  as a click on the item, listed or not; {drawn, failed} tiles, once they are on the canvas
 *   await kartotek.rendered()        when nothing is left to load or to draw
 *   kartotek.pixelAt([e, n])         [r, g, b, a] of the true colour on the canvas at a place in EPSG:3006, a = 0 where there
 *                                    is none; null outside the view
 *   kartotek.chosen                  'collection/id' of the item shown, or null
 */
window.kartotek = {
  map: map.ol,
  rendered: map.rendered,
  pixelAt: map.pixelAt,
  select: async (collection, id) => choose(items.get(`${collection}/${id}`) ?? (await catalog.item(collection, id))),
  get ready() {
    return ready;
  },
  get chosen() {
    return chosen;
  },
};
