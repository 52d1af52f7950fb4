/** The API behind this page. Every address is relative to the page's own, so that it may live behind a path prefix. */

const PAGE = 30;
const PATIENCE = 30_000; // milliseconds

/** One page of items, newest first, and the address of the next page (null after the last). */
export async function search(address) {
  const answer = await read(address ?? `search?limit=${PAGE}`);
  const next = answer.links?.find((link) => link.rel === 'next')?.href;
  return {
    items: answer.features.map((item) => ({ ...item, thumbnail: thumbnail(item) })),
    matched: answer.numberMatched ?? null,
    next: next ? near(next, answer.links) : null,
  };
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

async function read(address) {
  const answer = await ask(address, { headers: { Accept: 'application/json, application/geo+json' } });
  return answer.json();
}

async function ask(address, options = {}) {
  const signals = [AbortSignal.timeout(PATIENCE), options.signal].filter(Boolean);
  let answer;
  try {
    answer = await fetch(address, { ...options, signal: AbortSignal.any(signals) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error(error.name === 'TimeoutError' ? 'the server took too long' : 'the server can’t be reached');
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
