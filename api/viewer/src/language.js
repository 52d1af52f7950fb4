/** The reader's language: the page's words from words.json, dates and numbers as they are written there. */

import { read } from './link.js';
import words from './words.json';

const wanted = [read().language, ...navigator.languages].filter(Boolean);

/** `en` or `sv`: what the address says, else the first one of the reader's that we have. The page is loaded anew for another. */
export const language = wanted.map((tag) => tag.split('-')[0].toLowerCase()).find((tag) => tag in words) ?? 'en';

/** Where the reader is, for dates and numbers: en-GB and en-US write them differently. */
const region = navigator.languages.find((tag) => tag.split('-')[0] === language) ?? { en: 'en-GB', sv: 'sv-SE' }[language];

const plural = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(region);
const shares = new Intl.NumberFormat(region, { style: 'percent', maximumFractionDigits: 0 });
const minutes = new Intl.DateTimeFormat(region, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
  timeZone: 'UTC',
  timeZoneName: 'short',
});

/** The words under this name, with the values at their places; `count` chooses between one and several. */
export function say(name, values = {}) {
  const found = words[language][name];
  const text = typeof found === 'string' ? found : found[plural.select(values.count)] ?? found.other;
  return text.replace(/\{(\w+)\}/g, (_, key) => (typeof values[key] === 'number' ? numbers.format(values[key]) : values[key]));
}

/** A share of a whole, such as 0.12, in per cent. */
export const share = (part) => shares.format(part);

/** A time to the minute, in UTC; nothing for what is no time. */
export function minute(text) {
  const time = new Date(text);
  return Number.isNaN(time.valueOf()) ? '' : minutes.format(time);
}

/** Put the words into the document: `data-words` names an element's text, `data-label` its label for screen readers. */
export function translate(root) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll('[data-words]')) element.textContent = say(element.dataset.words);
  for (const element of root.querySelectorAll('[data-label]')) element.setAttribute('aria-label', say(element.dataset.label));
}
