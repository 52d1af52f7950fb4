/** The list of items: a button each, newest first. */

import { cloudText, keyOf, shortName, timeOf, timeText } from './item.js';

export function createList({ element, count, more, onChoose, onMore }) {
  const buttons = new Map();
  more.addEventListener('click', () => more.getAttribute('aria-disabled') === 'true' || onMore());

  return {
    /** Add the items at the end; who asked for them by keyboard goes on at the first of them. */
    append(items, titles) {
      const asked = document.activeElement === more;
      for (const item of items) {
        const button = row(item, titles.get(item.collection) ?? item.collection);
        button.addEventListener('click', () => onChoose(item));
        buttons.set(keyOf(item), button);
        const entry = document.createElement('li');
        entry.append(button);
        element.append(entry);
      }
      if (asked && items.length) buttons.get(keyOf(items[0])).focus();
    },

    /** Highlight the item with this key, and no other. */
    mark(key) {
      element.querySelector('[aria-current]')?.removeAttribute('aria-current');
      const button = buttons.get(key);
      button?.setAttribute('aria-current', 'true');
      button?.scrollIntoView({ block: 'nearest' });
    },

    /** Say how many items are listed, of how many (null: not known), and whether more can be loaded. */
    shown(listed, matched, moreToLoad) {
      count.textContent = matched > listed ? `${listed} of ${matched}` : moreToLoad ? `${listed}+` : `${listed}`;
      more.textContent = 'Load more';
      more.hidden = !moreToLoad;
    },

    /** Let the button for more try the page again that failed. */
    offerRetry() {
      more.textContent = 'Try again';
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
