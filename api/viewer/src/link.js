/**
 * The page's state as its address says it, so that a link can be shared and the back button works:
 * ?lang=sv&collections=a,b&from=2024-05-01&to=2024-06-30&cloud=20&bbox=west,south,east,north&item=collection/id&map=easting,northing,resolution
 * with days in UTC, the box in degrees, the map's middle in EPSG:3006 and its resolution in metres a pixel.
 */

const DAY = /^\d{4}-\d\d-\d\d$/;
const PAUSE = 250; // milliseconds; browsers refuse hundreds of addresses in a row

/** What an address asks for; what can't be read in it asks for nothing. */
export function read(query = location.search) {
  const asked = new URLSearchParams(query);
  const day = (name) => (DAY.test(asked.get(name)) ? asked.get(name) : null);
  const bbox = numbers(asked.get('bbox'), 4);
  const map = numbers(asked.get('map'), 3);
  const cloud = numbers(asked.get('cloud'), 1)?.[0] ?? 100;
  return {
    language: asked.get('lang'),
    filters: {
      collections: (asked.get('collections') ?? '').split(',').filter(Boolean),
      from: day('from'),
      to: day('to'),
      cloud: cloud >= 0 && cloud < 100 ? cloud : null,
      bbox,
    },
    item: asked.get('item')?.includes('/') ? asked.get('item') : null,
    view: map && map[2] > 0 ? { middle: map.slice(0, 2), resolution: map[2] } : null,
  };
}

/** The query that says this state. */
export function write({ language, filters: { collections, from, to, cloud, bbox }, item, view }) {
  const parts = {
    lang: language,
    collections: collections.join(','),
    from,
    to,
    cloud,
    bbox: bbox?.join(','),
    item,
    map: view && [...view.middle.map(Math.round), Number(view.resolution.toPrecision(5))].join(','),
  };
  const said = Object.entries(parts).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return `?${said.map(([name, value]) => `${name}=${readable(value)}`).join('&')}`;
}

/** Keeps the address at what `state()` says, and calls `restore` with what the address says after back or forward. */
export function createLink({ state, restore, onChange }) {
  let waiting = null;
  const put = (how) => {
    clearTimeout(waiting);
    const query = write(state());
    if (query !== location.search) history[how](null, '', location.pathname + query);
    onChange(query);
  };
  window.addEventListener('popstate', () => {
    clearTimeout(waiting);
    restore(read());
  });

  return {
    /** The state moved a little: the address follows in a moment, and back does not lead here. */
    follow() {
      clearTimeout(waiting);
      waiting = setTimeout(put, PAUSE, 'replaceState');
    },

    /** Change the state by a step that the back button takes back. */
    step(change) {
      put('replaceState');
      change();
      put('pushState');
    },
  };
}

/** So many finite numbers with commas between, or null. */
function numbers(text, count) {
  const found = text ? text.split(',').map((part) => (part.trim() ? Number(part) : NaN)) : [];
  return found.length === count && found.every(Number.isFinite) ? found : null;
}

/** Escaped, but for what may stand in a query as it is. */
const readable = (value) => encodeURIComponent(value).replace(/%2F/g, '/').replace(/%2C/g, ',').replace(/%3A/g, ':');
