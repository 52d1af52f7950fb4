/** A line that tells what goes on; read aloud by screen readers as it changes. */

export function createStatus(element) {
  const show = (words, failed) => {
    element.textContent = words;
    element.classList.toggle('failed', failed);
  };
  return {
    say: (words) => show(words, false),
    fail: (words) => show(words, true),
  };
}
