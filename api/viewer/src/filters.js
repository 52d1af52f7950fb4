/** What is searched for, as a form: days, cloud, collections, an area. Nothing is searched before it is sent. */

import { say } from './language.js';

/** What narrows nothing. */
export const ALL = { collections: [], from: null, to: null, cloud: null, bbox: null };

/** How many of the filters narrow the search. */
export function countOf({ collections, from, to, cloud, bbox }) {
  return [collections.length, from || to, cloud !== null, bbox].filter(Boolean).length;
}

export function createFilters({ element, form, view, onSearch }) {
  const { from, to, cloud, within } = form.elements;
  const collections = form.querySelector('#collections');
  let bbox = null;

  // not `max` and `min`, whose messages come in the browser's language
  form.addEventListener('input', () => {
    to.setCustomValidity(from.value && to.value && to.value < from.value ? say('dates-turned') : '');
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault(); // the policy forbids to send it anywhere
    if (event.submitter?.name === 'view') bbox = view();
    else if (!within.checked) bbox = null;
    onSearch(read());
  });
  form.querySelector('#clear').addEventListener('click', () => onSearch(ALL));

  const boxes = () => [...collections.querySelectorAll('input')];

  /** What the form says. */
  function read() {
    return {
      collections: boxes().filter((box) => box.checked).map((box) => box.value),
      from: from.value || null,
      to: to.value || null,
      cloud: cloud.value === '' || cloud.valueAsNumber >= 100 ? null : cloud.valueAsNumber,
      bbox,
    };
  }

  return {
    /** Fill the form with these. */
    show(filters) {
      from.value = filters.from ?? '';
      to.value = filters.to ?? '';
      to.setCustomValidity('');
      cloud.value = filters.cloud ?? '';
      bbox = filters.bbox;
      within.checked = Boolean(bbox);
      form.querySelector('#within').hidden = !bbox;
      for (const box of boxes()) box.checked = filters.collections.includes(box.value);
      const count = countOf(filters);
      element.querySelector('summary').textContent = count ? say('filter-active', { count }) : say('filter');
    },

    /** Offer these collections, a map of titles by id, and tick the ones that are asked for. */
    offer(titles, ticked) {
      const ids = new Set([...titles.keys(), ...ticked]);
      const rows = [...ids].map((id) => {
        const box = Object.assign(document.createElement('input'), { type: 'checkbox', value: id, checked: ticked.includes(id) });
        const label = document.createElement('label');
        label.append(box, ` ${titles.get(id) ?? id}`);
        return label;
      });
      collections.replaceChildren(collections.querySelector('legend'), ...rows);
      collections.hidden = ids.size < 2 && ticked.length === 0;
    },
  };
}
