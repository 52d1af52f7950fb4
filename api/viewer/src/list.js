/** The list of items: a button each, newest first. Tab leads to one of them, the arrow keys to the others. */

import { cloudText, keyOf, shortName, timeOf, timeText } from './item.js';
import { say } from './language.js';

export function createList({ element, more, onChoose, onMore }) {
  const buttons = new Map(); // by the item's key, in order
  more.addEventListener('click', () => more.getAttribute('aria-disabled') === 'true' || onMore());

  element.addEventListener('keydown', (event) => {
    const all = [...buttons.values()];
    const here = all.indexOf(event.target);
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (here < 0 || there === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // scrolling
    all[there]?.focus();
  });
  element.addEventListener('focusin', ({ target }) => stop(target));

  /** Let Tab stop at this button, and at no other of the list. */
  function stop(button) {
    if (!button.matches('button')) return;
    for (const other of element.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
  }

  return {
    /** Add the items at the end; who asked for them by keyboard goes on at the first of them. */
    append(items, titles) {
      const asked = document.activeElement === more;
      for (const item of items) {
        const button = row(item, titles.get(item.collection) ?? item.collection);
        button.addEventListener('click', () => onChoose(item));
        button.tabIndex = buttons.size ? -1 : 0;
        buttons.set(keyOf(item), button);
        const entry = document.createElement('li');
        entry.append(button);
        element.append(entry);
      }
      if (asked && items.length) buttons.get(keyOf(items[0])).focus();
    },

    /** Take all items out; the keyboard stays at the list. */
    clear() {
      if (element.contains(document.activeElement)) element.focus();
      buttons.clear();
      element.replaceChildren();
    },

    /** Highlight the item with this key, and no other (null: none). */
    mark(key) {
      element.querySelector('[aria-current]')?.removeAttribute('aria-current');
      const button = buttons.get(key);
      if (!button) return;
      button.setAttribute('aria-current', 'true');
      button.scrollIntoView({ block: 'nearest' });
      stop(button);
    },

    /** Bring the keyboard to the list: to the item where Tab stops, else to the list itself. */
    focus: () => (element.querySelector('[tabindex="0"]') ?? element).focus(),

    /** Whether more can be loaded. */
    offerMore(yes) {
      if (!yes && document.activeElement === more) this.focus(); // which would lose the keyboard's place
      more.textContent = say('more');
      more.hidden = !yes;
    },

    /** Let the button for more try the page again that failed. */
    offerRetry() {
      more.textContent = say('retry');
      more.hidden = false;
    },

    /** While a page is being read, no other can be asked for. */
    busy(yes) {
      element.setAttribute('aria-busy', String(yes));
      more.setAttribute('aria-disabled', String(yes)); // not `disabled`, which would lose the keyboard's place
    },
  };
}

function row(item, collection) {
  const button = document.createElement('button');
  button.type = 'button';
  button.title = item.id;
  button.append(
    picture(item.thumbnail),
    text('strong', shortName(item)),
    time(item),
    text('small', [collection, cloudText(item)].filter(Boolean).join(' · ')),
  );
  return button;
}

function picture(address) {
  const frame = document.createElement('span');
  frame.className = 'thumbnail';
  if (address) {
    const image = new Image();
    image.alt = '';
    image.loading = 'lazy';
    image.decoding = 'async';
    image.addEventListener('error', () => image.remove());
    image.src = address;
    frame.append(image);
  }
  return frame;
}

function time(item) {
  const element = text('time', timeText(item));
  element.dateTime = timeOf(item);
  return element;
}

function text(tag, words) {
  const element = document.createElement(tag);
  element.textContent = words;
  return element;
}
