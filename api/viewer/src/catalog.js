/** The API behind this page. Every address is relative to the page's own, so that it may live behind a path prefix. */

import { cloudOf } from './item.js';
import { say } from './language.js';

const PAGE = 30;
const PAGES = 5; // that are read for one answer, where most of their items have too much cloud
const PATIENCE = 30_000; // milliseconds

/**
 * Items that the filters ask for, newest first, from the start or from the address of a next page; and the address of the
 * next one (null after the last). Cloud is sifted out here, since the search has no parameter for it: `cloudier` is how many
 * were. An item that gives no share of cloud, such as radar's, stays.
 */
export async function search(filters, from, signal) {
  const found = { items: [], cloudier: 0, next: from ?? `search?${query(filters)}` };
  for (let pages = 0; found.next && pages < PAGES && found.items.length < PAGE / 3; pages += 1) {
    const answer = await read(found.next, signal);
    const clear = answer.features.filter((item) => filters.cloud === null || (cloudOf(item) ?? 0) <= filters.cloud);
    found.items.push(...clear.map((item) => ({ ...item, thumbnail: thumbnail(item) })));
    found.cloudier += answer.features.length - clear.length;
    const next = answer.links?.find((link) => link.rel === 'next')?.href;
    found.next = next ? near(next, answer.links) : null;
  }
  return found;
}

function query({ collections, from, to, bbox }) {
  const asked = { limit: PAGE };
  if (collections.length) asked.collections = collections.join(',');
  if (from || to) asked.datetime = `${from ? `${from}T00:00:00Z` : '..'}/${to ? `${to}T23:59:59.999999Z` : '..'}`;
  if (bbox) asked.bbox = bbox.join(',');
  return new URLSearchParams(asked);
}

/** One item. */
export function item(collection, id) {
  return read(`collections/${encodeURIComponent(collection)}/items/${encodeURIComponent(id)}`);
}

/** The titles of the collections by id; empty where they can't be read, since the list is of use without them. */
export async function titles() {
  try {
    const { collections } = await read('collections');
    return new Map(collections.map(({ id, title }) => [id, title || id]));
  } catch {
    return new Map();
  }
}

/** The picture of one tile of the item in true colour. */
export async function tile({ collection, id }, z, x, y, signal) {
  const path = ['tiles', collection, id, 'SWEREF99TM10', z, x, `${y}.png`].map(encodeURIComponent).join('/');
  const answer = await ask(path, { signal });
  return createImageBitmap(await answer.blob());
}

function thumbnail({ assets, links }) {
  const href = assets?.thumbnail?.href;
  return href ? near(href, links) : null;
}

/**
 * The address relative to the page where it lies under the API's own root. The server writes its links with its public name;
 * who came here by another (localhost, a tunnel) stays there.
 */
function near(href, links) {
  const root = links?.find((link) => link.rel === 'root')?.href;
  if (!root) return href;
  const folder = root.endsWith('/') ? root : `${root}/`;
  return href.startsWith(folder) ? href.slice(folder.length) : href;
}

async function read(address, signal) {
  const answer = await ask(address, { headers: { Accept: 'application/json, application/geo+json' }, signal });
  return answer.json();
}

async function ask(address, options = {}) {
  const signals = [AbortSignal.timeout(PATIENCE), options.signal].filter(Boolean);
  let answer;
  try {
    answer = await fetch(address, { ...options, signal: AbortSignal.any(signals) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error(say(error.name === 'TimeoutError' ? 'too-slow' : 'unreachable'));
  }
  if (!answer.ok) throw new Error(await reason(answer));
  return answer;
}

/** Why the server refused, in its own words where it gave some. */
async function reason(answer) {
  const status = `${answer.status} ${answer.statusText}`.trim();
  try {
    const { detail, description } = await answer.json();
    const words = [detail, description].find((text) => typeof text === 'string' && text);
    return words ? `${words.replace(/\.$/, '')} (${status})` : status;
  } catch {
    return status;
  }
}
