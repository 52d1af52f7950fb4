/** The colours of style.css for what is drawn on a canvas, where CSS does not reach. */

/** The colour that style.css calls `--name`, as it is now. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Paint now, and again whenever the reader's colour scheme changes. */
export function paintWith(paint) {
  paint();
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
}
