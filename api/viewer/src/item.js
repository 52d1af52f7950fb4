/** The words for an item: its key, its name, its date. */

import { minute, say, share } from './language.js';

/** What tells the item from all others. */
export const keyOf = ({ collection, id }) => `${collection}/${id}`;

/**
 * The id without its times and counters: satellite, kind and granule.
 * S2B_MSIL2A_20240601T102559_N0510_R108_T33VWF_20240601T132214 is S2B MSIL2A T33VWF.
 */
export function shortName({ id }) {
  const words = id.split(/_+/);
  const first = words.findIndex((word) => /^\d{8}(T\d{6})?$/.test(word));
  if (first < 1) return id;
  const granule = words.slice(first).find((word) => /^T\d{2}[A-Z]{3}$/.test(word));
  return [...words.slice(0, first), granule].filter(Boolean).join(' ');
}

/** When it was taken (ISO 8601), or when the taking began. */
export const timeOf = ({ properties }) => properties.datetime ?? properties.start_datetime ?? '';

/** The time to the minute, in UTC. */
export const timeText = (item) => minute(timeOf(item));

/** The share of clouds in per cent, or null where it is not known (radar knows none). */
export const cloudOf = ({ properties }) => (typeof properties['eo:cloud_cover'] === 'number' ? properties['eo:cloud_cover'] : null);

/** The share of clouds in words, where it is known. */
export function cloudText(item) {
  const cloud = cloudOf(item);
  return cloud === null ? '' : say('cloud-share', { share: share(cloud / 100) });
}

/** Name and time on one line. */
export const label = (item) => [shortName(item), timeText(item)].filter(Boolean).join(', ');
